"""What a source yields: notes, and rows that cannot become one, in the order of the source."""

from __future__ import annotations

from dataclasses import dataclass, field

from sympress.notes.counts import ReadingCounts
from sympress.notes.intake import RETRACTED, Intake, Meter, Note, Progress
from sympress.notes.layout import row_name


@dataclass(frozen=True, slots=True)
class Failure:
    """A note or row without an answer: its id and the reason, never its text."""

    note_id: str
    reason: str


#: One row of the source, as extraction sees it.
Item = Note | Failure


@dataclass
class ItemCounts(ReadingCounts):
    """Counts of the rows, and the failures that readers met since they were last asked for.

    `rows` = notes and failures yielded + retracted rows + those that a filter left out.

    Attributes:
        filtered: notes of other categories or times than the wanted ones.
        undated: notes that a filter by time left out because their time is missing or unreadable.
    """

    pending: list[Failure] = field(default_factory=list)
    filtered: int = 0
    undated: int = 0

    @property
    def retracted(self) -> int:
        """Rows that the source itself marks as errors."""
        return self.dropped.get(RETRACTED, 0)

    def drop(self, reason: str, note_id: str | None = None) -> None:
        """Count a row that becomes no note; unless the source retracted it, it is a failure."""
        super().drop(reason, note_id)
        if reason != RETRACTED:
            self.pending.append(Failure(note_id or row_name(self.rows), reason))

    def drain(self) -> list[Failure]:
        """The failures since the last call."""
        found, self.pending = self.pending, []
        return found


class EveryNote(Intake):
    """Takes every row with text. It keeps no ids, so that memory does not grow with the notes."""

    counts: ItemCounts
    strict = False
    wants_codes = False
    slice_rows = 1_000

    def __init__(self, counts: ItemCounts, progress: Progress | None, size_bytes: int | None) -> None:
        super().__init__(counts, 1.0, Meter(progress, size_bytes))

    def admits(self, note_id: str, patient_id: str | None, text: str | None, path: object) -> bool:  # noqa: ARG002
        """Say whether a well-formed row has text, not too much of it, and count what becomes of it."""
        if self._unfit(note_id, text):
            return False
        self.counts.kept += 1
        return True
