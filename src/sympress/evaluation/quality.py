"""Quality of a classifier on labelled notes, of groups of them, and what compression changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.evaluation.significance import (
    Floats,
    checked_scores,
    estimate,
    group_index,
    mean_of_defined,
    micro_f1,
    outcome_counts,
    precision_recall_f1,
    resample_weights,
)
from sympress.labels.task import task_of
from sympress.results import (
    Changes,
    Estimate,
    GroupChange,
    GroupGap,
    GroupQuality,
    Quality,
    SymptomChange,
    SymptomQuality,
)

# Quality of a classifier on labelled notes, with 95 % intervals from a bootstrap over patients.
#
# Where a metric is not defined its value is null, never 0: everything of a symptom without a note, an AUROC
# where every note has the symptom. Macro averages are over the symptoms for which the metric is defined,
# and say how many were left out. Precision where nothing was predicted is 0, as scikit-learn has it, as
# long as the symptom has a note. A resample in which a metric is undefined does not enter its interval.


_MACRO = ("precision", "recall", "f1", "auroc")


def score_quality(
    task: str,
    probabilities: ArrayLike,
    targets: ArrayLike,
    symptoms: Sequence[str],
    *,
    thresholds: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Quality:
    """Return the quality of a classifier of whole notes.

    For `topic` the most probable symptom is predicted, of equal ones the first. For `present` a symptom is
    predicted at or above its threshold; `accuracy` is subset accuracy: the share of notes whose whole set of
    symptoms is right, as in scikit-learn; `average_precision` is the macro average.

    Args:
        task: `topic` or `present`.
        probabilities: `(notes, K)`.
        targets: `(notes, K)` 0 or 1.
        symptoms: the K names.
        thresholds: `(K,)`, chosen on validation data; of `present`, 0.5 where not given.
        groups: `(notes,)` patient of each note; null for a note, or in all, makes the note its own group.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.

    Raises:
        SympressError: a probability is not a finite number.
    """
    exclusive, cuts = task_of(task).exclusive, None
    truth = np.asarray(targets).astype(bool).reshape(-1, len(symptoms))
    scores = checked_scores(probabilities, truth)
    if not exclusive:
        cuts = np.full(len(symptoms), 0.5) if thresholds is None else np.asarray(thresholds, dtype=np.float64)
    predicted = task_of(task).affirmed(scores, cuts)
    samples = _sample(
        scores, predicted, truth, groups=groups, seed=seed, resamples=resamples, multi_label=not exclusive
    )
    return _quality(samples, truth, symptoms, cuts)


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
    multi_label: bool,
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
    thresholds: Floats | None,
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
                average_precision=estimate(samples["average_precision"][:, k], missing)
                if "average_precision" in samples
                else None,
                **{name: estimate(samples[name][:, k], reasons[name]) for name in _MACRO},
            )
        )
    return Quality(**summary, per_symptom=rows)


def _macro(samples: Floats, nothing: str) -> Estimate:
    """Return the macro average over the symptoms for which the metric is defined on all notes."""
    defined = ~np.isnan(samples[0])
    if not defined.any():
        return Estimate(value=None, note=nothing)
    left_out = int((~defined).sum())
    note = f"over {defined.sum()} of {len(defined)} symptoms: undefined for {left_out}" if left_out else None
    return estimate(mean_of_defined(samples[:, defined]), note)


# What compression changed beyond the average: answers that flipped, by symptom and by group of notes.


Answers = NDArray[np.bool_]


def describe_changes(
    ours: Answers,
    theirs: Answers,
    truth: Answers,
    symptoms: Sequence[str],
    groups: Mapping[str, NDArray[np.bool_]],
) -> Changes:
    """Compare the answers of a compressed model with the baseline's on the same notes.

    Args:
        ours: `(notes, K)`, what the compressed model finds present.
        theirs: `(notes, K)`, what the baseline finds.
        truth: `(notes, K)`, what is.
        symptoms: names of the K symptoms.
        groups: name of a group -> `(notes,)`, which notes belong to it.
    """
    flipped = ours != theirs
    return Changes(
        notes=len(truth),
        flipped_notes=int(flipped.any(axis=1).sum()),
        flipped_answers=int(flipped.sum()),
        corrected=int((flipped & (ours == truth)).sum()),
        spoiled=int((flipped & (theirs == truth)).sum()),
        per_symptom=[
            SymptomChange(
                symptom=symptom,
                flipped=int(flipped[:, column].sum()),
                f1=f1_of(ours[:, column], truth[:, column]),
                baseline_f1=f1_of(theirs[:, column], truth[:, column]),
            )
            for column, symptom in enumerate(symptoms)
        ],
        per_group=[
            GroupChange(
                group=name,
                notes=int(rows.sum()),
                flipped_notes=int(flipped[rows].any(axis=1).sum()),
                f1=f1_of(ours[rows], truth[rows]),
                baseline_f1=f1_of(theirs[rows], truth[rows]),
            )
            for name, rows in groups.items()
            if rows.any()
        ],
    )


def f1_of(found: Answers, truth: Answers) -> float | None:
    """F1 over all answers together (micro); None where nothing is present and nothing is found."""
    wanted = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / wanted if wanted else None


#: First year of each band of age, and its name.
AGE_BANDS = ((0.0, "under 2"), (2.0, "2 to 17"), (18.0, "18 to 64"), (65.0, "65 and over"))


def age_band(years: float) -> str:
    """Return the name of the band of an age in years."""
    return next((name for start, name in reversed(AGE_BANDS) if years >= start), AGE_BANDS[0][1])


def note_groups(
    sex: Sequence[str | None], age_years: Sequence[float | None], category: Sequence[str | None]
) -> dict[str, NDArray[np.bool_]]:
    """Groups of notes by sex, band of age and category, as far as the notes say them; names sorted.

    Notes without a sex or an age are a group too where others have one. Categories that hold fewer than
    20 notes are left out: a figure of so few says nothing.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for value in sorted({value for value in sex if value}):
        found[f"sex {value}"] = np.array([each == value for each in sex])
    found |= _not_given("sex", np.array([not value for value in sex], dtype=bool))
    ages = np.array([np.nan if age is None else age for age in age_years], dtype=np.float64)
    borders = [start for start, _ in AGE_BANDS] + [np.inf]
    for (start, name), end in zip(AGE_BANDS, borders[1:], strict=True):
        rows = (ages >= start) & (ages < end)
        if rows.any():
            found[f"age {name}"] = rows
    found |= _not_given("age", np.isnan(ages))
    for value in sorted({value for value in category if value}):
        rows = np.array([each == value for each in category])
        if rows.sum() >= 20 and not rows.all():
            found[f"category {value}"] = rows
    return found


def _not_given(kind: str, rows: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """The group of notes that do not say it, where some do not and some do."""
    return {f"{kind} not given": rows} if rows.any() and not rows.all() else {}


# Micro-F1 by sex, band of age and category of the notes, and the largest gap between groups.


By = Literal["sex", "age", "category"]
#: A group with fewer true answers gets no F1: of 20 answers one is worth 5 points of recall.
LEAST_POSITIVES = 20


def score_groups(
    predicted: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    patients: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[list[GroupQuality], list[GroupGap]]:
    """Return micro-F1 of each group, and of each kind of group the largest gap; patients are resampled.

    A group with fewer than `LEAST_POSITIVES` true answers is counted and gets no F1. The two groups of a
    gap are those that are furthest apart on these very notes: some gap is always found, so that its
    interval says less than that of a difference named beforehand.

    Args:
        predicted: `(notes, K)`, what is answered.
        truth: `(notes, K)`, what is.
        groups: as `evaluation.quality.note_groups` names them, e.g. `sex F`, and the notes of each.
        patients: `(notes,)` patient of each note.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.
    """
    counts = outcome_counts(predicted, truth).reshape(len(truth), 3, truth.shape[1]).sum(axis=2)
    positives = {name: int(truth[rows].sum()) for name, rows in groups.items()}
    enough = [name for name in groups if positives[name] >= LEAST_POSITIVES]
    samples = _samples(counts, {name: groups[name] for name in enough}, patients, seed, resamples)
    few = f"undefined: fewer than {LEAST_POSITIVES} true answers"
    rows = [
        GroupQuality(
            by=_kind(name),
            group=name,
            notes=int(members.sum()),
            positives=positives[name],
            f1=estimate(samples[name]) if name in samples else Estimate(value=None, note=few),
        )
        for name, members in groups.items()
    ]
    return rows, _gaps(samples)


def _kind(name: str) -> By:
    return cast("By", name.split(" ", 1)[0])


def _samples(
    counts: Floats,
    groups: Mapping[str, NDArray[np.bool_]],
    patients: ArrayLike | None,
    seed: int,
    resamples: int,
) -> dict[str, Floats]:
    """Micro-F1 of each group on all notes and on each resample, `(1 + resamples,)`."""
    parts: dict[str, list[Floats]] = {name: [] for name in groups}
    for weights in resample_weights(group_index(patients, len(counts)), seed, resamples):
        wide = weights.astype(np.float64)
        for name, members in groups.items():
            parts[name].append(micro_f1(wide[:, members] @ counts[members]))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _gaps(samples: Mapping[str, Floats]) -> list[GroupGap]:
    gaps = []
    for kind, names in groupby(samples, key=_kind):
        ranked = sorted(names, key=lambda name: samples[name][0])
        if len(ranked) > 1:
            worst, best = ranked[0], ranked[-1]
            difference = estimate(samples[best] - samples[worst])
            gaps.append(GroupGap(by=kind, best=best, worst=worst, difference=difference))
    return gaps
