"""Where the sentence around a mention begins and ends; looked for only where there is a mention."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container

#: A sentence reaches at most this many characters to either side of a mention, and somewhat more.
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
_ITEM = re.compile(r"(?:[-*#•·–—]|\(?\d{1,2}[.)])\s|[•·☐☑☒✓□○●]|[\[({][ xX_]?[\])}]|[-+]\w|\|")
_LABEL = re.compile(r"[A-Za-z][\w /&()-]{0,50}:")
#: A line at least this long may end where the writer's screen ended, not the sentence.
_WRAPPED_FROM = 50
#: No line of a paragraph that is wrapped narrower than this is taken for a full one.
_NARROWEST = 30
# A line that ends, or is followed by one that begins, with one of these goes on.
_GOES_ON = re.compile(
    r"(?:[,(/&-]|\b(?:and|or|nor|of|with|without|no|not|any|the|an?|to|for|in|on|at|by|from|is|are|was|were|has|had|have|"
    r"her|his|their|my|your|this|that|than|as|if|but|per|due|be|been|w/|w/o))\s*$",
    re.IGNORECASE,
)
_GOES_ON_WITH = re.compile(
    r"(?:and|or|nor|but|with|without|of|in|on|for|to|from|which|that|who|due|secondary|is|are|was|were|when|while|"
    r"because|since|at|by|as|than|all|lasting|radiating)\b"
)
#: Behind a semicolon an item of a list has at most so many words, none of which is one of these.
_ITEM_WORDS = 5
_TELLS = re.compile(
    r"\d|[:+(]|\b(?:no|not|is|are|was|were|has|had|have|with|without|denie[sd]|reports?|complains?|states?|notes?|new|now|"
    r"since|for|but|still|today|continues?|presents?|positive|negative|also|did|does|when|after)\b",
    re.IGNORECASE,
)
_LAST_OF_LIST = re.compile(r"\s*(?:n?or)\b", re.IGNORECASE)
_SEMICOLONS = 20
# `Fever? - No` ends at its line's end; `denies pain, no` goes on.
_ANSWERED = re.compile(
    r"[:?=|>–—\t-][ \t]*(?:yes|no|none|neg(?:ative)?|pos(?:itive)?|[yn])[ \t\r]*$", re.IGNORECASE
)


class Sentences:
    """The sentences of one text, found around the spans that are asked for."""

    def __init__(self, text: str, joined: Container[int] = ()) -> None:
        """Remember `text`, in its original case, placeholders blanked; no sentence ends at places `joined`."""
        self._text = text
        self._places = [found.start() for found in _CANDIDATE.finditer(text) if found.start() not in joined]
        gaps = [found.start() for found in _GAP.finditer(text)]
        if gaps:
            self._places = sorted(self._places + gaps)

    def around(self, start: int, end: int) -> tuple[int, int]:
        """Return where the sentence of the span `start` to `end` begins and ends.

        Where no end is near, the borders are the same for all spans of a thousand characters.
        """
        text, places = self._text, self._places
        first = max(0, (start - REACH) // REACH * REACH)
        last = min(len(text), -(-(end + REACH) // REACH) * REACH)
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
    if mark == " ":
        return True
    if mark == ";":
        return not _joins_items(text, place)
    if mark == "\n":
        return _line_ends_sentence(text, place)
    behind = text[place + 1 : place + 2]
    if mark != ".":
        # "?PE" and "? PE" ask what the note cannot answer: they belong to the word behind them.
        ends = not behind or behind.isspace() or (mark == "!" and behind.isalpha())
        return ends and not text[place - 1 : place].isspace()
    if behind and not behind.isspace():
        return behind in "\"')]" or (behind.isupper() and text[place - 1 : place].islower())
    return not _is_abbreviation(text, place)


def _is_abbreviation(text: str, place: int) -> bool:
    word = text[max(0, place - 15) : place].lower().rpartition(" ")[2].lstrip("(\"'\n")
    if word in _TITLES:
        return word != "no" or text[place + 1 : place + 5].lstrip()[:1].isdigit()
    following = text[place + 1 : place + 5].lstrip()[:1]
    return following.islower() and ("." in word or (len(word) == 1 and word.isalpha()) or word in _SHORT)


def _joins_items(text: str, place: int) -> bool:
    """Whether a semicolon stands between items of one list: `Denies fever; chills; or cough`.

    All that follows, up to the end of the sentence, are a few words without a verb, a cue or a number, and
    there are two such items, or the last begins with `or`.
    """
    end = place
    items = 0
    closed = False
    while text[end : end + 1] == ";" and items < _SEMICOLONS:
        item_end = _item_end(text, end + 1)
        item = text[end + 1 : item_end]
        if not item.strip():
            break
        if len(item.split()) > _ITEM_WORDS or _TELLS.search(item):
            return False
        closed = closed or _LAST_OF_LIST.match(item) is not None
        items, end = items + 1, item_end
    _, earlier, item = text[max(0, place - 40) : place].rpartition(";")
    labelled = item.rpartition(":")[2] if not earlier else item
    among = labelled is not item or bool(earlier)
    among = among and _CANDIDATE.search(labelled) is None and not _TELLS.search(labelled)
    return items > 0 and (closed or items > 1 or among)


def _item_end(text: str, start: int) -> int:
    found = _CANDIDATE.search(text, start, start + 60)
    return found.start() if found else min(len(text), start + 60)


def _line_ends_sentence(text: str, place: int) -> bool:
    """Whether the newline at `place` is more than a line that was full."""
    following = text[place + 1 : place + 80]
    bare = following.lstrip()
    if not bare or "\n" in following[: len(following) - len(bare)]:
        return True
    if _ITEM.match(bare) or _LABEL.match(bare):
        return True
    before = text[max(0, place - 200) : place].rpartition("\n")[2]
    if _ANSWERED.search(before):
        return True
    if bare[0].islower():
        return not (_GOES_ON.search(before) or _GOES_ON_WITH.match(bare) or _is_full(text, place, before))
    return len(before) < _WRAPPED_FROM


def _is_full(text: str, place: int, line: str) -> bool:
    """Whether a line is as long as lines of its paragraph are: its sentence goes on in the next."""
    if len(line) >= _WRAPPED_FROM:
        return True
    around = text[max(0, place - 3 * _WRAPPED_FROM) : place + 3 * _WRAPPED_FROM].split("\n")[1:-1]
    longest = max(map(len, around), default=0)
    return len(line) >= _NARROWEST and len(line) > 0.75 * longest
