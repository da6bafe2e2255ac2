"""The probabilities from which symptoms count as present, chosen on validation data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Rounds of coordinate ascent; it ends sooner once no threshold moves, which took 2 to 4 on VAERS.
ROUNDS = 20
#: How much a note's label counts beside what the calibrated model expects of that note.
TRUST = 0.75


def choose_thresholds(
    probabilities: ArrayLike, targets: ArrayLike, expected: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return one threshold a symptom that together raise micro- plus macro-F1; at or above it is present.

    Each symptom's best own F1 is the start; then one threshold after the other moves to where the sum of
    micro- and macro-F1 over all symptoms is largest, the others as they are, until none moves. The own F1
    alone lets a symptom that is hard to tell in at a very low probability: on VAERS reports that costs the
    other symptoms 4 points of micro-F1 on notes that did not choose, and leaves the choice to chance.

    With `expected` a note is right by `TRUST` of its label and by the rest of its calibrated probability.
    A symptom that few validation notes have is then cut less by where those few happen to lie. (Expected
    F1 alone is the decision-theoretic approach of Ye et al. 2012, "Optimizing F-measures: a tale of two
    approaches"; labels alone are the empirical one.) Measured in docs/clinical.md.

    A threshold lies in the middle between the lowest probability it lets in and the next one below (0 below
    the last). Of several that are equally good the lowest is taken: a missed symptom is worse than one too
    many. A symptom without a positive note gets 0.5 and counts in neither average.

    Args:
        probabilities: `(notes, K)` on validation data, never on the test set.
        targets: `(notes, K)` 0 or 1.
        expected: `(notes, K)` calibrated probabilities of the same notes; None takes the labels alone.

    Returns:
        `(K,)` float64.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets).astype(bool)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"probabilities are {scores.shape}, targets are {truth.shape}: both are (notes, K)")
    notes, symptom_count = scores.shape
    thresholds = np.full(symptom_count, 0.5)
    present = np.flatnonzero(truth.any(axis=0))
    if notes == 0 or len(present) == 0:
        return thresholds
    worth = truth.astype(np.float64)
    if expected is not None:
        worth = TRUST * worth + (1 - TRUST) * np.asarray(expected, dtype=np.float64)
    scores, worth = scores[:, present], worth[:, present]
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)  # (notes, K), falling
    hits = np.cumsum(np.take_along_axis(worth, order, axis=0), axis=0)
    exists = np.ones(ranked.shape, dtype=bool)
    exists[:-1] = ranked[:-1] != ranked[1:]  # a cut between equal probabilities does not exist
    cuts = _ascend(hits, worth.sum(axis=0), exists)
    columns = np.arange(len(present))
    upper = ranked[cuts, columns]
    following = np.concatenate([ranked[1:], np.zeros((1, len(present)))])
    lower = following[cuts, columns]
    middle = (lower + upper) / 2
    # Between two neighbouring floats there is no middle: it would let the lower one in.
    thresholds[present] = np.where(middle > lower, middle, upper)
    return thresholds


def _ascend(
    hits: NDArray[np.float64], support: NDArray[np.float64], exists: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many notes each symptom lets in, less one, `(K,)`.

    Args:
        hits: `(notes, K)`, what the first, the first two, … notes by falling probability are worth.
        support: `(K,)`, what all notes are worth.
        exists: `(notes, K)`, whether a cut can lie behind that note.
    """
    notes, symptom_count = hits.shape
    found = np.arange(1, notes + 1)
    own = np.where(exists, 2 * hits / (found[:, None] + support), -1.0)
    cuts = np.array([_last_best(own[:, column]) for column in range(symptom_count)])
    columns = np.arange(symptom_count)
    for _ in range(ROUNDS):
        before = cuts.copy()
        for column in columns:
            others = columns != column
            right = hits[cuts[others], columns[others]].sum() + hits[:, column]
            answered = (cuts[others] + 1).sum() + found
            micro = 2 * right / (answered + support.sum())
            total = np.where(exists[:, column], micro + own[:, column] / symptom_count, -1.0)
            cuts[column] = _last_best(total)
        if (cuts == before).all():
            break
    return cuts


def _last_best(values: NDArray[np.float64]) -> int:
    """The last position of the largest value: the lowest threshold of those that are equally good."""
    return len(values) - 1 - int(np.argmax(values[::-1]))
