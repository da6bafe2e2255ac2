"""Counting what became of the rows of a source."""

from __future__ import annotations

from dataclasses import dataclass, field


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
