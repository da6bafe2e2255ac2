import itertools

import numpy as np
import pytest

from sympress.evaluation.quality import score_quality
from sympress.evaluation.significance import paired_difference
from sympress.report.claims import holm


def noisy(classes: np.ndarray, wrong: float, seed: int) -> np.ndarray:
    """One-hot predictions of which a share is drawn at random."""
    random = np.random.default_rng(seed)
    drawn = np.where(random.random(len(classes)) < wrong, random.integers(3, size=len(classes)), classes)
    return np.eye(3)[drawn]


def compare_topic(a: np.ndarray, b: np.ndarray, classes: np.ndarray, **how: object):
    places = np.arange(a.shape[1])
    answers = (one.argmax(axis=1)[:, None] == places for one in (a, b))
    return paired_difference(*answers, classes[:, None] == places, **how)


def f1_of_topic(scores: np.ndarray, classes: np.ndarray) -> float:
    names = list("abc")[: scores.shape[1]]
    truth = np.eye(len(names))[classes]
    return score_quality("topic", scores, truth, names, resamples=0).f1.value or 0.0


CLASSES = np.random.default_rng(0).integers(3, size=600)


def test_alike_classifiers_do_not_differ() -> None:
    scores = noisy(CLASSES, 0.3, 1)
    difference, p_value = compare_topic(scores, scores, CLASSES)
    assert (difference.value, difference.low, difference.high, p_value) == (0, 0, 0, 1)


def test_a_clear_difference_is_significant_and_changes_its_sign_when_swapped() -> None:
    good, poor = noisy(CLASSES, 0.1, 1), noisy(CLASSES, 0.4, 2)
    difference, p_value = compare_topic(good, poor, CLASSES, seed=5)
    f1 = [f1_of_topic(scores, CLASSES) for scores in (good, poor)]
    assert difference.value == pytest.approx(f1[0] - f1[1])
    assert difference.low is not None
    assert 0 < difference.low < difference.value
    assert p_value == pytest.approx(1 / 1001)
    back, same = compare_topic(poor, good, CLASSES, seed=5)
    assert (back.value, back.low, back.high) == pytest.approx(
        (-difference.value, -difference.high, -difference.low)
    )
    assert same == p_value


def test_the_p_value_is_that_of_all_swaps() -> None:
    # Six notes: all 64 swaps can be written down.
    classes = np.array([0, 1, 0, 1, 0, 1])
    right, wrong = np.eye(2)[classes], np.eye(2)[[0, 1, 1, 0, 0, 0]]

    def f1(scores: np.ndarray) -> float:
        return f1_of_topic(scores, classes)

    observed = f1(right) - f1(wrong)
    extreme = []
    for swap in itertools.product([False, True], repeat=6):
        a, b = (np.where(np.array(swap)[:, None], *pair) for pair in ((wrong, right), (right, wrong)))
        extreme.append(abs(f1(a) - f1(b)) >= observed - 1e-12)
    _, p_value = compare_topic(right, wrong, classes, resamples=20_000)
    assert p_value == pytest.approx(np.mean(extreme), abs=0.015)


def test_under_no_difference_p_values_are_spread_evenly() -> None:
    p_values = []
    for seed in range(200):
        classes = np.random.default_rng(seed).integers(3, size=120)
        a, b = noisy(classes, 0.3, seed + 1000), noisy(classes, 0.3, seed + 2000)
        p_values.append(compare_topic(a, b, classes, seed=seed, resamples=200)[1])
    assert 0.01 <= np.mean(np.array(p_values) <= 0.05) <= 0.10
    assert 0.35 <= np.mean(np.array(p_values) <= 0.5) <= 0.65


def test_copies_of_a_note_within_a_patient_are_no_evidence() -> None:
    few = CLASSES[:40]
    a, b = noisy(few, 0.2, 1), noisy(few, 0.5, 2)
    alone, p_alone = compare_topic(a, b, few)
    copied, p_copied = compare_topic(
        np.repeat(a, 8, axis=0),
        np.repeat(b, 8, axis=0),
        np.repeat(few, 8),
        groups=np.repeat(np.arange(40), 8),
    )
    assert p_copied == p_alone
    assert (copied.value, copied.low, copied.high) == pytest.approx((alone.value, alone.low, alone.high))


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_the_difference_is_that_of_the_f1s(average: str) -> None:
    random = np.random.default_rng(0)
    targets = random.random((500, 3)) < [0.4, 0.2, 0.05]
    a = np.clip(0.5 * targets + random.random((500, 3)) * 0.6, 0, 1)
    b = a / 2
    cuts = np.full(3, 0.5)
    same, p_value = paired_difference(a >= cuts, b >= cuts / 2, targets, average=average)  # type: ignore[arg-type]
    assert (same.value, p_value) == (0, 1)
    lost, p_value = paired_difference(a >= cuts, b >= cuts, targets, average=average)  # type: ignore[arg-type]
    qualities = [score_quality("present", one, targets, list("abc"), resamples=0) for one in (a, b)]
    pair = [q.f1.value if average == "macro" else q.micro_f1.value for q in qualities]  # type: ignore[union-attr]
    assert lost.value == pytest.approx(pair[0] - pair[1])
    assert p_value is not None
    assert p_value < 0.01


@pytest.mark.parametrize("notes", [0, 4])
def test_nothing_to_compare_is_undefined(notes: int) -> None:
    empty = np.zeros((notes, 2), dtype=bool)
    difference, p_value = paired_difference(empty, empty, empty)
    assert (difference.value, difference.note, p_value) == (None, "undefined: no note of any symptom", None)


def test_holm_by_hand() -> None:
    # sorted: .01 x 4, .02 x 3, .03 x 2 = .06 (not below the one before), .6 x 1
    assert holm([0.02, 0.6, None, 0.01, 0.03]) == pytest.approx([0.06, 0.6, None, 0.04, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
