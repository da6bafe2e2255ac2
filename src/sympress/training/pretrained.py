"""Folders in Hugging Face form: what is wrong with one is said before anything of it is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError, safe_open
from transformers import CONFIG_MAPPING
from transformers.utils import logging as transformers_logging

from sympress.errors import InputError, MissingExtraError, nearest

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


def _check_weights(folder: Path, what: str) -> None:
    if (folder / SAFE).is_file():
        _check_safetensors(folder / SAFE, what)
    elif (folder / SAFE_INDEX).is_file():
        parts = _read_json(folder / SAFE_INDEX, what).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
            raise InputError(f"{folder}: {SAFE_INDEX} is damaged; copy the {what} again")
        for name in sorted(set(parts.values())):
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
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({type(error).__name__}); copy the {what} again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object; copy the {what} again")
    return value


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
