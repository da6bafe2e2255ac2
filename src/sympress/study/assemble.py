"""From stored predictions and costs to the rows of the results file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.labels.labelset import Task
from sympress.measure.change import describe_changes, note_groups
from sympress.measure.quality import score_present, score_topic
from sympress.measure.reliability import score_calibration
from sympress.measure.significance import compare_present, compare_topic, holm, mcnemar, one_hot
from sympress.measure.subgroups import score_groups
from sympress.results import Comparison, Cost, EpochQuality, Quality, StrategyResult
from sympress.study.costs import compare_costs
from sympress.study.prepare import StudyData
from sympress.study.settle import stored_settled

#: Each p-value of a comparison, and where the one corrected for the number of strategies goes.
_CORRECTED = {"p_value": "p_holm", "p_value_micro": "p_holm_micro", "p_mcnemar": "p_holm_mcnemar"}

#: Probabilities `(notes, K)` and, for `present`, thresholds `(K,)`.
Scored = tuple[NDArray[np.float64], NDArray[np.float64] | None]


class StoredRows(Protocol):
    """Whatever keeps rows and their predictions: the run folder, or the file of `study.predictions`."""

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """Thresholds, calibration and what else is known of a row, or None."""

    def predictions(self, name: str, seed: int, part: str) -> NDArray[np.float64]:
        """Uncalibrated probabilities `(notes, K)` of `test`."""


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
    run: StoredRows, test: TestSet, config: StudyConfig, *, name: str, seed: int, cost: Cost, baseline: Cost
) -> StrategyResult:
    """One row: quality with intervals, cost, and the paired difference to the baseline of that seed.

    Corrected p-values are missing: they need all rows (`correct_p_values`).
    """
    row = run.read_row(name, seed) or {}
    ours = _scored(run, config, name, seed)
    comparison = changes = None
    if name != "baseline":
        theirs = _scored(run, config, "baseline", seed)
        comparison = Comparison(
            **_compare(config, test, ours, theirs),
            **compare_costs(cost, baseline),
        )
        answered = (answers(config.note_task, *ours), answers(config.note_task, *theirs))
        changes = describe_changes(*answered, test.targets.astype(bool), test.symptoms, test.groups)
    before = run.predictions(name, seed, "test") if row.get("calibration") else None
    return StrategyResult(
        name=name,
        seed=seed,
        recipe=row["recipe"],
        quality=score_all(config.note_task, ours, test, before=before, resamples=config.resamples),
        cost=cost,
        versus_baseline=comparison,
        changes=changes,
        epochs=[EpochQuality(epoch=e["epoch"], quality=e["quality"]) for e in row.get("epochs", [])],
        parity_max_difference=row.get("parity_max_difference"),
        kernel=row.get("kernel"),
        notes=row.get("remarks", []),
    )


def correct_p_values(rows: Sequence[StrategyResult]) -> list[StrategyResult]:
    """Return the rows with p-values corrected for the number of strategies compared with the baseline.

    Holm's step-down over all strategies of the table, references included, for each of the three tests.
    Several seeds of a strategy count once: their largest p-value stands for it, so that a strategy is
    different only where it is with every seed.
    """
    corrected = list(rows)
    for plain, adjusted in _CORRECTED.items():
        found: dict[str, list[float | None]] = {}
        for row in rows:
            if row.versus_baseline is not None:
                found.setdefault(row.name, []).append(getattr(row.versus_baseline, plain))
        largest = [None if None in each else max(p for p in each if p is not None) for each in found.values()]
        holms = dict(zip(found, holm(largest), strict=True))
        corrected = [_with_p(row, adjusted, holms.get(row.name)) for row in corrected]
    return corrected


def _with_p(row: StrategyResult, key: str, value: float | None) -> StrategyResult:
    if row.versus_baseline is None:
        return row
    return row.model_copy(update={"versus_baseline": row.versus_baseline.model_copy(update={key: value})})


def _scored(run: StoredRows, config: StudyConfig, name: str, seed: int) -> Scored:
    """Calibrated probabilities of the test notes, and their thresholds."""
    settled = stored_settled(run.read_row(name, seed) or {})
    return settled.apply(config.note_task, run.predictions(name, seed, "test")), settled.thresholds


def score_all(
    task: Task,
    scored: Scored,
    test: TestSet,
    *,
    before: NDArray[np.float64] | None = None,
    resamples: int = 1000,
) -> Quality:
    """Everything that is said of a model's answers: metrics, calibration, subgroups; patients are resampled.

    Args:
        task: `topic` or `present`.
        scored: probabilities `(notes, K)` and thresholds `(K,)`.
        test: what is true.
        before: the probabilities before they were calibrated; None if they never were.
        resamples: behind each interval.
    """
    probabilities, symptoms = scored[0], test.symptoms
    if task == "topic":
        classes = test.targets.argmax(axis=1)
        quality = score_topic(probabilities, classes, symptoms, groups=test.patients, resamples=resamples)
    else:
        quality = score_present(
            probabilities, test.targets, _cuts(scored), symptoms, groups=test.patients, resamples=resamples
        )
    calibration = score_calibration(
        task, probabilities, test.targets, symptoms, before=before, groups=test.patients, resamples=resamples
    )
    truth = test.targets.astype(bool)
    groups, gaps = score_groups(
        answers(task, *scored), truth, test.groups, patients=test.patients, resamples=resamples
    )
    return quality.model_copy(update={"calibration": calibration, "groups": groups, "gaps": gaps})


def _cuts(scored: Scored) -> NDArray[np.float64]:
    return np.full(scored[0].shape[1], 0.5) if scored[1] is None else scored[1]


def answers(
    task: Task, probabilities: NDArray[np.float64], thresholds: NDArray[np.float64] | None
) -> NDArray[np.bool_]:
    """What is answered `(notes, K)`: the most probable topic, or all that reach their thresholds."""
    if task == "topic":
        return one_hot(probabilities.argmax(axis=1), probabilities.shape[1])
    answered: NDArray[np.bool_] = probabilities >= (0.5 if thresholds is None else thresholds)
    return answered


def _compare(config: StudyConfig, test: TestSet, ours: Scored, theirs: Scored) -> dict[str, Any]:
    """Paired differences to the baseline and their p-values; micro-F1 belongs to `present`."""
    shared: dict[str, Any] = {"groups": test.patients, "resamples": config.resamples}
    truth = test.targets.astype(bool)
    ours_right, theirs_right = (answers(config.note_task, *scored) == truth for scored in (ours, theirs))
    if config.note_task == "topic":
        difference, p_value = compare_topic(ours[0], theirs[0], test.targets.argmax(axis=1), **shared)
        # The K columns of a note are one answer.
        p_mcnemar = mcnemar(ours_right.all(axis=1), theirs_right.all(axis=1))
        return {"f1_difference": difference, "p_value": p_value, "p_mcnemar": p_mcnemar}
    shared |= {"thresholds_a": _cuts(ours), "thresholds_b": _cuts(theirs)}
    difference, p_value = compare_present(ours[0], theirs[0], test.targets, **shared)
    micro, p_micro = compare_present(ours[0], theirs[0], test.targets, average="micro", **shared)
    return {
        "f1_difference": difference,
        "micro_f1_difference": micro,
        "p_value": p_value,
        "p_value_micro": p_micro,
        "p_mcnemar": mcnemar(ours_right, theirs_right),
    }
