"""Annotated notes in: the public entry for every format."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold.brat import read_brat
from sympress.labels.gold.coded import read_vaers
from sympress.labels.gold.conll import read_conll
from sympress.labels.gold.documents import GoldSet
from sympress.labels.gold.jsonl import read_jsonl
from sympress.labels.gold.negex import is_header, read_negex
from sympress.labels.gold.pubtator import read_pubtator
from sympress.notes.streams import file_errors, head_of
from sympress.notes.vaers import years_in_folder

#: The reader of each format, by the name that `format` takes.
READERS: dict[str, Callable[[Path], GoldSet]] = {
    "brat": read_brat,
    "jsonl": read_jsonl,
    "conll": read_conll,
    "pubtator": read_pubtator,
    "negex": read_negex,
    "vaers": read_vaers,
}
_PLACES = "brat (a folder of .txt and .ann), JSON lines, CoNLL, PubTator, NegEx (.tsv) or VAERS"


def read_gold(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    *,
    texts: Mapping[str, str] | None = None,
) -> GoldSet:
    """Return the notes that people annotated, whatever format they are in.

    Args:
        path: file or folder.
        format: `brat`, `jsonl`, `conll`, `pubtator`, `negex` or `vaers`; `auto` tells it by the content.
        texts: the original texts by note id, for CoNLL, which holds none.

    Raises:
        InputError: an unknown format, nothing there, a content that is none of the formats, or damage in
            it, with the file and the line.
    """
    path = Path(path)
    if format not in (*READERS, "auto"):
        raise InputError(
            f"unknown format {format!r}{nearest(format, READERS)}: use auto, {', '.join(READERS)}"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give {_PLACES}")
    found = recognise_gold(path) if format == "auto" else format
    if found == "conll":
        return read_conll(path, texts=texts)
    return READERS[found](path)


def recognise_gold(path: Path) -> str:
    """Return the name of the format that the content of `path` is in.

    Raises:
        InputError: none of them, naming all.
    """
    if path.is_dir():
        with file_errors(path):
            if next(path.rglob("*.ann"), None) is not None:
                return "brat"
        if years_in_folder(path):
            return "vaers"
        raise InputError(f"{path}: no annotations in this folder; give {_PLACES}")
    if path.suffix.lower() == ".ann":
        return "brat"
    found = _recognise_file(head_of(path), path)
    if found is None:
        raise InputError(f"{path}: none of the formats that hold annotations; give {_PLACES}")
    return found


def _recognise_file(head: bytes, path: Path) -> str | None:
    if head.startswith(b"PK\x03\x04") or re.match(rb'"?VAERS_ID"?,', head):
        return "vaers"
    lines = [line.rstrip("\r") for line in head.decode("utf-8", "replace").split("\n")]
    first = next((line for line in lines if line.strip()), "")
    if first.startswith("{") or path.suffix.lower() in {".jsonl", ".ndjson"}:
        return "jsonl"
    if is_header(first.split("\t")):
        return "negex"
    if re.match(r"[^|\t]+\|t\|", first):
        return "pubtator"
    if first.startswith(("# newdoc id = ", "-DOCSTART-")) or re.search(r"[\t ](?:O|[BIES]-\S+)$", first):
        return "conll"
    return None
