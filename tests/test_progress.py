"""Progress away from a terminal: a line every half minute, with an estimate where there is one."""

from __future__ import annotations

import itertools

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
