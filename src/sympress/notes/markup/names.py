"""The names of markup that `names.toml` lists."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources


def names_of(markup: str, group: str) -> frozenset[str]:
    """Return a group of names of a markup, in lower case."""
    return frozenset(_tables()[markup][group])


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((resources.files("sympress.notes.markup") / "names.toml").read_text("utf-8"))
