"""Long notes of another source cut into passages that a model trained on short reports can read."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: A passage has at most this many characters: about the 128 word pieces that models of reports read.
MOST_CHARACTERS = 400
_BREAK = re.compile(r"\n+|(?<=[.;?!])\s+")


@dataclass(frozen=True)
class Passages:
    """Passages as notes of their own, and which note each belongs to, `(passages,)` from 0."""

    frame: pl.DataFrame
    notes: NDArray[np.int64]


def cut_passages(text: str, most: int = MOST_CHARACTERS) -> list[str]:
    """Cut at ends of lines and sentences into passages of at most `most` characters.

    Every character but white space between passages is in exactly one; a longer sentence is cut at `most`.
    """
    pieces = [piece for piece in _BREAK.split(text) if piece and piece.strip()]
    short = [piece[start : start + most] for piece in pieces for start in range(0, len(piece), most)]
    passages: list[str] = []
    for piece in short:
        if passages and len(passages[-1]) + 1 + len(piece) <= most:
            passages[-1] += f"\n{piece}"
        else:
            passages.append(piece)
    return passages


def passage_frame(frame: pl.DataFrame) -> Passages:
    """Return the passages of every note, NOTE_SCHEMA; a note without a word has none."""
    cut = frame.with_row_index("note").with_columns(
        pl.col("text").map_elements(cut_passages, return_dtype=pl.List(pl.String))
    )
    rows = cut.explode("text").drop_nulls("text").with_row_index("passage")
    named = rows.with_columns(
        note_id=pl.lit("elsewhere/") + pl.col("note_id") + pl.lit("#") + pl.col("passage").cast(pl.String)
    )
    return Passages(named.select(frame.columns), rows["note"].to_numpy().astype(np.int64))


def by_note(answers: NDArray[np.bool_], notes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return `(notes, K)`: a note has a symptom where one of its passages `(passages, K)` has it."""
    numbers, where = np.unique(notes, return_inverse=True)
    joined = np.zeros((len(numbers), answers.shape[1]), dtype=bool)
    np.logical_or.at(joined, where, answers)
    return joined
