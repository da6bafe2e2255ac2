"""Windows without seams, and spans that are legal, whole words, whatever the model says."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.errors import InputError
from sympress.labels.mentions import Mention
from sympress.runtime.tokens import (
    Pieces,
    SpecialTokens,
    _best_path,
    _likeliest,
    _scores,
    classes_of,
    decode_at_biases,
    decode_mentions,
    merge_windows,
    note_logits,
    tags_of,
    window_spans,
    word_starts,
)

TAGS = ("O", "B-present", "I-present", "B-absent", "I-absent")


def cut(text: str, places: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    spans = np.array(places, dtype=np.int64)
    return spans[:, 0], spans[:, 1]


def logits(*rows: tuple[float, ...]) -> np.ndarray:
    """Log probabilities from probabilities."""
    return np.log(np.array(rows, dtype=np.float32) + 1e-9)


OUT, BP, IP, BA, IA = np.eye(5) * 0.9 + 0.02


def test_tags_tell_their_assertions():
    assert tags_of(["present", "absent"]) == TAGS
    assert classes_of(TAGS) == ("present", "absent")


@pytest.mark.parametrize("tags", [["O"], ["B-present", "I-present"], ["O", "B-sure", "I-sure"]])
def test_other_tags_are_refused(tags: list[str]):
    with pytest.raises(InputError, match="copy the artifact again"):
        classes_of(tags)


def test_words_end_at_punctuation_and_not_between_pieces():
    text = "fevers,chills N/V"
    starts, ends = cut(text, [(0, 5), (5, 6), (6, 7), (7, 13), (14, 15), (15, 16), (16, 17)])
    assert word_starts(text, starts, ends).tolist() == [True, False, True, True, True, True, True]


@pytest.mark.parametrize(("room", "stride"), [(6, 3), (6, 4), (7, 2), (5, 5), (40, 20)])
def test_each_piece_is_answered_where_it_is_farthest_from_a_cut(room: int, stride: int):
    pieces = 23
    spans = window_spans(pieces, room, stride)
    rows = [
        np.stack([np.full(e - s, w), np.arange(s, e)], 1).astype(np.float32) for w, (s, e) in enumerate(spans)
    ]
    merged = merge_windows(rows, spans, pieces)
    assert merged[:, 1].tolist() == list(range(pieces))
    for piece, window in enumerate(merged[:, 0].astype(int).tolist()):

        def distance(one: int, piece: int = piece) -> float:
            start, end = spans[one]
            left = piece - start if start else np.inf
            right = end - 1 - piece if end < pieces else np.inf
            return min(left, right)

        holding = [one for one, (start, end) in enumerate(spans) if start <= piece < end]
        assert distance(window) == max(map(distance, holding))


def test_a_model_that_sees_single_tokens_answers_alike_through_any_windows():
    ids = np.arange(5, 105)
    pieces = Pieces(ids, ids, ids, True)
    table = np.random.default_rng(0).normal(size=(200, 5)).astype(np.float32)
    specials = SpecialTokens((2,), (3,))
    whole = note_logits(pieces, specials, room=200, stride=100, run=table.__getitem__)
    for room, stride in ((10, 5), (17, 13), (3, 1)):
        assert np.array_equal(
            whole, note_logits(pieces, specials, room=room, stride=stride, run=table.__getitem__)
        )


TEXT = "no chest pain, fevers."
PLACES = [(0, 2), (3, 8), (9, 13), (13, 14), (15, 20), (20, 21), (21, 22)]


def decoded(rows: np.ndarray, **settings: float) -> list[tuple[int, int, str]]:
    starts, ends = cut(TEXT, PLACES)
    found = decode_mentions(rows, starts, ends, TAGS, TEXT, **settings)
    assert all(0 < one.score <= 1 for one in found)
    return [(one.start, one.end, one.assertion) for one in found]


def test_spans_and_assertions_are_read_from_tags():
    rows = logits(OUT, BA, IA, OUT, BP, IP, OUT)
    assert decoded(rows) == [(3, 13, "absent"), (15, 21, "present")]


@pytest.mark.parametrize(
    ("rows", "spans"),
    [
        # inside behind outside: that its own beginning was missed (0.04 · 0.94) beats a span of one piece
        ((OUT, IP, OUT, OUT, OUT, OUT, OUT), [(0, 8)]),
        ((OUT, OUT, OUT, OUT, BP, OUT, OUT), [(15, 21)]),  # half a word becomes all of it
        ((OUT, OUT, OUT, OUT, OUT, BP, OUT), []),  # nothing begins inside a word
        ((OUT, BP, BP, OUT, OUT, OUT, OUT), [(3, 8), (9, 13)]),
        ((OUT, BP, IA, OUT, OUT, OUT, OUT), [(3, 13)]),  # one span, whatever the assertions of its pieces
        ((OUT, OUT, OUT, OUT, OUT, OUT, OUT), []),
    ],
)
def test_what_is_illegal_becomes_the_likeliest_legal_path(rows: tuple, spans: list):
    assert [one[:2] for one in decoded(logits(*rows))] == spans == likeliest_spans(logits(*rows))


def test_the_path_is_the_likeliest_of_all_legal_ones():
    chance = np.random.default_rng(0)
    for _ in range(20):
        rows = np.log(chance.dirichlet(np.full(5, 0.5), size=len(PLACES)) + 1e-9).astype(np.float32)
        assert [one[:2] for one in decoded(rows)] == likeliest_spans(rows)


def likeliest_spans(rows: np.ndarray) -> list[tuple[int, int]]:
    """By trying every path: outside, beginning, inside of each piece; piece 5 goes on with the word of 4."""
    chances = np.exp(rows.astype(np.float64))
    states = np.log(
        np.stack([chances[:, 0], chances[:, 1] + chances[:, 3], chances[:, 2] + chances[:, 4]], 1)
    )

    def legal(path: tuple[int, ...]) -> bool:
        after_outside = all(not (now == 2 and before == 0) for before, now in pairwise((0, *path)))
        return after_outside and path[5] == (2 if path[4] else 0)

    paths = filter(legal, product(range(3), repeat=len(PLACES)))
    best = max(paths, key=lambda path: sum(states[at, state] for at, state in enumerate(path)))
    spans: list[tuple[int, int]] = []
    for (start, end), state in zip(PLACES, best, strict=True):
        if state:
            spans = [*spans, (start, end)] if state == 1 else [*spans[:-1], (spans[-1][0], end)]
    return spans


def test_a_span_whose_assertion_is_unsure_is_found_all_the_same():
    unsure = (0.4, 0.3, 0.0, 0.3, 0.0)
    assert decoded(logits(OUT, unsure, OUT, OUT, OUT, OUT, OUT)) == [(3, 8, "present")]


def test_a_bias_finds_more_and_less():
    half = (0.45, 0.4, 0.05, 0.05, 0.05)
    rows = logits(OUT, half, OUT, OUT, OUT, OUT, OUT)
    assert decoded(rows, span_bias=-1.0) == []
    assert decoded(rows, span_bias=1.0) == [(3, 8, "present")]


def test_several_biases_find_what_each_finds():
    biases, starts, ends = (-2.0, -0.5, 0.0, 0.5, 2.0), *cut(TEXT, PLACES)
    rows = np.random.default_rng(0).normal(size=(20, len(PLACES), len(TAGS))).astype(np.float32)
    together = [decode_at_biases(row, starts, ends, TAGS, TEXT, biases=biases) for row in rows]
    assert together == [
        [decode_mentions(row, starts, ends, TAGS, TEXT, span_bias=bias) for bias in biases] for row in rows
    ]
    assert any(len(set(found)) > 2 for found in together)
    empty = np.zeros(0, dtype=np.int64)
    assert decode_at_biases(rows[0, :0], empty, empty, TAGS, " ", biases=biases) == [()] * len(biases)


def test_the_score_of_a_single_piece_is_the_probability_of_its_tag():
    starts, ends = cut("rash", [(0, 4)])
    row = np.log(np.array([[0.1, 0.6, 0.0001, 0.2999, 0.0]], dtype=np.float32) + 1e-12)
    (mention,) = decode_mentions(row, starts, ends, TAGS, "rash", link=lambda surface: surface.upper())
    assert mention == Mention(0, 4, "RASH", "present", pytest.approx(0.6, abs=1e-3))


def test_scores_of_a_long_note_are_those_of_its_pieces(monkeypatch: pytest.MonkeyPatch):
    rows = np.random.default_rng(0).normal(0, 4, (23, 5)).astype(np.float32)
    whole = _scores(rows)
    monkeypatch.setattr("sympress.runtime.tokens._TOGETHER", 8)
    parted = _scores(rows)
    for name in ("outside", "begin", "inside", "assertion"):
        np.testing.assert_allclose(getattr(parted, name), getattr(whole, name), rtol=1e-14)


def test_no_piece_no_mention():
    empty = np.zeros(0, dtype=np.int64)
    assert decode_mentions(np.zeros((0, 5), dtype=np.float32), empty, empty, TAGS, " ") == ()


@given(st.integers(1, 60), st.floats(-2, 2), st.floats(0.5, 6), st.integers(0, 2**32 - 1))
def test_leaving_out_the_words_that_are_surely_outside_changes_no_path(
    pieces: int, bias: float, sharpness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = (sharpness * rng.normal(size=(pieces, len(TAGS)))).astype(np.float32)
    logits[:, 0] += rng.normal(3, 2)
    begins = rng.random(pieces) < 0.7
    begins[0] = True
    scores = _scores(logits)
    assert _best_path(scores, begins, bias) == _likeliest(scores, begins, bias, slice(None))
