"""What people annotated: readers of their formats, a writer of JSON lines, and labels from them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold import documents, exports, standoff, tables
from sympress.labels.gold.documents import (
    Extra,
    GoldDocument,
    GoldFormat,
    GoldSet,
    GoldSpan,
    gold_set,
    read_jsonl,
    write_jsonl,
)
from sympress.labels.gold.exports import read_doccano, read_label_studio
from sympress.labels.gold.mentions import UNSAID, gold_labels, symptom_labels, to_annotated
from sympress.labels.gold.standoff import read_brat, read_i2b2
from sympress.labels.gold.tables import read_conll, read_negex, read_pubtator
from sympress.notes.formats.vaers import years_in_folder
from sympress.notes.read import NoteSet, read_notes
from sympress.notes.streams import file_errors, head_of

__all__ = [
    "UNSAID",
    "Extra",
    "GoldDocument",
    "GoldSet",
    "GoldSpan",
    "coded_documents",
    "gold_labels",
    "read_brat",
    "read_conll",
    "read_doccano",
    "read_gold",
    "read_i2b2",
    "read_jsonl",
    "read_label_studio",
    "read_negex",
    "read_pubtator",
    "read_vaers",
    "symptom_labels",
    "to_annotated",
    "write_jsonl",
]


# Codes that people gave to whole notes (VAERS) in the form of the other readers.


def read_vaers(path: Path | str) -> GoldSet:
    """Return the reports of VAERS that were coded, see `coded_documents`.

    Raises:
        InputError: nothing readable is there, or its notes carry no codes.
    """
    notes = read_notes(Path(path))
    if "codes" not in notes.frame.columns or notes.frame["codes"].null_count() == notes.frame.height:
        raise InputError(f"{path}: these notes carry no coded symptoms; give VAERS with its SYMPTOMS tables")
    return coded_documents(notes)


def coded_documents(notes: NoteSet) -> GoldSet:
    """Return a document a coded note: each code a span without a place, labelled with the term.

    Notes that nobody coded are left out and counted, as are the rows that reading had left out. For training
    the task `present`, `sympress.labels.note_labels.label_coded_present` takes the same notes directly.
    """
    happened = Counter({f"rows left out: {reason}": count for reason, count in notes.counts.dropped.items()})
    documents = []
    for note_id, text, codes in notes.frame.select("note_id", "text", "codes").iter_rows():
        if codes is None:
            happened["notes that nobody coded: left out"] += 1
        else:
            documents.append(GoldDocument(note_id, text, tuple(GoldSpan((), code) for code in codes)))
    return gold_set("vaers", documents, happened)


VAERS_FORMAT = GoldFormat(
    "vaers",
    "VAERS",
    read_vaers,
    is_folder=lambda folder: bool(years_in_folder(folder)),
    is_file=lambda _, head: bool(re.match(r'PK\x03\x04|"?VAERS_ID"?,', head)),
)


# Annotated notes in: the public entry for every format.


#: Every format, in the order in which they are tried; a new one is one module with its `GoldFormat`.
FORMATS: tuple[GoldFormat, ...] = (
    standoff.BRAT_FORMAT,
    standoff.I2B2_FORMAT,
    VAERS_FORMAT,
    exports.LABEL_STUDIO_FORMAT,
    exports.DOCCANO_FORMAT,
    documents.JSONL_FORMAT,
    tables.NEGEX_FORMAT,
    tables.PUBTATOR_FORMAT,
    tables.CONLL_FORMAT,
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
    if found == tables.CONLL_FORMAT.name:
        return tables.read_conll(path, texts=texts)
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
