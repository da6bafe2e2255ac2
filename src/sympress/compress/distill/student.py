"""Students that start from their teacher's layers."""

from __future__ import annotations

import copy

import numpy as np

from sympress.compress.arch import keep_layers_, layers_of
from sympress.errors import InputError
from sympress.training.model import SymptomModel


def spread_layers(layers: int, kept: int) -> tuple[int, ...]:
    """`kept` of `layers` indices, evenly spread, always with the first and (for two or more) the last."""
    if not 1 <= kept <= layers:
        raise InputError(f"a student of {kept} layers cannot be taken from a teacher of {layers}")
    return tuple(int(index) for index in np.floor(np.linspace(0, layers - 1, kept) + 0.5))


def student_of(teacher: SymptomModel, layers: int) -> SymptomModel:
    """A copy of `teacher` with `layers` of its transformer layers, its embeddings and its head."""
    student = copy.deepcopy(teacher)
    keep_layers_(student.encoder, spread_layers(len(layers_of(teacher.encoder)), layers))
    return student
