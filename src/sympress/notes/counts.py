"""Counting what became of the rows of a source, and choosing a fraction of the patients."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from sympress.errors import InputError

# Counting what became of the rows of a source.


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


# Choosing a fraction of the patients, the same ones on every machine.


#: Bits of the hash that make the uniform number: as many as a float holds exactly, so it stays below 1.
_BITS = 53


def check_fraction(fraction: float) -> float:
    """Return `fraction` if it lies in (0, 1].

    Raises:
        InputError: it does not (also for NaN).
    """
    if not 0.0 < fraction <= 1.0:
        raise InputError(f"fraction {fraction}: give a number above 0 and up to 1, for example 0.1")
    return fraction


def keep_patient(key: str, fraction: float) -> bool:
    """Say whether the notes of `key` belong to a sample of `fraction` of all patients.

    The answer depends on the two arguments alone: not on the order of the rows, the machine, the
    process or other patients. A larger fraction keeps everyone whom a smaller one keeps, and all notes
    of a patient share one answer, so a sample never tears a patient apart.

    Args:
        key: patient_id, or note_id where a source names no patient.
        fraction: expected share of keys that are kept, in (0, 1].

    Raises:
        InputError: `fraction` is outside (0, 1].
    """
    return check_fraction(fraction) == 1.0 or _position(key) < fraction


@lru_cache(maxsize=65_536)  # the notes of a patient mostly stand together: hash each of them once
def _position(key: str) -> float:
    """Place `key` uniformly in [0, 1): the top 53 bits of its 64-bit BLAKE2b hash."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / 2**_BITS)
