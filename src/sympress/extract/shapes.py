"""The rows that a note's result becomes: sympress' own, flat for CSV, OMOP's NOTE_NLP, or FHIR."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from sympress.errors import InputError, nearest
from sympress.extract.concepts import Vocabulary
from sympress.extract.fhir import fhir_bundles
from sympress.labels.task import affirms
from sympress.notes.intake import Note
from sympress.runtime.note_result import Finding, NoteResult, findings_of, reason_in_words, rounded

if TYPE_CHECKING:
    from sympress.extract.sources import Item  # which needs polars, and the service does not

# Rows in the shape of the table NOTE_NLP of the OMOP Common Data Model 5.4.
#
# Source: OHDSI, "OMOP CDM v5.4", table NOTE_NLP: its DDL and the conventions of its fields. Concept ids
# come from the user's map; where it has none, the row holds 0, which OMOP reads as "no matching concept".
# The code of the lexicon stands in `term_modifiers`.


OMOP_COLUMNS = (
    "note_nlp_id",
    "note_id",
    "section_concept_id",
    "snippet",
    "offset",
    "lexical_variant",
    "note_nlp_concept_id",
    "note_nlp_source_concept_id",
    "nlp_system",
    "nlp_date",
    "nlp_datetime",
    "term_exists",
    "term_temporal",
    "term_modifiers",
)
#: Columns that the CDM declares `integer`: 32 bits.
OMOP_INTEGERS = frozenset(name for name in OMOP_COLUMNS if name.endswith("_id"))
#: The largest value of an `integer`.
INTEGER_MOST = 2**31 - 1
#: Characters to each side of a mention that a snippet can have: with most mentions it then fits its column.
SNIPPET_MOST = 100

#: Of `snippet`, `lexical_variant` and `nlp_system`, which are `varchar(250)`: CSV may put a `'` before them.
_TEXT_MOST = 249
#: `term_exists` is Y only for what the patient has, or had; `term_temporal` tells the two apart.
_TEMPORAL = {"present": "Present", "historical": "Past"}
#: What a loader of CSV or a database trips over; each becomes one space, so that a row is one line.
_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f]")
_INTEGER = re.compile(r"-?\d{1,10}")


def omop_rows(
    note: Note,
    result: NoteResult,
    system: str,
    began: str,
    *,
    vocabulary: Vocabulary,
    snippet: int = 0,
) -> list[dict[str, Any]]:
    """One row a mention, and one a symptom that is affirmed for the note as a whole.

    `lexical_variant` holds the words of the span as the note has them, line ends as spaces. The CDM wants
    it filled: a symptom without words has its name there, and no `offset`. `note_nlp_id` is 0 until
    `numbered`.

    Args:
        note: with an integer as id; see `id_fault`.
        result: of `note`.
        system: what answered.
        began: date and time of the job, ISO 8601 in UTC, without a zone.
        vocabulary: names, codes and concepts of the symptoms.
        snippet: characters of the note to each side of a mention; 0 for no snippet.
    """
    fixed: dict[str, Any] = {
        "note_nlp_id": 0,
        "note_id": int(note.note_id),
        "section_concept_id": 0,
        "nlp_system": _line(system),
        "nlp_date": began[: len("2026-01-31")],
        "nlp_datetime": began,
    }
    found = [{**fixed, **_fields(note.text, one, vocabulary, snippet)} for one in findings_of(result)]
    return [{name: row[name] for name in OMOP_COLUMNS} for row in found]


def _fields(text: str, one: Finding, vocabulary: Vocabulary, snippet: int) -> dict[str, Any]:
    words = (vocabulary.name(one.symptom) or "") if one.span is None else text[slice(*one.span)]
    around = None
    if one.span is not None and snippet:
        around = _line(text[max(0, one.span[0] - snippet) : one.span[1] + snippet])
    return {
        "snippet": around,
        "offset": None if one.span is None else str(one.span[0]),
        "lexical_variant": _line(words),
        "note_nlp_concept_id": vocabulary.concept_id(one.symptom),
        "note_nlp_source_concept_id": vocabulary.source_concept_id(one.symptom),
        "term_exists": "Y" if affirms(one.assertion) or one.assertion == "historical" else "N",
        "term_temporal": _TEMPORAL.get(one.assertion),
        "term_modifiers": _modifiers(one),
    }


def _modifiers(one: Finding) -> str:
    """Assertion, source, and what else is known, as `name=value` with commas between."""
    modifiers = [f"assertion={one.assertion}", f"source={one.source}"]
    if one.reason is not None:
        modifiers.append(f"reason={one.reason.kind}")
    if one.probability is not None:
        modifiers.append(f"probability={one.probability:.6f}")
    return ",".join([*modifiers, *([f"code={one.code}"] if one.code else [])])


def _line(text: str) -> str:
    return _NO_TEXT.sub(" ", text[:_TEXT_MOST])


def id_fault(note_id: str) -> str | None:
    """Why `note_id` cannot stand in NOTE_NLP, where it is an `integer`; None if it can."""
    if _INTEGER.fullmatch(note_id) and abs(int(note_id)) <= INTEGER_MOST:
        return None
    return f"its id is no integer of 32 bits, which note_id of NOTE_NLP is (up to {INTEGER_MOST:,})"


def refuse_names(items: Iterator[Item]) -> Iterator[Item]:
    """Pass `items` on, unless the first note shows that its source has no ids that NOTE_NLP can hold.

    Raises:
        InputError: the first note has such an id. A later one is a failure of that note.
    """
    seen = False
    for item in items:
        if not seen and isinstance(item, Note):
            seen = True
            if id_fault(item.note_id) is not None:
                raise InputError(
                    f"note {item.note_id[:40]!r}: note_id of NOTE_NLP is an integer of 32 bits; give the "
                    "notes the note_id that they have in the table NOTE, or use --format notes"
                )
        yield item


def numbered(rows: bytes, before: int, *, csv: bool) -> bytes:
    """`rows`, one a line, whose `note_nlp_id` goes on after the `before` rows that the job has written.

    Raises:
        InputError: the ids no longer fit into an `integer`.
    """
    lines = rows.split(b"\n")[:-1]
    if before + len(lines) > INTEGER_MOST:
        raise InputError(
            f"more than {INTEGER_MOST:,} rows: note_nlp_id of NOTE_NLP is an integer of 32 bits; extract the "
            "notes in several jobs"
        )
    name = b"" if csv else b'{"note_nlp_id":'
    rest = len(name) + 1  # the 0 that stands there
    return b"".join(
        b"%b%d%b\n" % (name, number, line[rest:]) for number, line in enumerate(lines, start=before + 1)
    )


# The rows that a note's result becomes: sympress' own, flat for CSV, OMOP or FHIR.


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
