"""The items of a statement's list, between commas, and which of them are statements of their own."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property

from sympress.labels.assertion.cues import Placed

Span = tuple[int, int]

_LIST_ENDS = re.compile(r"\b(?:n?or)\b(?! (?:so|more|less|two|three)\b)")
_COMMA = re.compile(",")
_NUMBER = re.compile(r"(?<![\d.,/])(?!(?:19|20)\d\d\b)\d")
_BRACKET = re.compile(r"[()]")
_RATIO = re.compile(r"\s*\d+/\d")
_ARTICLE = re.compile(r"\s*an?\s")
_COUNT = re.compile(r"\s*\d{1,2} $")
_AND_OWNER = re.compile(r"\band (?=(?:his|her|their|my|the) )")
#: So much of an item is looked at for the `or` that closes its list.
_ITEM = 80
#: What was measured, in brackets behind a symptom: `fever (38.5 C)`, not `fever (>38)`, `fever (T 36.8)`.
_MEASURED = re.compile(
    r"[ ]?\((?:t(?:emp|max|m)?|hr|bp|rr)?[ :]*(?!0|(?:19|20)\d\d|3[4-7](?:\.\d)?\b|9\d\.\d)"
    r"(?:(?:3[89]|4[0-3]|10\d)\.\d{1,2}|[12]?\d\d(?!\.\d)|\d{1,3}/\d{1,3})(?!\d)"
    r"(?! ?(?:y|yr|yrs|years?|mg)\b)(?![^()\n]{0,20}\b(?:or|and) (?:high|more|above|great))"
)
_DASH = re.compile(r"(?<=\s)[-–—]{1,2}(?=\s)")
_SOON = 30
#: What may stand between a symptom and its exception.
_EXCEPTION = re.compile(r"(?: (?:at all|whatsoever|lately|recently))?,? ?")
_LABELS = re.compile(r"[ \t]?:")


class Brackets:
    """The pairs of round brackets between two places, and which of them holds a place."""

    def __init__(self, text: str, first: int, last: int) -> None:
        self._opens: list[int] = []
        self._closes: list[int] = []
        self._outer: list[int] = []
        unclosed: list[int] = []
        for found in _BRACKET.finditer(text, first, last):
            if found.group() == "(":
                unclosed.append(len(self._opens))
                self._opens.append(found.start())
                self._closes.append(-1)
                self._outer.append(unclosed[-2] if len(unclosed) > 1 else -1)
            elif unclosed:
                self._closes[unclosed.pop()] = found.start()

    def closes(self, place: int) -> int | None:
        """Where the innermost pair around `place` closes; None where none stands around it."""
        at = bisect_right(self._opens, place) - 1
        while at >= 0 and self._closes[at] <= place:  # closed before, or never
            at = self._outer[at]
        return self._closes[at] if at >= 0 else None


class Items:
    """The items of one statement.

    What makes an item a statement of its own, so that a denial before it isn't said of it, is a duration, a
    number, a verb or the like: `no fever, cough for 3 days`.
    """

    def __init__(
        self,
        text: str,
        bounds: Span,
        cues: Sequence[Placed],
        mentions: Sequence[Span],
        *,
        denial_ends: Sequence[int],
        closes: Callable[[int], int | None],
    ) -> None:
        """Find the items.

        Args:
            text: the note in lower case.
            bounds: where the statement begins and ends.
            cues: that stand in it, by start.
            mentions: all that are in it, by start.
            denial_ends: where a denial ends.
            closes: where the brackets around a place close; the commas and numbers in them do not count.
        """
        self._text, self._bounds, self._mentions, self._closes = text, bounds, mentions, closes
        self._denial_ends = denial_ends
        first, last = bounds
        commas = [at.start() for at in _COMMA.finditer(text, first, last)]
        commas = [at for at in commas if closes(at) is None]
        dashes = [at.start() for at in _DASH.finditer(text, first, last)]
        opened = {placed.end for placed in cues if placed.cue.role == "cue"}
        # `Absent - fever`
        dashes = [at for at in dashes if len(text[first:at].rstrip()) + first not in opened]
        self._commas = sorted((*commas, *dashes))
        told = [placed for placed in cues if placed.cue.role == "statement"]
        self._excepts = [placed.start for placed in told if placed.cue.excepts]
        told = [placed for placed in told if not placed.cue.excepts]
        self._found_later = [placed.start for placed in told if placed.cue.spoken]
        told = [placed for placed in told if not placed.cue.spoken]
        self._second = [placed.start for placed in told if placed.cue.second_item]
        self._recent = [placed.start for placed in told if placed.cue.recent]
        telling = [placed.start for placed in told if not placed.cue.second_item]
        telling += [at + 1 for at in dashes] if len(dashes) == 1 else []  # more of them make a list
        telling += [at + 1 for at in self._commas if _RATIO.match(text, at + 1, last)]
        telling += [start - 1 for start, _ in mentions if self._is_counted(start)]
        telling += [end for _, end in mentions if _LABELS.match(text, end, last)]
        telling += [end for _, end in mentions if _MEASURED.match(text, end, last)]
        numbers = (at.start() for at in _NUMBER.finditer(text, first, last))
        self._telling = sorted([*telling, *(at for at in numbers if self._measures(at))])

    @cached_property
    def _articles(self) -> list[int]:
        """Where an item begins with an article."""
        text, last = self._text, self._bounds[1]
        return [
            at + 1
            for at, end in zip(self._commas, (*self._commas[1:], last), strict=False)
            if _ARTICLE.match(text, at + 1, last) and not _LIST_ENDS.search(text, at, min(end, at + _ITEM))
        ]

    @cached_property
    def _owners(self) -> list[int]:
        """Where `and` is followed by whose symptom it is: `and his cough`."""
        return [at.start() for at in _AND_OWNER.finditer(self._text, *self._bounds)]

    def excepts(self, span: Span) -> bool:
        """Whether an exception stands directly behind a mention: `no chest pain except on exertion`."""
        at = bisect_left(self._excepts, span[1])
        if at == len(self._excepts):
            return False
        return _EXCEPTION.fullmatch(self._text, span[1], self._excepts[at]) is not None

    def makes_recent(self, cue_end: int, span: Span) -> bool:
        """Whether a short time beside a mention makes its history a present one: `h/o fever x 5 days`."""
        if not self._recent:
            return False
        item_end = self._item_end(cue_end)
        return item_end >= span[1] and _any_in(self._recent, cue_end, min(item_end, span[1] + _SOON))

    def begins_anew(self, cue_end: int, span: Span) -> bool:
        """Whether a comma ends what is doubted before any symptom is named: `suspected PE, chest pain`."""
        behind = bisect_left(self._commas, cue_end)
        if behind == len(self._commas) or self._commas[behind] > span[0]:
            return False
        at = bisect_left(self._mentions, (cue_end, 0))
        return self._mentions[at][0] > self._commas[behind]

    def tells_itself(self, placed: Placed, span: Span) -> bool:
        """Whether a symptom behind a comma is told by itself: `no fever, cough for 3 days`.

        What tells is a duration, a number, a verb or the like in its item or in an item between it and the
        denial. In a list that ends in `or` it tells nothing: `no fever, pain at rest for weeks, or cough`.
        """
        cue_end = placed.end
        if self._own_clause(cue_end, span):
            return True
        first = bisect_left(self._commas, cue_end)
        if first == len(self._commas) or self._commas[first] > span[0]:
            return False
        behind = bisect_left(self._commas, span[1])
        item_end = self._item_end(span[1])
        stop = bisect_left(self._denial_ends, span[1])
        if stop < len(self._denial_ends):  # what ends a denial may tell as well: `since`
            item_end = min(item_end, self._denial_ends[stop] + 1)
        if first == behind - 1 and behind == len(self._commas) and _any_in(self._second, span[1], item_end):
            return True
        # `without a fever, a cough` is one list
        kinds = [self._telling] if _ARTICLE.match(self._text, cue_end) else [self._telling, self._articles]
        if placed.cue.spoken:
            kinds.append(self._found_later)
        for places in kinds:
            tells = bisect_right(places, self._commas[first])
            if tells < len(places) and places[tells] < item_end:
                return not self.goes_on(places[tells])
        return False

    def _item_end(self, place: int) -> int:
        """Where the item ends in which a place lies."""
        behind = bisect_left(self._commas, place)
        return self._commas[behind] if behind < len(self._commas) else self._bounds[1]

    def _own_clause(self, cue_end: int, span: Span) -> bool:
        """Whether a symptom behind `and` has a verb or an owner: `no fever and the cough is mild`."""
        at = bisect_left(self._owners, span[0]) - 1
        if at < 0 or self._owners[at] < cue_end:
            return False
        item_end = self._item_end(self._owners[at])
        return item_end >= span[1] and _any_in(self._telling, self._owners[at], item_end)

    def goes_on(self, place: int) -> bool:
        """Whether `or` stands before `place` in its item, or closes the list in a later, short one."""
        number = bisect_left(self._commas, place)
        start = self._commas[number - 1] if number else self._bounds[0]
        if _LIST_ENDS.search(self._text, start, place):
            return True
        for at in range(number, min(number + 12, len(self._commas))):
            end = self._commas[at + 1] if at + 1 < len(self._commas) else self._bounds[1]
            if _LIST_ENDS.search(self._text, self._commas[at], min(end, self._commas[at] + 40)):
                return True
        return False

    def _is_counted(self, start: int) -> bool:
        """Whether a number stands before the symptom at `start` and opens its item: `2 loose stools`."""
        before = bisect_left(self._commas, start) - 1
        return (
            before >= 0
            and start - self._commas[before] < 8
            and _COUNT.fullmatch(self._text, self._commas[before] + 1, start) is not None
        )

    def _measures(self, place: int) -> bool:
        """Whether the number at `place` stands behind a symptom of its item: `tachycardia 120`."""
        before = bisect_right(self._commas, place)
        opens = self._commas[before - 1] if before else self._bounds[0]
        at = bisect_right(self._mentions, (place, 0)) - 1
        return at >= 0 and opens < self._mentions[at][1] <= place and self._closes(place) is None


def _any_in(places: Sequence[int], first: int, last: int) -> bool:
    """Whether one of some places, in order, lies between two others."""
    at = bisect_left(places, first)
    return at < len(places) and places[at] < last
