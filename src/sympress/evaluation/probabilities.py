"""Thresholds and calibration from validation notes, and how far probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.errors import of_extra
from sympress.evaluation.significance import Bootstrap, Floats, checked_scores, estimate
from sympress.labels.task import task_of
from sympress.results import CalibrationQuality, ReliabilityBin, SymptomCalibration

# The probabilities from which symptoms count as present, chosen on validation data.


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
    approaches"; labels alone are the empirical one.) Measured in docs/results/clinical.md.

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


# Make a model's probabilities mean what they say, by two numbers a symptom, from validation notes only.
#
# `present`: Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines"), sigmoid(a·z +
# b) of a logit z. Platt guards a symptom with few notes by moving its targets; here each symptom is shrunk
# towards the line that fits all symptoms together instead: the estimate is the mode under normal priors.
# `a` is fitted as exp(α) and so is positive: notes keep their order, the AUROC is the same, and thresholds
# move along without any answer changing.
#
# `topic`: one temperature (Guo et al. 2017, "On calibration of modern neural networks", section 4.2).


#: Standard deviations of log a, b and further weights: of all symptoms together around 0, of one symptom
#: around all. The second decides how many notes a symptom needs to leave the others: with 5 positives b moves
#: about halfway.
_TOGETHER = (1.0, 2.0, 2.0)
_ONE = (0.5, 0.5, 0.5)


def fit_platt(logits: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    """Return `(a, b)`, each `(K,)`: sigmoid(a·z + b) is the probability of a logit z; every `a` is positive.

    Args:
        logits: `(notes, K)` on validation notes, never on test notes.
        targets: `(notes, K)` 0 or 1.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    scores, truth = _checked(logits, targets)
    fitted = _fit_lines(scores[:, :, None], truth)
    return np.exp(fitted[:, 0]), fitted[:, 1]


def fit_fusion(logits: ArrayLike, signs: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return `a`, `b`, each `(K,)`, and `w` `(K, S)`: sigmoid(a·z + b + w·s) is the probability of a note.

    A logistic regression per symptom on a model's logit z and further signs s, as stacking has it (Wolpert
    1992, "Stacked generalization"), shrunk like `fit_platt`: each symptom towards the line that fits all
    symptoms together, so that a rare one needs few notes. Every `a` is positive.

    Args:
        logits: `(notes, K)` on validation notes, never on test notes.
        signs: `(notes, K, S)`, numbers of the order of 1.
        targets: `(notes, K)` 0 or 1.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    scores, truth = _checked(logits, targets)
    told = np.asarray(signs, dtype=np.float64)
    if told.shape[:2] != scores.shape or told.ndim != 3:
        raise ValueError(f"signs are {told.shape}, logits are {scores.shape}: signs are (notes, K, S)")
    fitted = _fit_lines(np.concatenate([scores[:, :, None], told], axis=2), truth)
    return np.exp(fitted[:, 0]), fitted[:, 1], fitted[:, 2:]


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """Return the temperature T > 0 by which logits `(notes, K)` of a topic are divided; 1 without notes.

    Args:
        logits: `(notes, K)` on validation notes, never on test notes.
        targets: `(notes, K)` one-hot.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    with of_extra("train", "scipy"):
        from scipy.optimize import minimize_scalar
    scores, truth = _checked(logits, targets)
    if len(scores) == 0:
        return 1.0

    def loss(log_slope: float) -> float:
        moved = np.exp(log_slope) * scores
        top = moved.max(axis=1, keepdims=True)
        normal = np.log(np.exp(moved - top).sum(axis=1)) + top[:, 0]
        return float((normal - (moved * truth).sum(axis=1)).sum() + (log_slope / _TOGETHER[0]) ** 2 / 2)

    return float(np.exp(-minimize_scalar(loss, bounds=(-5, 5), method="bounded").x))


def _fit_lines(inputs: Floats, truth: Floats) -> Floats:
    """Return `(K, 1 + inputs)`: log a, b and further weights per symptom, shrunk towards those of all.

    Args:
        inputs: `(notes, K, inputs)`, the logit first.
        truth: `(notes, K)`.
    """
    notes, symptoms, count = inputs.shape
    start = np.zeros(1 + count)
    if notes == 0:
        return np.tile(start, (symptoms, 1))
    together = _fit_line(inputs.reshape(-1, count), truth.ravel(), start, _TOGETHER)
    each = [_fit_line(inputs[:, k], truth[:, k], together, _ONE) for k in range(symptoms)]
    return np.array(each).reshape(-1, 1 + count)


def _fit_line(inputs: Floats, truth: Floats, centre: Floats, spread: tuple[float, float, float]) -> Floats:
    """Return `(log a, b, w …)` with the smallest log loss plus the penalty of leaving `centre`."""
    with of_extra("train", "scipy"):
        from scipy.optimize import minimize
    scores, further = inputs[:, 0], inputs[:, 1:]
    widths = np.square([*spread[:2], *[spread[2]] * further.shape[1]])

    def loss(line: Floats) -> tuple[float, Floats]:
        slope = np.exp(line[0])
        moved = slope * scores + line[1] + further @ line[2:]
        wrong = 1 / (1 + np.exp(-np.clip(moved, -700, 700))) - truth
        away = line - centre
        value = (np.logaddexp(0, moved) - truth * moved).sum() + (away**2 / widths).sum() / 2
        steepness = np.array([slope * (wrong * scores).sum(), wrong.sum(), *(wrong @ further)])
        return float(value), steepness + away / widths

    # e⁻⁵ to e⁵: a line stays a line in float64
    bounds = [(-5.0, 5.0), *[(-50.0, 50.0)] * (1 + further.shape[1])]
    found = minimize(loss, np.clip(centre, -5, 5), jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x, dtype=np.float64)


def _checked(logits: ArrayLike, targets: ArrayLike) -> tuple[Floats, Floats]:
    scores, truth = np.asarray(logits, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    if scores.shape != truth.shape or scores.ndim != 2:
        raise ValueError(f"logits are {scores.shape}, targets are {truth.shape}: both are (notes, K)")
    return scores, truth


# How far probabilities can be taken at their word: calibration error, Brier score, reliability curve.
#
# Bins are settled on all notes; then patients are resampled as everywhere (`evaluation.significance`).
# Resampling adds noise of its own to an absolute difference: the interval of a small calibration error
# leans upward and may begin above the value.


BINS = 10
_WIDTH = np.linspace(0, 1, BINS + 1)


def score_calibration(
    task: str,
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
    totals = _resample(sums, Bootstrap.of(groups, len(truth), seed, resamples))
    reason = None if answers[0].size else "undefined: no notes"
    return CalibrationQuality(
        ece=estimate(_errors(totals["mass"]), reason),
        ece_width=estimate(_errors(totals["width"]), reason),
        brier=estimate(_means(totals["brier"]), reason),
        ece_before=None if before is None else estimate(_errors(totals["mass before"]), reason),
        brier_before=None if before is None else estimate(_means(totals["brier before"]), reason),
        bins=_curve(totals["width"]),
        per_symptom=[] if task_of(task).exclusive else _by_symptom(*answers, symptoms),
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


def _answers(task: str, scores: Floats, truth: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Probability and truth of each answer, `(notes, C)`: C is K, or 1 for a topic."""
    if not task_of(task).exclusive:
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


def _resample(sums: dict[str, Floats], drawn: Bootstrap) -> dict[str, Floats]:
    """Return each of the sums over notes, `(1 + resamples, columns)`, on the same resamples of patients."""
    totals = drawn.sums(np.concatenate(list(sums.values()), axis=1))
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
