"""The method cards: complete, and true of the code they stand beside."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

import sympress
from sympress.cli.main import build_app
from sympress.cli.options import study_config
from sympress.compression.recipe.language import STRATEGIES, choose_strategies
from sympress.config import StudyConfig

FOLDER = Path(sympress.__file__).parent / "compression"
ALL_CARDS = {
    path.parent.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*/README.md"))
}
#: Those of the strategies that `sympress study` runs; the others' commands and settings are tested elsewhere.
CARDS = {name: ALL_CARDS[name] for name in ("distill", "lowrank", "prune", "quantize")}
SECTIONS = [
    "What it changes",
    "When to use it",
    "Use",
    "Settings",
    "How it works",
    "What the published variant does not do",
    "Measured",
    "When it fails",
    "Sources",
]
UNPUBLISHED = ["recipe", "search"]  # no variant of the published study
SETTING = re.compile(r"^\| `(--[a-z-]+)` \| ([^|]+) \|", re.MULTILINE)
NAMED = re.compile(r"`([\w./]+\.py)`: ((?:`\w+`(?:, )?)+)")


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n")[1].split("\n## ", maxsplit=1)[0]


def test_every_kind_of_compression_has_a_card():
    folders = {path.parent.name for path in FOLDER.glob("*/__init__.py")}
    assert set(ALL_CARDS) == folders


@pytest.mark.parametrize("name", ALL_CARDS)
def test_a_card_has_every_section(name: str):
    published = "What the published variant does not do"
    expected = [title for title in SECTIONS if not (name in UNPUBLISHED and title == published)]
    assert re.findall(r"^## (.+)$", ALL_CARDS[name], re.MULTILINE) == expected


@pytest.mark.parametrize("name", CARDS)
def test_its_measured_section_is_generated(name: str):
    lines = section(CARDS[name], "Measured").strip().splitlines()
    assert lines[0].startswith("<!-- sympress:table results/")
    assert lines[-1] == "<!-- /sympress:table -->"


@pytest.mark.parametrize("name", CARDS)
def test_its_command_is_a_study_that_can_run(name: str):
    (command,) = re.findall(r"```console\n(.*?)\n```", section(CARDS[name], "Use"), re.DOTALL)
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("sympress", "study")
    study = typer.main.get_command(build_app()).commands["study"]
    with study.make_context("study", arguments) as context:
        config = study_config(context.params, None)
    chosen = choose_strategies(config)
    assert set(config.strategies) < set(chosen) <= set(STRATEGIES)


@pytest.mark.parametrize("name", CARDS)
def test_its_settings_have_the_defaults_of_the_code(name: str):
    for flag, default in SETTING.findall(section(CARDS[name], "Settings")):
        field = StudyConfig.model_fields[flag.removeprefix("--").replace("-", "_")]
        if field.default is not None:
            assert float(default) == field.default, flag


@pytest.mark.parametrize("name", ALL_CARDS)
def test_every_function_it_names_is_where_it_says(name: str):
    named = NAMED.findall(ALL_CARDS[name])
    assert named
    for file, functions in named:
        place = FOLDER / name / file if (FOLDER / name / file).is_file() else FOLDER.parent / file
        source = place.read_text(encoding="utf-8")
        for function in re.findall(r"`(\w+)`", functions):
            assert re.search(rf"^(def|class) {function}\b", source, re.MULTILINE), (file, function)


def test_every_strategy_but_the_baseline_stands_in_a_card():
    text = "\n".join(CARDS.values())
    for name in STRATEGIES:
        assert name == "baseline" or re.search(rf"(`|--strategies \S*\b){name}\b", text), name
