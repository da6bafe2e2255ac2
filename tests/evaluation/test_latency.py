"""Timing in turn, on a clock that the test owns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sympress.evaluation import cost as latency
from sympress.evaluation.cost import rates_in_turn, time_in_turn


class Clock:
    """A clock that only moves when a model works, at `speed` seconds a second of work."""

    def __init__(self) -> None:
        self.now, self.speed, self.calls = 0.0, 1.0, 0

    def model(self, seconds: Callable[[int], float]) -> Callable[[int], None]:
        def run(index: int) -> None:
            self.calls += 1
            self.now += seconds(index) * self.speed

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(latency.time, "perf_counter", lambda: clock.now)
    return clock


def test_latency_is_a_percentile_in_milliseconds(clock: Clock):
    timing = time_in_turn({"a": clock.model(lambda index: (index + 1) / 1000)}, 101, reference="a")["a"]
    assert timing.latency_ms_p50 == pytest.approx(51.0)
    assert timing.latency_ms_p95 == pytest.approx(96.0)
    assert timing.ratio == 1.0


def test_ratio_compares_note_by_note(clock: Clock):
    models = {
        "slow": clock.model(lambda index: 0.010 * (index + 1)),
        "fast": clock.model(lambda index: 0.004 * (index + 1)),
    }
    timings = time_in_turn(models, 7, reference="slow", rounds=2)
    assert timings["fast"].ratio == pytest.approx(0.4)
    assert timings["slow"].ratio == pytest.approx(1.0)


def test_a_machine_that_slows_down_does_not_change_the_ratio(clock: Clock):
    slow, fast = clock.model(lambda _: 0.010), clock.model(lambda _: 0.005)

    def throttled(run: Callable[[int], None]) -> Callable[[int], None]:
        def step(index: int) -> None:
            clock.speed = 1.0 + index  # the machine is slower at every note
            run(index)

        return step

    timings = time_in_turn({"slow": throttled(slow), "fast": throttled(fast)}, 50, reference="slow")
    assert timings["fast"].ratio == pytest.approx(0.5)


def test_one_disturbed_note_does_not_move_the_median_ratio(clock: Clock):
    models = {
        "base": clock.model(lambda _: 0.010),
        "hit": clock.model(lambda index: 5.0 if index == 3 else 0.010),
    }
    assert time_in_turn(models, 11, reference="base")["hit"].ratio == pytest.approx(1.0)


def test_models_take_turns_and_each_goes_first(clock: Clock):
    order: list[tuple[str, int]] = []

    def model(name: str) -> Callable[[int], None]:
        return lambda index: (order.append((name, index)), clock.model(lambda _: 0.001)(index))[1]

    time_in_turn({"a": model("a"), "b": model("b")}, 2, reference="a", warmup=1, rounds=1)
    assert order[:2] == [("a", 0), ("b", 0)]  # warm-up
    assert order[2:] == [("a", 0), ("b", 0), ("b", 1), ("a", 1)]


def test_warm_up_is_not_timed(clock: Clock):
    cold = {"left": 3}

    def seconds(_: int) -> float:
        cold["left"] -= 1
        return 9.0 if cold["left"] >= 0 else 0.002

    timing = time_in_turn({"a": clock.model(seconds)}, 5, reference="a", warmup=3)["a"]
    assert timing.latency_ms_p95 == pytest.approx(2.0)
    assert clock.calls == 3 + 5


def test_rates_are_the_median_of_the_rounds(clock: Clock):
    lengths = iter([1.0, 2.0, 4.0])

    def batch() -> int:
        clock.now += next(lengths)
        return 8

    def steady() -> int:
        clock.now += 0.5
        return 8

    assert rates_in_turn({"a": batch, "b": steady}, rounds=3) == {"a": 4.0, "b": 16.0}


def test_ratios_to_further_references_are_of_the_same_notes(clock: Clock):
    seconds = {"base": 0.002, "slow": 0.004, "fast": 0.001}
    models = {name: clock.model(lambda _, each=each: each) for name, each in seconds.items()}
    timings = time_in_turn(models, 5, reference="base", also=["slow", "base"])
    assert timings["fast"].ratios == pytest.approx({"slow": 0.25, "base": 0.5})
    assert timings["slow"].ratios == pytest.approx({"slow": 1.0, "base": 2.0})
