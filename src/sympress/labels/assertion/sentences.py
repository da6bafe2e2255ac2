"""Where the statement around a mention begins and ends: sentences, lines, and lists with a lead."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container
from functools import cached_property
from typing import NamedTuple

# Where the sentence around a mention begins and ends; looked for only where there is a mention.


#: A sentence is read at least so far to either side of where a mention begins.
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
#: Who speaks a line of a transcript.
TURN = (
    r"[ \t]*[\[<(](?:doctor|dr|clinician|physician|provider|nurse|interviewer|patient|pt|client|guest|caller"
    r"|speaker|mother|father|mom|dad|parent|wife|husband|daughter|son|family|caregiver|interpreter)"
    r"[ _]?\w{0,12}[\])>]"
)
_TURN = re.compile(TURN, re.IGNORECASE)
#: A clinician in a dialogue, as the label of a line: `Dr. Lee`.
CLINICIAN = r"(?:doctor|dr\.?(?:[ ][\w'-]{1,20})?|nurse|provider|clinician|physician|interviewer)"
_LABEL = re.compile(r"[A-Za-z][\w /&()-]{0,50}:")
_CITED = re.compile(r"\d{1,3}(?:[,–-] ?\d{1,3}){0,5} [A-Z]")
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
#: What says of the sentence before that it is over: `Hives and itching; both were gone within 2 hours`.
_REFERS_BACK = re.compile(
    r"[ ]{1,2}(?:it|they|both|all|these|this|(?:all|both) of (?:these|them)|(?:the |her |his )?symptoms)[ ]"
    r"(?:(?:has|have|had|was|were|is|are|all|both|then|now|since|quickly|completely|fully)[ ]){0,3}"
    r"(?:gone|resolved|subsided|went away|cleared up|disappeared|vanished)\b",
    re.IGNORECASE,
)
#: A full stop without a space behind it, `no fever.cough x2d`: neither `www.site.com` nor `e.g.`
_BEFORE_GLUED = re.compile(
    r"(?:^|[\s,;:(.])(?!www$)"
    r"(?:[a-z/-]*[a-z]{3}|[a-z](?:/[a-z])+|x? ?\d{1,3}[a-z]|am|pm|cp|ha|nv|bp|ed|er)$",
    re.IGNORECASE,
)
_BEHIND_GLUED = re.compile(
    r"(?!(?:com|org|net|edu|gov|info|txt|html?|xml|pdf|docx?|jpe?g|png|csv|json)\b)"
    r"(?:[a-z]{3,}|no|pt|[a-z](?:/[a-z])+)(?=[\s,;:/.)-]|$)(?!\.(?:com|org|net|edu|gov|info)\b)"
)
#: Behind a semicolon an item of a list has at most so many words, none of which is one of these.
_ITEM_WORDS = 5
#: So much behind a semicolon is read.
_ITEM_LENGTH = 60
_TELLS = re.compile(
    r"\d|[:+(]|\b(?:no|not|is|are|was|were|has|had|have|with|without|denie[sd]|reports?|complains?|states?|notes?|new|now|"
    r"since|for|but|still|today|continues?|presents?|positive|negative|absent|also|did|does|when|after)\b",
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

        Where no end is near, the borders are the same for all spans that begin in the same 2,000 characters.
        """
        places = self._places
        before = bisect_left(places, start) - 1
        behind = bisect_left(places, end, before + 1)
        lowest = (start - REACH) // (2 * REACH) * 2 * REACH
        first, left = self._last_break(before, max(0, lowest))
        last, right = self._first_break(behind, min(len(self._text), max(end, lowest + 4 * REACH)))
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
        return not (_joins_items(text, place, items) or _REFERS_BACK.match(text, place + 1))
    if mark == "\n":
        return _line_ends_sentence(text, place)
    behind = text[place + 1 : place + 2]
    if mark != ".":
        # "?PE" and "? PE" ask what the note cannot answer: they belong to the word behind them.
        ends = not behind or behind.isspace() or (mark == "!" and behind.isalpha())
        return ends and not text[place - 1 : place].isspace()
    if behind and not behind.isspace():
        small = text[place - 1 : place].islower()
        # The number of a source stands behind a sentence: `gait ataxia.5 Her`.
        cited = behind.isdigit() and small and _CITED.match(text, place + 1) is not None
        return (
            behind in "\"')]"
            or (behind.isupper() and small)
            or (cited and not _is_abbreviation(text, place))
            or (behind.islower() and _is_glued(text, place))
        )
    return not (_is_abbreviation(text, place) or _REFERS_BACK.match(text, place + 1))


def _is_glued(text: str, place: int) -> bool:
    """Whether two sentences stand at a full stop without a space between them."""
    return (
        _BEHIND_GLUED.match(text, place + 1) is not None
        and _BEFORE_GLUED.search(text[max(0, place - 25) : place]) is not None
    )


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
    if _ITEM.match(bare) or _LABEL.match(bare) or _TURN.match(bare):
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


# Lines of a note, and the line that leads a list: `Denies:` above `- fever` and `- cough`.


_BULLET = re.compile(r"(?:[-–—*•·▪◦‣➢>]+|\(?(?:\d{1,2}|[a-z])[.)])[ \t]+(?=\S)|[•·▪◦‣➢](?=\S)")
_INDENT = re.compile(r"[ \t]*")
_LABEL_LINE = re.compile(r"[A-Za-z][\w /&()'-]{0,50}:(?=[ \t]*\S)")
# `Strep: negative` and `Smoker? No` answer; they say nothing of the lines below. `ROS: negative` does.
_ANSWERED_LINE = re.compile(
    rf"(?<!\bros)(?<!systems)(?<!symptoms)[ \t]*[:?=|–—\t-][ \t]*{ANSWERS}$", re.IGNORECASE
)
#: No more of a line than this is looked at: longer ones lead no list.
_LOOKED_AT = 400


class Line(NamedTuple):
    """A line without what surrounds its words.

    Attributes:
        indent: how far its first mark is from the left.
        bullet: whether it begins with the mark of a list.
        start: first character behind indent and bullet.
        end: one past its last character that is no space.
        leads: whether it ends in a colon, or in a dash behind which nothing comes.
        labelled: whether it begins with a label, or a speaker in brackets, and has something behind it.
        answered: whether it ends in the answer to what it asks.
    """

    indent: int
    bullet: bool
    start: int
    end: int
    leads: bool
    labelled: bool
    answered: bool


class Lines:
    """The lines of one text and what leads them; each line is looked at once."""

    def __init__(self, text: str, opens: Callable[[int], bool]) -> None:
        """Take a text, placeholders blanked, and what says whether a cue ends at a place (`Denies`)."""
        self._text, self._opens = text, opens
        self._read: dict[int, Line | None] = {}
        self._leads: dict[int, int] = {}

    @cached_property
    def starts(self) -> list[int]:
        """Where each line begins."""
        return [0, *(found.end() for found in re.finditer("\n", self._text))]

    def number(self, place: int) -> int:
        """The line that holds `place`."""
        return bisect_right(self.starts, place) - 1

    def bounds(self, number: int) -> tuple[int, int]:
        """Where a line begins, and where its line break stands."""
        starts = self.starts
        return starts[number], starts[number + 1] - 1 if number + 1 < len(starts) else len(self._text)

    def lead(self, place: int) -> Line | None:
        """The line that leads the list, or the block of lines, in which `place` stands."""
        if len(self.starts) == 1:
            return None
        asked = self.number(place)
        path: list[int] = []
        found = asked
        while found not in self._leads:
            path.append(found)
            step = self._above(found)
            if step is None:
                self._leads[found] = -1
            elif step[1]:
                self._leads[found] = step[0]
            else:
                found = step[0]
        result = self._leads[found]
        for number in path:
            self._leads[number] = result
        return None if result < 0 else self.line(result)

    def line(self, number: int) -> Line | None:
        """A line as it is read; None where it is blank or very long."""
        if number not in self._read:
            self._read[number] = self._parse(*self.bounds(number))
        return self._read[number]

    def _parse(self, first: int, last: int) -> Line | None:
        text = self._text
        if last - first > _LOOKED_AT:
            return None
        indented = _INDENT.match(text, first, last)
        start = indented.end() if indented else first
        words = text[start:last].rstrip()
        if not words:
            return None
        indent, end = start - first, start + len(words)
        bullet = _BULLET.match(text, start, end)
        start = bullet.end() if bullet else start
        leads = text[end - 1] == ":" or (end - start > 2 and text[end - 2 : end] in (" -", " –"))
        labelled = (_LABEL_LINE.match(text, start, end) or _TURN.match(text, start, end)) is not None
        answered = words.lower().endswith(ANSWER_ENDS) and _ANSWERED_LINE.search(text, start, end) is not None
        return Line(indent, bullet is not None, start, end, leads, labelled, answered)

    def _above(self, number: int) -> tuple[int, bool] | None:
        """The line to look at for what leads line `number`, and whether it leads it; None: nothing does."""
        line = self.line(number)
        above, gaps = number - 1, 0
        while above >= 0 and self._blank(above) and gaps < 2:
            above, gaps = above - 1, gaps + 1
        over = self.line(above) if above >= 0 and gaps < 2 else None
        if line is None or over is None:
            return None
        if line.bullet:
            return self._above_bullet(line, above, over)
        if over.leads and (not line.labelled or line.indent > over.indent):
            return above, True
        among = over.labelled and 0 < over.indent == line.indent
        list_is_over = over.bullet and line.indent <= over.indent
        if gaps or list_is_over or (line.labelled and not among) or not self._alike(line, over):
            return None
        return above, not over.bullet and self._opens_next(over)

    def _above_bullet(self, line: Line, above: int, over: Line) -> tuple[int, bool] | None:
        nearest = deeper = above
        while over.bullet and over.indent > line.indent and deeper:
            deeper -= 1
            higher = self.line(deeper)
            if higher is None:
                break
            above, over = deeper, higher
        if over.bullet:
            beside = over.indent > line.indent or (above < nearest and over.indent == line.indent)
            opens = over.leads or (over.indent < line.indent and self._opens_next(over))
            return above, not beside and opens
        if over.indent > line.indent and not over.leads:
            return above, False  # a bullet goes on in the line behind it
        if over.leads or (self._text[over.end - 1] not in ".!?;" and not over.answered):
            return above, True
        return None

    def _opens_next(self, line: Line) -> bool:
        """Whether a line ends in a cue that says something of the next."""
        return not line.answered and self._opens(line.end)

    def _alike(self, line: Line, over: Line) -> bool:
        """Whether two lines could be items of one list: both begin with a capital, or neither does."""
        return (
            over.bullet
            or self._opens(over.end)
            or self._text[line.start].isupper() == self._text[over.start].isupper()
        )

    def _blank(self, number: int) -> bool:
        first, last = self.bounds(number)
        return last - first <= _LOOKED_AT and not self._text[first:last].strip()
