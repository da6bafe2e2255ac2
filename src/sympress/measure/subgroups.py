"""Micro-F1 by sex, band of age and category of the notes, and the largest gap between groups."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.measure.significance import (
    Floats,
    estimate,
    group_index,
    micro_f1,
    outcome_counts,
    resample_weights,
)
from sympress.results import Estimate, GroupGap, GroupQuality

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
        groups: as `measure.change.note_groups` names them, e.g. `sex F`, and the notes of each.
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
