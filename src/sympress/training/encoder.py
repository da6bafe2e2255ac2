"""Load a pretrained encoder and its tokenizer, from the package, a folder or the Hugging Face Hub."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from sympress.compress.arch import family_named
from sympress.errors import InputError
from sympress.extras import bundled_encoder_folder
from sympress.training.pretrained import SAFE, SAFE_INDEX, check_folder, quiet_transformers, why_unreadable

BUNDLED = "bundled"
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


def load_encoder(name: str, *, case: Case = "auto") -> Encoder:
    """Load `name`: `bundled`, a folder in Hugging Face form, or a Hub id.

    Args:
        name: which encoder.
        case: what the tokenizer does with upper case: `keep`, `lower`, or `auto`, what the folder says.
            A cased vocabulary behind a lower-casing tokenizer (Bio_ClinicalBERT as published) is
            reported as a warning whatever the choice.

    Raises:
        InputError: a file of the folder is missing, damaged or of a form that is not read, its family is not
            supported, or the id is neither a folder here nor reachable.
    """
    if name == BUNDLED:
        return _load(name, str(bundled_encoder_folder()), case, local=True)
    folder = Path(name).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return _load(name, str(folder), case, local=True)
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise InputError(f"{name}: no such encoder folder; give a folder, a Hugging Face id or 'bundled'")
    try:
        return _load(name, name, case, local=True)
    except InputError:
        return _load(name, name, case, local=False)


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
    settled, warnings = _settle_case(tokenizer, source, case, local=local)
    if Path(source).is_dir() and not any((Path(source) / file).is_file() for file in (SAFE, SAFE_INDEX)):
        warnings.append(
            f"{name}: weights come from pytorch_model.bin, read weights-only; safetensors is safer"
        )
    return Encoder(name, model, settled, tuple(warnings), frozenset(info["missing_keys"]))


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
