"""Fine-tuned classifiers as the Trainer of transformers saves them, adopted with the same logits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from sympress.errors import InputError, SympressError
from sympress.files import read_settings
from sympress.models.encoder import (
    SAFE,
    SAFE_INDEX,
    check_config,
    check_folder,
    quiet_transformers,
    why_unreadable,
)
from sympress.models.families import FAMILIES
from sympress.models.model import HeadForm, Pooling, SymptomModel, check_numbers

# Fine-tuned classifiers as the Trainer of transformers saves them: found, checked and loaded.


Kind = Literal["notes", "tokens"]
#: What each kind of checkpoint is called in `architectures` of its config.json, behind its family's name.
ENDINGS: dict[str, Kind] = {"ForSequenceClassification": "notes", "ForTokenClassification": "tokens"}
#: What is asked of the Hub; pickled weights only where there are no others.
_WANTED = ("*.json", "*.txt", "*.model", "*.safetensors")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
#: What says how a checkpoint was trained, not what it answers.
_OF_TRAINING = ("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json")


@dataclass(frozen=True)
class Checkpoint:
    """A fine-tuned classifier, which answers for notes or for tokens.

    Attributes:
        name: as it was given; of a folder, its last part.
        kind: what it answers for.
        model: with its head.
        tokenizer: a fast one.
        labels: the name of each logit, in their order.
        problem: `problem_type` of its config.json; None where that says nothing.
        digest: SHA-256 of its files.
        remarks: what a user should know, a line each.
    """

    name: str
    kind: Kind
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    labels: tuple[str, ...]
    problem: str | None
    digest: str
    remarks: tuple[str, ...] = ()


def load_checkpoint(source: str | Path, revision: str | None = None) -> Checkpoint:
    """Load a classifier from a folder in Hugging Face form or from the Hub.

    Args:
        source: a folder, or an id of the Hub, which is asked only where the local cache lacks the files.
        revision: branch, tag or commit on the Hub.

    Raises:
        InputError: the folder is missing or damaged, its family or its task is not supported, its head was
            never trained, or head, labels, tokenizer and embeddings do not fit each other.
    """
    folder = find_folder(str(source), revision)
    name = Path(source).name if Path(source).expanduser().is_dir() else str(source)
    kind, labels = _check_config(folder)
    model, tokenizer = _load(folder, kind)
    remarks = _settle_padding_(folder, model, tokenizer)
    _check_tokenizer(folder, model, tokenizer)
    if not any((folder / file).is_file() for file in (SAFE, SAFE_INDEX)):
        remarks.append(
            f"{name}: weights come from pytorch_model.bin, read weights-only; safetensors is safer"
        )
    problem = getattr(model.config, "problem_type", None)
    return Checkpoint(name, kind, model, tokenizer, labels, problem, folder_digest(folder), tuple(remarks))


def find_folder(source: str, revision: str | None = None) -> Path:
    """The folder of `source`, whose files `check_folder` has let pass.

    Raises:
        InputError: there is none, or it is no folder of the Hub and has no revisions, or the Hub does not
            give its files.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"--revision: {source} is a folder, which has no revisions; leave it out")
        _explain_other_folders(folder)
        check_folder(folder, "checkpoint")
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") > 1 or folder.exists():
        raise InputError(f"{source}: no such checkpoint folder; give a folder or a Hugging Face id")
    try:
        cached = _snapshot(source, (*_WANTED, *_PICKLED), revision, local=True)
        check_folder(cached, "checkpoint")
    except InputError:  # not in the cache, or not all of it
        _check_config(
            _snapshot(source, ["config.json"], revision, local=False)
        )  # before the weights are downloaded
        cached = _snapshot(source, _WANTED, revision, local=False)
        if not any(cached.glob("*.safetensors")):
            cached = _snapshot(source, (*_WANTED, *_PICKLED), revision, local=False)
        check_folder(cached, "checkpoint")
    return cached


def _snapshot(name: str, patterns: Sequence[str], revision: str | None, *, local: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=list(patterns), local_files_only=local)
        )
    except Exception as error:  # of the Hub, of the network, or of an id that is none
        raise InputError(
            f"checkpoint {name!r}: no such folder, nor an id in the local cache or downloadable from here "
            f"({type(error).__name__}); copy its files into a folder and give that"
        ) from error


def _explain_other_folders(folder: Path) -> None:
    """Name what people give instead of a checkpoint."""
    if (folder / "config.json").is_file():
        return
    if (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder}: an adapter without its base model; merge them (merge_and_unload of peft) "
            "and save that"
        )
    inside = sorted(path.name for path in folder.glob("checkpoint-*") if (path / "config.json").is_file())
    if inside:
        raise InputError(
            f"{folder}: a Trainer's output without a model; give one of its folders: {inside[-1]}"
        )


def _check_config(folder: Path) -> tuple[Kind, tuple[str, ...]]:
    """What the checkpoint answers for, and its labels, from config.json alone."""
    check_config(folder, "checkpoint")
    config: dict[str, Any] = json.loads(read_settings(folder / "config.json"))
    family = config["model_type"]
    published = [name for name, one in FAMILIES.items() if one.attention]  # ours come as artifacts
    if family not in published:
        raise InputError(
            f"{folder}: its architecture is {family!r}; checkpoints of {', '.join(published)} can be imported"
        )
    listed = config.get("architectures")
    named = listed if isinstance(listed, list) and listed else ["none"]
    kind = next((kind for ending, kind in ENDINGS.items() if str(named[0]).endswith(ending)), None)
    if kind is None:
        raise InputError(
            f"{folder}: its config.json names the architecture {named[0]}; give a checkpoint of "
            f"{' or '.join('…' + ending for ending in ENDINGS)}"
        )
    if family in ("roberta", "xlm-roberta") and config.get("pad_token_id", 1) is None:
        raise InputError(f"{folder}: config.json has no pad_token_id, from which {family} counts positions")
    pad, rows = config.get("pad_token_id"), config.get("vocab_size")
    if isinstance(pad, int) and isinstance(rows, int) and not 0 <= pad < rows:
        raise InputError(f"{folder}: pad_token_id in config.json is {pad}, outside the vocabulary of {rows}")
    return kind, _labels(folder, config)


#: Characters of the longest name of a label; it is looked for among thousands, and stands in every answer.
NAME_MOST = 500


def _labels(folder: Path, config: dict[str, Any]) -> tuple[str, ...]:
    held = config.get("id2label", {0: "LABEL_0", 1: "LABEL_1"})  # what transformers leaves out
    try:
        named = {int(index): str(label) for index, label in held.items()}
    except (AttributeError, TypeError, ValueError):
        named = {}
    labels = tuple(named.get(index, "") for index in range(len(named)))
    if not labels or not all(label.strip() for label in labels):
        raise InputError(f"{folder}: id2label in config.json does not name the labels 0 to K-1; mend it")
    if max(map(len, labels)) > NAME_MOST or not all(label.isprintable() for label in labels):
        raise InputError(
            f"{folder}: id2label in config.json has a label of more than {NAME_MOST} characters, or one that "
            "cannot be printed; mend it"
        )
    if len(set(labels)) < len(labels):
        raise InputError(f"{folder}: id2label in config.json has a label twice; give each its own name")
    return labels


def _load(folder: Path, kind: Kind) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    auto = AutoModelForTokenClassification if kind == "tokens" else AutoModelForSequenceClassification
    try:
        with quiet_transformers():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model, info = auto.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # named below
                dtype=torch.float32,
            )
    except Exception as error:  # pickle, safetensors and tokenizers raise their own types, or bare Exception
        raise InputError(why_unreadable(folder, "checkpoint", error)) from error
    for name, stored, wanted in sorted(info["mismatched_keys"]):
        of_labels = stored[0] != wanted[0] == model.config.num_labels
        raise InputError(
            f"{folder}: {name} is {tuple(stored)} in the weights, and {tuple(wanted)} by config.json"
            + (f": {stored[0]} outputs, but id2label names {wanted[0]} labels" if of_labels else "")
        )
    missing = sorted(str(key) for key in info["missing_keys"])
    if missing:
        raise InputError(
            f"{folder}: the weights lack {missing[0]} ({len(missing)} tensors); a checkpoint needs its "
            "trained classification head"
        )
    check_numbers(folder, model.state_dict(), "checkpoint")
    return model.eval(), tokenizer


def _settle_padding_(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Make the tokenizer pad by a token that the model knows as padding; what to say of it."""
    wanted, found = getattr(model.config, "pad_token_id", None), tokenizer.pad_token_id
    positions = FAMILIES[model.config.model_type].positions_follow_padding
    if wanted is None or wanted == found or (found is not None and not positions):
        if found is None and wanted is None:
            raise InputError(f"{folder}: neither the tokenizer nor config.json has a padding token; set one")
        return []
    token = tokenizer.convert_ids_to_tokens(int(wanted)) if int(wanted) < len(tokenizer) else None
    if token is None:
        raise InputError(
            f"{folder}: pad_token_id in config.json is {wanted}, which the tokenizer does not have; mend it"
        )
    tokenizer.pad_token = token
    return [
        f"the tokenizer pads with {'nothing' if found is None else found}, config.json says {wanted}; "
        f"{wanted} is used, as the model does"
    ]


def _check_tokenizer(folder: Path, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    if getattr(tokenizer, "backend_tokenizer", None) is None:
        raise InputError(
            f"{folder}: {type(tokenizer).__name__} has no fast form; write a tokenizer.json from it"
        )
    rows = cast("nn.Embedding", model.get_input_embeddings()).num_embeddings
    beyond = sorted((at, token) for token, at in tokenizer.get_vocab().items() if at >= rows)
    if beyond:
        raise InputError(
            f"{folder}: the tokenizer has {len(beyond)} tokens more than the {rows} embeddings, such as "
            f"{beyond[0][1]!r} ({beyond[0][0]}); resize the embeddings (resize_token_embeddings) and train "
            "again"
        )


def folder_digest(folder: Path) -> str:
    """SHA-256 of the names and bytes of the files that decide what the checkpoint in `folder` answers."""
    digest = hashlib.sha256()
    paths = {path for pattern in (*_WANTED, *_PICKLED) for path in folder.glob(pattern)}
    for path in sorted(paths):
        if not path.is_file() or path.name in _OF_TRAINING:
            continue
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


# A fine-tuned classifier of transformers as a `SymptomModel` that gives the same logits.
#
# Families differ in what stands between the encoder and the output: BERT and RoBERTa a dense layer and
# tanh, DistilBERT a ReLU, ELECTRA and DeBERTa a GELU, ModernBERT a layer norm too.


#: Largest difference of a logit between the checkpoint and what was made of it.
SAME_LOGITS = 1e-4


@dataclass(frozen=True)
class _Head:
    """The layers of a checkpoint's head, and how states are pooled before them."""

    pooling: Pooling
    form: HeadForm
    output: nn.Linear
    dense: nn.Linear | None = None
    norm: nn.LayerNorm | None = None


#: For each answer the logits of the checkpoint that it is made of, with a factor: one, `((2, 1.0),)`; the
#: difference of two, `((1, 1.0), (0, -1.0))`; or several with the factor 1, whose probabilities are added up.
Rows = Sequence[Sequence[tuple[int, float]]]


def adopt(
    checkpoint: Checkpoint, rows: Rows, notes: Sequence[NDArray[np.int64]]
) -> tuple[SymptomModel, float]:
    """Build the model that answers what `checkpoint` does, and compare the two.

    Args:
        checkpoint: its encoder becomes the model's, and it is of no use afterwards.
        rows: what each answer of the model is made of.
        notes: word-piece ids `(tokens,)` of each note on which the two are compared.

    Returns:
        The model, and the largest difference of a logit.

    Raises:
        InputError: the head is not one that sympress knows.
        SympressError: they differ by more than `SAME_LOGITS`.
    """
    with torch.no_grad():  # not inference_mode: what was built in it is traced at the second attempt only
        wanted = [_answers(checkpoint.model, note, rows) for note in notes]
        model = _build(checkpoint, rows)
        worst = max(
            (float((_own(model, note) - one).abs().max()) for note, one in zip(notes, wanted, strict=True)),
            default=0.0,
        )
    if not worst <= SAME_LOGITS:
        raise SympressError(
            f"{checkpoint.name}: what was made of it differs by {worst:.2e} in a logit, more than "
            f"{SAME_LOGITS:g}; please report its architecture"
        )
    return model, worst


def _answers(model: PreTrainedModel, note: NDArray[np.int64], rows: Rows) -> Tensor:
    """The checkpoint's answers `(1, K)` or `(1, tokens, K)`."""
    ids = torch.from_numpy(note)[None]
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return torch.stack(
        [
            logits[..., [index for index, _ in row]].logsumexp(dim=-1)
            if _is_sum(row)
            else torch.stack([factor * logits[..., index] for index, factor in row]).sum(dim=0)
            for row in rows
        ],
        dim=-1,
    )


def _own(model: SymptomModel, note: NDArray[np.int64]) -> Tensor:
    ids = torch.from_numpy(note)[None]
    logits: Tensor = model(ids, torch.ones_like(ids))
    return logits


def _is_sum(row: Sequence[tuple[int, float]]) -> bool:
    return len(row) > 1 and all(factor == 1.0 for _, factor in row)


def _build(checkpoint: Checkpoint, rows: Rows) -> SymptomModel:
    head = _read_head(checkpoint)
    parts = [[(one,) for one in row] if _is_sum(row) else [tuple(row)] for row in rows]
    several = any(len(part) > 1 for part in parts)
    form = replace(head.form, groups=tuple(len(part) for part in parts) if several else ())
    encoder: Any = getattr(checkpoint.model, checkpoint.model.base_model_prefix)
    pooling = "token" if checkpoint.kind == "tokens" else head.pooling
    model = SymptomModel(encoder, len(rows), pooling, form)
    with torch.no_grad():
        flat = [one for part in parts for one in part]
        model.head.output.weight.copy_(torch.stack([_mixed(head.output.weight, one) for one in flat]))
        model.head.output.bias.copy_(torch.stack([_mixed(head.output.bias, one) for one in flat]))
        for ours, theirs in ((model.head.dense, head.dense), (model.head.norm, head.norm)):
            if ours is not None and theirs is not None:
                ours.weight.copy_(theirs.weight)
                ours.bias.copy_(theirs.bias if theirs.bias is not None else torch.zeros_like(ours.bias))
    return model.eval()


def _mixed(values: Tensor, parts: Sequence[tuple[int, float]]) -> Tensor:
    return torch.stack([factor * values[index] for index, factor in parts]).sum(dim=0)


def _read_head(checkpoint: Checkpoint) -> _Head:
    model, family = checkpoint.model, checkpoint.model.config.model_type
    try:
        if family == "modernbert":
            return _modernbert_head(model, per_token=checkpoint.kind == "tokens")
        if checkpoint.kind == "tokens":
            return _Head("token", HeadForm(dense=False), _linear(model, "classifier"))
        return _note_head(model, family)
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"{checkpoint.name}: a {type(model).__name__} with a head of another form ({error}); give one as "
            "transformers makes it"
        ) from error


def _note_head(model: PreTrainedModel, family: str) -> _Head:
    dense, activation, output = {
        "bert": ("bert.pooler.dense", "tanh", "classifier"),
        "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
        "xlm-roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
        "electra": ("classifier.dense", "gelu", "classifier.out_proj"),
        "distilbert": ("pre_classifier", "relu", "classifier"),
        "deberta-v2": ("pooler.dense", getattr(model.config, "pooler_hidden_act", "gelu"), "classifier"),
    }[family]
    form = HeadForm(dense=True, activation=activation)
    return _Head("cls", form, _linear(model, output), dense=_linear(model, dense))


def _modernbert_head(model: PreTrainedModel, *, per_token: bool) -> _Head:
    config, norm = model.config, model.get_submodule("head.norm")
    if not isinstance(norm, nn.LayerNorm):
        raise ValueError("no layer norm")
    form = HeadForm(dense=True, activation=config.classifier_activation, norm_epsilon=norm.eps)
    pooling: Pooling = "token" if per_token else config.classifier_pooling
    return _Head(pooling, form, _linear(model, "classifier"), _linear(model, "head.dense"), norm)


def _linear(model: PreTrainedModel, name: str) -> nn.Linear:
    found = model.get_submodule(name)
    if not isinstance(found, nn.Linear):
        raise ValueError(f"{name} is no linear layer")
    return found
