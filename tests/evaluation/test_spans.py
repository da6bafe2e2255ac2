"""Spans counted by hand: exact, overlapping, by symptom, by assertion."""

from __future__ import annotations

from typing import Any

import pytest

from sympress.evaluation.spans import match_spans, score_mentions, score_spans
from sympress.labels.mentions import Mention

# A note of 40 characters: fever 0-5 (present), chills 10-16 (absent), chest pain 20-30 (present, symptom
# unknown), cough 35-40 (historical).
GOLD = [
    Mention(0, 5, "fever"),
    Mention(10, 16, "chills", "absent"),
    Mention(20, 30, None),
    Mention(35, 40, "cough", "historical"),
]
# Exact with the wrong assertion; exact and right; half of chest pain; nothing there.
FOUND = [
    Mention(0, 5, "fever", "absent"),
    Mention(10, 16, "chills", "absent"),
    Mention(26, 30, None),
    Mention(31, 34, "cough"),
]


def values(scores: Any) -> tuple[float, float, float]:
    return scores.precision.value, scores.recall.value, scores.f1.value


def test_spans_by_hand() -> None:
    quality = score_spans([GOLD, []], [FOUND, []], resamples=0)
    assert (quality.notes, quality.gold, quality.predicted) == (2, 4, 4)
    assert values(quality.exact) == (0.5, 0.5, 0.5)
    assert values(quality.overlapping) == (0.75, 0.75, 0.75)
    assert values(quality.exact_assertion) == (0.25, 0.25, 0.25)
    assert values(quality.overlapping_assertion) == (0.5, 0.5, 0.5)


def test_symptoms_by_hand() -> None:
    quality = score_spans([GOLD], [FOUND], resamples=0)
    assert (quality.gold_without_symptom, quality.predicted_without_symptom) == (1, 1)
    assert values(quality.exact_symptom) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert [(row.symptom, row.gold, row.predicted, row.exact_f1.value) for row in quality.per_symptom] == [
        ("chills", 1, 1, 1.0),
        ("cough", 1, 1, 0.0),
        ("fever", 1, 1, 1.0),
    ]
    assert quality.macro_exact_f1.value == pytest.approx(2 / 3)
    assert quality.macro_overlapping_f1.value == pytest.approx(2 / 3)


def test_assertions_by_hand() -> None:
    rows = {row.assertion: row for row in score_spans([GOLD], [FOUND], resamples=0).assertions}
    assert list(rows) == ["present", "absent", "historical"]
    absent = rows["absent"]
    assert (absent.gold, absent.predicted) == (1, 2)
    # Of the three pairs that overlap, two are called absent, one of them rightly.
    assert values(absent.given_span) == pytest.approx((0.5, 1.0, 2 / 3))
    assert values(absent.exact) == pytest.approx((0.5, 1.0, 2 / 3))
    # present: gold fever and chest pain; predicted half of chest pain and a cough that is not there.
    present = rows["present"]
    assert values(present.given_span) == pytest.approx((1.0, 0.5, 2 / 3))
    assert values(present.exact) == (0.0, 0.0, 0.0)
    assert values(present.overlapping) == (0.5, 0.5, 0.5)
    assert values(rows["historical"].overlapping) == (0.0, 0.0, 0.0)
    assert rows["historical"].given_span.f1.note == "undefined: no gold span"


def test_one_long_prediction_matches_one_gold_span() -> None:
    gold = [Mention(0, 4, None), Mention(5, 9, None)]
    assert match_spans(gold, [Mention(0, 9, None)], exact=False) == [(0, 0)]
    assert match_spans([Mention(0, 9, None)], gold, exact=False) == [(0, 0)]


def test_the_matching_has_as_many_pairs_as_there_can_be() -> None:
    # The best overlap (gold 0, prediction 0) would leave gold 1 without a partner.
    gold = [Mention(0, 10, None), Mention(8, 10, None)]
    found = [Mention(1, 10, None), Mention(0, 1, None)]
    assert match_spans(gold, found, exact=False) == [(0, 1), (1, 0)]


def test_of_equally_many_pairs_the_exact_ones_are_taken() -> None:
    gold = [Mention(0, 6, None), Mention(4, 9, None)]
    found = [Mention(4, 9, None), Mention(0, 6, None)]
    assert match_spans(gold, found, exact=False) == [(0, 1), (1, 0)]


def test_the_same_span_twice_counts_once() -> None:
    twice = [Mention(0, 5, "fever"), Mention(0, 5, "fever")]
    quality = score_spans([[Mention(0, 5, "fever")]], [twice], resamples=0)
    assert values(quality.exact) == pytest.approx((0.5, 1.0, 2 / 3))


def test_touching_and_empty_spans_match_nothing() -> None:
    assert match_spans([Mention(0, 5, None)], [Mention(5, 8, None)], exact=False) == []
    assert match_spans([Mention(3, 3, None)], [Mention(3, 3, None)], exact=True) == []


def test_intervals_come_from_documents() -> None:
    gold = [[Mention(0, 5, "fever")]] * 30
    found = [[Mention(0, 5, "fever")] if note % 3 else [] for note in range(30)]
    alone = score_spans(gold, found, resamples=300).exact.recall
    assert alone.value == pytest.approx(2 / 3)
    assert alone.low < alone.value < alone.high
    patients = [note // 6 for note in range(30)]  # every patient has the same share right: nothing varies
    together = score_spans(gold, found, groups=patients, resamples=300).exact.recall
    assert (together.low, together.high) == pytest.approx((2 / 3, 2 / 3))


def test_without_gold_spans_scores_are_undefined() -> None:
    quality = score_spans([[]], [[Mention(0, 2, None)]], resamples=0)
    assert (quality.exact.f1.value, quality.exact.f1.note) == (None, "undefined: no gold span")
    assert quality.exact_symptom is None
    only_found = score_spans([[]], [[Mention(0, 2, "fever")]], resamples=0)
    assert only_found.macro_exact_f1.note == "undefined: no gold span"


def test_a_row_of_mentions_has_the_scores_of_exact_spans() -> None:
    quality = score_mentions([GOLD], [FOUND], resamples=0)
    assert (quality.f1.value, quality.micro_f1.value, quality.accuracy.value) == (0.5, 0.5, None)
    assert [row.f1.value for row in quality.per_symptom] == [1.0, 0.0, 1.0]
    assert quality.spans.overlapping.f1.value == 0.75


def test_notes_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="1 gold notes, 0 predicted ones: both are the same notes"):
        score_spans([[]], [])


@pytest.mark.parametrize("cells", [1, 100])
def test_symptoms_resampled_together_or_one_by_one_have_the_same_intervals(monkeypatch, cells):
    gold = [[Mention(0, 5, name)] for name in ("fever", "cough", "rash") * 5]
    found = [spans if row % 3 else [] for row, spans in enumerate(gold)]
    together = score_spans(gold, found, resamples=50)
    monkeypatch.setattr("sympress.evaluation.spans._CELLS_AT_ONCE", cells)
    assert score_spans(gold, found, resamples=50) == together
