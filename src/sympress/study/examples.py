"""Test notes whose answer compression changed, for a report that was asked to show them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.report.html import Example
from sympress.results import load_results
from sympress.study.reread import Reread, reread

#: Notes a row, and characters a note.
NOTES_A_ROW, CHARACTERS = 3, 1200


def flipped_examples(folder: Path) -> list[Example]:
    """Return up to `NOTES_A_ROW` flipped test notes of each compressed row, first seed, with text.

    Raises:
        InputError: the run or its notes cannot be read.
    """
    results = load_results(folder)
    again = reread(folder)
    seed = min((row.seed for row in results.strategies), default=0)
    names = [row.name for row in results.strategies if row.seed == seed and row.changes is not None]
    return [example for name in names for example in _of_row(again, name, seed)]


def _of_row(again: Reread, name: str, seed: int) -> list[Example]:
    found, base = again.answers(name, seed), again.answers("baseline", seed)
    notes = again.data.frame[again.data.split.test]
    names = again.data.labels.symptoms
    flipped = np.flatnonzero((found != base).any(axis=1))[:NOTES_A_ROW]
    return [
        Example(
            note_id=notes["note_id"][int(row)],
            row=name,
            text=notes["text"][int(row)][:CHARACTERS],
            truth=_named(again.truth[row], names),
            baseline=_named(base[row], names),
            found=_named(found[row], names),
        )
        for row in flipped
    ]


def _named(present: NDArray[np.bool_], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, present, strict=True) if one)
