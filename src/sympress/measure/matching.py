"""Which predicted span is which gold span: one to one, exactly or by overlap."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from sympress.labels.mentions import Mention

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
