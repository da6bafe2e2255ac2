"""The recipes that a search tries: a space of sensible ones, in terms of what a trial suggests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.steps import Distill, Prune, Quantize, Step, Vocab

#: Raised when the space changes: trials of another space say nothing about this one.
VERSION = 2
#: Shares of heads and of feed-forward neurons that stay; 1 removes none.
KEPT_SHARES = (0.25, 0.5, 0.75, 1.0)
#: Feed-forward neurons of a narrow student, relative to its width.
FFN_RATIOS = (2, 4)
#: How a student learns: as those of the named recipes, which were chosen on validation notes. One that keeps
#: layers of its teacher needs little; fresh layers learn faster, and for longer.
COPIED = Distill(rate=0.0003, batch=32, updates=500, dropout=0, answers="int8")
NARROW = Distill(rate=0.001, batch=32, updates=4000, dropout=0, answers="int8")
#: No fewer word pieces, and no narrower a student, than this (where the teacher has as many).
FEWEST_PIECES = 2000
NARROWEST = 64


class Trial(Protocol):
    """What suggests a value for each setting; Optuna's `Trial` is one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`, both included."""

    def suggest_categorical(self, name: str, choices: Sequence[bool | float | str | None]) -> object:
        """One of `choices`."""


def suggest(trial: Trial, *, teacher_layers: int, hidden: int, heads: int, vocabulary: int) -> Recipe:
    """A recipe for a teacher of this shape, as `trial` chooses.

    The student is either `copied` (the first layers of the teacher, once heads and neurons were removed and
    the rest was mended) or `narrow` (fewer heads of the teacher's width, fresh layers). Each learns the
    teacher's answers and is followed by int8. Which names a trial is asked for depends on that one choice
    only, and their ranges on the teacher only, as a search over conditional settings needs. Intermediate
    losses are not tried: each costs a pass of the teacher a batch, and none was seen to help.

    Args:
        trial: asked for each setting by name.
        teacher_layers: transformer layers of the teacher, at least 1.
        hidden: its width, a multiple of `heads`.
        heads: its attention heads.
        vocabulary: its word pieces, at least 2.
    """
    steps: list[Step] = []
    pieces = trial.suggest_int("pieces", min(FEWEST_PIECES, vocabulary), vocabulary, log=True)
    if pieces < vocabulary:
        steps.append(Vocab(keep=pieces))
    layers = trial.suggest_int("layers", 1, teacher_layers)
    least = min(heads, math.ceil(NARROWEST * heads / hidden))
    students = ("copied", "narrow") if least < heads else ("copied",)
    if trial.suggest_categorical("student", students) == "narrow":
        kept = trial.suggest_int("width_heads", least, heads - 1)
        width = kept * (hidden // heads)
        ffn = width * int(_number(trial, "ffn_ratio", FFN_RATIOS))
        shape = {"layers": layers, "width": width, "heads": kept, "ffn": ffn}
        steps.append(NARROW.model_copy(update=shape))
    else:
        steps += _copied(trial, layers)
    bits = trial.suggest_categorical("embedding_bits", (8, 4))
    return Recipe((*steps, Quantize(embeddings=4 if bits == 4 else 8)))


def _copied(trial: Trial, layers: int) -> list[Step]:
    kept_heads = _number(trial, "heads_share", KEPT_SHARES)
    kept_ffn = _number(trial, "ffn_share", KEPT_SHARES)
    student = COPIED.model_copy(update={"layers": layers, "choose": "first"})
    if kept_heads == kept_ffn == 1:
        return [student]
    removal = Prune(
        heads=None if kept_heads == 1 else kept_heads,
        ffn=None if kept_ffn == 1 else kept_ffn,
        reconstruct=True,
    )
    return [removal, student]


def _number(trial: Trial, name: str, choices: Sequence[float]) -> float:
    return float(str(trial.suggest_categorical(name, choices)))
