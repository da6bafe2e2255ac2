"""Recipes as text: `vocab(keep=0.35) > distill(layers=3) > quantize(int8)`, by name, and as strategies."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sympress.compression.recipe import Step, range_of, write_value
from sympress.compression.recipe.steps import STEPS
from sympress.config import StudyConfig, read_config_file
from sympress.errors import InputError, nearest

if TYPE_CHECKING:
    from sympress.training.epochs import TrainSettings

# Steps from a name and settings, with one clear line about each mistake.


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


# Recipes as text: `vocab(keep=0.35) > distill(layers=3) > quantize(int8)`.
#
# recipe = step { ">" step } step = name [ "(" [ setting { "," setting } ] ")" ] setting = [ name "=" ]
# value a value without a name comes first and means the step's main setting value = number | word | "true"
# | "false"


_TOKEN = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>[A-Za-z][A-Za-z0-9_-]*)|(?P<sign>[>(),=])|(?P<space>\s+)"
)
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
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise InputError(f"recipe, column {place + 1}: {text[place]!r} has no meaning here")
        if match.lastgroup != "space":
            tokens.append(_Token(str(match.lastgroup), match.group(), place + 1))
        place = match.end()
    return [*tokens, _Token("end", "", len(text) + 1)]


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


# Recipes by name, from a file, or as text.


#: What is done where nothing may be trained and no recipe is given.
UNTRAINED = "vocab(keep=0.4) > quantize(int8)"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with a name and a line that says what it is for."""

    name: str
    purpose: str
    recipe: Recipe


@cache
def named_recipes() -> tuple[NamedRecipe, ...]:
    """The recipes of `named.toml`, gentlest first."""
    text = Path(__file__).with_name("named.toml").read_text(encoding="utf-8")
    return tuple(
        NamedRecipe(name, table["purpose"], parse_recipe(table["recipe"]))
        for name, table in tomllib.loads(text).items()
    )


def read_recipe(source: str | Path) -> Recipe:
    """The recipe that `source` names (`pocket`), spells (`distill(layers=3)`) or holds (`recipe.toml`).

    Raises:
        InputError: `source` is none of the three, the file cannot be read, or the recipe has a mistake.
    """
    if isinstance(source, Path):
        return _read_file(source)
    named = {entry.name: entry.recipe for entry in named_recipes()}
    name = source.strip()
    if name.endswith(".toml"):
        return _read_file(Path(name))
    if name in named:
        return named[name]
    if _NAME.fullmatch(name) and not is_step(name):
        raise InputError(
            f"unknown recipe {name!r}{nearest(name, (*named, *STEPS))}; "
            f"named recipes are {', '.join(named)}; steps are {', '.join(STEPS)}"
        )
    return parse_recipe(source)


def _read_file(path: Path) -> Recipe:
    values = read_config_file(path)
    try:
        return Recipe.from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


# The study's strategies: a name and a recipe each, in which the study's settings stand where they are used.
#
# The names that end in `-published` do literally what the published study did, so that a reader can see
# what that changes.


#: The row that every other is compared with: the encoder, fine-tuned.
BASELINE = "baseline"
#: The row that trains the baseline on, for as many steps as the longest strategy takes.
LONGER = "baseline-longer"
#: `further=0`: these learn from labelled notes alone. `faster` and `slower` are the published ratios of the
#: learning rate to the baseline's.
STRATEGIES: dict[str, str] = {
    BASELINE: "fine-tune",
    "distillation": "distill("
    "layers={student_layers}, T={temperature}, alpha={alpha}, rate={faster}, further=0)",
    "lowrank": "lowrank(rank={rank}, method=svd) > fine-tune(rate={faster})",
    "pruning-masked": "mask({masked_share}) > fine-tune(rate={slower})",
    "pruning": "prune(heads={keep_heads}, ffn={keep_neurons}, score=taylor) > "
    "distill(T={temperature}, alpha={alpha}, further=0)",
    "quantization": "quantize(int8)",
    "distillation-published": "pretrained > "
    "distill(T={temperature}, alpha={alpha}, rate={faster}, further=0, teacher=pretrained)",
    "lowrank-published": "pretrained > lowrank(rank={rank}, method=svd, where=classifier) > "
    "fine-tune(rate={faster})",
    "pruning-published": "pretrained > mask({masked_share}) > fine-tune(rate={slower})",
    "quantization-published": "pretrained > fine-tune(rate={slower}, simulate=eager)",
}

PUBLISHED = tuple(name for name in STRATEGIES if name.endswith("-published"))
REAL = tuple(name for name in STRATEGIES if name not in PUBLISHED)


def choose_strategies(config: StudyConfig) -> tuple[str, ...]:
    """The strategies to run, baseline first (every other is compared with it).

    Raises:
        InputError: a name is unknown; the nearest known one is named.
    """
    wanted = config.strategies or REAL + (PUBLISHED if config.published_variants else ())
    for name in wanted:
        if name not in STRATEGIES:
            raise InputError(
                f"unknown strategy {name!r}{nearest(name, STRATEGIES)}; known are {', '.join(STRATEGIES)}"
            )
    return (BASELINE, *(name for name in STRATEGIES if name in wanted and name != BASELINE))


def recipe_of(name: str, config: StudyConfig, *, removes_heads: bool = True) -> Recipe:
    """The recipe of a strategy with the study's settings filled in.

    Args:
        name: one of `STRATEGIES`.
        config: of the study, resolved.
        removes_heads: False for an encoder whose heads are tied to its relative positions: all of them stay.
    """
    rate = config.learning_rate or 3e-5
    values = config.model_dump() | {
        "student_layers": config.student_layers or "half",
        "keep_heads": config.keep_heads if removes_heads else 1.0,
        "faster": f"{rate * 5 / 3:.6g}",
        "slower": f"{rate * 2 / 3:.6g}",
    }
    return parse_recipe(STRATEGIES[name].format(**values))


def train_longer(
    recipes: Iterable[Recipe], labelled: int, further: int, settings: TrainSettings
) -> Recipe | None:
    """The recipe that trains the baseline on until it has had as many steps as the longest of `recipes`.

    A strategy begins with the fine-tuned baseline, whose steps count, unless it starts anew. None where no
    recipe trains for longer than the baseline.

    Args:
        recipes: of the study.
        labelled: training notes.
        further: unlabelled notes that students may learn from.
        settings: how the baseline is trained.
    """
    each = math.ceil(labelled / settings.batch_size)
    own = settings.epochs * each
    sums = [
        sum(step.updates_on(labelled, further, settings) for step in recipe.steps)
        + (0 if recipe.steps[0].step == "pretrained" else own)
        for recipe in recipes
    ]
    epochs = math.ceil((max(sums, default=0) - own) / each)
    return parse_recipe(f"fine-tune(epochs={epochs})") if epochs > 0 else None
