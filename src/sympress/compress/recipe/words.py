"""Values and ranges of settings in words, read from their types."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

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
