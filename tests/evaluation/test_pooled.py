"""What several trainings say together: checked by simulation, where the truth is known."""

import numpy as np
import pytest

from sympress.evaluation.significance import micro_f1, outcome_counts, paired_difference, pooled_difference
from sympress.report.claims import pool

TRUTH = np.random.default_rng(0).random((400, 4)) < 0.3


def answers(random, wrong, truth=TRUTH):
    """Answers of which a share `wrong` of each symptom is flipped."""
    return truth ^ (random.random(truth.shape) < wrong)


def pooled(pairs, truth=TRUTH, **settings):
    counts = [tuple(outcome_counts(one, truth) for one in pair) for pair in pairs]
    return pooled_difference(counts, micro_f1, **{"margin": 0.02, "resamples": 400} | settings)


def test_one_training_has_the_paired_difference_and_nearly_its_interval() -> None:
    random = np.random.default_rng(1)
    a, b = answers(random, 0.10), answers(random, 0.14)
    found, (plain, p_value) = pooled([(a, b)]), paired_difference(a, b, TRUTH, average="micro")
    assert found.difference.value == pytest.approx(plain.value)
    assert (found.difference.low, found.difference.high) == pytest.approx((plain.low, plain.high), abs=0.006)
    assert found.p_value == pytest.approx(p_value, abs=0.02)


def test_a_training_copied_three_times_says_no_more_than_once() -> None:
    random = np.random.default_rng(2)
    pair = answers(random, 0.10), answers(random, 0.13)
    once, thrice = pooled([pair]), pooled([pair] * 3)
    assert thrice.difference.low == pytest.approx(once.difference.low, abs=1e-3)
    assert thrice.p_value == pytest.approx(once.p_value, abs=1e-3)


def test_trainings_that_disagree_say_less_than_those_that_agree() -> None:
    alike, apart = (pool(values, 1e-6, patients=1000, margin=0.01) for values in (
        [0.010, 0.011, 0.012], [-0.02, 0.011, 0.042]
    ))  # fmt: skip
    assert alike.difference.value == pytest.approx(apart.difference.value)
    assert alike.p_value < 0.05 < apart.p_value
    assert apart.difference.low < 0 < alike.difference.low


def test_two_recipes_that_are_alike_seldom_differ_whatever_single_trainings_do() -> None:
    # Each training of either has a quality of its own: by notes alone, single seeds differ far too often.
    p_values, single = [], []
    for trial in range(150):
        random = np.random.default_rng(trial)
        truth = random.random((300, 3)) < 0.3
        pairs = [tuple(answers(random, random.uniform(0.06, 0.18), truth) for _ in "ab") for _ in range(3)]
        p_values.append(pooled(pairs, truth, seed=trial, resamples=200).p_value)
        single.append(pooled(pairs[:1], truth, seed=trial, resamples=200).p_value)
    assert np.mean(np.array(p_values) < 0.05) <= 0.10
    assert np.mean(np.array(single) < 0.05) > 0.3


def test_a_real_difference_between_recipes_is_found() -> None:
    random = np.random.default_rng(3)
    found = pooled([(answers(random, 0.08), answers(random, 0.16)) for _ in range(3)])
    assert found.difference.low > 0.05
    assert found.p_value < 0.02


def test_a_loss_of_the_margin_is_ruled_out_by_many_notes_and_not_by_few() -> None:
    # No answer differs: (1 - margin) ** notes is how seldom a loss of the margin would stay unseen.
    same = TRUTH[:50]
    few = pooled([(same, same)], same, margin=0.02)
    assert (few.difference.value, few.difference.low, few.difference.high) == (0, 0, 0)
    assert few.p_value == 1
    assert few.p_margin == pytest.approx(0.98**50)
    assert pooled([(TRUTH, TRUTH)], margin=0.02).p_margin == pytest.approx(0.98**400)


def test_copies_of_a_note_within_a_patient_are_no_evidence() -> None:
    random = np.random.default_rng(4)
    a, b, few = (one[:60] for one in (answers(random, 0.1), answers(random, 0.2), TRUTH))
    alone = pooled([(a, b)], few)
    copied = pooled(
        [tuple(np.repeat(one, 5, axis=0) for one in (a, b))],
        np.repeat(few, 5, axis=0),
        groups=np.repeat(np.arange(60), 5),
    )
    assert copied.p_value == pytest.approx(alone.p_value)
    assert copied.p_margin == pytest.approx(alone.p_margin)


def test_without_resamples_or_symptoms_there_is_no_test() -> None:
    found = pooled([(TRUTH, TRUTH)], resamples=0)
    assert (found.difference.value, found.p_value, found.p_margin) == (0, None, None)
    nothing = np.zeros_like(TRUTH)
    undefined = pooled([(nothing, nothing)], nothing)
    assert undefined.difference.value is None
    assert undefined.difference.note == "undefined: no note of any symptom"
