import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.measure.thresholds import choose_thresholds


def f1_of(scores: np.ndarray, truth: np.ndarray, cut: float) -> float:
    predicted = scores >= cut
    return 2 * (predicted & truth).sum() / max(predicted.sum() + truth.sum(), 1)


@given(st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1, 2, 6]))
def test_no_threshold_has_a_better_f1(seed: int, notes: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    scores = np.round(random.random((notes, 3)), decimals)
    truth = random.random((notes, 3)) < 0.4
    for k, cut in enumerate(choose_thresholds(scores, truth)):
        best = max(f1_of(scores[:, k], truth[:, k], candidate) for candidate in [*scores[:, k], 2.0])
        if truth[:, k].any():
            assert f1_of(scores[:, k], truth[:, k], cut) == best
        else:
            assert cut == 0.5


def test_by_hand() -> None:
    scores = np.array([[0.9, 0.9, 0.2], [0.6, 0.7, 0.3], [0.2, 0.5, 0.4], [0.1, 0.3, 0.4]])
    truth = np.array([[1, 1, 1], [1, 0, 1], [0, 0, 1], [0, 1, 1]])
    # a: between 0.6 and 0.2; b: F1 is 2/3 for the first alone and for all four, the lowest is all (0.3 / 2);
    # c: all notes have it
    assert choose_thresholds(scores, truth) == pytest.approx([0.4, 0.15, 0.1])


def test_neighbouring_floats_are_told_apart() -> None:
    low = 0.3
    high = np.nextafter(low, 1)
    cut = choose_thresholds([[low], [high]], [[0], [1]])[0]
    assert low < cut <= high


def test_no_notes_and_wrong_shapes() -> None:
    assert choose_thresholds(np.zeros((0, 2)), np.zeros((0, 2))).tolist() == [0.5, 0.5]
    with pytest.raises(ValueError, match="both are"):
        choose_thresholds(np.zeros((2, 2)), np.zeros((2, 3)))
