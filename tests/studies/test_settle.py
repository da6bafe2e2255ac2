"""A model that answers nearly as its teacher does keeps its thresholds, unless its own do better."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sympress.studies.judge import OperatingPoint, choose_beside_teacher, choose_operating_point

NOTES, SYMPTOMS = 400, 3


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Logits of a teacher, and the truth that they tell with some error."""
    random = np.random.default_rng(seed)
    targets = (random.random((NOTES, SYMPTOMS)) < 0.2).astype(np.uint8)
    return np.where(targets, 1.0, -2.0) + random.normal(0, 1.2, targets.shape), targets


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits))


def f1(operating_point: OperatingPoint, logits: NDArray[np.float64], targets: NDArray[np.uint8]) -> float:
    answers = operating_point.apply("present", probabilities(logits)) >= operating_point.thresholds
    return float(2 * (answers & (targets == 1)).sum() / (answers.sum() + targets.sum()))


def test_rounding_keeps_the_teachers():
    logits, targets = drawn(0)
    rounded = logits + np.random.default_rng(1).normal(0, 0.05, logits.shape)
    teacher = choose_operating_point("present", probabilities(logits), targets)
    kept = choose_beside_teacher("present", probabilities(rounded), targets, probabilities(logits))
    assert kept.kept
    assert kept.as_json() == teacher.as_json()


def test_more_differing_answers_than_chance_moves_bring_its_own_though_they_are_no_better():
    logits, targets = drawn(0)
    student = logits + np.random.default_rng(1).normal(0, 0.6, logits.shape)
    answers, teacher = (
        probabilities(student),
        choose_operating_point("present", probabilities(logits), targets),
    )
    own = choose_beside_teacher("present", answers, targets, probabilities(logits))
    assert own.as_json() == choose_operating_point("present", answers, targets).as_json() != teacher.as_json()
    assert not own.kept


def test_a_model_that_answers_otherwise_gets_its_own():
    logits, targets = drawn(2)
    shifted = logits - np.array([2.0, -1.5, 3.0])
    teacher = choose_operating_point("present", probabilities(logits), targets)
    own = choose_beside_teacher("present", probabilities(shifted), targets, probabilities(logits))
    assert not own.kept
    assert own.as_json() == choose_operating_point("present", probabilities(shifted), targets).as_json()
    assert f1(own, shifted, targets) > f1(teacher, shifted, targets) + 0.05


def test_without_calibration_thresholds_are_kept_just_so():
    logits, targets = drawn(3)
    answers = probabilities(logits)
    kept = choose_beside_teacher("present", answers, targets, answers, calibrate=False)
    assert kept.kept, "the teacher itself, a tie, keeps what it has"
    assert kept.calibration is None
    assert kept.as_json() == choose_operating_point("present", answers, targets, calibrate=False).as_json()


def test_a_topic_has_no_thresholds_to_keep():
    logits, targets = drawn(4)
    answers = probabilities(logits)
    answers /= answers.sum(axis=1, keepdims=True)
    topics = np.eye(SYMPTOMS, dtype=np.uint8)[targets.argmax(axis=1)]
    own = choose_beside_teacher("topic", answers, topics, answers)
    assert own.as_json() == choose_operating_point("topic", answers, topics).as_json()
    assert not own.kept
