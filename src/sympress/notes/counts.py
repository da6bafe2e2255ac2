"""Counting what became of the rows of a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class ReadingCounts:
    """What happened to the rows of a source: nothing is skipped without being counted.

    `rows` = `kept` + `sampled_out` + the sum of `dropped` once reading has finished.

    Attributes:
        unnamed: rows of a table with ids that have none of their own, and are called after their number.
        unread_dates: notes with a date that can't be read, and so without a time.
        ambiguous_dates: those of them whose day and month could be either way round.
        remarks: what a user must know of how the source is read, one line each.
        say: called with each remark, once.
    """

    rows: int = 0
    kept: int = 0
    sampled_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unnamed: int = field(default=0, compare=False)
    unread_dates: int = field(default=0, compare=False)
    ambiguous_dates: int = field(default=0, compare=False)
    remarks: list[str] = field(default_factory=list, compare=False)
    say: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    def drop(self, reason: str, note_id: str | None = None) -> None:  # noqa: ARG002  extraction lists it
        """Count a row, that of `note_id` if it has one, that is left out because of `reason`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def remark(self, line: str) -> None:
        """Note something that a user must know; the same line is noted once."""
        if line not in self.remarks:
            self.remarks.append(line)
            if self.say is not None:
                self.say(line)
