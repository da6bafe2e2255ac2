"""A recorded recipe is what ran: it parses, and on the tiny encoder it gives the same row again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sympress.compression.recipe.language import LONGER, PUBLISHED, REAL, STRATEGIES, parse_recipe, recipe_of
from sympress.config import StudyConfig
from sympress.models.encoder import load_encoder
from sympress.progress import Reporter
from sympress.results import load_results
from sympress.studies.folder import RunFolder
from sympress.studies.rows import NoteTask
from sympress.studies.run import with_longer

ROOT = Path(__file__).parents[2]
RESULTS = sorted(ROOT.glob("results/*.json"))
#: What a row says of its recipe.
SAID = ("recipe", "epochs", "remarks")
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


@pytest.fixture(scope="module")
def task(encoder_folder: Path, in_32_bits: None, tmp_path_factory: pytest.TempPathFactory) -> NoteTask:
    """A study of 600 synthetic notes on the tiny encoder, its baseline trained; no row is timed."""
    config = StudyConfig(
        encoder=str(encoder_folder),
        protocol="paper",
        synthetic_notes=600,
        epochs=1,
        max_tokens=32,
        text_window=200,
        learning_rate=1e-3,
        rank=4,
    ).resolved()
    run = RunFolder(tmp_path_factory.mktemp("recorded"))
    made = NoteTask.set_up(config, load_encoder(str(encoder_folder)), run, Reporter(quiet=True))
    made.train(0, step)
    return made


def step(_name: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def answered(task: NoteTask, name: str) -> list[np.ndarray]:
    return [task.run.predictions(name, 0, part) for part in ("validation", "test")]


@pytest.mark.parametrize("name", [name for name in (*REAL, *PUBLISHED) if name != "baseline"])
def test_a_recorded_recipe_gives_the_same_row_again(task: NoteTask, name: str) -> None:
    task.press(name, task.recipe(name), 0, step)
    row = task.run.read_row(name, 0)
    task.press(f"again-{name}", parse_recipe(row["recipe"]), 0, step)
    repeated = task.run.read_row(f"again-{name}", 0)
    assert [repeated[key] for key in SAID] == [row[key] for key in SAID]
    for once, again in zip(answered(task, name), answered(task, f"again-{name}"), strict=True):
        np.testing.assert_array_equal(once, again)


def test_the_baseline_is_trained_on_and_anew_when_a_longer_recipe_comes(task: NoteTask) -> None:
    recipes = with_longer({"distillation": task.recipe("distillation")}, task)
    assert {name: str(recipe) for name, recipe in recipes.items()}[LONGER] == "fine-tune(epochs=1)"
    task.press(LONGER, recipes[LONGER], 0, step)
    before, after = answered(task, "baseline"), answered(task, LONGER)
    changed = [np.abs(a - b).max() for a, b in zip(before, after, strict=True)]
    assert min(changed) > 0
    assert with_longer(recipes, task)[LONGER] == recipes[LONGER]
    assert task.run.read_row(LONGER, 0) is not None
    longer = with_longer({"slow": parse_recipe("distill(layers=1, epochs=3)")}, task)
    assert str(longer[LONGER]) == "fine-tune(epochs=3)"
    assert task.run.read_row(LONGER, 0) is None
    assert list(with_longer({"quick": parse_recipe("quantize(int8)")}, task)) == ["quick"]
