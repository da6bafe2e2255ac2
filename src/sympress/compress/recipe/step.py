"""What every step of a recipe has: settings, text, what it does, what it costs and how it is searched.

A step is one subclass of `Step` in a file of its own, and one line in the table `recipe.steps.STEPS`. Files
of steps import PyTorch where they use it and not before, so that recipes can be read without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from sympress.compress.recipe.words import takes_counts, write_value

if TYPE_CHECKING:
    from sympress.compress.arch import Family
    from sympress.compress.budget.estimate import ModelShape
    from sympress.compress.quantize.choose import Choice, TimeInTurn
    from sympress.compress.recipe.material import Piece, Workshop

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Weight = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
#: A float is a share, an int how many; 1 is the share, all of them, not one.
ShareOrCount = Annotated[int, Field(ge=2)] | Share

Notes = Sequence[NDArray[np.int64]]


class Trial(Protocol):
    """What suggests a value for each setting of a search; Optuna's `Trial` is one."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        """A whole number from `low` to `high`, both included."""

    def suggest_categorical(self, name: str, choices: Sequence[bool | float | str | None]) -> object:
        """One of `choices`."""


@dataclass(frozen=True)
class Exported:
    """The ONNX file of what a recipe made, for steps that change the file.

    Attributes:
        path: an fp32 file of `export_onnx`.
        calibration: word-piece ids of training notes.
        notes: word-piece ids of validation notes, on which files are compared.
        folder: for what is under way.
        threads: cores of the sessions that are timed.
        time_in_turn: times functions of a note's index against each other.
        kernel: of an int8 file, whatever the recipe says; None for the recipe's.
    """

    path: Path
    calibration: Notes
    notes: Notes
    folder: Path
    threads: int
    time_in_turn: TimeInTurn
    kernel: str | None = None


class Step(BaseModel):
    """One step: strict types, and text that parses back equal.

    `first` is the setting that may be written without its name; `bare` steps are always written so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    first: ClassVar[str | None] = None
    bare: ClassVar[bool] = False
    step: str

    def __str__(self) -> str:
        """Canonical text: the settings that differ from their defaults, in the order of the class."""
        fields = type(self).model_fields
        written = [f"{getattr(self, self.first)}"] if self.bare and self.first else []
        for name, value in self.settings().items():
            if value != fields[name].default and not (self.bare and name == self.first):
                written.append(f"{name}={write_value(value, whole=takes_counts(type(self), name))}")
        return f"{self.step}({', '.join(written)})" if written else self.step

    def settings(self) -> dict[str, Any]:
        """Every setting, defaults included, without the step's name."""
        return self.model_dump(exclude={"step"})

    @property
    def trains(self) -> bool:
        """True if the step trains the model."""
        return False

    @property
    def needs_pretrained(self) -> bool:
        """True if the step reads the encoder as it was before fine-tuning."""
        return False

    def check_place(self, before: Sequence[Step], after: Sequence[Step]) -> None:
        """Refuse a place in a recipe that makes no sense.

        Raises:
            InputError: the step cannot follow those `before` or precede those `after`; says what to change.
        """

    def check(self, shape: ModelShape, teacher: ModelShape, family: Family) -> None:
        """Refuse a model that the step cannot be applied to.

        Args:
            shape: of the model that the steps before leave.
            teacher: of the model that the recipe begins with.
            family: of both.

        Raises:
            InputError: the step keeps more than there is, or removes what cannot be removed.
        """

    def apply(self, piece: Piece, shop: Workshop, number: int) -> str:
        """Change `piece.model`, and what belongs to it; returns one line that says what was done.

        Args:
            piece: the model between two steps.
            shop: notes, settings and folders.
            number: of the step in its recipe, from 1.

        Raises:
            InputError: the step cannot be applied to the model as it is.
        """
        raise NotImplementedError

    def apply_to_file(self, exported: Exported) -> Choice | None:
        """Change the exported file in place; the kernel that it has then, if the step gives it one."""
        del exported
        return None

    def reshape(self, shape: ModelShape) -> ModelShape:
        """The shape that the step leaves of `shape`: what it costs, by arithmetic, before it is applied.

        Raises:
            InputError: it keeps more than there is.
        """
        return shape

    @classmethod
    def suggest(cls, trial: Trial, teacher: ModelShape, steps: Sequence[Step]) -> tuple[Step, ...]:
        """`steps`, which earlier classes of `STEPS` suggested, with one of this class if `trial` wants it.

        A step that is not searched leaves them as they are.
        """
        del trial, teacher
        return tuple(steps)


def share_or_count(keep: float, total: int) -> int:
    """How many of `total` stay: an int is how many, a float their share, at least one."""
    return keep if isinstance(keep, int) else max(1, round(keep * total))
