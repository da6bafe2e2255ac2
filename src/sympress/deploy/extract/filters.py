"""Which notes of a source are wanted: by category and by date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sympress.deploy.extract.items import Failure, Item, ItemCounts
from sympress.errors import InputError
from sympress.notes.intake import Note


@dataclass(frozen=True)
class Wanted:
    """Categories, compared without case, and times, both ends included; empty means every note.

    A note without a category or time is left out where one is asked for.
    """

    categories: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    def admits(self, note: Note) -> bool:
        """Say whether `note` is wanted."""
        if self.categories and (note.category or "").strip().casefold() not in self.categories:
            return False
        if self.since is None and self.until is None:
            return True
        if note.time is None:
            return False
        late = self.until is not None and note.time > self.until
        return not late and (self.since is None or note.time >= self.since)


def read_wanted(categories: Iterable[str], since: str | None, until: str | None) -> Wanted:
    """Return the filter that the options spell; a date as `until` includes all of that day.

    Raises:
        InputError: a date is not ISO 8601, or no time can lie between the two.
    """
    first, last = _time(since, "--since"), _time(until, "--until")
    if last is not None and until is not None and len(until.strip()) <= len("2026-01-01"):
        last += timedelta(days=1) - timedelta(microseconds=1)
    if first and last and first > last:
        raise InputError(f"--since {since} lies after --until {until}; no note can be between them")
    return Wanted(frozenset(name.strip().casefold() for name in categories), first, last)


def _time(value: str | None, option: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value.strip()).replace(tzinfo=None)
    except ValueError:
        raise InputError(f"{option} {value}: no date; write it as 2026-01-31") from None


def keep_wanted(items: Iterable[Item], wanted: Wanted, counts: ItemCounts) -> Iterator[Item]:
    """Yield failures and the notes that are wanted; the others are counted as filtered."""
    for item in items:
        if isinstance(item, Failure) or wanted.admits(item):
            yield item
        else:
            counts.filtered += 1
