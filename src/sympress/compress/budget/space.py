"""The recipes that a search tries: what each step suggests, one behind the other."""

from __future__ import annotations

from sympress.compress.budget.estimate import ModelShape
from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.step import Step, Trial
from sympress.compress.recipe.steps import STEPS

#: Raised when the space changes: trials of another space say nothing about this one.
VERSION = 2


def suggest(trial: Trial, teacher: ModelShape) -> Recipe:
    """A recipe for a teacher of this shape, as `trial` chooses.

    The student is either `copied` (the first layers of the teacher, once heads and neurons were removed and
    the rest was mended) or `narrow` (fewer heads of the teacher's width, fresh layers). Each learns the
    teacher's answers and is followed by int8; see `Step.suggest` of each step.

    Args:
        trial: asked for each setting by name.
        teacher: with at least one layer and two word pieces, and a width that is a multiple of its heads.
    """
    steps: tuple[Step, ...] = ()
    for step in STEPS.values():
        steps = step.suggest(trial, teacher, steps)
    return Recipe(steps)
