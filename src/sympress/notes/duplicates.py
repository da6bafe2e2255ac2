"""Which notes are copies of one another, exactly or nearly.

Near-duplicates are found by MinHash over word shingles (Broder, "On the resemblance and containment of
documents", 1997) with banded signatures as candidates (Leskovec, Rajaraman and Ullman, "Mining of Massive
Datasets", section 3.4). rensa computes the signatures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, MissingExtraError

#: Words in a shingle, and the fewest words of a note that is compared otherwise than exactly: below, one
#: changed word changes nearly every shingle.
SHINGLE_WORDS = 5
MIN_WORDS = 8

_PERMUTATIONS = 128
_SEED = 20260101
_CHUNK_NOTES = 10_000
_CHUNK_PAIRS = 200_000
#: Largest share of pairs exactly at the threshold that may never become candidates.
_MISSED = 1e-3
#: Each note of a bucket is compared with its first note and with this many before it.
_NEIGHBOURS = 8


@dataclass(frozen=True)
class Duplicates:
    """Clusters of copies.

    Attributes:
        cluster: `(notes,)` int64; the row of the earliest note of the cluster, its own row for most notes.
        exact_duplicates: rows that repeat an earlier row exactly, but for case and white space.
        near_duplicates: further rows that were joined to an earlier row because they nearly repeat it.
        near_threshold: Jaccard similarity of the word 5-shingles from which notes count as near-duplicates.
    """

    cluster: NDArray[np.int64]
    exact_duplicates: int
    near_duplicates: int
    near_threshold: float


def group_notes(frame: pl.DataFrame, *, near_threshold: float = 0.8) -> Duplicates:
    """Cluster the notes of `frame` (column `text`) by exact and near duplication; deterministic.

    Similarity is estimated from 128 permutations (standard error 0.035 at 0.8). Clusters are transitive:
    two notes of one cluster may be less similar than the threshold when notes between them link them.
    Notes of fewer than 8 words are compared exactly only.

    Raises:
        InputError: `near_threshold` is not above 0 and at most 1.
        MissingExtraError: rensa is not installed.
    """
    if not 0 < near_threshold <= 1:
        raise InputError(f"near_threshold={near_threshold}: give a similarity above 0 and at most 1")
    normalised = _normalise(frame)
    first = normalised.select(pl.col("row").min().over("text")).to_series().to_numpy().astype(np.int64)
    # Only one note of each exact cluster is compared further.
    distinct = normalised.filter(pl.Series(first == np.arange(frame.height)))
    left, right = _near_pairs(distinct, near_threshold)
    rows = np.arange(frame.height, dtype=np.int64)
    cluster = connected_components(frame.height, np.concatenate([rows, left]), np.concatenate([first, right]))
    clusters = int((cluster == rows).sum())
    return Duplicates(cluster, frame.height - distinct.height, distinct.height - clusters, near_threshold)


def connected_components(size: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Label each of `size` nodes with the smallest node that the edges `left[i] - right[i]` connect it to.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    try:
        from scipy.sparse import coo_array, csgraph
    except ImportError as error:
        raise MissingExtraError("train", "scipy") from error
    edges = coo_array((np.ones(len(left), dtype=np.bool_), (left, right)), shape=(size, size))
    component = csgraph.connected_components(edges, directed=False)[1]
    smallest: NDArray[np.int64] = np.unique(component, return_index=True)[1][component]
    return smallest


def _normalise(frame: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("text").fill_null("").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    return frame.select(text).with_row_index("row")


def _near_pairs(distinct: pl.DataFrame, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of pairs whose estimated similarity reaches `threshold`."""
    long = distinct.filter(pl.col("text").str.count_matches(" ", literal=True) >= MIN_WORDS - 1)
    rows = long["row"].to_numpy().astype(np.int64)
    if len(rows) < 2:
        return rows[:0], rows[:0]
    signatures = _signatures(long["text"])
    left, right = _candidates(signatures, _rows_a_band(threshold))
    kept = np.concatenate(
        [
            (signatures[left[k : k + _CHUNK_PAIRS]] == signatures[right[k : k + _CHUNK_PAIRS]]).mean(axis=1)
            >= threshold
            for k in range(0, len(left), _CHUNK_PAIRS)
        ]
        or [np.zeros(0, dtype=np.bool_)]
    )
    return rows[left[kept]], rows[right[kept]]


def _signatures(texts: pl.Series) -> NDArray[np.uint32]:
    """MinHash signatures `(notes, 128)` uint32 of the word shingles of each text."""
    try:
        from rensa import RMinHash
    except ImportError as error:
        raise MissingExtraError("train", "rensa") from error
    signatures = np.empty((len(texts), _PERMUTATIONS), dtype=np.uint32)
    for start in range(0, len(texts), _CHUNK_NOTES):
        shingles = [_shingles(text) for text in texts[start : start + _CHUNK_NOTES].to_list()]
        digests = RMinHash.digests_from_token_sets(shingles, num_perm=_PERMUTATIONS, seed=_SEED)
        signatures[start : start + len(shingles)] = np.asarray(digests, dtype=np.uint32)
    return signatures


def _shingles(text: str) -> list[str]:
    words = text.split(" ")
    return [" ".join(words[k : k + SHINGLE_WORDS]) for k in range(len(words) - SHINGLE_WORDS + 1)]


def _rows_a_band(threshold: float) -> int:
    """The longest band that still makes a candidate of all but `_MISSED` of the pairs at the threshold."""
    for rows in (16, 8, 4, 2):
        if (1 - threshold**rows) ** (_PERMUTATIONS // rows) <= _MISSED:
            return rows
    return 1


def _candidates(
    signatures: NDArray[np.uint32], band_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of notes that agree on a whole band, each once; large buckets are chained, not squared."""
    notes, found = len(signatures), np.zeros(0, dtype=np.int64)
    for start in range(0, _PERMUTATIONS, band_rows):
        band = np.ascontiguousarray(signatures[:, start : start + band_rows])
        keys = band.view([("", band.dtype)] * band_rows).ravel()
        bucket = np.unique(keys, return_inverse=True)[1]
        order = np.argsort(bucket, kind="stable")
        ranked = bucket[order]
        leader = order[np.searchsorted(ranked, ranked)]
        pairs = [_pair_codes(leader, order, notes)]
        for gap in range(1, _NEIGHBOURS + 1):
            same = ranked[gap:] == ranked[:-gap]
            pairs.append(_pair_codes(order[:-gap][same], order[gap:][same], notes))
        found = np.unique(np.concatenate([found, *pairs]))
    return found // notes, found % notes


def _pair_codes(left: NDArray[np.int64], right: NDArray[np.int64], notes: int) -> NDArray[np.int64]:
    different = left != right
    codes: NDArray[np.int64] = left[different] * notes + right[different]
    return codes
