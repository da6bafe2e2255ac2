"""Steps from a name and settings, with one clear line about each mistake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sympress.compress.recipe.step import Step
from sympress.compress.recipe.steps import STEPS
from sympress.compress.recipe.words import range_of, write_value
from sympress.errors import InputError, nearest

_SPELLINGS = {"finetune": "fine-tune"}


def is_step(name: str) -> bool:
    """True if recipes have a step called `name`, in any spelling."""
    return _SPELLINGS.get(name, name) in STEPS


def step_class(name: str) -> type[Step]:
    """The class of the step called `name`; `finetune` is `fine-tune`.

    Raises:
        InputError: there is no such step; the nearest one and all of them are named.
    """
    if not is_step(name):
        raise InputError(f"unknown step {name!r}{nearest(name, STEPS)}; known are {', '.join(STEPS)}")
    return STEPS[_SPELLINGS.get(name, name)]


def settings_of(kind: type[Step]) -> tuple[str, ...]:
    """The names of a step's settings, in order."""
    return tuple(name for name in kind.model_fields if name != "step")


def make_step(name: str, settings: Mapping[str, Any]) -> Step:
    """The step `name` with `settings`; what is left out has its default.

    Raises:
        InputError: an unknown step or setting (the nearest is named), a value that is missing, of the
            wrong type or out of range, or settings that contradict each other.
    """
    kind = step_class(name)
    known = settings_of(kind)
    for key in settings:
        if key not in known:
            listed = f"its settings are {', '.join(known)}" if known else "it has none"
            raise InputError(f"{name}: unknown setting {key!r}{nearest(key, known)}; {listed}")
    try:
        return kind(**settings)
    except ValidationError as error:
        raise InputError(f"{name}: {_complaint(kind, error)}") from error


def _complaint(kind: type[Step], error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    setting = str(first["loc"][0])
    if first["type"] == "missing":
        return f"{setting} is missing; it must be {range_of(kind, setting)}"
    given = first["input"]
    shown = repr(given) if isinstance(given, str) else write_value(given)
    return f"{setting}={shown} must be {range_of(kind, setting)}"
