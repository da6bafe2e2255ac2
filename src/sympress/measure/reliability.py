"""How far probabilities can be taken at their word: calibration error, Brier score, reliability curve.

Bins are settled on all notes; then patients are resampled as everywhere (`measure.significance`). Resampling
adds noise of its own to an absolute difference: the interval of a small calibration error leans upward and
may begin above the value.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.labels.labelset import Task
from sympress.measure.significance import (
    Floats,
    checked_scores,
    estimate,
    group_index,
    resample_weights,
)
from sympress.results import CalibrationQuality, ReliabilityBin, SymptomCalibration

BINS = 10
_WIDTH = np.linspace(0, 1, BINS + 1)


def score_calibration(
    task: Task,
    probabilities: ArrayLike,
    targets: ArrayLike,
    symptoms: Sequence[str],
    *,
    before: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> CalibrationQuality:
    """Return calibration error, Brier score and reliability curve, with intervals.

    Args:
        task: for `present` all pairs of a note and a symptom are answers; for `topic` the most probable
            symptom of each note.
        probabilities: `(notes, K)`.
        targets: `(notes, K)` 0 or 1.
        symptoms: the K names.
        before: `(notes, K)`, the same before they were calibrated, to show what that changed.
        groups: `(notes,)` patient of each note; null for a note, or in all, makes the note its own group.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.
    """
    truth = np.asarray(targets).astype(bool).reshape(-1, len(symptoms))
    answers = _answers(task, checked_scores(probabilities, truth), truth)
    sums = {"mass": _bin_sums(*answers, equal_mass_edges(answers[0])), "width": _bin_sums(*answers, _WIDTH)}
    sums["brier"] = _squares(*answers)
    if before is not None:
        earlier = _answers(task, checked_scores(before, truth), truth)
        sums["mass before"] = _bin_sums(*earlier, equal_mass_edges(earlier[0]))
        sums["brier before"] = _squares(*earlier)
    totals = _resample(sums, group_index(groups, len(truth)), seed, resamples)
    reason = None if answers[0].size else "undefined: no notes"
    return CalibrationQuality(
        ece=estimate(_errors(totals["mass"]), reason),
        ece_width=estimate(_errors(totals["width"]), reason),
        brier=estimate(_means(totals["brier"]), reason),
        ece_before=None if before is None else estimate(_errors(totals["mass before"]), reason),
        brier_before=None if before is None else estimate(_means(totals["brier before"]), reason),
        bins=_curve(totals["width"]),
        per_symptom=[] if task == "topic" else _by_symptom(*answers, symptoms),
    )


def equal_mass_edges(shares: Floats) -> Floats:
    """Return the borders, 0 and 1 included, of at most `BINS` bins that hold about as many answers each.

    Equal probabilities are in one bin: where there are many of them, there are fewer bins.
    """
    inner = np.quantile(shares, np.linspace(0, 1, BINS + 1)[1:-1]) if shares.size else np.zeros(0)
    return np.unique(np.concatenate([[0.0], inner, [1.0]]))


def expected_error(shares: Floats, outcomes: NDArray[np.bool_], edges: Floats) -> float:
    """Return the mean over answers of |mean probability - share true| of their bin; both `(notes, C)`."""
    return float(_errors(_bin_sums(shares, outcomes, edges).sum(axis=0)[None])[0])


def _answers(task: Task, scores: Floats, truth: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Probability and truth of each answer, `(notes, C)`: C is K, or 1 for a topic."""
    if task == "present":
        return scores, truth
    chosen = scores.argmax(axis=1)[:, None]
    return np.take_along_axis(scores, chosen, axis=1), np.take_along_axis(truth, chosen, axis=1)


def _bin_sums(shares: Floats, outcomes: NDArray[np.bool_], edges: Floats) -> Floats:
    """Return `(notes, 3 * bins)`: a note's answers in each bin, their probabilities and their truths, summed.

    A probability at a border belongs to the bin above it; 1 belongs to the last.
    """
    notes, bins = len(shares), len(edges) - 1
    where = np.clip(np.searchsorted(edges, shares, side="right") - 1, 0, bins - 1)
    flat = (np.arange(notes)[:, None] * bins + where).ravel()
    sums = [
        np.bincount(flat, weights=weights.ravel(), minlength=notes * bins).reshape(notes, bins)
        for weights in (np.ones_like(shares), shares, outcomes.astype(np.float64))
    ]
    return np.concatenate(sums, axis=1)


def _errors(totals: Floats) -> Floats:
    """Return calibration errors `(resamples,)` of sums `(resamples, 3 * bins)`; NaN without an answer."""
    answers, predicted, observed = np.split(totals, 3, axis=-1)
    count = answers.sum(axis=-1)
    apart = np.abs(predicted - observed).sum(axis=-1)
    return np.where(count > 0, apart / np.maximum(count, 1), np.nan)


def _squares(shares: Floats, outcomes: NDArray[np.bool_]) -> Floats:
    """Return `(notes, 2)`: a note's answers, and the sum of their squared differences to the truth."""
    squared = ((shares - outcomes) ** 2).sum(axis=1)
    return np.stack([np.full(len(shares), float(shares.shape[1])), squared], axis=1)


def _means(totals: Floats) -> Floats:
    """Return means `(resamples,)` of sums `(resamples, 2)` of counts and values; NaN without an answer."""
    return np.where(totals[:, 0] > 0, totals[:, 1] / np.maximum(totals[:, 0], 1), np.nan)


def _resample(
    sums: dict[str, Floats], index: NDArray[np.int64], seed: int, resamples: int
) -> dict[str, Floats]:
    """Return each of the sums over notes, `(1 + resamples, columns)`, on the same resamples of patients."""
    together = np.concatenate(list(sums.values()), axis=1)
    drawn = resample_weights(index, seed, resamples)
    totals = np.concatenate([weights.astype(np.float64) @ together for weights in drawn])
    borders = np.cumsum([part.shape[1] for part in sums.values()])[:-1]
    return dict(zip(sums, np.split(totals, borders, axis=1), strict=True))


def _curve(totals: Floats) -> list[ReliabilityBin]:
    """The points of the reliability curve, of the bins of equal width that hold an answer."""
    answers, predicted, observed = np.split(totals, 3, axis=1)
    # A resample may have no answer in a bin: it does not enter the interval.
    rates = np.where(answers > 0, observed / np.maximum(answers, 1), np.nan)
    return [
        ReliabilityBin(
            low=round(float(_WIDTH[k]), 6),
            high=round(float(_WIDTH[k + 1]), 6),
            answers=int(answers[0, k]),
            predicted=float(predicted[0, k] / answers[0, k]),
            observed=estimate(rates[:, k]),
        )
        for k in np.flatnonzero(answers[0])
    ]


def _by_symptom(
    shares: Floats, outcomes: NDArray[np.bool_], symptoms: Sequence[str]
) -> list[SymptomCalibration]:
    """Each symptom by itself, in its own bins of equal mass."""
    if len(shares) == 0:
        return [SymptomCalibration(symptom=name, ece=None, brier=None) for name in symptoms]
    return [
        SymptomCalibration(
            symptom=name,
            ece=expected_error(shares[:, [k]], outcomes[:, [k]], equal_mass_edges(shares[:, k])),
            brier=float(((shares[:, k] - outcomes[:, k]) ** 2).mean()),
        )
        for k, name in enumerate(symptoms)
    ]
