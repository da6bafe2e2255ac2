"""Where the sentence around a mention begins and ends; looked for only where there is a mention."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Container
from typing import NamedTuple

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
#: So much behind a semicolon is read.
_ITEM_LENGTH = 60
_TELLS = re.compile(
    r"\d|[:+(]|\b(?:no|not|is|are|was|were|has|had|have|with|without|denie[sd]|reports?|complains?|states?|notes?|new|now|"
    r"since|for|but|still|today|continues?|presents?|positive|negative|also|did|does|when|after)\b",
    re.IGNORECASE,
)
_LAST_OF_LIST = re.compile(r"\s*(?:n?or)\b", re.IGNORECASE)
_SEMICOLONS = 20
# `Fever? - No` ends at its line's end; `denies pain, no` goes on.
#: How a line ends that has told what it asks: its last word, and all that may stand there.
ANSWER_ENDS = (
    "yes", "no", "none", "n", "y", "neg", "negative", "pos", "positive", "present", "noted", "seen",
    "reported", "endorsed", "denied", "denies", "absent", "never", "out", "resolved", "improved", "gone",
)  # fmt: skip
ANSWERS = (
    r"(?:yes|no|none|neg(?:ative)?|pos(?:itive)?|[yn]|(?:not[ \t]+)?(?:present|noted|seen|reported|endorsed)|"
    r"denie[sd]|absent|never|ruled[ \t]+out|(?:(?:now|improved),?[ \t]+)?resolved|improved|gone)"
)
_ANSWERED = re.compile(rf"[:?=|>–—\t-][ \t]*{ANSWERS}[ \t\r]*$", re.IGNORECASE)


class Sentences:
    """The sentences of one text, found around the spans that are asked for."""

    def __init__(self, text: str, joined: Container[int] = ()) -> None:
        """Remember `text`, its placeholders blanked; no sentence ends at the places `joined`."""
        self._text = text
        places = [found.start() for found in _CANDIDATE.finditer(text)]
        self._places = [at for at in places if at not in joined] if joined else places
        gaps = [found.start() for found in _GAP.finditer(text)] if "  " in text else []
        if gaps:
            self._places = sorted(self._places + gaps)
        self._breaks: dict[int, bool] = {}
        self._items = _Items(text)
        self._clear = (0, 0)

    def around(self, start: int, end: int) -> tuple[int, int]:
        """Return where the sentence of the span `start` to `end` begins and ends.

        Where no end is near, the borders are the same for all spans of a thousand characters.
        """
        places = self._places
        before = bisect_left(places, start) - 1
        behind = bisect_left(places, end, before + 1)
        first, left = self._last_break(before, max(0, (start - REACH) // REACH * REACH))
        last, right = self._first_break(behind, min(len(self._text), -(-(end + REACH) // REACH) * REACH))
        self._clear = (left + 1 if before + 1 == behind else behind, right)
        return first, last

    def _last_break(self, at: int, lowest: int) -> tuple[int, int]:
        """Return where the text behind the last break from mark `at` back begins, and the break's number.

        Without one down to place `lowest` it begins there.
        """
        places, (first_clear, behind_clear) = self._places, self._clear
        while at >= 0 and places[at] >= lowest:
            if first_clear <= at < behind_clear:
                at = first_clear - 1
            elif self._is_break(at):
                return places[at] + 1, at
            else:
                at -= 1
        return lowest, at

    def _first_break(self, at: int, highest: int) -> tuple[int, int]:
        """Return the place of the first break from mark `at` on, `highest` without one, and its number."""
        places, (first_clear, behind_clear) = self._places, self._clear
        while at < len(places) and places[at] < highest:
            if first_clear <= at < behind_clear:
                at = behind_clear
            elif self._is_break(at):
                return places[at], at
            else:
                at += 1
        return highest, at

    def _is_break(self, at: int) -> bool:
        """Whether mark `at` ends a sentence; each is looked at once."""
        known = self._breaks.get(at)
        if known is None:
            known = self._breaks[at] = _is_break(self._text, self._places[at], self._items)
        return known


def _is_break(text: str, place: int, items: _Items) -> bool:
    """Whether the mark at `place`, one of `. ? ! ;`, a newline or a gap, ends a sentence."""
    mark = text[place]
    if mark == " ":
        return True
    if mark == ";":
        return not _joins_items(text, place, items)
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


class _Item(NamedTuple):
    """What stands between a semicolon and the next mark.

    Attributes:
        end: one past its last character.
        blank: whether it has no words.
        tells: whether it is more than an item of a list.
        closes: whether it begins with `or`.
    """

    end: int
    blank: bool
    tells: bool
    closes: bool


class _Items:
    """The items behind the semicolons of a text, each looked at once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._read: dict[int, _Item] = {}

    def behind(self, place: int) -> _Item:
        """The item behind the semicolon at `place`."""
        item = self._read.get(place)
        if item is None:
            text, start = self._text, place + 1
            found = _CANDIDATE.search(text, start, start + _ITEM_LENGTH)
            end = found.start() if found else min(len(text), start + _ITEM_LENGTH)
            words = text[start:end]
            tells = len(words.split()) > _ITEM_WORDS or _TELLS.search(words) is not None
            closes = _LAST_OF_LIST.match(words) is not None
            item = self._read[place] = _Item(end, not words.strip(), tells, closes)
        return item


def _joins_items(text: str, place: int, listed: _Items) -> bool:
    """Whether a semicolon stands between items of one list: `Denies fever; chills; or cough`.

    All that follows, up to the end of the sentence, are a few words without a verb, a cue or a number, and
    there are two such items, or the last begins with `or`.
    """
    end = place
    items = 0
    closed = False
    while items < _SEMICOLONS and text.startswith(";", end):
        item = listed.behind(end)
        if item.blank:
            break
        if item.tells:
            return False
        closed = closed or item.closes
        items, end = items + 1, item.end
    if not items:
        return False
    if closed or items > 1:
        return True
    _, earlier, before = text[max(0, place - 40) : place].rpartition(";")
    labelled = before if earlier else before.rpartition(":")[2]
    if not earlier and labelled == before:
        return False
    return _CANDIDATE.search(labelled) is None and not _TELLS.search(labelled)


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
