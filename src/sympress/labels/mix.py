"""Mixing labels of several origins, each with a weight: silver, coded and gold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.labels.labelset import LabelSet, Provenance

#: The most trusted first: people who marked spans, people who coded the note, rules.
TRUST: tuple[Provenance, ...] = ("gold", "coded", "silver")


@dataclass(frozen=True)
class WeightedLabels:
    """Labels with a weight for each note.

    Attributes:
        labels: the labels of all notes; its provenance is that of the least trusted note in it.
        weights: `(notes,)` float32, above 0: what a note's loss is multiplied by.
        provenances: `(notes,)` where the labels of each note come from.
    """

    labels: LabelSet
    weights: NDArray[np.float32]
    provenances: tuple[Provenance, ...]


def mix_labels(mixture: Sequence[tuple[LabelSet, float]]) -> WeightedLabels:
    """Return one set of labels, each note with the weight of the set that labels it.

    A note that stands in several sets takes the labels and the weight of the most trusted (gold, then coded,
    then silver), of two such the first given; `counts` says how often. Notes are in the order of the sets.
    The symptoms may be ordered differently; the first set's order holds.

    Args:
        mixture: label sets, each with the weight of its notes.

    Raises:
        InputError: no set, a weight that is not above 0, sets of different tasks or symptoms, a note that
            stands twice in one set.
    """
    if not mixture:
        raise InputError("no labels to mix: give at least one set")
    first = mixture[0][0]
    for number, (labels, weight) in enumerate(mixture, start=1):
        _check_set(labels, weight, first, number)
    owners, doubles = _owners([labels for labels, _ in mixture])
    rows = [
        (number, row)
        for number, (labels, _) in enumerate(mixture)
        for row, note_id in enumerate(labels.note_ids)
        if owners[note_id] == number
    ]
    aligned = [_aligned(labels, first.symptoms) for labels, _ in mixture]
    targets = np.array([aligned[number][row] for number, row in rows], dtype=np.uint8)
    provenances = tuple(mixture[number][0].provenance for number, _ in rows)
    used = [entry for number, entry in enumerate(mixture) if any(owner == number for owner, _ in rows)]
    labels = LabelSet(
        first.task,
        first.symptoms,
        tuple(mixture[number][0].note_ids[row] for number, row in rows),
        targets.reshape(len(rows), len(first.symptoms)),
        max(provenances, key=TRUST.index) if provenances else first.provenance,
        " + ".join(f"{weight:g} × {entry.provenance} ({entry.rule})" for entry, weight in used),
        {"notes": len(rows)} | {f"labels {name}": n for name, n in Counter(provenances).items()} | doubles,
    )
    return WeightedLabels(
        labels, np.array([mixture[number][1] for number, _ in rows], dtype=np.float32), provenances
    )


def _check_set(labels: LabelSet, weight: float, first: LabelSet, number: int) -> None:
    if not (isfinite(weight) and weight > 0):
        raise InputError(f"label set {number}: the weight is {weight:g}; give a number above 0")
    if labels.task != first.task:
        raise InputError(
            f"label set {number} is of task {labels.task!r}, the first of {first.task!r}: mix one task only"
        )
    if set(labels.symptoms) != set(first.symptoms):
        only = sorted(set(labels.symptoms) ^ set(first.symptoms))
        shown = ", ".join(only[:5]) + (" …" if len(only) > 5 else "")
        raise InputError(
            f"label set {number} and the first have different symptoms ({shown}): "
            "label both with the same `symptoms`"
        )
    note_id, times = max(Counter(labels.note_ids).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise InputError(f"label set {number}: note {note_id!r} stands there {times} times; keep one")


def _owners(sets: list[LabelSet]) -> tuple[dict[str, int], dict[str, int]]:
    """Return which set labels each note, and how often a set gave way to another."""
    owners: dict[str, int] = {}
    doubles: Counter[str] = Counter()
    for number in sorted(range(len(sets)), key=lambda number: TRUST.index(sets[number].provenance)):
        for note_id in sets[number].note_ids:
            owner = owners.setdefault(note_id, number)
            if owner != number:
                doubles[f"{sets[number].provenance} labels replaced by {sets[owner].provenance}"] += 1
    return owners, dict(doubles)


def _aligned(labels: LabelSet, symptoms: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the targets with their columns in the order of `symptoms`."""
    return labels.targets[:, [labels.symptoms.index(symptom) for symptom in symptoms]]
