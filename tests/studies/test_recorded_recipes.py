"""Recipes of committed results parse to themselves, and those of strategies are what the strategies are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sympress.compression.recipe.language import REAL, STRATEGIES, parse_recipe, recipe_of
from sympress.config import StudyConfig
from sympress.results import load_results

ROOT = Path(__file__).parents[2]
RESULTS = sorted(ROOT.glob("results/*.json"))
#: How rows that no encoder makes describe themselves.
REFERENCES = ("lexicon ", "TF-IDF ", "ensemble ")


def recipes_in(value: Any) -> Iterator[str]:
    """Every text called `recipe` in a JSON value."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from [part] if key == "recipe" and isinstance(part, str) else recipes_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from recipes_in(part)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_recipe_of_a_committed_result_parses_to_itself(path: Path) -> None:
    recorded = set(recipes_in(json.loads(path.read_text(encoding="utf-8"))))
    for text in (one for one in recorded if not one.startswith(REFERENCES)):
        assert str(parse_recipe(text)) == text


@pytest.mark.parametrize("name", ["mtsamples", "vaers-coded", "vaers-lexicon"])
def test_a_committed_strategy_is_recorded_as_the_recipe_that_it_is(name: str) -> None:
    results = load_results(ROOT / "results" / f"{name}.json")
    given = {key: value for key, value in results.config.items() if key in StudyConfig.model_fields}
    config = StudyConfig.model_validate(given)
    recorded = {row.name: row.recipe for row in results.strategies if row.name in STRATEGIES}
    assert recorded.keys() >= set(REAL)
    for strategy, text in recorded.items():
        if strategy != "quantization-published":  # which simulated int8 otherwise when it was measured
            assert text == str(recipe_of(strategy, config)), strategy
