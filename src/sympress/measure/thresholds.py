"""The probability from which a symptom counts as present, chosen on validation data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def choose_thresholds(probabilities: ArrayLike, targets: ArrayLike) -> NDArray[np.float64]:
    """Return for each symptom the threshold with the best F1; `probability >= threshold` is present.

    A threshold lies in the middle between the lowest probability it lets in and the next one below (0 below
    the last). Of several with the same F1 the lowest is taken: a missed symptom is worse than one too many.
    A symptom without a positive note gets 0.5.

    Args:
        probabilities: `(notes, K)` on validation data, never on the test set.
        targets: `(notes, K)` 0 or 1.

    Returns:
        `(K,)` float64.
    """
    scores = np.asarray(probabilities, dtype=np.float64)
    truth = np.asarray(targets).astype(bool)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"probabilities are {scores.shape}, targets are {truth.shape}: both are (notes, K)")
    notes, symptom_count = scores.shape
    if notes == 0:
        return np.full(symptom_count, 0.5)
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)  # (notes, K), falling
    hits = np.cumsum(np.take_along_axis(truth, order, axis=0), axis=0)
    support = hits[-1]
    predicted = np.arange(1, notes + 1)[:, None]
    f1 = 2 * hits / (predicted + support)
    following = np.concatenate([ranked[1:], np.zeros((1, symptom_count))])
    # A cut between equal probabilities does not exist.
    f1[:-1][ranked[:-1] == ranked[1:]] = -1.0
    last_best = notes - 1 - np.argmax(f1[::-1], axis=0)
    upper = np.take_along_axis(ranked, last_best[None], axis=0)[0]
    lower = np.take_along_axis(following, last_best[None], axis=0)[0]
    middle = (lower + upper) / 2
    # Between two neighbouring floats there is no middle: it would let the lower one in.
    return np.where(support > 0, np.where(middle > lower, middle, upper), 0.5)
