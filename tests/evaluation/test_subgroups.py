"""Subgroups, McNemar's test and corrected p-values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from sympress.evaluation.quality import score_groups
from sympress.evaluation.significance import mcnemar


def groups_of(notes: int) -> dict[str, np.ndarray]:
    first = np.arange(notes) < 30
    rare = np.arange(notes) < 5
    return {"sex F": first, "sex M": ~first, "age under 2": rare, "age 2 to 17": ~rare}


def test_groups_by_hand() -> None:
    truth = np.ones((60, 1), dtype=bool)
    predicted = truth.copy()
    predicted[30:45] = False  # half of the second group is missed
    rows, gaps = score_groups(predicted, truth, groups_of(60), resamples=200)
    assert [(row.by, row.group, row.notes, row.positives) for row in rows] == [
        ("sex", "sex F", 30, 30),
        ("sex", "sex M", 30, 30),
        ("age", "age under 2", 5, 5),
        ("age", "age 2 to 17", 55, 55),
    ]
    assert (rows[0].f1.value, rows[1].f1.value) == pytest.approx((1.0, 2 / 3))
    assert rows[1].f1.low < 2 / 3 < rows[1].f1.high
    assert (rows[2].f1.value, rows[2].f1.note) == (None, "undefined: fewer than 20 true answers")
    assert [(gap.by, gap.best, gap.worst) for gap in gaps] == [("sex", "sex F", "sex M")]
    assert gaps[0].difference.value == pytest.approx(1 / 3)
    assert gaps[0].difference.low > 0


def test_without_groups_there_is_nothing_to_say() -> None:
    assert score_groups(np.ones((3, 1), bool), np.ones((3, 1), bool), {}) == ([], [])


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (400, 520), (9000, 9300)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    right_a = np.repeat([True, False, True], [only_a, only_b, 7])
    right_b = np.repeat([False, True, True], [only_a, only_b, 7])
    trials = only_a + only_b
    expected = binomtest(only_a, trials).pvalue if trials else 1.0
    assert mcnemar(right_a, right_b) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(right_b, right_a) == mcnemar(right_a, right_b)


def test_mcnemar_without_answers_is_undefined() -> None:
    assert mcnemar(np.zeros((0, 3), bool), np.zeros((0, 3), bool)) is None
