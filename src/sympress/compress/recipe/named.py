"""Recipes by name, from a file, or as text."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sympress.compress.recipe.make import is_step
from sympress.compress.recipe.parse import Recipe, parse_recipe
from sympress.compress.recipe.steps import STEPS
from sympress.config import read_config_file
from sympress.errors import InputError, nearest

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
