"""Which notes of a source are wanted: by category and by date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, time
from typing import Literal

from sympress.deploy.extract.items import Failure, Item, ItemCounts
from sympress.errors import InputError
from sympress.notes.intake import Note

Fate = Literal["wanted", "filtered", "undated"]


@dataclass(frozen=True)
class Wanted:
    """Categories, compared without case, and times, both ends included; empty means every note.

    A note without a category or time is left out where one is asked for.
    """

    categories: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    def fate(self, note: Note) -> Fate:
        """Say whether `note` is wanted, and if not, whether only its missing time is why."""
        if self.categories and (note.category or "").strip().casefold() not in self.categories:
            return "filtered"
        if self.since is None and self.until is None:
            return "wanted"
        if note.time is None:
            return "undated"
        late = self.until is not None and _after(note.time, self.until)
        early = self.since is not None and _after(self.since, note.time)
        return "filtered" if late or early else "wanted"


def _after(one: datetime, other: datetime) -> bool:
    """Say whether `one` is later: by their zones if both have one, else by the clock of each."""
    if one.tzinfo is None or other.tzinfo is None:
        return one.replace(tzinfo=None) > other.replace(tzinfo=None)
    return one > other


def read_wanted(categories: Iterable[str], since: str | None, until: str | None) -> Wanted:
    """Return the filter that the options spell; a date as `until` includes all of that day.

    Raises:
        InputError: a date is not ISO 8601, or no time can lie between the two.
    """
    first, last = _time(since, "--since"), _time(until, "--until")
    if last is not None and until is not None and len(until.strip()) <= len("2026-01-01"):
        last = datetime.combine(last, time.max)
    if first and last and _after(first, last):
        raise InputError(f"--since {since} lies after --until {until}; no note can be between them")
    return Wanted(frozenset(name.strip().casefold() for name in categories), first, last)


def _time(value: str | None, option: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise InputError(f"{option} {value}: no date; write it as 2026-01-31") from None


def keep_wanted(items: Iterable[Item], wanted: Wanted, counts: ItemCounts) -> Iterator[Item]:
    """Yield failures and the notes that are wanted; the others are counted as filtered or undated."""
    for item in items:
        fate = "wanted" if isinstance(item, Failure) else wanted.fate(item)
        if fate == "wanted":
            yield item
        elif fate == "undated":
            counts.undated += 1
        else:
            counts.filtered += 1
