"""Rows in the shape of the table NOTE_NLP of the OMOP Common Data Model 5.4.

Source: OHDSI, "OMOP CDM v5.4", table NOTE_NLP. Where the model asks for what no extractor knows (a concept
id of the standard vocabulary), the row holds 0, which OMOP reads as "no matching concept"; the code of the
lexicon stands in `term_modifiers`.
"""

from __future__ import annotations

from typing import Any

from sympress.deploy.extractor import NoteResult
from sympress.deploy.findings import Finding, findings_of
from sympress.notes.intake import Note

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
#: Rows that a note can have: ids are its serial number times this, plus the place in the note.
ROWS_A_NOTE = 2**20

_VARIANT_CHARACTERS = 250
#: `term_exists` is Y only for what the patient has, or had; `term_temporal` tells the two apart.
_EXISTS = {"present": "Y", "historical": "Y"}
_TEMPORAL = {"present": "Present", "historical": "Past", "hypothetical": "Future"}


def omop_rows(note: Note, result: NoteResult, serial: int, system: str, date: str) -> list[dict[str, Any]]:
    """One row a mention, and one a symptom of the whole note that no mention calls present.

    `lexical_variant` holds the words of the span as the note has them; `snippet` stays empty, so that no
    more of the note leaves it. `offset` counts characters from 0, as text; ids are unique within a job.
    """
    rows = [_fields(note.text, one) for one in findings_of(result)]
    fixed: dict[str, Any] = {
        "note_id": note.note_id,
        "section_concept_id": 0,
        "snippet": None,
        "note_nlp_concept_id": 0,
        "note_nlp_source_concept_id": 0,
        "nlp_system": system,
        "nlp_date": date,
        "nlp_datetime": None,
    }
    found = [{**fixed, "note_nlp_id": serial * ROWS_A_NOTE + at, **row} for at, row in enumerate(rows)]
    return [{name: row[name] for name in OMOP_COLUMNS} for row in found]


def _fields(text: str, one: Finding) -> dict[str, Any]:
    variant = (one.symptom or "") if one.span is None else text[slice(*one.span)]
    modifiers = [f"assertion={one.assertion}"]
    if one.probability is not None:
        modifiers.append(f"probability={one.probability:.6f}")
    return {
        "offset": None if one.span is None else str(one.span[0]),
        "lexical_variant": variant[:_VARIANT_CHARACTERS],
        "term_exists": _EXISTS.get(one.assertion, "N"),
        "term_temporal": _TEMPORAL.get(one.assertion),
        "term_modifiers": ",".join([*modifiers, *([f"code={one.code}"] if one.code else [])]),
    }
