"""Telling what a path holds, by its content first and its name second."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sympress.errors import InputError
from sympress.notes.delimited import delimiter_of
from sympress.notes.streams import file_errors, head_of
from sympress.notes.tables.encoding import decoded_head, encoding_by_mark, unmarked_utf16
from sympress.notes.tables.options import RECOGNISED, TableOptions
from sympress.notes.vaers import Year, year_of_file, years_in_folder, years_in_zip

Kind = Literal["delimited", "jsonl", "parquet", "folder", "vaers"]

_READABLE = (
    "give CSV or TSV (.gz), JSON lines (.gz), Parquet, VAERS (zip or folder), MTSamples, or a folder of .txt"
)
_TABLE_SUFFIXES = {".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz"}
#: Control characters that a short text may have.
_FEW = 8
#: The sectioned copy first: it keeps line breaks and headings, and holds each distinct report once.
_MTSAMPLES = {
    "mtsamples_sectioned.jsonl": "mtsamples (sectioned)",
    "mtsamples.csv": "mtsamples",
}


@dataclass(frozen=True)
class Source:
    """What a path was recognised as.

    Attributes:
        kind: how to read it.
        name: a short name for tables and reports.
        files: the files on disk, in reading order.
        delimiter: of a delimited file.
        years: of VAERS.
    """

    kind: Kind
    name: str
    root: Path
    files: tuple[Path, ...]
    delimiter: str = ","
    years: tuple[Year, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files as they are stored."""
        return sum(found.st_size for found in self.stats())

    def stats(self) -> list[os.stat_result]:
        """What the system says of each of the files that are there: one may be a dangling link."""
        found = []
        for path in self.files:
            with suppress(OSError):
                found.append(path.stat())
        return found


def recognise(path: Path, options: TableOptions = RECOGNISED) -> Source:
    """Return what `path` holds; a column that is named tells a table from a note in a single .txt file.

    Raises:
        InputError: nothing is there, or nothing that can be read as notes.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {_READABLE}")
    if path.is_dir():
        return _recognise_folder(path)
    head = head_of(path)
    if not head:
        raise InputError(f"{path}: an empty file; {_READABLE}")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _vaers(path, list(years_in_zip(path).values()))
    if head.startswith(b"PAR1"):
        return Source("parquet", path.name, path, (path,))
    _check_text(path, head, options.encoding)
    return _recognise_text(path, decoded_head(head, options.encoding), options)


def _recognise_folder(folder: Path) -> Source:
    years = years_in_folder(folder)
    if years:
        return _vaers(folder, years)
    with file_errors(folder):
        names = sorted(path.name for path in folder.iterdir() if not path.is_dir())
        texts = tuple(sorted(_texts_in(folder)))
    for stem, name in _MTSAMPLES.items():
        for file in (folder / f"{stem}.gz", folder / stem):
            if file.is_file():
                found = recognise(file)
                return Source(found.kind, name, file, found.files, found.delimiter)
    tables = [name for name in names if Path(name).suffix.lower() in _TABLE_SUFFIXES]
    if tables:
        shown = ", ".join(tables[:5]) + (" …" if len(tables) > 5 else "")
        raise InputError(f"{folder}: a folder with tables ({shown}); give one of these files")
    if not texts:
        raise InputError(f"{folder}: a folder with nothing that can be read; {_READABLE}")
    return Source("folder", folder.resolve().name, folder, texts)


def _texts_in(folder: Path) -> Iterator[Path]:
    """What `folder` and those in it call a text file, but for what the system hides (`.git`, `._note.txt`).

    Whether each of them is a file that can be read is told when it is: nothing is left out in silence.

    Raises:
        OSError: a folder cannot be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (
            Path(place, name)
            for name in files
            if Path(name).suffix.lower() == ".txt" and not name.startswith(".")
        )


def _recognise_text(path: Path, head: str, options: TableOptions) -> Source:
    """Tell JSON lines, a single note, a VAERS table and any other table apart."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    start = head.lstrip()[:1]
    if suffix == ".json" and start == "[":
        raise InputError(f"{path}: one JSON array; write one JSON object a line (for example  jq -c '.[]')")
    if start == "{" and head.split(maxsplit=1)[0] == "{" and head.lstrip()[1:2] in "\r\n":
        raise InputError(f"{path}: a JSON object over several lines; write one a line (for example  jq -c .)")
    if suffix in {".jsonl", ".ndjson"} or start == "{":
        return Source("jsonl", path.name, path, (path,))
    if suffix == ".txt" and path.suffix.lower() == ".txt" and not options.given(encoding=False):
        return Source("folder", path.name, path.parent, (path,))
    header = (
        {name.strip().strip('"').upper() for name in head.lstrip().splitlines()[0].split(",")}
        if start
        else set()
    )
    if {"VAERS_ID", "SYMPTOM_TEXT"} <= header:
        return _vaers(path, [year_of_file(path)])
    if {"VAERS_ID", "SYMPTOM1"} <= header:
        raise InputError(f"{path}: the coded symptoms of VAERS without the reports; give the …VAERSDATA.csv")
    return Source("delimited", path.name, path, (path,), delimiter_of(head))


def _vaers(path: Path, years: list[Year]) -> Source:
    files = tuple(sorted({file for year in years for file in year.files}))
    return Source("vaers", "vaers", path, files, years=tuple(years))


def _check_text(path: Path, head: bytes, encoding: str | None) -> None:
    """Refuse what is no text in a known encoding.

    Raises:
        InputError: with what to do about it.
    """
    if encoding is not None or encoding_by_mark(head):
        return
    if (found := unmarked_utf16(head)) is not None:
        raise InputError(f"{path}: UTF-16 without its mark; add --encoding {found}, or convert the file")
    control = sum(byte < 0x20 and byte not in b"\t\n\v\f\r\x1a\x1b" for byte in head)
    if control > max(len(head) // 50, min(len(head) // 8, _FEW)):
        raise InputError(f"{path}: a binary file; {_READABLE}")
