"""Shapes of text that are made, what their times say, and a measurement that goes on where it stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from benchmarks import growth


def test_made_shapes_are_distinct_and_the_same_for_a_seed() -> None:
    made = growth.make_shapes(30, 0)
    assert len(set(made)) == 30
    assert made == growth.make_shapes(30, 0) != growth.make_shapes(30, 1)
    assert not any("\n" in shape for shape in made)


def test_the_exponent_tells_a_quadratic_reading_from_a_linear_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "process_time", lambda: clock)

    def read_for(exponent: float) -> growth.Growth:
        def read(text: str) -> None:
            nonlocal clock
            clock += (len(text) / 1e6) ** exponent

        return growth.measure(read, "fever ")

    assert read_for(1).exponent == pytest.approx(1)
    assert read_for(1).seconds_a_megabyte == pytest.approx(1)
    assert read_for(2).exponent == pytest.approx(2)


def test_a_stopped_measurement_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    for name, value in {"SHORT": 20, "LONG": 160, "READINGS": {20: 1, 160: 1}}.items():
        monkeypatch.setattr(growth, name, value)
    monkeypatch.setattr(growth, "_seconds", lambda reads, text: reads(text) or float(len(text)))
    measured = tmp_path / "growth.json"

    def stop(text: str) -> None:
        read.append(text)
        if len(read) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(growth, "readers", lambda _: {"rules": stop})
    with pytest.raises(KeyboardInterrupt):
        growth.main(["--made", "1", "-o", str(measured)])
    growth.main(["--made", "1", "-o", str(measured)])
    shapes = [*growth.WITHIN_A_LINE, *growth.LINES, *growth.MARKUP, *growth.make_shapes(1, 0)]
    assert len(read) == 2 * len(shapes) + 1  # only the text at which it stopped is read again
    stored = json.loads(measured.read_text(encoding="utf-8"))
    assert list(stored["rows"]) == shapes
    assert stored["summary"]["rules"]["steepest"]["exponent"] == pytest.approx(1)
    assert list(tmp_path.iterdir()) == [measured]
