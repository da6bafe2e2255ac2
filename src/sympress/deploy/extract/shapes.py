"""The rows that a note's result becomes: sympress' own, flat for CSV, OMOP or FHIR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from sympress.deploy.extract.concepts import Vocabulary
from sympress.deploy.extract.fhir import fhir_bundles
from sympress.deploy.extract.omop import omop_rows
from sympress.deploy.findings import Finding, findings_of, reason_in_words
from sympress.deploy.note_result import NoteResult, rounded
from sympress.errors import InputError, nearest
from sympress.notes.intake import Note

Shape = Literal["notes", "findings", "omop", "fhir"]
Row = dict[str, Any]

#: What can be carried from a note beside its id.
COLUMNS = ("patient_id", "encounter_id", "time", "category")


@dataclass(frozen=True)
class Header:
    """What every row of a job shares.

    Attributes:
        columns: fields of the note that are carried along, of `COLUMNS`.
        system: the artifact that answered, for OMOP and FHIR.
        began: when the job began, ISO 8601 in UTC without a zone.
        vocabulary: names, codes and concepts of the symptoms, for OMOP and FHIR.
        snippet: characters to each side of a mention that OMOP's snippets hold; 0 for none.
    """

    columns: tuple[str, ...]
    system: str
    began: str
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    snippet: int = 0


def read_columns(value: str | None) -> tuple[str, ...]:
    """Return the columns of a comma-separated list; all of `COLUMNS` for None.

    Raises:
        InputError: a name is unknown.
    """
    if value is None:
        return COLUMNS
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name not in (*COLUMNS, "note_id"):
            known = ", ".join(COLUMNS)
            raise InputError(f"--columns: no column {name!r}{nearest(name, COLUMNS)}; choose from {known}")
    return tuple(name for name in COLUMNS if name in names)


def carried(note: Note, header: Header) -> Row:
    """The id of `note` and the columns that go with it; times as ISO 8601."""
    row: Row = {"note_id": note.note_id}
    for name in header.columns:
        value = getattr(note, name)
        row[name] = value.isoformat(timespec="seconds") if name == "time" and value is not None else value
    return row


def note_rows(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    """One row a note, with lists of what was found."""
    found = result.to_dict()
    del found["failure"]  # a note without an answer has no row
    return [{**carried(note, header), **found}]


#: The columns of a finding after those of its note.
FINDING_COLUMNS = (
    "symptom",
    "code",
    "assertion",
    "probability",
    "start",
    "end",
    "source",
    "reason",
    "truncated",
    "markup",
)


def finding_rows(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    """One row a mention, and one a symptom of the whole note that no mention calls present.

    A note without a finding has one row all the same, so that it can be told from one never read.
    """
    base = carried(note, header) | dict.fromkeys(FINDING_COLUMNS)
    rows = [_finding_fields(one) for one in findings_of(result)]
    whole = {"truncated": result.truncated, "markup": result.markup}
    return [{**base, **row, **whole} for row in rows or [{}]]


def _finding_fields(one: Finding) -> Row:
    start, end = one.span or (None, None)
    return {
        "symptom": one.symptom,
        "code": one.code,
        "assertion": one.assertion,
        "probability": rounded(one.probability),
        "start": start,
        "end": end,
        "source": one.source,
        "reason": None if one.reason is None else reason_in_words(one.reason),
    }


def _omop(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    return omop_rows(
        note, result, header.system, header.began, vocabulary=header.vocabulary, snippet=header.snippet
    )


def _fhir(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:
    return fhir_bundles(note, result, serial, header.system, header.vocabulary)


#: How each shape is made of a note, its result, what all rows share, and the serial number of the note.
SHAPES: dict[Shape, Callable[[Note, NoteResult, Header, int], list[Row]]] = {
    "notes": note_rows,
    "findings": finding_rows,
    "omop": _omop,
    "fhir": _fhir,
}
