"""Abbreviations that a note defines: `cerebral palsy (CP)`, `CP (cerebral palsy)`.

After Schwartz and Hearst (2003, Pacific Symposium on Biocomputing): read backwards, every letter of the short
form stands in the long form, in order, and the first one begins a word. Unlike theirs, every word of the long
form also gives its first letter, but for small ones: `He came (HA)` defines nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sympress.labels.matching import fold

_IN_BRACKETS = re.compile(r"\(([^()\n]{2,60})\)")
_SHORT = re.compile(r"[A-Z][A-Za-z&/-]{0,6}[A-Z]|[A-Z]{2,8}s?")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SMALL = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
_SHORT_BEFORE = re.compile(r"([A-Z][A-Z&/-]{0,6}[A-Z]s?)\s*$")


class Definition(NamedTuple):
    """A short form, lower-cased, and where its long form stands in the note."""

    short: str
    start: int
    end: int


def find_definitions(text: str) -> list[Definition]:
    """Return the abbreviations that `text` defines, by place; each pair of brackets is read once."""
    if "(" not in text:
        return []
    found = []
    for match in _IN_BRACKETS.finditer(text):
        inside = match[1].strip()
        if _SHORT.fullmatch(inside):
            long = _long_before(text, match.start(), inside)
        else:
            before = _SHORT_BEFORE.search(text, max(0, match.start() - 12), match.start())
            if before is None:
                continue
            inside, long = before[1], _long_within(text, match.start(1), match.end(1), before[1])
        if long is not None:
            found.append(Definition(fold(inside), *long))
    return found


def _letters(short: str) -> str:
    return fold("".join(filter(str.isalnum, short[:-1] if short.endswith("s") else short)))


def _long_before(text: str, end: int, short: str) -> tuple[int, int] | None:
    """Return the long form that ends at `end`: at most as many words as Schwartz and Hearst allow."""
    letters = _letters(short)
    first = max(0, end - 30 * (len(letters) + 1))
    words = list(_WORD.finditer(text, first, end))[-min(len(letters) + 5, 2 * len(letters)) :]
    if not words or text[words[-1].end() : end].strip():
        return None
    start = _aligned(fold(text[words[0].start() : end]), letters)
    return None if start is None else (words[0].start() + start, end)


def _long_within(text: str, start: int, end: int, short: str) -> tuple[int, int] | None:
    """Return the long form between two brackets, when it starts there and has more than one word."""
    letters = _letters(short)
    at = _aligned(fold(text[start:end]), letters)
    return (start, end) if at == 0 and len(_WORD.findall(text, start, end)) > 1 else None


def _aligned(long: str, letters: str) -> int | None:
    """Return where the long form starts of which `letters` are the abbreviation; None where they are not."""
    at = len(long)
    for place in range(len(letters) - 1, -1, -1):
        at = long.rfind(letters[place], 0, at)
        while place == 0 and at > 0 and long[at - 1].isalnum():
            at = long.rfind(letters[0], 0, at)
        if at < 0:
            return None
    return at if _gives_initials(long[at:], letters) else None


def _gives_initials(long: str, letters: str) -> bool:
    left = iter(letters)
    return all(word[0] in left for word in _WORD.findall(long) if word not in _SMALL)
