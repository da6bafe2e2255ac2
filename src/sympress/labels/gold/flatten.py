"""One contiguous span a place: the rule for discontinuous and overlapping spans, with everything counted.

A discontinuous span becomes its covering span where nothing but white space and punctuation lies between
its fragments (a line was wrapped), else its longest fragment, the first of equals. Of MACCROBAT's 38
discontinuous spans 5 are of the first kind (among them the only one of a symptom); in the other 33 the gap
holds 1 to 6 words that belong to another concept ("T1 and T2 signal"), which a covering span would swallow.

Of spans that overlap, the longest wins, the first of equals; the others are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from sympress.labels.gold.documents import GoldSpan


class Flat(NamedTuple):
    """A span by one start and one end, and what it was."""

    start: int
    end: int
    span: GoldSpan


def flatten_spans(spans: Iterable[GoldSpan], text: str, counts: Counter[str]) -> list[Flat]:
    """Return disjoint, non-empty spans without white space at their edges, ordered by start.

    What was changed or dropped is added to `counts`.
    """
    placed = [
        trimmed
        for span in spans
        if (flat := _contiguous_place(span, text, counts)) is not None
        and (trimmed := _trimmed(flat, text, counts)) is not None
    ]
    chosen: list[Flat] = []
    taken = bytearray(len(text))
    for flat in sorted(placed, key=lambda flat: (flat.start - flat.end, flat.start)):
        if any(taken[flat.start : flat.end]):
            counts["overlapping a longer or an earlier span: dropped"] += 1
            continue
        taken[flat.start : flat.end] = b"\1" * (flat.end - flat.start)
        chosen.append(flat)
    return sorted(chosen, key=lambda flat: flat.start)


def _contiguous_place(span: GoldSpan, text: str, counts: Counter[str]) -> Flat | None:
    """Return `span` with one start and one end, white space included; None if it has no place.

    What was changed or dropped is added to `counts`.
    """
    if not span.fragments:
        counts["without a place in the text: dropped"] += 1
        return None
    if len(span.fragments) == 1:
        return Flat(*span.fragments[0], span)
    gaps = (text[end:start] for (_, end), (start, _) in zip(span.fragments, span.fragments[1:], strict=False))
    if not any(character.isalnum() for gap in gaps for character in gap):
        counts["discontinuous: covering span taken"] += 1
        return Flat(span.fragments[0][0], span.fragments[-1][1], span)
    counts["discontinuous: longest fragment taken"] += 1
    return Flat(*max(span.fragments, key=lambda fragment: fragment[1] - fragment[0]), span)


def _trimmed(flat: Flat, text: str, counts: Counter[str]) -> Flat | None:
    """Return `flat` without white space at its edges; None if nothing is left."""
    marked = text[flat.start : flat.end]
    if not marked.strip():
        counts["nothing but white space: dropped"] += 1
        return None
    start = flat.start + len(marked) - len(marked.lstrip())
    end = flat.end - len(marked) + len(marked.rstrip())
    if (start, end) != (flat.start, flat.end):
        counts["white space at the edges: trimmed"] += 1
    return Flat(start, end, flat.span)
