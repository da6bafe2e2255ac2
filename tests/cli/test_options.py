"""Options that are made from the fields of the configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sympress.cli.main import build_app
from sympress.cli.options import settings_options, study_config
from sympress.config import StudyConfig, marks_of
from sympress.errors import InputError


def given(*arguments: str) -> StudyConfig:
    """The study that a command with the options of all settings was given."""
    app, found = typer.Typer(), []

    @app.command()
    @settings_options()
    def command(file: Path, again: bool = False, **settings: Any) -> None:
        found.append(study_config(settings, file))

    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None:
        raise done.exception
    return found[0]


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "study.toml"
    path.write_text('top_k = 9\nepochs = 2\nstrategies = ["pruning"]\nbalance = true\n')
    return str(path)


def test_flags_of_every_kind_win_over_the_file(file: str):
    config = given(
        *(file, "--epochs", "4", "--no-balance", "--learning-rate", "1e-3", "--notes", "a.csv"),
        *("--recipe", "safe", "--recipe", "x = vocab(keep=0.4), quantize(int8)", "--gold-labels", "a, b,"),
        *("--test-from", "2005-01-01", "--task", "present"),
    )
    assert (config.epochs, config.top_k, config.balance, config.learning_rate) == (4, 9, False, 1e-3)
    assert config.recipes == ("safe", "x = vocab(keep=0.4), quantize(int8)")
    assert (config.gold_labels, config.strategies) == (("a", "b"), ("pruning",))
    assert config.notes == Path("a.csv")
    assert config.test_from is not None
    assert config.test_from.year == 2005


def test_what_no_flag_gives_stays_as_the_file_and_the_defaults_have_it(file: str):
    assert given(file) == StudyConfig(top_k=9, epochs=2, strategies=("pruning",), balance=True)


def test_a_value_out_of_range_is_one_line_with_the_flag(file: str):
    with pytest.raises(InputError, match=r"^--top-k 1: "):
        given(file, "--top-k", "1")
    with pytest.raises(InputError, match=r"^--split 'ward' is not one of random, patient, time"):
        given(file, "--split", "ward")


def test_a_study_has_an_option_for_each_setting_with_a_flag():
    study = typer.main.get_command(build_app(["study"])).commands["study"]
    options = {option.name for option in study.params}
    flagged = {name for name in StudyConfig.model_fields if marks_of(name).flag is not None}
    assert options == flagged | {"output", "track", "config", "dry_run", "device"}
    for option in study.params:
        if option.name in flagged:
            assert option.help == StudyConfig.model_fields[option.name].description
