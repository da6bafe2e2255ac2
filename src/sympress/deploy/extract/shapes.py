"""The rows that a note's result becomes: sympress' own, flat for CSV, OMOP or FHIR."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sympress.deploy.extract.fhir import fhir_bundles
from sympress.deploy.extract.omop import omop_rows
from sympress.deploy.extractor import NoteResult
from sympress.deploy.findings import Finding, findings_of, reason_in_words
from sympress.errors import InputError, nearest
from sympress.labels.mentions import Reason
from sympress.notes.intake import Note

Shape = Literal["notes", "findings", "omop", "fhir"]
Row = dict[str, Any]

#: What can be carried from a note beside its id.
COLUMNS = ("patient_id", "encounter_id", "time", "category")
_DECIMALS = 6


def rounded(probability: float | None) -> float | None:
    """A probability as rows hold it; None where no model gave one."""
    return None if probability is None else round(probability, _DECIMALS)


@dataclass(frozen=True)
class Header:
    """What every row of a job shares.

    Attributes:
        columns: fields of the note that are carried along, of `COLUMNS`.
        system: the artifact that answered, for OMOP and FHIR.
        date: ISO date on which the job began.
    """

    columns: tuple[str, ...]
    system: str
    date: str


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
    return [
        {
            **carried(note, header),
            "symptoms": [
                {
                    "symptom": found.symptom,
                    "code": found.code,
                    "probability": rounded(found.probability),
                    "source": found.source,
                }
                for found in result.symptoms
            ],
            "mentions": [
                {
                    "start": mention.start,
                    "end": mention.end,
                    "symptom": mention.symptom,
                    "code": mention.code,
                    "assertion": mention.assertion,
                    "score": rounded(mention.score),
                    "source": mention.source,
                    "reason": reason_fields(mention.reason),
                }
                for mention in result.mentions
            ],
            "windows": result.windows,
            "truncated": result.truncated,
            "markup": result.markup,
        }
    ]


def reason_fields(reason: Reason | None) -> Row | None:
    """What decided an assertion, as plain values; None where nothing but the words speaks."""
    if reason is None:
        return None
    return {"kind": reason.kind, "words": reason.words, "start": reason.start, "end": reason.end}


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


def _omop(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:
    return omop_rows(note, result, serial, header.system, header.date)


def _fhir(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:
    return fhir_bundles(note, result, serial, header.system)


#: How each shape is made of a note, its result, what all rows share, and the serial number of the note.
SHAPES: dict[Shape, Callable[[Note, NoteResult, Header, int], list[Row]]] = {
    "notes": note_rows,
    "findings": finding_rows,
    "omop": _omop,
    "fhir": _fhir,
}
