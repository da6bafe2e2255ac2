"""From stored predictions and costs to the rows of the results file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.measure.quality import score_present, score_topic
from sympress.measure.significance import compare_present, compare_topic
from sympress.results import Comparison, Cost, EpochQuality, Estimate, Quality, StrategyResult
from sympress.study.folder import RunFolder
from sympress.study.prepare import StudyData


@dataclass(frozen=True)
class TestSet:
    """Targets and patients of the test notes, in the order of the split."""

    targets: NDArray[np.uint8]
    patients: NDArray[np.int64]
    symptoms: tuple[str, ...]

    @classmethod
    def of(cls, data: StudyData) -> TestSet:
        """The test side of `data`."""
        rows = data.split.test
        return cls(data.labels.targets[rows], data.patients[rows], data.labels.symptoms)


def assemble_row(
    run: RunFolder, test: TestSet, config: StudyConfig, *, name: str, seed: int, cost: Cost, baseline: Cost
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed."""
    row = run.read_row(name, seed) or {}
    probabilities = run.predictions(name, seed, "test")
    thresholds = None if row.get("thresholds") is None else np.array(row["thresholds"])
    comparison = None
    if name != "baseline":
        base = run.read_row("baseline", seed) or {}
        base_thresholds = None if base.get("thresholds") is None else np.array(base["thresholds"])
        difference, p_value = _compare(
            config,
            test,
            (probabilities, thresholds),
            (run.predictions("baseline", seed, "test"), base_thresholds),
        )
        comparison = Comparison(
            f1_difference=difference,
            p_value=p_value,
            smaller=cost.size_bytes < 0.98 * baseline.size_bytes,
            faster=cost.latency_ratio is not None and cost.latency_ratio < 0.95,
        )
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=row["recipe"],
        quality=_score(config, test, probabilities, thresholds),
        cost=cost,
        versus_baseline=comparison,
        epochs=[EpochQuality(epoch=e["epoch"], quality=e["quality"]) for e in row.get("epochs", [])],
        parity_max_difference=row.get("parity_max_difference"),
        notes=row.get("remarks", []),
    )


def _score(
    config: StudyConfig,
    test: TestSet,
    probabilities: NDArray[np.float64],
    thresholds: NDArray[np.float64] | None,
) -> Quality:
    if config.task == "topic":
        return score_topic(
            probabilities,
            test.targets.argmax(axis=1),
            test.symptoms,
            groups=test.patients,
            resamples=config.resamples,
        )
    if thresholds is None:
        thresholds = np.full(len(test.symptoms), 0.5)
    return score_present(
        probabilities,
        test.targets,
        thresholds,
        test.symptoms,
        groups=test.patients,
        resamples=config.resamples,
    )


def _compare(
    config: StudyConfig,
    test: TestSet,
    ours: tuple[NDArray[np.float64], NDArray[np.float64] | None],
    theirs: tuple[NDArray[np.float64], NDArray[np.float64] | None],
) -> tuple[Estimate, float | None]:
    if config.task == "topic":
        return compare_topic(
            ours[0],
            theirs[0],
            test.targets.argmax(axis=1),
            groups=test.patients,
            resamples=config.resamples,
        )
    even = np.full(len(test.symptoms), 0.5)
    return compare_present(
        ours[0],
        theirs[0],
        test.targets,
        thresholds_a=even if ours[1] is None else ours[1],
        thresholds_b=even if theirs[1] is None else theirs[1],
        groups=test.patients,
        resamples=config.resamples,
    )
