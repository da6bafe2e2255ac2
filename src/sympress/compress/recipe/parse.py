"""Recipes as text: `vocab(keep=0.35) > distill(layers=3) > quantize(int8)`.

recipe  = step { ">" step }
step    = name [ "(" [ setting { "," setting } ] ")" ]
setting = [ name "=" ] value        a value without a name comes first and means the step's main setting
value   = number | word | "true" | "false"
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sympress.compress.recipe.make import make_step, step_class
from sympress.compress.recipe.step import Step
from sympress.errors import InputError, nearest

_TOKEN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_-]*)|(?P<sign>[>(),=])"
)
_SPACE = re.compile(r"\s*")
_LONGEST_NUMBER = 40


@dataclass(frozen=True)
class Recipe:
    """Steps in an order that makes sense; `str` gives text that parses back equal.

    Raises:
        InputError: there is no step, or the order makes no sense; the message says what to change.
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise InputError('the recipe is empty; write steps such as "distill(layers=3) > quantize(int8)"')
        for place, step in enumerate(self.steps):
            step.check_place(self.steps[:place], self.steps[place + 1 :])

    def __str__(self) -> str:
        return " > ".join(str(step) for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON for provenance, in the layout of its TOML; defaults are spelled out."""
        return {"step": [{"name": step.step, **step.settings()} for step in self.steps]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe of `to_dict` or of a TOML file's `[[step]]` tables.

        Raises:
            InputError: another key than `step`, a step without a name, or a mistake in a step.
        """
        for key in values:
            if key != "step":
                raise InputError(f"unknown key {key!r}{nearest(key, ['step'])}; a recipe has [[step]] tables")
        tables = values.get("step", [])
        if not isinstance(tables, Sequence) or not all(isinstance(table, Mapping) for table in tables):
            raise InputError('a recipe has [[step]] tables, each with a name, such as name = "distill"')
        return cls(tuple(_step_of(number, table) for number, table in enumerate(tables, start=1)))


def _step_of(number: int, table: Mapping[str, Any]) -> Step:
    name = table.get("name")
    if not isinstance(name, str):
        raise InputError(f'step {number} has no name; write one such as name = "distill"')
    return make_step(name, {key: value for key, value in table.items() if key != "name"})


def parse_recipe(text: str) -> Recipe:
    """The recipe that `text` spells.

    Raises:
        InputError: the text does not parse (the message names the column, from 1), an unknown step or
            setting, a value out of range, or an order that makes no sense.
    """
    reader = _Reader(_tokens(text))
    steps: list[Step] = []
    while reader.kind != "end" or steps:
        name = reader.take("word", "a step")
        steps.append(make_step(name, _read_settings(reader, name)))
        if reader.kind == "end":
            break
        reader.take(">", "'>' or the end")
    return Recipe(tuple(steps))


def _read_settings(reader: _Reader, name: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if reader.value != "(":
        return settings
    reader.next()
    while reader.value != ")" or settings:
        _read_setting(reader, name, settings)
        if reader.value == ")":
            break
        reader.take(",", "',' or ')'")
    reader.take(")", "')'")
    return settings


def _read_setting(reader: _Reader, name: str, settings: dict[str, Any]) -> None:
    column = reader.column
    value = reader.take_value()
    if reader.value == "=" and isinstance(value, str):
        reader.next()
        key, value = value, reader.take_value()
    elif settings:
        raise InputError(f"recipe, column {column}: only the first value may stand without a name")
    else:
        first = step_class(name).first
        if first is None:
            raise InputError(f"recipe, column {column}: {name} needs a name before each value")
        key = first
    if key in settings:
        raise InputError(f"recipe, column {column}: {key} is given twice")
    settings[key] = value


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


def _tokens(text: str) -> list[_Token]:
    """Numbers, words and signs of `text`, then an end; columns count from 1."""
    tokens: list[_Token] = []
    place = _end_of_space(text, 0)
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise InputError(f"recipe, column {place + 1}: {text[place]!r} has no meaning here")
        tokens.append(_Token(str(match.lastgroup), match.group(), place + 1))
        place = _end_of_space(text, match.end())
    return [*tokens, _Token("end", "", len(text) + 1)]


def _end_of_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


class _Reader:
    """Walks over tokens, and says where and what was expected when one does not fit."""

    def __init__(self, tokens: Sequence[_Token]) -> None:
        self._tokens, self._place = tokens, 0

    @property
    def kind(self) -> str:
        return self._tokens[self._place].kind

    @property
    def value(self) -> str:
        return self._tokens[self._place].text

    @property
    def column(self) -> int:
        return self._tokens[self._place].column

    def next(self) -> str:
        """The present token's text; goes on to the next one."""
        text = self.value
        self._place += 1
        return text

    def take(self, wanted: str, described: str) -> str:
        """The present token if it is of the kind, or is the sign, `wanted`."""
        if wanted not in (self.kind, self.value):
            found = "the end" if self.kind == "end" else repr(self.value)
            raise InputError(f"recipe, column {self.column}: expected {described}, found {found}")
        return self.next()

    def take_value(self) -> Any:
        """The present token as a number, a truth value or a word."""
        if self.kind == "number":
            return _number(self.next(), self._tokens[self._place - 1].column)
        word = self.take("word", "a value")
        return {"true": True, "false": False}.get(word, word)


def _number(text: str, column: int) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        raise InputError(f"recipe, column {column}: a number of {len(text)} digits is not meant")
    return float(text) if re.search(r"[.eE]", text) else int(text)
