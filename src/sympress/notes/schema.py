"""The one shape that notes have once they are read, whatever file they came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

#: One row a note. `text` is the original text: offsets anywhere in sympress count its characters.
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


@dataclass
class ReadingCounts:
    """What happened to the rows of a source: nothing is skipped without being counted.

    `rows` = `kept` + `sampled_out` + the sum of `dropped` once reading has finished.
    """

    rows: int = 0
    kept: int = 0
    sampled_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, count: int = 1) -> None:
        """Count `count` rows that were left out because of `reason`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count


@dataclass(frozen=True)
class NoteSet:
    """Notes in memory: `frame` has `NOTE_SCHEMA`, `counts` says what was left out and why."""

    name: str
    frame: pl.DataFrame
    counts: ReadingCounts
    fingerprint: str
