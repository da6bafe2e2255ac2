import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.evaluation import probabilities as thresholds
from sympress.evaluation.probabilities import choose_thresholds


def f1_of(scores: np.ndarray, truth: np.ndarray, cut: float) -> float:
    predicted = scores >= cut
    return 2 * (predicted & truth).sum() / max(predicted.sum() + truth.sum(), 1)


def both_f1(scores: np.ndarray, truth: np.ndarray, cuts: np.ndarray) -> float:
    """Micro- plus macro-F1 over the symptoms that some note has."""
    present = truth.any(axis=0)
    scores, truth, cuts = scores[:, present], truth[:, present], cuts[present]
    predicted = scores >= cuts
    micro = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    return micro + float(np.mean([f1_of(scores[:, k], truth[:, k], cuts[k]) for k in range(len(cuts))]))


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1, 2, 6]))
def test_no_threshold_of_a_single_symptom_has_a_better_f1(seed: int, notes: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random((notes, 1)), decimals)
    truth = random.random((notes, 1)) < 0.4
    cut = choose_thresholds(scores, truth)[0]
    best = max(f1_of(scores[:, 0], truth[:, 0], candidate) for candidate in [*scores[:, 0], 2.0])
    if truth.any():
        assert f1_of(scores[:, 0], truth[:, 0], cut) == best
    else:
        assert cut == 0.5


@given(st.integers(0, 10_000), st.integers(2, 40), st.sampled_from([1, 2, 6]))
def test_no_single_threshold_can_be_moved_for_the_better(seed: int, notes: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random((notes, 3)), decimals)
    truth = random.random((notes, 3)) < 0.4
    cuts = choose_thresholds(scores, truth)
    if not truth.any():
        assert cuts.tolist() == [0.5, 0.5, 0.5]
        return
    reached = both_f1(scores, truth, cuts)
    for k in np.flatnonzero(truth.any(axis=0)):
        for candidate in scores[:, k]:
            moved = cuts.copy()
            moved[k] = candidate
            assert both_f1(scores, truth, moved) <= reached + 1e-12


def test_by_hand() -> None:
    scores = np.array([[0.9, 0.9, 0.2], [0.6, 0.7, 0.3], [0.2, 0.5, 0.4], [0.1, 0.3, 0.4]])
    truth = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 1, 1]])
    # a: between 0.6 and 0.2; c: all notes have it; b: its own F1 is 2/3 for the first alone and for all
    # four, but the two false ones among the four cost micro-F1: 14/15 against 16/18
    assert choose_thresholds(scores, truth) == pytest.approx([0.4, 0.8, 0.1])
    assert choose_thresholds(scores[:, 1:2], truth[:, 1:2]) == pytest.approx([0.15])  # alone: the lowest


def test_a_symptom_without_a_note_gets_one_half_and_changes_no_other() -> None:
    scores = np.array([[0.9, 0.3], [0.6, 0.9], [0.2, 0.8]])
    truth = np.array([[1, 0], [1, 0], [0, 0]])
    assert choose_thresholds(scores, truth) == pytest.approx([0.4, 0.5])


def test_what_the_model_expects_moves_a_threshold_that_few_notes_would_set() -> None:
    # two notes have the symptom: the likeliest, and the last of five that the model holds for as likely
    scores = np.array([[0.9], [0.85], [0.8], [0.75], [0.7], [0.1]])
    truth = np.array([[1], [0], [0], [0], [1], [0]])
    assert choose_thresholds(scores, truth) == pytest.approx([0.875])
    assert choose_thresholds(scores, truth, truth) == pytest.approx([0.875])  # it expects what is there
    likely = np.array([[0.9], [0.9], [0.9], [0.9], [0.9], [0.0]])
    assert choose_thresholds(scores, truth, likely) == pytest.approx([0.4])


@given(st.integers(0, 10_000))
def test_the_expected_f1_is_what_is_raised(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.random((30, 1))
    truth = random.random((30, 1)) < scores
    if not truth.any():
        return
    worth = thresholds.TRUST * truth + (1 - thresholds.TRUST) * scores
    cut = choose_thresholds(scores, truth, scores)[0]

    def expected_f1(at: float) -> float:
        let_in = scores >= at
        return 2 * (let_in * worth).sum() / (let_in.sum() + worth.sum())

    assert expected_f1(cut) == pytest.approx(max(expected_f1(at) for at in scores[:, 0]))


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.3
    high = np.nextafter(low, 1)
    cut = choose_thresholds([[low], [high]], [[0], [1]])[0]
    assert low < cut <= high


def test_no_notes_and_wrong_shapes() -> None:
    assert choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2))).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="both are"):
        choose_thresholds(np.zeros((2, 2)), np.zeros((2, 3)))
