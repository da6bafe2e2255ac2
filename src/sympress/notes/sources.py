"""Telling what a path holds, by its content first and its name second."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from sympress.errors import InputError
from sympress.notes import delimited, jsonl, parquet, text_files, vaers
from sympress.notes.formats import READABLE, Found, Source
from sympress.notes.streams import file_errors, head_of
from sympress.notes.tables.options import RECOGNISED, TableOptions

_TABLE_SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz"}
#: The sectioned copy first: it keeps line breaks and headings, and holds each distinct report once.
_MTSAMPLES = {
    "mtsamples_sectioned.jsonl": "mtsamples (sectioned)",
    "mtsamples.csv": "mtsamples",
}


def _mtsamples(folder: Path) -> Source | None:
    for stem, name in _MTSAMPLES.items():
        for file in (folder / f"{stem}.gz", folder / stem):
            if file.is_file():
                return dataclasses.replace(recognise(file), name=name)
    return None


#: The formats of a file, in the order in which they are tried; the last takes any text.
FILES: list[Callable[[Found], Source | None]] = [
    vaers.recognise,
    parquet.recognise,
    jsonl.recognise,
    text_files.recognise,
    delimited.recognise,
]
#: The formats of a folder.
FOLDERS: list[Callable[[Path], Source | None]] = [
    vaers.recognise_folder,
    _mtsamples,
]


def recognise(path: Path, options: TableOptions = RECOGNISED) -> Source:
    """Return what `path` holds; a column that is named tells a table from a note in a single .txt file.

    Raises:
        InputError: nothing is there, or nothing that can be read as notes.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {READABLE}")
    if path.is_dir():
        return _recognise_folder(path)
    head = head_of(path)
    if not head:
        raise InputError(f"{path}: an empty file; {READABLE}")
    found = Found(path, head, options)
    for recognised in (as_format(found) for as_format in FILES):
        if recognised is not None:
            return recognised
    raise InputError(f"{path}: {found.problem}")


def _recognise_folder(folder: Path) -> Source:
    for recognised in (as_format(folder) for as_format in FOLDERS):
        if recognised is not None:
            return recognised
    with file_errors(folder):
        names = sorted(path.name for path in folder.iterdir() if not path.is_dir())
    tables = [name for name in names if Path(name).suffix.lower() in _TABLE_SUFFIXES]
    if tables:
        shown = ", ".join(tables[:5]) + (" …" if len(tables) > 5 else "")
        raise InputError(f"{folder}: a folder with tables ({shown}); give one of these files")
    texts = text_files.recognise_folder(folder)
    if texts is None:
        raise InputError(f"{folder}: a folder with nothing that can be read; {READABLE}")
    return texts
