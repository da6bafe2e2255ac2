"""Where the sentence around a mention begins and ends; looked for only where there is a mention."""

from __future__ import annotations

import re
from bisect import bisect_left

#: A sentence reaches at most this many characters to either side of a mention.
REACH = 1_000

_CANDIDATE = re.compile(r"[.?!;\n]")
# Where a dump lost its line breaks, a gap before `2)` was one.
_GAP = re.compile(r"  (?=\d{1,2}[.)]\s)")
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "prof", "st", "no", "vs", "fig", "e.g", "i.e"})
# Abbreviations that end in a point within a sentence.
# fmt: off
_SHORT = frozenset({
    "approx", "pt", "pts", "hx", "dx", "tx", "rx", "temp", "wt", "ht", "avg", "est", "min", "hr", "hrs", "yr",
    "yrs", "mo", "wk", "wks",
})
# fmt: on
_ITEM = re.compile(r"(?:[-*#•·]|\(?\d{1,2}[.)])\s|[•·☐☑✓]|\[[ xX]?\]")
_LABEL = re.compile(r"[A-Z][\w /&()-]{0,50}:")
#: A line at least this long may end where the writer's screen ended, not the sentence.
_WRAPPED_FROM = 50


class Sentences:
    """The sentences of one text, found around the spans that are asked for."""

    def __init__(self, text: str) -> None:
        """Remember `text`, in its original case, placeholders blanked."""
        self._text = text
        self._places = [found.start() for found in _CANDIDATE.finditer(text)]
        gaps = [found.start() for found in _GAP.finditer(text)]
        if gaps:
            self._places = sorted(self._places + gaps)

    def around(self, start: int, end: int) -> tuple[int, int]:
        """Return where the sentence of the span `start` to `end` begins and ends."""
        text, places = self._text, self._places
        first, last = max(0, start - REACH), min(len(text), end + REACH)
        at = bisect_left(places, start) - 1
        while at >= 0 and places[at] >= first:
            if is_break(text, places[at]):
                first = places[at] + 1
                break
            at -= 1
        at = bisect_left(places, end)
        while at < len(places) and places[at] < last:
            if is_break(text, places[at]):
                last = places[at]
                break
            at += 1
        return first, last


def is_break(text: str, place: int) -> bool:
    """Whether the mark at `place`, one of `. ? ! ;`, a newline or a gap, ends a sentence."""
    mark = text[place]
    if mark in "; ":
        return True
    if mark == "\n":
        return _line_ends_sentence(text, place)
    behind = text[place + 1 : place + 2]
    if mark != ".":
        # "?PE" and "? PE" ask what the note cannot answer: they belong to the word behind them.
        return (not behind or behind.isspace()) and not text[place - 1 : place].isspace()
    if behind and not behind.isspace():
        return behind in "\"')]" or (behind.isupper() and text[place - 1 : place].islower())
    return not _is_abbreviation(text, place)


def _is_abbreviation(text: str, place: int) -> bool:
    word = text[max(0, place - 15) : place].lower().rpartition(" ")[2].lstrip("(\"'\n")
    if word in _TITLES:
        return True
    following = text[place + 1 : place + 5].lstrip()[:1]
    return following.islower() and ("." in word or (len(word) == 1 and word.isalpha()) or word in _SHORT)


def _line_ends_sentence(text: str, place: int) -> bool:
    """Whether the newline at `place` is more than a line that was full."""
    following = text[place + 1 : place + 80]
    bare = following.lstrip()
    if not bare or "\n" in following[: len(following) - len(bare)]:
        return True
    if _ITEM.match(bare) or _LABEL.match(bare):
        return True
    if bare[0].islower():
        return False
    return place - text.rfind("\n", 0, place) <= _WRAPPED_FROM
