"""Lines of a note, and the line that leads a list: `Denies:` above `- fever` and `- cough`."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

from sympress.labels.sentences import ANSWER_ENDS, ANSWERS

_BULLET = re.compile(r"(?:[-–—*•·▪◦‣➢>]+|\(?(?:\d{1,2}|[a-z])[.)])[ \t]+(?=\S)|[•·▪◦‣➢](?=\S)")
_INDENT = re.compile(r"[ \t]*")
_LABEL = re.compile(r"[A-Za-z][\w /&()'-]{0,50}:(?=[ \t]*\S)")
# `Strep: negative` and `Smoker? No` answer; they say nothing of the lines below. `ROS: negative` does.
_ANSWERED = re.compile(
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
        labelled: whether it begins with a label and has something behind the colon.
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
        labelled = _LABEL.match(text, start, end) is not None
        answered = words.lower().endswith(ANSWER_ENDS) and _ANSWERED.search(text, start, end) is not None
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
