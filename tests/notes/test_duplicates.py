"""Exact and near copies of notes, on hand-made texts and against the exact similarity."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from sympress.errors import InputError
from sympress.notes import split
from sympress.notes.split import connected_components, group_notes

pytest.importorskip("rensa")

LONG = [f"word{k}" for k in range(60)]


def frame(*texts: str | None) -> pl.DataFrame:
    return pl.DataFrame({"text": texts}, schema={"text": pl.String})


def test_exact_copies_ignore_case_and_white_space() -> None:
    found = group_notes(
        frame("No  fever.\nHome", "other", "no fever. home ", "NO FEVER. HOME", "no fever home")
    )
    assert found.cluster.tolist() == [0, 1, 0, 0, 4]
    assert (found.exact_duplicates, found.near_duplicates) == (2, 0)


def test_near_copies_join_the_earliest() -> None:
    # 60 words have 56 shingles of 5; another last word leaves 55 of 57 in the union: 0.965.
    near = " ".join([*LONG[:-1], "changed"])
    far = " ".join([*LONG[:30], *(f"else{k}" for k in range(30))])
    found = group_notes(frame("start", " ".join(LONG), far, near, " ".join(LONG)))
    assert found.cluster.tolist() == [0, 1, 2, 1, 1]
    assert (found.exact_duplicates, found.near_duplicates) == (1, 1)
    assert group_notes(frame(" ".join(LONG), near), near_threshold=1.0).near_duplicates == 0


def test_short_notes_are_compared_exactly_only() -> None:
    seven = "a b c d e f g"
    found = group_notes(frame(seven, seven, "a b c d e f h", "a b c"), near_threshold=0.1)
    assert found.cluster.tolist() == [0, 0, 2, 3]
    # With eight words 3 of 5 shingles are shared: 0.6.
    eight = group_notes(frame("a b c d e f g h", "a b c d e f g i"), near_threshold=0.3)
    assert eight.near_duplicates == 1


def test_empty_notes_are_copies_and_no_notes_are_fine() -> None:
    assert group_notes(frame("", None, "  ")).exact_duplicates == 2
    empty = group_notes(frame())
    assert (len(empty.cluster), empty.exact_duplicates, empty.near_duplicates) == (0, 0, 0)


def test_clusters_agree_with_exact_similarity() -> None:
    rng = random.Random(1)
    texts, similarity = [], []
    for pair in range(200):
        words = [f"p{pair}w{k}" for k in range(80)]
        changed = list(words)
        cut = rng.randint(1, 40)
        changed[-cut:] = [f"p{pair}c{k}" for k in range(cut)]
        texts += [" ".join(words), " ".join(changed)]
        shared = 76 - cut
        similarity.append(shared / (2 * 76 - shared))
    joined = group_notes(frame(*texts)).cluster[1::2] != np.arange(1, 400, 2)
    exact = np.array(similarity)
    # Three standard errors of the estimate on each side of the threshold are left out.
    assert joined[exact >= 0.9].all()
    assert not joined[exact <= 0.69].any()
    assert (exact >= 0.9).sum() >= 5


def test_many_copies_of_one_template_are_one_cluster() -> None:
    texts = [" ".join([*LONG, f"id{k}"]) for k in range(3000)]
    found = group_notes(frame(*texts))
    assert set(found.cluster.tolist()) == {0}
    assert (found.exact_duplicates, found.near_duplicates) == (0, 2999)


def test_pairs_are_the_same_however_many_are_gathered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    signatures = generator.integers(3, size=(200, 128), dtype=np.uint32)  # many agree on a band of four
    whole = split._candidates(signatures, 4)
    bands = [signatures[:, start : start + 4] for start in range(0, 128, 4)]
    monkeypatch.setattr(split, "_PENDING_PAIRS", 10)
    few = split._candidates(signatures, 4)
    assert [rows.tolist() for rows in few] == [rows.tolist() for rows in whole]
    assert len(whole[0]) > 1000
    assert all(
        any((band[one] == band[other]).all() for band in bands) for one, other in zip(*whole, strict=True)
    )


def test_the_result_is_deterministic() -> None:
    rng = random.Random(2)
    texts = [" ".join(rng.choices(LONG[:12], k=20)) for _ in range(300)]
    first, second = (group_notes(frame(*texts), near_threshold=0.4) for _ in range(2))
    assert first.cluster.tolist() == second.cluster.tolist()


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="give a similarity above 0 and at most 1"):
        group_notes(frame("a"), near_threshold=threshold)


def test_components_take_their_smallest_member() -> None:
    left, right = np.array([5, 3, 1], dtype=np.int64), np.array([3, 1, 1], dtype=np.int64)
    assert connected_components(6, left, right).tolist() == [0, 1, 2, 1, 4, 1]
