"""Codes that people gave to whole notes (VAERS) in the form of the other readers."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.documents import GoldDocument, GoldSet, GoldSpan, gold_set
from sympress.labels.gold.formats import GoldFormat
from sympress.notes.read import read_notes
from sympress.notes.schema import NoteSet
from sympress.notes.vaers import years_in_folder


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
    the task `present`, `sympress.labels.coded.label_coded_present` takes the same notes directly.
    """
    happened = Counter({f"rows left out: {reason}": count for reason, count in notes.counts.dropped.items()})
    documents = []
    for note_id, text, codes in notes.frame.select("note_id", "text", "codes").iter_rows():
        if codes is None:
            happened["notes that nobody coded: left out"] += 1
        else:
            documents.append(GoldDocument(note_id, text, tuple(GoldSpan((), code) for code in codes)))
    return gold_set("vaers", documents, happened)


FORMAT = GoldFormat(
    "vaers",
    "VAERS",
    read_vaers,
    is_folder=lambda folder: bool(years_in_folder(folder)),
    is_file=lambda _, head: bool(re.match(r'PK\x03\x04|"?VAERS_ID"?,', head)),
)
