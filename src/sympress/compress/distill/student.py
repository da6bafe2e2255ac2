"""Students that start from their teacher's layers, and which layer of the teacher each layer imitates."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from sympress.compress.arch import keep_layers_, layers_of
from sympress.errors import InputError
from sympress.training.model import SymptomModel

LayerChoice = Literal["spread", "first", "last"]


def spread_layers(layers: int, kept: int) -> tuple[int, ...]:
    """`kept` of `layers` indices, evenly spread, always with the first and (for two or more) the last."""
    _check_count(layers, kept)
    return tuple(int(index) for index in np.floor(np.linspace(0, layers - 1, kept) + 0.5))


def choose_layers(layers: int, kept: int | Sequence[int], choice: LayerChoice = "spread") -> tuple[int, ...]:
    """The teacher's layers that a student starts from, ascending.

    Args:
        layers: the teacher's.
        kept: how many, or which (ascending, counted from 0; `choice` is not looked at then).
        choice: `spread` evenly, the `first` ones (Sun et al. 2019, BERT-PKD) or the `last` ones.

    Raises:
        InputError: the count or an index is outside the teacher, or the indices do not ascend.
    """
    if isinstance(kept, int):
        _check_count(layers, kept)
        if choice == "spread":
            return spread_layers(layers, kept)
        return tuple(range(kept)) if choice == "first" else tuple(range(layers - kept, layers))
    chosen = tuple(kept)
    ascending = all(before < after for before, after in pairwise(chosen))
    if not chosen or not ascending or chosen[0] < 0 or chosen[-1] >= layers:
        raise InputError(f"student layers {list(chosen)} must ascend and lie within 0..{layers - 1}")
    return chosen


def student_of(
    teacher: SymptomModel, layers: int | Sequence[int], choice: LayerChoice = "spread"
) -> SymptomModel:
    """A copy of `teacher` with some of its transformer layers, its embeddings and its head.

    Raises:
        InputError: as `choose_layers`.
    """
    chosen = choose_layers(len(layers_of(teacher.encoder)), layers, choice)
    student = copy.deepcopy(teacher)
    keep_layers_(student.encoder, chosen)
    return student


def uniform_map(student_layers: int, teacher_layers: int) -> tuple[int, ...]:
    """For each student layer the teacher layer whose states it learns, evenly spaced, last to last.

    Counted from 1, layer m of M learns layer m N / M of N (Jiao et al. 2020, section 4.1; "skip" in Sun et
    al. 2019), rounded where N / M is not whole.

    Raises:
        InputError: the student has more layers than the teacher.
    """
    _check_count(teacher_layers, student_layers)
    ratio = teacher_layers / student_layers
    return tuple(int(np.floor(layer * ratio + 0.5)) - 1 for layer in range(1, student_layers + 1))


def _check_count(layers: int, kept: int) -> None:
    if not 1 <= kept <= layers:
        raise InputError(f"a student of {kept} layers cannot be taken from a teacher of {layers}")
