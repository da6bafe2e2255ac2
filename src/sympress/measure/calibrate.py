"""Make a model's probabilities mean what they say, by two numbers a symptom, from validation notes only.

`present`: Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines"), sigmoid(a·z + b)
of a logit z. Platt guards a symptom with few notes by moving its targets; here each symptom is shrunk
towards the line that fits all symptoms together instead: the estimate is the mode under normal priors. `a` is
fitted as exp(α) and so is positive: notes keep their order, the AUROC is the same, and thresholds move along
without any answer changing.

`topic`: one temperature (Guo et al. 2017, "On calibration of modern neural networks", section 4.2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.errors import MissingExtraError

Floats = NDArray[np.float64]

#: Standard deviations of log a and b: of all symptoms together around 0, of one symptom around all. The
#: second decides how many notes a symptom needs to leave the others: with 5 positives b moves about halfway.
_TOGETHER = (1.0, 2.0)
_ONE = (0.5, 0.5)


def fit_platt(logits: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    """Return `(a, b)`, each `(K,)`: sigmoid(a·z + b) is the probability of a logit z; every `a` is positive.

    Args:
        logits: `(notes, K)` on validation notes, never on test notes.
        targets: `(notes, K)` 0 or 1.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    scores, truth = _checked(logits, targets)
    if len(scores) == 0:
        return np.ones(scores.shape[1]), np.zeros(scores.shape[1])
    together = _fit_line(scores.ravel(), truth.ravel(), np.zeros(2), _TOGETHER)
    fitted = np.array(
        [_fit_line(scores[:, k], truth[:, k], together, _ONE) for k in range(scores.shape[1])]
    ).reshape(-1, 2)
    return np.exp(fitted[:, 0]), fitted[:, 1]


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T > 0 by which logits `(notes, K)` of a topic are divided; 1 without notes.

    Args:
        logits: `(notes, K)` on validation notes, never on test notes.
        targets: `(notes, K)` one-hot.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        from scipy.optimize import minimize_scalar
    except ImportError as error:
        raise MissingExtraError("train", "scipy") from error
    scores, truth = _checked(logits, targets)
    if len(scores) == 0:
        return 1.0

    def loss(log_slope: float) -> float:
        moved = np.exp(log_slope) * scores
        top = moved.max(axis=1, keepdims=True)
        normal = np.log(np.exp(moved - top).sum(axis=1)) + top[:, 0]
        return float((normal - (moved * truth).sum(axis=1)).sum() + (log_slope / _TOGETHER[0]) ** 2 / 2)

    return float(np.exp(-minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def _fit_line(scores: Floats, truth: Floats, centre: Floats, spread: tuple[float, float]) -> Floats:
    """Return `(log a, b)` with the smallest log loss plus the penalty of leaving `centre`."""
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise MissingExtraError("train", "scipy") from error
    widths = np.square(spread)

    def loss(line: Floats) -> tuple[float, Floats]:
        slope = np.exp(line[0])
        moved = slope * scores + line[1]
        wrong = 1 / (1 + np.exp(-np.clip(moved, -700, 700))) - truth
        away = line - centre
        value = (np.logaddexp(0, moved) - truth * moved).sum() + (away**2 / widths).sum() / 2
        return float(value), np.array([slope * (wrong * scores).sum(), wrong.sum()]) + away / widths

    bounds = [(-5.0, 5.0), (-50.0, 50.0)]  # e⁻⁵ to e⁵: a line stays a line in float64
    found = minimize(loss, np.clip(centre, -5, 5), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, dtype=np.float64)


def _checked(logits: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"logits are {scores.shape}, targets are {truth.shape}: both are (notes, K)")
    return scores, truth
