"""Which notes are copies of one another; which train, which choose, and which are scored."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, LeakError, MissingExtraError
from sympress.results import SplitCounts

# Which notes are copies of one another, exactly or nearly.
#
# Near-duplicates are found by MinHash over word shingles (Broder, "On the resemblance and containment of
# documents", 1997) with banded signatures as candidates (Leskovec, Rajaraman and Ullman, "Mining of Massive
# Datasets", section 3.4). rensa computes the signatures.


#: Words in a shingle, and the fewest words of a note that is compared otherwise than exactly: below, one
#: changed word changes nearly every shingle.
SHINGLE_WORDS = 5
MIN_WORDS = 8

_PERMUTATIONS = 128
_SEED = 20260101
_CHUNK_NOTES = 2_000
_CHUNK_PAIRS = 200_000
#: Largest share of pairs exactly at the threshold that may never become candidates.
_MISSED = 1e-3
#: Each note of a bucket is compared with its first note and with this many before it.
_NEIGHBOURS = 8
#: Odd numbers that hash a band of a signature.
_MULTIPLIERS = np.uint64(1) | np.random.default_rng(_SEED).integers(2**64, size=16, dtype=np.uint64)
#: Pairs that are gathered before repeated ones are removed.
_PENDING_PAIRS = 4_000_000


@dataclass(frozen=True)
class Duplicates:
    """Clusters of copies.

    Attributes:
        cluster: `(notes,)` int64; the row of the earliest note of the cluster, its own row for most notes.
        exact_duplicates: rows that repeat an earlier row exactly, but for case and white space.
        near_duplicates: further rows that were joined to an earlier row because they nearly repeat it.
    """

    cluster: NDArray[np.int64]
    exact_duplicates: int
    near_duplicates: int


def group_notes(
    frame: pl.DataFrame,
    *,
    near_threshold: float = 0.8,
    progress: Callable[[int, int], None] | None = None,
) -> Duplicates:
    """Cluster the notes of `frame` (column `text`) by exact and near duplication; deterministic.

    Notes whose word 5-shingles have a Jaccard similarity of `near_threshold` count as near-duplicates. It is
    estimated from 128 permutations (standard error 0.035 at 0.8). Clusters are transitive:
    two notes of one cluster may be less similar than the threshold when notes between them link them.
    Notes of fewer than 8 words are compared exactly only. `progress` is told how many notes of how many
    are read.

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
    left, right = _near_pairs(distinct, near_threshold, progress)
    rows = np.arange(frame.height, dtype=np.int64)
    cluster = connected_components(frame.height, np.concatenate([rows, left]), np.concatenate([first, right]))
    clusters = int((cluster == rows).sum())
    return Duplicates(cluster, frame.height - distinct.height, distinct.height - clusters)


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


def _near_pairs(
    distinct: pl.DataFrame, threshold: float, progress: Callable[[int, int], None] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of pairs whose estimated similarity reaches `threshold`."""
    long = distinct.filter(pl.col("text").str.count_matches(" ", literal=True) >= MIN_WORDS - 1)
    rows = long["row"].to_numpy().astype(np.int64)
    if len(rows) < 2:
        return rows[:0], rows[:0]
    signatures = _signatures(long["text"], progress)
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


def _signatures(texts: pl.Series, progress: Callable[[int, int], None] | None = None) -> NDArray[np.uint32]:
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
        if progress is not None:
            progress(start + len(shingles), len(texts))
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
    notes, found = len(signatures), [np.zeros(0, dtype=np.int64)]
    for start in range(0, _PERMUTATIONS, band_rows):
        band = signatures[:, start : start + band_rows].astype(np.uint64)
        keys = band @ _MULTIPLIERS[:band_rows]  # modulo 2^64; what collides is a pair that is then compared
        bucket = np.unique(keys, return_inverse=True)[1]
        order = np.argsort(bucket, kind="stable")
        ranked = bucket[order]
        leader = order[np.searchsorted(ranked, ranked)]
        found.append(_pair_codes(leader, order, notes))
        for gap in range(1, _NEIGHBOURS + 1):
            same = ranked[gap:] == ranked[:-gap]
            found.append(_pair_codes(order[:-gap][same], order[gap:][same], notes))
        if sum(map(len, found[1:])) > max(len(found[0]), _PENDING_PAIRS):
            found = [np.unique(np.concatenate(found))]
    codes = np.unique(np.concatenate(found))
    return codes // notes, codes % notes


def _pair_codes(left: NDArray[np.int64], right: NDArray[np.int64], notes: int) -> NDArray[np.int64]:
    different = left != right
    codes: NDArray[np.int64] = left[different] * notes + right[different]
    return codes


# Which notes train, which choose, and which are scored; and whether anything stands on both sides.


Rule = Literal["random", "patient", "time"]
Part = Literal["train", "validation", "test"]
Rows = NDArray[np.int64]

#: Shares of the patients, or notes, that are validation and test.
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.1
#: From this many calendar years on, the last one is the test set and the one before it validation.
MIN_YEARS = 3

_PARTS: tuple[Part, Part, Part] = ("train", "validation", "test")


@dataclass(frozen=True)
class Split:
    """Rows of a frame of notes on three sides.

    Attributes:
        train: rows to learn from, ascending.
        validation: rows to choose by, ascending.
        test: rows to score, ascending.
        counts: sizes and duplicates. `patients_on_both_sides` are the test notes whose patient also has
            a training note, `duplicates_on_both_sides` the test notes of which an exact or near copy is
            a training note.
        moved: notes that the rule `time` put on the side of the earliest note of their group, though their
            own time belongs to a later side; 0 for the other rules.
    """

    train: Rows
    validation: Rows
    test: Rows
    counts: SplitCounts
    moved: int = 0


def assign_part(key: str, *, seed: int = 0) -> Part:
    """Assign a patient by hash: the same part wherever and whenever, whatever other patients there are."""
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    if share < 1 - VALIDATION_SHARE - TEST_SHARE:
        return "train"
    return "validation" if share < 1 - TEST_SHARE else "test"


def reserved_part(patient_id: str) -> Part:
    """Part (80/10/10) of a synthetic patient, which decides whether reserved surface forms may be written.

    Equals the side that `split_notes(rule="patient", seed=0)` gives the patient, as long as no
    note of the patient is a copy of another patient's note.
    """
    return assign_part(patient_id)


def split_notes(
    frame: pl.DataFrame,
    duplicates: Duplicates,
    *,
    rule: Rule,
    seed: int = 0,
    validation_from: datetime | None = None,
    test_from: datetime | None = None,
    train_from: datetime | None = None,
) -> Split:
    """Put every note on exactly one side.

    - `random`, as in the paper: by note. The rows are shuffled with `numpy.random.default_rng(seed)`,
      `TEST_SHARE` of them are the test set and `VALIDATION_SHARE` of the rest validation. Patients and
      copies may stand on both sides; the counts say how many.
    - `patient`: patients that share a copy of a note (a cluster of `duplicates`) form one group, and a
      group goes to the side that `assign_part` gives its smallest patient id.
    - `time`: notes before `validation_from` train, notes from `test_from` on are the test set. Without
      borders: the last calendar year is the test set and the year before it validation if the notes
      span at least 3 calendar years, else the quantiles of time by the two shares. A group of patients
      as above that crosses a border goes wholly to the side of its earliest note (`Split.moved`).

    A note without a patient is a patient of its own. Training notes before `train_from` are on no side
    (`SplitCounts.left_out`); validation and test notes are not touched by it.

    Raises:
        InputError: a border makes no sense, a note has no time under the rule `time` or for
            `train_from`, or a side is empty.
    """
    if rule != "time" and not (validation_from is None and test_from is None):
        raise InputError(f"validation_from and test_from belong to the rule 'time', the rule is {rule!r}")
    moved = 0
    if rule == "random":
        sides = _random_sides(frame.height, seed)
    elif rule == "patient":
        sides = _patient_sides(frame, duplicates, seed)
    else:
        borders = _borders(frame, validation_from, test_from)
        sides, moved = _time_sides(frame, duplicates, borders)
    if train_from is not None:
        sides = _without_older(frame, sides, train_from)
    return _finish(frame, duplicates, rule, sides, moved)


def _without_older(frame: pl.DataFrame, sides: Rows, train_from: datetime) -> Rows:
    """The sides, -1 for training notes before `train_from`."""
    training = sides == 0
    times = frame["time"].filter(pl.Series(training, dtype=pl.Boolean))
    if times.null_count():
        raise InputError(
            f"--train-from {train_from:%Y-%m-%d}: {times.null_count()} of {len(times)} training notes have "
            "no time; leave it out"
        )
    newest = max(times.to_list(), default=None)
    if newest is not None and newest < train_from:
        raise InputError(
            f"--train-from {train_from:%Y-%m-%d}: no training note is left, the newest is of "
            f"{newest:%Y-%m-%d}; give an earlier day"
        )
    older = (frame["time"] < train_from).fill_null(value=False).to_numpy()
    return np.where(training & older, -1, sides).astype(np.int64)


def check_leaks(split: Split, frame: pl.DataFrame, duplicates: Duplicates, *, strict: bool) -> None:
    """Make sure that no patient and no copy stands on two sides; not strict: leave it at `Split.counts`.

    Raises:
        LeakError: `strict`, and a patient or a cluster of copies is in training and in validation or
            test, or in validation and in test. The message counts the notes of the later side.
    """
    if not strict:
        return
    patients = _patient_codes(frame)
    held_out = np.concatenate([split.validation, split.test])
    found = [
        f"{count} {side} {what}"
        for rows, against, side in (
            (held_out, split.train, "held-out notes share"),
            (split.test, split.validation, "test notes share with validation"),
        )
        for ids, what in ((patients, "a patient"), (duplicates.cluster, "a duplicate"))
        if (count := _shared(ids, rows, against))
    ]
    if found:
        raise LeakError(
            f"split by {split.counts.rule}: {', '.join(found)}; split by patient, or pass strict=False"
        )


def _random_sides(notes: int, seed: int) -> Rows:
    order = np.random.default_rng(seed).permutation(notes)
    test = round(notes * TEST_SHARE)
    validation = round((notes - test) * VALIDATION_SHARE)
    sides = np.zeros(notes, dtype=np.int64)
    sides[order[:test]] = 2
    sides[order[test : test + validation]] = 1
    return sides


def _patient_sides(frame: pl.DataFrame, duplicates: Duplicates, seed: int) -> Rows:
    keys = pl.DataFrame({"patient": patient_keys(frame), "group": groups_of(frame, duplicates)})
    smallest = keys.select(pl.col("patient").min().over("group")).to_series()
    side_of = {key: _PARTS.index(assign_part(key, seed=seed)) for key in smallest.unique()}
    return np.fromiter((side_of[key] for key in smallest), dtype=np.int64, count=frame.height)


def _borders(
    frame: pl.DataFrame, validation_from: datetime | None, test_from: datetime | None
) -> tuple[datetime, datetime]:
    times = frame["time"]
    if times.null_count():
        raise InputError(
            f"split by time: {times.null_count()} of {frame.height} notes have no time; split by patient"
        )
    if validation_from is not None and test_from is not None:
        if validation_from >= test_from:
            raise InputError(f"validation_from={validation_from} must be earlier than test_from={test_from}")
        return validation_from, test_from
    if validation_from is not None or test_from is not None:
        raise InputError("split by time: give both validation_from and test_from, or neither")
    ordered = times.sort().to_list()
    if not ordered:
        raise InputError("split by time: there are no notes")
    last = ordered[-1].year
    if last - ordered[0].year + 1 >= MIN_YEARS:
        return datetime(last - 1, 1, 1), datetime(last, 1, 1)
    notes = len(ordered)
    return ordered[int(notes * (1 - VALIDATION_SHARE - TEST_SHARE))], ordered[int(notes * (1 - TEST_SHARE))]


def _time_sides(
    frame: pl.DataFrame, duplicates: Duplicates, borders: tuple[datetime, datetime]
) -> tuple[Rows, int]:
    own, earliest = pl.col("time"), pl.col("time").min().over("group")
    grouped = frame.select("time").with_columns(pl.Series("group", groups_of(frame, duplicates)))
    sides = grouped.select(
        own=(own >= borders[0]).cast(pl.Int64) + (own >= borders[1]).cast(pl.Int64),
        group=(earliest >= borders[0]).cast(pl.Int64) + (earliest >= borders[1]).cast(pl.Int64),
    )
    return sides["group"].to_numpy(), int((sides["own"] != sides["group"]).sum())


def _finish(frame: pl.DataFrame, duplicates: Duplicates, rule: Rule, sides: Rows, moved: int) -> Split:
    train, validation, test = (np.flatnonzero(sides == side).astype(np.int64) for side in range(3))
    for part, rows in zip(_PARTS, (train, validation, test), strict=True):
        if not len(rows):
            raise InputError(
                f"split by {rule}: no note falls into {part} ({frame.height} notes in all); "
                "use more notes or another rule"
            )
    counts = SplitCounts(
        train=len(train),
        validation=len(validation),
        test=len(test),
        rule=rule,
        exact_duplicates=duplicates.exact_duplicates,
        near_duplicates=duplicates.near_duplicates,
        patients_on_both_sides=_shared(_patient_codes(frame), test, train),
        duplicates_on_both_sides=_shared(duplicates.cluster, test, train),
        left_out=int((sides < 0).sum()),
    )
    return Split(train, validation, test, counts, moved)


def _shared(ids: Rows, rows: Rows, against: Rows) -> int:
    """How many of `rows` have an id that some row of `against` has."""
    return int(np.isin(ids[rows], ids[against]).sum())


def patient_keys(frame: pl.DataFrame) -> pl.Series:
    """The patient of each note of `frame` (`note_id`, `patient_id`); without one, its own id."""
    own = pl.lit("note/") + pl.col("note_id")
    return frame.select(pl.coalesce("patient_id", own).alias("patient")).to_series()


def patient_numbers(frame: pl.DataFrame) -> Rows:
    """A number a note, the same for notes of one patient, shape `(notes,)`."""
    return patient_keys(frame).rank("dense").to_numpy().astype(np.int64)


def _patient_codes(frame: pl.DataFrame) -> Rows:
    """The row of the first note of each note's patient."""
    keys = pl.DataFrame({"patient": patient_keys(frame)}).with_row_index("row")
    return keys.select(pl.col("row").min().over("patient")).to_series().to_numpy().astype(np.int64)


def groups_of(frame: pl.DataFrame, duplicates: Duplicates) -> Rows:
    """The first row of each note's group, shape `(notes,)`: notes linked by patient or by being copies."""
    rows = np.arange(frame.height, dtype=np.int64)
    return connected_components(
        frame.height,
        np.concatenate([rows, rows]),
        np.concatenate([_patient_codes(frame), duplicates.cluster]),
    )


def without_validation(split: Split, frame: pl.DataFrame, duplicates: Duplicates) -> Split:
    """The split with its validation notes in training; the test notes stand where validation notes are read.

    As the published study split: whatever is scored after an epoch is scored on the test notes, so nothing
    may be chosen by it. `counts.validation` is 0.
    """
    train = np.sort(np.concatenate([split.train, split.validation]))
    update = {
        "train": len(train),
        "validation": 0,
        "patients_on_both_sides": _shared(_patient_codes(frame), split.test, train),
        "duplicates_on_both_sides": _shared(duplicates.cluster, split.test, train),
    }
    return Split(train, split.test, split.test, split.counts.model_copy(update=update), split.moved)
