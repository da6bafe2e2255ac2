"""Progress away from a terminal: a line every half minute, with an estimate where there is one."""

from __future__ import annotations

import itertools
import logging
from importlib.machinery import ModuleSpec

import pytest

from sympress import progress
from sympress.progress import Reporter


def test_a_line_every_half_minute_estimates_from_the_second_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clock = itertools.count(0, 40)
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    with Reporter() as reporter:
        for done in (100, 200, 300):
            reporter.step("answers", done, 1000)
    assert capsys.readouterr().err.splitlines() == [
        "answers: step 100 of 1,000",
        "answers: step 200 of 1,000, about 5.3 minutes left",  # 101 in 40 s
        "answers: step 300 of 1,000, about 4.6 minutes left",  # 201 in 80 s
    ]


def test_a_quiet_one_shows_nothing_and_logs_its_lines(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.INFO, logger="sympress"), Reporter(quiet=True) as reporter:
        reporter.say("100 % of baseline")
        reporter.step("training", 1, 2)
    assert caplog.messages == ["100 % of baseline"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("jupyter", "widgets", "bar"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_a_notebook_has_a_bar_where_it_can_move_and_lines_elsewhere(
    jupyter: bool, widgets: bool, bar: bool, monkeypatch: pytest.MonkeyPatch
):
    spec = ModuleSpec("ipywidgets", None) if widgets else None
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: spec)
    monkeypatch.setattr(progress.Console, "is_jupyter", property(lambda self: jupyter), raising=False)
    monkeypatch.setattr(progress.Console, "__init__", lambda self, **given: None)
    assert progress._draws_in_notebook(progress.Console()) == bar
