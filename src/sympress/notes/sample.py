"""Choosing a fraction of the patients, the same ones on every machine."""

from __future__ import annotations

import hashlib
from functools import lru_cache

from sympress.errors import InputError

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
