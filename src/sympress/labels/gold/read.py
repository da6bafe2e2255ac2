"""Annotated notes in: the public entry for every format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold import brat, coded, conll, jsonl, negex, pubtator
from sympress.labels.gold.documents import GoldSet
from sympress.labels.gold.formats import GoldFormat
from sympress.labels.gold.read_only import doccano, i2b2, label_studio
from sympress.notes.streams import file_errors, head_of

#: Every format, in the order in which they are tried; a new one is one module with its `FORMAT`.
FORMATS: tuple[GoldFormat, ...] = (
    brat.FORMAT,
    i2b2.FORMAT,
    coded.FORMAT,
    label_studio.FORMAT,
    doccano.FORMAT,
    jsonl.FORMAT,
    negex.FORMAT,
    pubtator.FORMAT,
    conll.FORMAT,
)
_BY_NAME = {each.name: each for each in FORMATS}
_PLACES = f"{', '.join(each.place for each in FORMATS[:-1])} or {FORMATS[-1].place}"


def read_gold(
    path: Path | str,
    format: str = "auto",  # noqa: A002
    *,
    texts: Mapping[str, str] | None = None,
) -> GoldSet:
    """Return the notes that people annotated, whatever format they are in.

    Args:
        path: file or folder.
        format: the name of one of `FORMATS`, e.g. `brat`; `auto` tells it by the content.
        texts: the original texts by note id, for CoNLL, which holds none.

    Raises:
        InputError: an unknown format, nothing there, a content that is none of the formats, or damage in
            it, with the file and the line.
    """
    path = Path(path)
    if format not in (*_BY_NAME, "auto"):
        raise InputError(
            f"unknown format {format!r}{nearest(format, _BY_NAME)}: use auto, {', '.join(_BY_NAME)}"
        )
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give {_PLACES}")
    found = recognise_gold(path) if format == "auto" else format
    if found == conll.FORMAT.name:
        return conll.read_conll(path, texts=texts)
    return _BY_NAME[found].read(path)


def recognise_gold(path: Path) -> str:
    """Return the name of the format that the content of `path` is in.

    Raises:
        InputError: none of them, naming all.
    """
    if path.is_dir():
        with file_errors(path):
            found = next((each for each in FORMATS if each.is_folder(path)), None)
        if found is None:
            raise InputError(f"{path}: no annotations in this folder; give {_PLACES}")
        return found.name
    head = head_of(path).decode("utf-8", "replace").replace("\r\n", "\n")
    found = next((each for each in FORMATS if each.is_file(path, head)), None)
    if found is None:
        raise InputError(f"{path}: none of the formats that hold annotations; give {_PLACES}")
    return found.name
