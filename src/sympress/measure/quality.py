"""Quality of a classifier on labelled notes, with 95 % intervals from a bootstrap over patients.

Where a metric is not defined its value is null, never 0: everything of a symptom without a note, an AUROC
where every note has the symptom. Macro averages are over the symptoms for which the metric is defined, and
say how many were left out. Precision where nothing was predicted is 0, as scikit-learn has it, as long as
the symptom has a note. A resample in which a metric is undefined does not enter its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.labels.labelset import Task
from sympress.measure.significance import (
    Floats,
    checked_scores,
    estimate,
    group_index,
    mean_of_defined,
    micro_f1,
    one_hot,
    outcome_counts,
    precision_recall_f1,
    resample_weights,
)
from sympress.results import Estimate, Quality, SymptomQuality

_MACRO = ("precision", "recall", "f1", "auroc")


def score_topic(
    probabilities: ArrayLike,
    classes: ArrayLike,
    symptoms: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Quality:
    """Return the quality of a one-symptom-a-note classifier; the most probable symptom is predicted.

    Args:
        probabilities: `(notes, K)`; of equal ones the first is predicted.
        classes: `(notes,)` index of the true symptom.
        symptoms: the K names.
        groups: `(notes,)` patient of each note; null for a note, or in all, makes the note its own group.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.

    Raises:
        SympressError: a probability is not a finite number.
    """
    truth = one_hot(classes, len(symptoms))
    scores = checked_scores(probabilities, truth)
    predicted = one_hot(scores.argmax(axis=1), len(symptoms))
    samples = _sample(scores, predicted, truth, groups=groups, seed=seed, resamples=resamples)
    return _quality(samples, truth, symptoms)


def score_present(
    probabilities: ArrayLike,
    targets: ArrayLike,
    thresholds: ArrayLike,
    symptoms: Sequence[str],
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Quality:
    """Return the quality of a multi-label classifier; a symptom is predicted at or above its threshold.

    `accuracy` is subset accuracy: the share of notes whose whole set of symptoms is right, as in
    scikit-learn. `average_precision` is the macro average.

    Args:
        probabilities: `(notes, K)`.
        targets: `(notes, K)` 0 or 1.
        thresholds: `(K,)`, chosen on validation data.
        symptoms: the K names.
        groups: `(notes,)` patient of each note; null for a note, or in all, makes the note its own group.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.

    Raises:
        SympressError: a probability is not a finite number.
    """
    truth = np.asarray(targets).astype(bool).reshape(-1, len(symptoms))
    scores = checked_scores(probabilities, truth)
    cuts = np.asarray(thresholds, dtype=np.float64)
    samples = _sample(
        scores, scores >= cuts, truth, groups=groups, seed=seed, resamples=resamples, multi_label=True
    )
    return _quality(samples, truth, symptoms, cuts)


def point_quality(
    task: Task,
    probabilities: ArrayLike,
    targets: ArrayLike,
    symptoms: Sequence[str],
    *,
    thresholds: ArrayLike | None = None,
) -> Quality:
    """Return values without intervals (after an epoch); `targets` is `(notes, K)` for both tasks.

    `thresholds` belong to `present` and are 0.5 where not given.
    """
    if task == "topic":
        classes = np.asarray(targets).reshape(-1, len(symptoms)).argmax(axis=1)
        return score_topic(probabilities, classes, symptoms, resamples=0)
    cuts = np.full(len(symptoms), 0.5) if thresholds is None else thresholds
    return score_present(probabilities, targets, cuts, symptoms, resamples=0)


@dataclass(frozen=True)
class _Ranking:
    """The scores of one symptom, sorted once: with it a resample costs one cumulative sum.

    Attributes:
        positives: notes with the symptom, by rising score.
        negatives: notes without it, by rising score.
        below: of each positive, how many negatives score lower.
        upto: of each positive, how many negatives score lower or the same.
        lower: of each positive, how many positives score lower.
    """

    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]
    below: NDArray[np.int64]
    upto: NDArray[np.int64]
    lower: NDArray[np.int64]

    @classmethod
    def of(cls, scores: Floats, truth: NDArray[np.bool_]) -> _Ranking:
        order = np.argsort(scores, kind="stable")
        positives, negatives = order[truth[order]], order[~truth[order]]
        up, down = scores[positives], scores[negatives]
        below, upto = np.searchsorted(down, up, "left"), np.searchsorted(down, up, "right")
        return cls(positives, negatives, below, upto, np.searchsorted(up, up, "left"))

    def areas(self, weights: NDArray[np.int32], *, average_precision: bool) -> tuple[Floats, Floats]:
        """Return AUROC and average precision `(resamples,)`, NaN where undefined or not asked for.

        AUROC is the probability that a positive outranks a negative, a tie counting half (Mann-Whitney).
        Average precision is the mean, over positives, of the precision at their score.
        """
        hits = np.take(weights, self.positives, axis=1)
        false = _running_sum(np.take(weights, self.negatives, axis=1))
        positive, negative = hits.sum(axis=1, dtype=np.float64), false[:, -1].astype(np.float64)
        outranked = np.take(false, self.below, axis=1)
        won = (hits * (outranked + np.take(false, self.upto, axis=1)).astype(np.float64)).sum(axis=1)
        auroc = np.full(len(weights), np.nan)
        np.divide(won, 2 * positive * negative, out=auroc, where=positive * negative > 0)
        precision = np.full(len(weights), np.nan)
        if average_precision:
            at_score = positive[:, None] - np.take(_running_sum(hits), self.lower, axis=1)
            predicted = at_score + negative[:, None] - outranked
            area = (hits * at_score / np.maximum(predicted, 1)).sum(axis=1)
            np.divide(area, positive, out=precision, where=positive > 0)
        return auroc, precision


def _running_sum(weights: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return `(resamples, notes + 1)`: entry i is the sum of the first i weights."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1), dtype=np.int32)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _sample(
    scores: Floats,
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    groups: ArrayLike | None,
    seed: int,
    resamples: int,
    multi_label: bool = False,
) -> dict[str, Floats]:
    """Return each metric for all notes and for each resample, `(1 + resamples, K)` or `(1 + resamples,)`."""
    rankings = [_Ranking.of(scores[:, k], truth[:, k]) for k in range(truth.shape[1])]
    right = (predicted == truth).all(axis=1)
    counts = outcome_counts(predicted, truth)
    chunks: list[dict[str, Floats]] = []
    for weights in resample_weights(group_index(groups, len(truth)), seed, resamples):
        totals = weights.astype(np.float64) @ counts
        precision, recall, f1 = precision_recall_f1(totals)
        areas = [ranking.areas(weights, average_precision=multi_label) for ranking in rankings]
        drawn = weights.sum(axis=1, dtype=np.float64)
        accuracy = np.where(drawn > 0, (weights @ right.astype(np.int32)) / np.maximum(drawn, 1), np.nan)
        chunk = {"accuracy": accuracy, "precision": precision, "recall": recall, "f1": f1}
        chunk["auroc"] = np.stack([area[0] for area in areas], axis=1)
        if multi_label:
            chunk["average_precision"] = np.stack([area[1] for area in areas], axis=1)
            chunk["micro_f1"] = micro_f1(totals)
        chunks.append(chunk)
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _quality(
    samples: dict[str, Floats],
    truth: NDArray[np.bool_],
    symptoms: Sequence[str],
    thresholds: Floats | None = None,
) -> Quality:
    """Return the record of all metrics, each with its interval or the reason why it is undefined."""
    support = truth.sum(axis=0)
    nothing = "undefined: no note of any symptom"
    if len(truth) == 0:
        nothing = "undefined: no notes"
    elif support.any():  # what is undefined even so is an AUROC
        nothing = "undefined: no symptom that some notes have and others have not"
    summary = {name: _macro(samples[name], nothing) for name in _MACRO}
    summary["accuracy"] = estimate(samples["accuracy"], nothing if len(truth) == 0 else None)
    if "micro_f1" in samples:
        summary["micro_f1"] = estimate(samples["micro_f1"], None if support.any() else nothing)
        summary["average_precision"] = _macro(samples["average_precision"], nothing)
    rows: list[SymptomQuality] = []
    for k, symptom in enumerate(symptoms):
        missing = "undefined: no note of this class" if support[k] == 0 else None
        reasons: dict[str, Any] = dict.fromkeys(_MACRO, missing)
        if support[k] == len(truth) > 0:
            reasons["auroc"] = "undefined: every note is of this class"
        rows.append(
            SymptomQuality(
                symptom=symptom,
                support=int(support[k]),
                threshold=None if thresholds is None else float(thresholds[k]),
                average_precision=_column(samples.get("average_precision"), k, missing),
                **{name: estimate(samples[name][:, k], reasons[name]) for name in _MACRO},
            )
        )
    return Quality(**summary, per_symptom=rows)


def _column(samples: Floats | None, column: int, missing: str | None) -> Estimate | None:
    """Return the estimate of one symptom; None where the metric does not belong to the task."""
    return None if samples is None else estimate(samples[:, column], missing)


def _macro(samples: Floats, nothing: str) -> Estimate:
    """Return the macro average over the symptoms for which the metric is defined on all notes."""
    defined = ~np.isnan(samples[0])
    if not defined.any():
        return Estimate(value=None, note=nothing)
    left_out = int((~defined).sum())
    note = f"over {defined.sum()} of {len(defined)} symptoms: undefined for {left_out}" if left_out else None
    return estimate(mean_of_defined(samples[:, defined]), note)
