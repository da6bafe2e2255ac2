"""Recipes: the language, the steps, and the engine that runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from sympress.compression.quantize.choose import Choice, TimeInTurn
    from sympress.compression.recipe.material import Context, State
    from sympress.compression.search.estimate import ModelShape
    from sympress.models.families import Family
    from sympress.training.epochs import TrainSettings


# Values and ranges of settings in words, read from their types.


_BOUNDS = {
    "exclusiveMinimum": "above",
    "minimum": "of at least",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}


def range_of(kind: type[BaseModel], setting: str) -> str:
    """What a setting may be: `a whole number of at least 1`, `one of spread, first, last`."""
    return " or ".join(_in_words(schema) for schema in _alternatives(kind, setting))


def takes_counts(kind: type[BaseModel], setting: str) -> bool:
    """True if the setting may be a whole number, so that 2 and 2.0 are not the same."""
    return any(schema.get("type") == "integer" for schema in _alternatives(kind, setting))


def write_value(value: Any, *, whole: bool = True) -> str:
    """A value as recipes spell it; floats lose a trailing `.0` unless `whole` numbers mean something else."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if whole else str(value).removesuffix(".0")


@cache  # pydantic writes a schema anew each time
def _alternatives(kind: type[BaseModel], setting: str) -> list[dict[str, Any]]:
    schema = kind.model_json_schema()["properties"][setting]
    return [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]


def _in_words(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(str(value) for value in schema["enum"])
    if schema["type"] == "boolean":
        return "true or false"
    noun = "a whole number" if schema["type"] == "integer" else "a number"
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    return f"{noun} {' and '.join(bounds)}"


# What every step of a recipe has: settings, text, what it does, what it costs and how it is searched.
#
# A step is one subclass of `Step` in a file of its own, and one line in the table `recipe.steps.STEPS`.
# Files of steps import PyTorch where they use it and not before, so that recipes can be read without it.


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
    def needs_notes(self) -> bool:
        """True if the step looks at notes, labelled or not; a step that does not says so."""
        return True

    @property
    def needs_pretrained(self) -> bool:
        """True if the step reads the encoder as it was before fine-tuning."""
        return False

    @property
    def needs_ensemble(self) -> bool:
        """True if the step learns from the ensemble of a study."""
        return False

    @property
    def fuses(self) -> bool:
        """True if the deployed file is weighed against the rules on labelled validation notes."""
        return False

    def further_notes(self, available: int) -> int:
        """How many of the `available` unlabelled notes the step learns from."""
        return 0

    def updates_on(self, labelled: int, further: int, settings: TrainSettings) -> int:
        """Steps of the optimizer that learn the task, before it is applied.

        Args:
            labelled: notes.
            further: unlabelled notes that there are.
            settings: of every training that a step does not set itself.
        """
        return 0

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

    def check_task(self, task: str) -> None:
        """Refuse a task that the step does not fit.

        Raises:
            InputError: it does not.
        """

    def check_tokenizer(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Refuse a tokenizer that the step cannot change as it says, as far as that is known without notes.

        Raises:
            InputError: it cannot.
        """

    def apply(self, state: State, context: Context, number: int) -> str:
        """Change `state.model`, and what belongs to it; returns one line that says what was done.

        Args:
            state: the model between two steps.
            context: notes, settings and folders.
            number: of the step in its recipe, from 1.

        Raises:
            InputError: the step cannot be applied to the model as it is.
        """
        raise NotImplementedError

    def apply_to_file(self, exported: Exported) -> Choice | None:
        """Change the exported file in place; the kernel that it has then, if the step gives it one."""
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
        return tuple(steps)


def share_or_count(keep: float, total: int) -> int:
    """How many of `total` stay: an int is how many, a float their share, at least one."""
    return keep if isinstance(keep, int) else max(1, round(keep * total))
