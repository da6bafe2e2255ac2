"""How sure a number is: resampling of patients, intervals, and paired tests between two classifiers.

Every metric is computed from notes with weights. The point estimate has all weights 1; a resample draws
patients with replacement and weighs a note by how often its patient was drawn (a cluster bootstrap; Field
& Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x). Intervals are the 2.5 and 97.5 percentiles.

The p-value of a difference is that of paired approximate randomisation (Noreen 1989; Yeh 2000,
"More accurate tests for the statistical significance of result differences", COLING): if the two
classifiers were alike, swapping their outputs for any patient would change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.errors import SympressError, of_extra
from sympress.report.claims import pool
from sympress.results import Estimate, Pooled

Floats = NDArray[np.float64]
#: Weights held at a time (resamples × notes): bounds memory to some 100 MB whatever the test set.
_CHUNK_CELLS = 2_000_000


def paired_difference(
    predicted_a: NDArray[np.bool_],
    predicted_b: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    average: Literal["macro", "micro"] = "macro",
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[Estimate, float | None]:
    """Return the difference of F1, A minus B, and its two-sided p-value, on the same `(notes, K)`.

    Interval: both are scored on the same resamples of patients. p-value: `(1 + m) / (1 + resamples)`,
    where m random swaps of A and B, patient by patient, differ at least as much as A and B do. Without
    resamples there is neither.
    """
    return compare_counts(
        outcome_counts(predicted_a, truth),
        outcome_counts(predicted_b, truth),
        macro_f1 if average == "macro" else micro_f1,
        undefined=None if truth.any() else "undefined: no note of any symptom",
        groups=groups,
        seed=seed,
        resamples=resamples,
    )


def compare_counts(
    counts_a: Floats,
    counts_b: Floats,
    f1: Callable[[Floats], Floats],
    *,
    undefined: str | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[Estimate, float | None]:
    """`paired_difference` of anything that is a function of sums over notes.

    Args:
        counts_a: `(notes, C)` of A.
        counts_b: `(notes, C)` of B for the same notes.
        f1: sums `(..., C)` -> the score `(...)`.
        undefined: why there is no difference, where there is none.
        groups: `(notes,)` patient of each note.
        seed: of the resampling.
        resamples: number of resamples, of the interval and of the test.
    """
    index = group_index(groups, len(counts_a))
    samples = np.concatenate(
        [
            f1(weights @ counts_a) - f1(weights @ counts_b)
            for weights in resample_weights(index, seed, resamples)
        ]
    )
    difference = estimate(samples, undefined)
    if difference.value is None or resamples == 0:
        return difference, None
    swapped = _swapped_differences(counts_a, counts_b, index, f1, seed=seed, resamples=resamples)
    # Rounding must not decide whether a swap ties with what was observed.
    extreme = int((np.abs(swapped) >= abs(difference.value) - 1e-12).sum())
    return difference, (1 + extreme) / (1 + resamples)


def pooled_difference(
    pairs: Sequence[tuple[Floats, Floats]],
    f1: Callable[[Floats], Floats],
    *,
    margin: float,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Pooled:
    """Return what several trainings say together: their mean difference of F1, A minus B, and its tests.

    The same patients are drawn for every training, so that the resamples also say how far the differences
    of two trainings go together because their notes are the same: the mean covariance of two trainings is
    the variance that notes add, see `report.claims.pool`.

    Args:
        pairs: of each training the counts `(notes, C)` of A and of B, all for the same notes.
        f1: sums `(..., C)` -> the score `(...)`.
        margin: the loss below which A counts as good as B.
        groups: `(notes,)` patient of each note.
        seed: of the resampling.
        resamples: number of resamples; without any there are neither interval nor tests.
    """
    index = group_index(groups, len(pairs[0][0]))
    drawn = [
        np.stack([f1(weights @ a) - f1(weights @ b) for a, b in pairs], axis=-1)
        for weights in resample_weights(index, seed, resamples)
    ]
    samples = np.concatenate(drawn)  # (1 + resamples, trainings)
    if np.isnan(samples[0]).any():
        return Pooled(
            difference=Estimate(value=None, note="undefined: no note of any symptom"), margin=margin
        )
    kept = samples[1:][~np.isnan(samples[1:]).any(axis=1)]
    shared = shared_variance(kept) if len(kept) > 1 else None
    return pool(samples[0], shared, patients=int(index.max()) + 1, margin=margin)


def shared_variance(samples: Floats) -> float:
    """Return the variance that notes give the mean of `(resamples, trainings)`; at least 0.

    The mean covariance of two trainings, or the variance of the only one.
    """
    covariance = np.atleast_2d(np.cov(samples, rowvar=False))
    trainings = len(covariance)
    if trainings == 1:
        return float(covariance[0, 0])
    apart = covariance[~np.eye(trainings, dtype=bool)]
    return max(0.0, float(apart.mean()))


def mcnemar(right_a: NDArray[np.bool_], right_b: NDArray[np.bool_]) -> float | None:
    """Return the two-sided p-value of McNemar's exact test: which answers, of any shape, A and B have right.

    Of the answers that only one of the two has right, half would be A's if they were alike (McNemar 1947;
    exact binomial). Every answer counts as independent, though those of one note, and of one patient, are
    not: with several of either the test is too easily convinced. `paired_difference` is not.

    Returns:
        1 where both have the same answers right; None where there is no answer.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    if right_a.size == 0:
        return None
    with of_extra("train", "scipy"):
        from scipy.stats import binomtest
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def macro_f1(totals: Floats) -> Floats:
    """Return the mean F1 over the symptoms from weighted sums `(..., 3K)` of `outcome_counts`."""
    return mean_of_defined(precision_recall_f1(totals)[2])


def _swapped_differences(
    counts_a: Floats,
    counts_b: Floats,
    index: NDArray[np.int64],
    f1: Callable[[Floats], Floats],
    *,
    seed: int,
    resamples: int,
) -> Floats:
    """Return `(resamples,)` differences of F1 after swapping A and B for a random half of the groups."""
    group_count = int(index.max()) + 1
    change = np.zeros((group_count, counts_a.shape[1]))  # what a swap moves from B to A, by group
    np.add.at(change, index, counts_b - counts_a)
    total_a, total_b = counts_a.sum(axis=0), counts_b.sum(axis=0)
    generator = np.random.default_rng([seed, 1])  # not the stream of the bootstrap
    rows = max(1, _CHUNK_CELLS // group_count)
    differences = []
    for start in range(0, resamples, rows):
        swaps = generator.random((min(rows, resamples - start), group_count)) < 0.5
        moved = swaps.astype(np.float64) @ change
        differences.append(f1(total_a + moved) - f1(total_b - moved))
    return np.concatenate(differences)


def checked_scores(probabilities: ArrayLike, truth: NDArray[np.bool_]) -> Floats:
    """Return the probabilities `(notes, K)` as float64, once they are known to fit `truth`.

    Raises:
        SympressError: a probability is not a finite number.
    """
    scores = np.asarray(probabilities, dtype=np.float64).reshape(-1, truth.shape[1])
    if scores.shape != truth.shape:
        raise ValueError(f"probabilities are {scores.shape}, labels are {truth.shape}")
    if not np.isfinite(scores).all():
        raise SympressError(
            f"{int((~np.isfinite(scores)).any(axis=1).sum())} notes got a probability that is no number: "
            "the model diverged in training; lower the learning rate and train again"
        )
    return scores


def group_index(groups: ArrayLike | Sequence[str | None] | None, notes: int) -> NDArray[np.int64]:
    """Return `(notes,)` the number of each note's group, from 0; a null group holds its note only."""
    if groups is None:
        return np.arange(notes)
    names = np.asarray(groups, dtype=object)
    if names.shape != (notes,):
        raise ValueError(f"groups are {names.shape}, there are {notes} notes")
    numbers: dict[Hashable, int] = {}
    keys = ((row,) if name is None else name for row, name in enumerate(names.tolist()))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def resample_weights(groups: NDArray[np.int64], seed: int, resamples: int) -> Iterator[NDArray[np.int32]]:
    """Yield weights `(resamples of the chunk, notes)`; the first chunk is one row of ones.

    Fewer than two groups leave nothing to resample: then that row is all there is.
    """
    yield np.ones((1, len(groups)), dtype=np.int32)
    group_count = int(groups.max(initial=-1)) + 1
    if group_count < 2:
        return
    generator = np.random.default_rng(seed)
    rows = max(1, _CHUNK_CELLS // len(groups))
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        drawn = generator.integers(group_count, size=(size, group_count))
        drawn += np.arange(size)[:, None] * group_count
        drawn_times = np.bincount(drawn.ravel(), minlength=size * group_count).reshape(size, group_count)
        yield drawn_times.astype(np.int32)[:, groups]


@dataclass(frozen=True)
class Bootstrap:
    """What is drawn: the same resamples for every figure.

    Attributes:
        index: `(notes,)` the number of each note's patient.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.
    """

    index: NDArray[np.int64]
    seed: int
    resamples: int

    @classmethod
    def of(
        cls, patients: ArrayLike | Sequence[str | None] | None, notes: int, seed: int, resamples: int
    ) -> Self:
        """Return the bootstrap over patients; a note without one, or each if None, is by itself."""
        return cls(group_index(patients, notes), seed, resamples)

    def sums(self, counts: Floats, members: NDArray[np.bool_] | None = None) -> Floats:
        """Sums over notes `(1 + resamples, C)` of counts `(notes, C)`, the first of them over all notes.

        Args:
            counts: of each note.
            members: `(notes,)` which notes count; None for all.
        """
        rows = slice(None) if members is None else members
        drawn = resample_weights(self.index, self.seed, self.resamples)
        return np.concatenate([weights[:, rows].astype(np.float64) @ counts[rows] for weights in drawn])


def outcome_counts(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Floats:
    """Return `(notes, 3K)`: of each note and symptom whether it is a true positive, predicted, true.

    A weighted sum over notes is a matrix product: `weights @ outcome_counts(...)`.
    """
    return np.concatenate([predicted & truth, predicted, truth], axis=1).astype(np.float64)


def precision_recall_f1(totals: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and F1 from weighted sums `(..., 3K)` of `outcome_counts`, each `(..., K)`.

    NaN where the symptom has no note; precision 0 where it has one but nothing was predicted.
    """
    hits, predicted, true = np.split(totals, 3, axis=-1)
    defined = np.where(true > 0, true, np.nan)
    precision = np.where(true > 0, hits / np.maximum(predicted, 1), np.nan)
    return precision, hits / defined, 2 * hits / (predicted + defined)


def micro_f1(totals: Floats) -> Floats:
    """Return the F1 of all symptoms together from weighted sums `(..., 3K)` of `outcome_counts`."""
    pooled = np.stack([part.sum(axis=-1) for part in np.split(totals, 3, axis=-1)], axis=-1)
    return precision_recall_f1(pooled)[2][..., 0]


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the last axis without its NaNs; NaN where there is nothing else."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def estimate(samples: Floats, note: str | None = None) -> Estimate:
    """Return the estimate of `(1 + resamples,)` values, the first of which is the point estimate.

    `note` is kept; an undefined value needs one that says why.
    """
    if np.isnan(samples[0]):
        return Estimate(value=None, note=note)
    drawn = samples[1:][~np.isnan(samples[1:])]
    if drawn.size == 0:
        return Estimate(value=float(samples[0]), note=note)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Estimate(value=float(samples[0]), low=float(low), high=float(high), note=note)
