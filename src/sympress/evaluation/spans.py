"""Quality of the task `mentions`: spans, symptoms and assertions, with 95 % intervals over documents."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from sympress.evaluation.significance import (
    Bootstrap,
    Floats,
    compare_counts,
    estimate,
    mean_of_defined,
    precision_recall_f1,
)
from sympress.labels.mentions import Mention
from sympress.labels.task import span_classes
from sympress.results import (
    AssertionSpans,
    Estimate,
    Quality,
    SpanQuality,
    SpanScores,
    SymptomQuality,
    SymptomSpans,
)

# Which predicted span is which gold span: one to one, exactly or by overlap.


#: What a pair must have in common beside its place, e.g. the assertion.
Key = Callable[[Mention], Hashable]
Pairs = list[tuple[int, int]]


def match_spans(
    gold: Sequence[Mention], predicted: Sequence[Mention], *, exact: bool, key: Key | None = None
) -> Pairs:
    """Return pairs of indices `(gold, predicted)`, sorted; no span is in two pairs.

    Exact: both ends are equal. Otherwise a pair shares at least one character, and there are as many pairs
    as there can be (a maximum matching): first the pairs that overlap best, as a share of what the two
    cover together, then paths that gain a pair (Kuhn 1955). A gold span that one long prediction shares
    with another counts once. A span without a character matches nothing.

    Args:
        gold: spans that people marked in one note.
        predicted: spans that were found in it.
        exact: whether both ends must be right.
        key: what must also be equal.
    """
    candidates: dict[int, dict[int, float]] = {}
    for row, wanted in enumerate(gold):
        for column, found in enumerate(predicted):
            share = _shared(wanted, found)
            if share < 1 if exact else share <= 0:
                continue
            if key is None or key(wanted) == key(found):
                candidates.setdefault(row, {})[column] = share
    return _maximum(candidates)


def _shared(one: Mention, other: Mention) -> float:
    """Characters in both over characters in either; 1 for the same span, 0 where they do not meet."""
    both = min(one.end, other.end) - max(one.start, other.start)
    return max(0, both) / max(1, max(one.end, other.end) - min(one.start, other.start))


def _maximum(candidates: dict[int, dict[int, float]]) -> Pairs:
    """The best pairs first, then every path that gains one more."""
    owner: dict[int, int] = {}  # predicted -> gold
    ranked = sorted(
        (-share, row, column) for row, found in candidates.items() for column, share in found.items()
    )
    taken: set[int] = set()
    for _, row, column in ranked:
        if row not in taken and column not in owner:
            owner[column] = row
            taken.add(row)
    for row in candidates:
        if row not in taken:
            _gain(row, candidates, owner, set())
    return sorted((row, column) for column, row in owner.items())


def _gain(row: int, candidates: dict[int, dict[int, float]], owner: dict[int, int], seen: set[int]) -> bool:
    """Give `row` a pair, moving others to where they also match; whether that was possible."""
    for column in sorted(candidates[row], key=lambda column: (-candidates[row][column], column)):
        if column in seen:
            continue
        seen.add(column)
        if column not in owner or _gain(owner[column], candidates, owner, seen):
            owner[column] = row
            return True
    return False


# Quality of the task `mentions`: spans, symptoms and assertions, with 95 % intervals over documents.
#
# A score is a sum over documents of three counts: pairs that match, spans predicted, spans in the gold
# standard. So a bootstrap weighs documents, or all documents of a patient, as everywhere
# (`evaluation.significance`). A score without a gold span is undefined, null.


Notes = Sequence[Sequence[Mention]]
#: Counts that are resampled together: bounds memory to some 100 MB.
_CELLS_AT_ONCE = 8_000_000
_NO_GOLD = "undefined: no gold span"
_NOT_OF_SPANS = "undefined: the task mentions finds spans"


def score_spans(
    gold: Notes,
    predicted: Notes,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> SpanQuality:
    """Return how well spans, their symptoms and their assertions are found.

    Args:
        gold: spans that people marked, by note.
        predicted: spans that were found, for the same notes in the same order.
        groups: patient of each note; null for a note, or in all, makes the note its own group.
        seed: of the resampling.
        resamples: number of resamples; 0 gives values without intervals.
    """
    if len(gold) != len(predicted):
        raise ValueError(f"{len(gold)} gold notes, {len(predicted)} predicted ones: both are the same notes")
    drawn = Bootstrap.of(groups, len(gold), seed, resamples)

    def scored(*, exact: bool, key: Key | None = None) -> SpanScores:
        return scores_of(drawn.sums(span_counts(gold, predicted, exact=exact, key=key)))

    return SpanQuality(
        notes=len(gold),
        gold=_total(gold),
        predicted=_total(predicted),
        exact=scored(exact=True),
        overlapping=scored(exact=False),
        exact_assertion=scored(exact=True, key=_assertion),
        overlapping_assertion=scored(exact=False, key=_assertion),
        assertions=_by_assertion(gold, predicted, drawn),
        **_by_symptom(gold, predicted, drawn),
    )


def score_mentions(
    gold: Notes,
    predicted: Notes,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Quality:
    """Return a row's quality: precision, recall and F1 are those of exact spans, `spans` has the rest.

    `per_symptom` has exact spans whose symptom is right. Arguments are those of `score_spans`.
    """
    spans = score_spans(gold, predicted, groups=groups, seed=seed, resamples=resamples)
    nothing = Estimate(value=None, note=_NOT_OF_SPANS)
    drawn = Bootstrap.of(groups, len(gold), seed, resamples)
    per_symptom = []
    for row in spans.per_symptom:
        counts = exact_counts(*_only(gold, predicted, _symptom, row.symptom))
        scores = scores_of(drawn.sums(counts))
        per_symptom.append(
            SymptomQuality(symptom=row.symptom, support=row.gold, auroc=nothing, **dict(scores))
        )
    return Quality(
        accuracy=nothing,
        auroc=nothing,
        precision=spans.exact.precision,
        recall=spans.exact.recall,
        f1=spans.exact.f1,
        micro_f1=spans.exact.f1,
        per_symptom=per_symptom,
        spans=spans,
    )


def compare_spans(
    ours: Notes,
    theirs: Notes,
    gold: Notes,
    *,
    groups: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[Estimate, float | None]:
    """Return the difference of exact span F1, ours minus theirs, and its two-sided p-value.

    Both found spans in the same notes; see `evaluation.significance.paired_difference`.
    """
    counts = [exact_counts(gold, found) for found in (ours, theirs)]
    undefined = None if _total(gold) else _NO_GOLD
    return compare_counts(
        counts[0], counts[1], exact_f1, undefined=undefined, groups=groups, seed=seed, resamples=resamples
    )


def exact_counts(gold: Notes, predicted: Notes) -> Floats:
    """Return `(notes, 3)`: exact pairs, predicted spans, gold spans of each note."""
    return span_counts(gold, predicted, exact=True)


def exact_f1(totals: Floats) -> Floats:
    """Return the F1 of sums `(..., 3)` of `exact_counts`."""
    return precision_recall_f1(totals)[2][..., 0]


def _assertion(mention: Mention) -> str:
    return mention.assertion


def _symptom(mention: Mention) -> str | None:
    return mention.symptom


def _total(notes: Notes) -> int:
    return sum(len(mentions) for mentions in notes)


def span_counts(gold: Notes, predicted: Notes, *, exact: bool, key: Key | None = None) -> Floats:
    """Return `(notes, 3)`: pairs, predicted spans, gold spans of each note."""
    rows = [
        (len(match_spans(wanted, found, exact=exact, key=key)), len(found), len(wanted))
        for wanted, found in zip(gold, predicted, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def scores_of(totals: Floats, undefined: str = _NO_GOLD) -> SpanScores:
    """Precision, recall and F1 of sums `(1 + resamples, 3)`; `undefined` says why, where nothing is there."""
    parts = (part[:, 0] for part in precision_recall_f1(totals))
    reason = None if totals[0, 2] > 0 else undefined
    precision, recall, f1 = (estimate(part, reason) for part in parts)
    return SpanScores(precision=precision, recall=recall, f1=f1)


def _only(gold: Notes, predicted: Notes, key: Key, value: str) -> tuple[Notes, Notes]:
    """The spans of both sides whose `key` is `value`."""
    kept = ([[each for each in note if key(each) == value] for note in side] for side in (gold, predicted))
    return next(kept), next(kept)


def _by_symptom(gold: Notes, predicted: Notes, drawn: Bootstrap) -> dict[str, object]:
    """The fields of `SpanQuality` that ask for the right symptom; empty where no span has one."""
    missing = [sum(each.symptom is None for note in side for each in note) for side in (gold, predicted)]
    names = sorted(
        {each.symptom for side in (gold, predicted) for note in side for each in note if each.symptom}
    )
    fields: dict[str, object] = dict(
        zip(("gold_without_symptom", "predicted_without_symptom"), missing, strict=True)
    )
    if not names:
        return fields
    pairs = [_only(gold, predicted, _symptom, name) for name in names]
    by_name = {
        exact: _in_turn(drawn, [span_counts(*pair, exact=exact) for pair in pairs]) for exact in (True, False)
    }
    rows = [
        SymptomSpans(
            symptom=name,
            gold=_total(pair[0]),
            predicted=_total(pair[1]),
            exact_f1=scores_of(by_name[True][row]).f1,
            overlapping_f1=scores_of(by_name[False][row]).f1,
        )
        for row, (name, pair) in enumerate(zip(names, pairs, strict=True))
    ]
    return fields | {
        "per_symptom": rows,
        "exact_symptom": scores_of(np.sum(by_name[True], axis=0)),
        "overlapping_symptom": scores_of(np.sum(by_name[False], axis=0)),
        "macro_exact_f1": macro_of(np.stack(by_name[True], axis=2)),
        "macro_overlapping_f1": macro_of(np.stack(by_name[False], axis=2)),
    }


def _in_turn(drawn: Bootstrap, counts: Sequence[Floats]) -> list[Floats]:
    """The sums of each of `counts`, many at a time: the same weights are drawn for all of them."""
    at_once = max(1, _CELLS_AT_ONCE // max(1, counts[0].size))
    found: list[Floats] = []
    for start in range(0, len(counts), at_once):
        part = counts[start : start + at_once]
        found += np.split(drawn.sums(np.concatenate(part, axis=1)), len(part), axis=1)
    return found


def macro_of(totals: Floats, undefined: str = _NO_GOLD) -> Estimate:
    """Mean F1 over the symptoms that are there, of sums `(1 + resamples, 3, K)`."""
    there = totals[0, 2] > 0
    if not there.any():
        return Estimate(value=None, note=undefined)
    return estimate(mean_of_defined(precision_recall_f1(totals[:, :, there].reshape(len(totals), -1))[2]))


def _by_assertion(gold: Notes, predicted: Notes, drawn: Bootstrap) -> list[AssertionSpans]:
    """Each assertion, told of spans that were found, and end to end."""
    pairs = [
        [(wanted[row], found[column]) for row, column in match_spans(wanted, found, exact=False)]
        for wanted, found in zip(gold, predicted, strict=True)
    ]
    rows = []
    for assertion in span_classes():
        wanted, found = _only(gold, predicted, _assertion, assertion)
        if not _total(wanted) and not _total(found):
            continue
        rows.append(
            AssertionSpans(
                assertion=assertion,
                gold=_total(wanted),
                predicted=_total(found),
                given_span=scores_of(drawn.sums(_told(pairs, assertion))),
                exact=scores_of(drawn.sums(span_counts(wanted, found, exact=True))),
                overlapping=scores_of(drawn.sums(span_counts(wanted, found, exact=False))),
            )
        )
    return rows


def _told(pairs: Sequence[Sequence[tuple[Mention, Mention]]], assertion: str) -> Floats:
    """Return `(notes, 3)` of pairs of spans: both have the assertion, the prediction has it, the gold has."""
    rows = [
        (
            sum(wanted.assertion == found.assertion == assertion for wanted, found in note),
            sum(found.assertion == assertion for _, found in note),
            sum(wanted.assertion == assertion for wanted, _ in note),
        )
        for note in pairs
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 3)
