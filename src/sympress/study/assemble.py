"""From stored predictions and costs to the rows of the results file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.labels.labelset import Task
from sympress.measure.change import describe_changes, note_groups
from sympress.measure.quality import score_present, score_topic
from sympress.measure.significance import compare_present, compare_topic, one_hot, paired_difference
from sympress.results import Comparison, Cost, EpochQuality, Estimate, Quality, StrategyResult
from sympress.study.folder import RunFolder
from sympress.study.prepare import StudyData

#: Probabilities `(notes, K)` and, for `present`, thresholds `(K,)`.
Scored = tuple[NDArray[np.float64], NDArray[np.float64] | None]


@dataclass(frozen=True)
class TestSet:
    """Targets and patients of the test notes, in the order of the split."""

    targets: NDArray[np.uint8]
    patients: NDArray[np.int64]
    symptoms: tuple[str, ...]
    groups: dict[str, NDArray[np.bool_]]

    @classmethod
    def of(cls, data: StudyData) -> TestSet:
        """The test side of `data`."""
        rows = data.split.test
        notes = data.frame[rows]
        groups = note_groups(*(notes[name].to_list() for name in ("sex", "age", "category")))
        return cls(data.labels.targets[rows], data.patients[rows], data.labels.symptoms, groups)


def assemble_row(
    run: RunFolder, test: TestSet, config: StudyConfig, *, name: str, seed: int, cost: Cost, baseline: Cost
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed."""
    row = run.read_row(name, seed) or {}
    probabilities = run.predictions(name, seed, "test")
    thresholds = None if row.get("thresholds") is None else np.array(row["thresholds"])
    comparison = changes = None
    if name != "baseline":
        base = run.read_row("baseline", seed) or {}
        base_thresholds = None if base.get("thresholds") is None else np.array(base["thresholds"])
        ours = (probabilities, thresholds)
        theirs = (run.predictions("baseline", seed, "test"), base_thresholds)
        difference, p_value = _compare(config, test, ours, theirs)
        comparison = Comparison(
            f1_difference=difference,
            micro_f1_difference=_micro(config, test, ours, theirs),
            p_value=p_value,
            smaller=cost.size_bytes < 0.98 * baseline.size_bytes,
            faster=cost.latency_ratio is not None and cost.latency_ratio < 0.95,
        )
        answered = (answers(config.task, *ours), answers(config.task, *theirs))
        changes = describe_changes(*answered, test.targets.astype(bool), test.symptoms, test.groups)
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=row["recipe"],
        quality=_score(config, test, probabilities, thresholds),
        cost=cost,
        versus_baseline=comparison,
        changes=changes,
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


def answers(
    task: Task, probabilities: NDArray[np.float64], thresholds: NDArray[np.float64] | None
) -> NDArray[np.bool_]:
    """What is answered `(notes, K)`: the most probable topic, or all that reach their thresholds."""
    if task == "topic":
        return one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    answered: NDArray[np.bool_] = probabilities >= (0.5 if thresholds is None else thresholds)
    return answered


def _micro(config: StudyConfig, test: TestSet, ours: Scored, theirs: Scored) -> Estimate | None:
    if config.task == "topic":
        return None
    difference, _ = paired_difference(
        answers(config.task, *ours),
        answers(config.task, *theirs),
        test.targets.astype(bool),
        average="micro",
        groups=test.patients,
        resamples=config.resamples,
    )
    return difference


def _compare(
    config: StudyConfig, test: TestSet, ours: Scored, theirs: Scored
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
