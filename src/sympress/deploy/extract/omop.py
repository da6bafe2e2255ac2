"""Rows in the shape of the table NOTE_NLP of the OMOP Common Data Model 5.4.

Source: OHDSI, "OMOP CDM v5.4", table NOTE_NLP. Where the model asks for what no extractor knows (a concept
id of the standard vocabulary), the row holds 0, which OMOP reads as "no matching concept"; the code of the
lexicon stands in `term_modifiers`.
"""

from __future__ import annotations

from typing import Any

from sympress.deploy.extractor import FoundMention, NoteResult
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
    """One row a mention, or a symptom of the note where the artifact marks no spans.

    `lexical_variant` holds the words of the span as the note has them; `snippet` stays empty, so that no
    more of the note leaves it. `offset` counts characters from 0, as text; ids are unique within a job.
    """
    rows = [_mention(note.text, mention) for mention in result.mentions]
    rows = rows or [
        _fields(found.symptom, None, "present", found.code, found.probability) for found in result.symptoms
    ]
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


def _mention(text: str, mention: FoundMention) -> dict[str, Any]:
    words = text[mention.start : mention.end]
    return _fields(words, str(mention.start), mention.assertion, mention.code, mention.score)


def _fields(
    variant: str, offset: str | None, assertion: str, code: str | None, score: float
) -> dict[str, Any]:
    modifiers = [f"assertion={assertion}", f"probability={score:.6f}"] + ([f"code={code}"] if code else [])
    return {
        "offset": offset,
        "lexical_variant": variant[:_VARIANT_CHARACTERS],
        "term_exists": _EXISTS.get(assertion, "N"),
        "term_temporal": _TEMPORAL.get(assertion),
        "term_modifiers": ",".join(modifiers),
    }
