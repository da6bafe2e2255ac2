"""Contenders take turns, and the box is compared with each in the same round."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.peers import BOX, Contender, extraction, measure


def contender(name: str, seconds: Sequence[float], asked: list[str]) -> Contender:
    told = iter(seconds)

    def run(_texts: Sequence[str]) -> float:
        asked.append(name)
        return next(told)

    return run


def test_ratios_are_of_one_round_each_and_nobody_is_always_first():
    asked: list[str] = []
    rows = measure(
        {BOX: contender(BOX, [1, 2, 4], asked), "peer": contender("peer", [10, 40, 40], asked)}, ["a"] * 8, 3
    )
    assert rows == {
        BOX: {"notes_per_cpu_second": 4.0, "times_slower": 1.0},
        "peer": {"notes_per_cpu_second": 0.2, "times_slower": 10.0},
    }
    assert asked == [BOX, "peer", "peer", BOX, BOX, "peer"]


def test_a_note_takes_processor_time_and_waiting_none():
    ask = extraction("rules")
    assert 0 < ask(["c/o fever and chills, denies cough"] * 20) < 20
    assert ask([]) == pytest.approx(0, abs=0.01)
