"""The rows of a CoNLL document: how a text is cut into tokens and sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_TOKEN = re.compile(r"\w+|[^\w\s]")
_SPACE = re.compile(r"\s*")


class Row(NamedTuple):
    """One line: what stands before the tag, and the place of its token in the text.

    The blank line between two sentences has an empty `kept`; its place means nothing.
    """

    kept: str
    start: int = 0
    end: int = 0


def rows_of(text: str, spans: Sequence[tuple[int, int]]) -> list[Row]:
    """Return the tokens of `text` in order, with a blank row where a sentence ends.

    A token is a run of letters, digits and underscores, or one other character; it also ends at the edge of
    a span. A sentence ends at a line break, but not inside a span.

    Args:
        text: the note.
        spans: `(start, end)`, disjoint and ordered.
    """
    rows: list[Row] = []
    waiting = list(reversed(spans))
    for start, end in _tokens(text, sorted({edge for span in spans for edge in span}, reverse=True)):
        while waiting and waiting[-1][1] <= start:
            waiting.pop()
        inside = bool(waiting) and waiting[-1][0] < start
        if rows and not inside and "\n" in text[rows[-1].end : start]:
            rows.append(Row(""))
        rows.append(Row(text[start:end], start, end))
    return rows


def _tokens(text: str, edges: list[int]) -> Iterator[tuple[int, int]]:
    """Yield the place of each token, cut at `edges`, which are in falling order."""
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        while edges and edges[-1] <= start:
            edges.pop()
        while edges and edges[-1] < end:
            yield start, edges[-1]
            start = edges.pop()
        yield start, end


def token_place(token: str, text: str, behind: int) -> tuple[int, int] | None:
    """Return where `token` stands in `text`, after white space behind `behind`; None if it does not."""
    space = _SPACE.match(text, behind)
    start = space.end() if space else behind
    return (start, start + len(token)) if text.startswith(token, start) else None
