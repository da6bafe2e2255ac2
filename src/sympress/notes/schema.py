"""The one shape that notes have once they are read, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from sympress.notes.intake import ReadingCounts

#: One row a note. `text` is the original text: offsets anywhere in sympress count its characters.
#: `time` is in UTC where the source gives a zone, else as written.
#: `codes` are symptoms coded by people (VAERS), null where the source has none.
NOTE_SCHEMA: dict[str, pl.DataType] = {
    "note_id": pl.String(),
    "patient_id": pl.String(),
    "encounter_id": pl.String(),
    "time": pl.Datetime("us"),
    "category": pl.String(),
    "sex": pl.String(),
    "age": pl.Float64(),
    "text": pl.String(),
    "codes": pl.List(pl.String()),
}


@dataclass(frozen=True)
class NoteSet:
    """Notes in memory: `frame` has `NOTE_SCHEMA`, `counts` says what was left out and why."""

    name: str
    frame: pl.DataFrame
    counts: ReadingCounts
    fingerprint: str
