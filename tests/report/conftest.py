"""Results made by hand: every number in them is chosen, so that what is printed can be checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sympress.results import (
    Comparison,
    Cost,
    DataDescription,
    EpochQuality,
    Estimate,
    Quality,
    Results,
    SplitCounts,
    StrategyResult,
    SymptomQuality,
)

UNDEFINED_AUROC = Estimate(value=None, note="no test note carries the symptom")


def estimate(value: float | None, half: float | None = 0.02) -> Estimate:
    if value is None:
        return Estimate(value=None, note="no note")
    if half is None:
        return Estimate(value=value)
    return Estimate(value=value, low=round(value - half, 6), high=round(value + half, 6))


def quality(value: float | None, /, **changes: Any) -> Quality:
    values: dict[str, Any] = {
        name: estimate(value) for name in ("accuracy", "precision", "recall", "f1", "auroc")
    }
    values["per_symptom"] = [
        SymptomQuality(
            symptom="fever",
            support=40,
            precision=estimate(0.9),
            recall=estimate(0.8),
            f1=estimate(value),
            auroc=UNDEFINED_AUROC,
            threshold=0.25,
        )
    ]
    return Quality(**(values | changes))


def strategy(name: str, f1: float | None = 0.9, *, seed: int = 0, **changes: Any) -> StrategyResult:
    """One row; `difference` is `(value, low, high)`, `size` bytes, `p50` ms, other keys of the row."""
    difference = changes.pop("difference", None)
    cost: dict[str, Any] = {
        "size_bytes": changes.pop("size", 80_000_000),
        "parameters": changes.pop("parameters", 20_000_000),
        "nonzero_parameters": changes.pop("nonzero", 20_000_000),
        "macs_per_note": 1_234_000_000,
        "latency_ms_p50": changes.pop("p50", 10.0),
        "latency_ms_p95": 14.0,
        "notes_per_second": 1234.5,
        "peak_rss_bytes": 300_000_000,
        "runtime": "onnxruntime 1.32.0",
        "threads": 1,
        "train_seconds": 65.4,
        "latency_ratio": changes.pop("latency_ratio", None),
    }
    smaller, faster = changes.pop("smaller", False), changes.pop("faster", False)
    versus = None
    if difference is not None:
        value, low, high = difference
        versus = Comparison(
            f1_difference=Estimate(value=value, low=low, high=high),
            p_value=0.04,
            smaller=smaller,
            faster=faster,
        )
    row: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "recipe": "fine-tune",
        "quality": quality(f1),
        "cost": Cost(**cost),
        "versus_baseline": versus,
    }
    return StrategyResult(**(row | changes))


def run_of(*strategies: StrategyResult, **changes: Any) -> Results:
    values: dict[str, Any] = {
        "protocol": "paper",
        "task": "topic",
        "data": DataDescription(
            name="synthetic",
            fingerprint="abc123",
            notes=1000,
            train=800,
            validation=100,
            test=1234,
            symptoms=["fever"],
            labels="first lexicon entry in the first 1,000 characters",
            reading={"rows": 1200, "kept": 1000},
            labelling={"with a symptom": 900},
            split=SplitCounts(
                train=800,
                validation=100,
                test=1234,
                rule="random by note, seed 42",
                exact_duplicates=7,
                near_duplicates=11,
                patients_on_both_sides=13,
                duplicates_on_both_sides=3,
            ),
        ),
        "strategies": list(strategies),
        "environment": {"cores": 2, "versions": {"torch": "2.13.0"}},
        "config": {"command": "sympress demo", "epochs": 1},
    }
    return Results(**(values | changes))


def typical() -> Results:
    epochs = [EpochQuality(epoch=n, quality=quality(0.5 + n / 10)) for n in (1, 2)]
    return run_of(
        strategy("rule", 1.0, size=2_000, p50=0.05, parameters=None, nonzero=None),
        strategy("baseline", 0.93, epochs=epochs),
        strategy(
            "distillation", 0.92, difference=(-0.01, -0.02, 0.003), size=40_000_000, p50=5.0,
            smaller=True, faster=True,
        ),
        strategy("pruning-masked", 0.925, difference=(-0.005, -0.012, 0.001), nonzero=15_000_000),
        strategy(
            "quantization", 0.88, difference=(-0.05, -0.07, -0.03), size=20_000_000,
            p50=20.0, latency_ratio=0.9, smaller=True, faster=True,
        ),
        strategy("tfidf", 0.85, size=900_000, p50=0.3),
    )  # fmt: skip


@pytest.fixture
def results() -> Results:
    return typical()


@pytest.fixture
def make_strategy() -> Callable[..., StrategyResult]:
    return strategy


@pytest.fixture
def make_run() -> Callable[..., Results]:
    return run_of


@pytest.fixture
def make_quality() -> Callable[..., Quality]:
    return quality
