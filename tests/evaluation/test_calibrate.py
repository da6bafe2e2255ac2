"""Calibration: what is fitted on validation notes makes others' probabilities right, and moves no note."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sympress.evaluation.probabilities import (
    equal_mass_edges,
    expected_error,
    fit_platt,
    fit_temperature,
    score_calibration,
)
from sympress.labels.task import task_of
from sympress.runtime.artifact import Calibration
from sympress.studies.judge import calibrated, choose_operating_point, stored_settled

NAMES = ("fever", "cough", "rash")


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def overconfident(notes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits 2.5 times as large as they should be and shifted, as after too much training."""
    random = np.random.default_rng(seed)
    honest = random.normal(size=(notes, 3)) * 1.5 + np.array([0.0, -1.0, -2.0])
    targets = random.random((notes, 3)) < sigmoid(honest)
    return 2.5 * honest + 1.0, targets.astype(np.uint8)


def test_platt_on_validation_lowers_the_error_on_other_notes_and_keeps_auroc() -> None:
    slopes, shifts = fit_platt(*overconfident(1500, 0))
    assert slopes == pytest.approx(np.full(3, 0.4), abs=0.06)
    logits, targets = overconfident(3000, 1)
    before, after = sigmoid(logits), Calibration(a=list(slopes), b=list(shifts)).apply(logits)
    old = expected_error(before, targets.astype(bool), equal_mass_edges(before))
    new = expected_error(after, targets.astype(bool), equal_mass_edges(after))
    assert old > 0.1
    assert new < 0.02
    for k in range(3):
        auroc = [roc_auc_score(targets[:, k], shares[:, k]) for shares in (logits, after)]
        assert abs(auroc[0] - auroc[1]) < 1e-12


def test_a_symptom_with_few_positives_stays_near_the_line_of_all() -> None:
    logits, targets = overconfident(1500, 0)
    targets[:, 2] = 0
    targets[np.argsort(logits[:, 2])[:2], 2] = 1  # two positives, at the lowest scores: nonsense
    slopes, shifts = fit_platt(logits, targets)
    assert (slopes > 0).all()
    assert 0.05 < slopes[2] < slopes[0]
    assert np.isfinite(shifts).all()


def test_without_notes_nothing_is_calibrated() -> None:
    slopes, shifts = fit_platt(np.zeros((0, 2)), np.zeros((0, 2)))
    assert (slopes.tolist(), shifts.tolist()) == ([1.0, 1.0], [0.0, 0.0])
    assert fit_temperature(np.zeros((0, 2)), np.zeros((0, 2))) == 1.0


def test_the_temperature_of_a_topic_is_recovered() -> None:
    random = np.random.default_rng(0)
    honest = random.normal(size=(4000, 3)) * 2
    shares = Calibration(a=[1.0] * 3, b=[0.0] * 3).apply(honest, task="topic")
    classes = [random.choice(3, p=row) for row in shares]
    assert fit_temperature(3 * honest, np.eye(3)[classes]) == pytest.approx(3, rel=0.06)


def test_probabilities_give_their_logits_back() -> None:
    logits = np.array([[-30.0, 0.0, 12.5]])
    assert task_of("present").logits(sigmoid(logits)) == pytest.approx(logits, rel=1e-6, abs=1e-9)
    shares = Calibration(a=[1.0] * 3, b=[0.0] * 3).apply(logits, task="topic")
    back = task_of("topic").logits(shares)
    assert back - back[:, :1] == pytest.approx(logits - logits[:, :1])
    assert np.isfinite(task_of("present").logits(np.array([[0.0, 1.0]]))).all()


def test_calibration_changes_no_answer() -> None:
    logits, targets = overconfident(600, 2)
    raw = sigmoid(logits)
    plain, operating_point = (
        choose_operating_point("present", raw, targets, calibrate=False),
        choose_operating_point("present", raw, targets),
    )
    others = sigmoid(overconfident(3000, 3)[0])
    assert (plain.calibration, operating_point.calibration is not None) == (None, True)
    for probabilities in (raw, others):
        ours = operating_point.apply("present", probabilities) >= operating_point.thresholds
        assert np.array_equal(ours, probabilities >= plain.thresholds)


def test_a_row_says_how_it_is_calibrated_and_an_old_one_is_taken_as_it_is() -> None:
    logits, targets = overconfident(200, 2)
    operating_point = choose_operating_point("present", sigmoid(logits), targets)
    again = stored_settled(operating_point.as_json())
    assert again.calibration == operating_point.calibration
    assert np.array_equal(again.thresholds, operating_point.thresholds)
    old = stored_settled({"thresholds": [0.1, 0.2, 0.3]})
    assert old.apply("present", sigmoid(logits)) is not None
    assert np.array_equal(old.apply("present", sigmoid(logits)), sigmoid(logits))
    assert calibrated("topic", logits, None) is logits


def test_a_falling_line_is_refused() -> None:
    with pytest.raises(ValueError, match="a slope is not positive"):
        Calibration(a=[1.0, -0.5], b=[0.0, 0.0])


def test_the_calibration_error_by_hand() -> None:
    shares = np.array([[0.1], [0.1], [0.9], [0.9]])
    truth = np.array([[False], [True], [True], [True]])
    # Bins of equal mass: two answers at 0.1 of which half are true, two at 0.9 of which all are.
    assert expected_error(shares, truth, np.array([0, 0.5, 1])) == pytest.approx((0.4 + 0.1) / 2)
    quality = score_calibration("present", shares, truth, ["fever"], resamples=0)
    assert quality.ece.value == pytest.approx(0.25)
    assert quality.ece_width.value == pytest.approx(0.25)
    assert quality.brier.value == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)
    assert [(each.low, each.answers, each.predicted) for each in quality.bins] == [
        (0.1, 2, pytest.approx(0.1)),
        (0.9, 2, pytest.approx(0.9)),
    ]
    assert [each.observed.value for each in quality.bins] == [0.5, 1.0]
    assert quality.ece_before is None
    assert quality.per_symptom[0].ece == pytest.approx(0.25)


def test_a_topic_is_judged_on_its_most_probable_symptom() -> None:
    shares = np.array([[0.8, 0.2], [0.6, 0.4]])
    quality = score_calibration("topic", shares, np.array([[1, 0], [0, 1]]), ["a", "b"], resamples=0)
    assert quality.brier.value == pytest.approx((0.04 + 0.36) / 2)
    assert quality.ece_width.value == pytest.approx((0.2 + 0.6) / 2)
    assert quality.per_symptom == []


def test_intervals_resample_patients_and_before_is_shown_beside() -> None:
    logits, targets = overconfident(400, 4)
    before, after = sigmoid(logits), Calibration(a=[0.4] * 3, b=[-0.4] * 3).apply(logits)
    quality = score_calibration("present", after, targets, NAMES, before=before, resamples=200)
    assert quality.brier.low < quality.brier.value < quality.brier.high
    assert quality.ece_before.low > quality.ece.high
    assert quality.brier_before.value > quality.brier.value
    patients = np.arange(400) // 4  # copies of a quarter of the notes: as sure as that quarter alone
    wide = score_calibration(
        "present", after[patients * 4], targets[patients * 4], NAMES, groups=patients, resamples=200
    )
    assert wide.brier.high - wide.brier.low > 1.5 * (quality.brier.high - quality.brier.low)


def test_no_notes_no_calibration_error() -> None:
    quality = score_calibration("present", np.zeros((0, 1)), np.zeros((0, 1)), ["fever"])
    assert (quality.ece.value, quality.ece.note, quality.bins) == (None, "undefined: no notes", [])
