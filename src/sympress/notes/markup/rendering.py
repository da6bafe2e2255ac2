"""Plain text put together from pieces of a source, each piece with its place there."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Markup = Literal["html", "rtf", "hl7", "cda"]
Places = NDArray[np.int64]


class Rendering:
    """A text that grows at its end, from pieces of a source in their order.

    Attributes:
        source: what the pieces are of.
        length: characters so far.
        last: the last character so far; empty before the first.
        reached: one past the last character of the source that has a piece.
        denied: spans of the text that the markup marks as negated, by start.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.length = 0
        self.last = ""
        self.reached = 0
        self.denied: list[tuple[int, int]] = []
        self._parts: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []

    def copy(self, start: int, end: int) -> None:
        """Add the source's characters from `start` to `end` as they are."""
        if start < end:
            self._add(self.source[start:end], start, end)

    def write(self, text: str, start: int, end: int) -> None:
        """Add `text`, which stands for the source's characters from `start` to `end` as a whole."""
        if not text:
            return
        if len(text) == end - start > 1:
            # As many characters as they stand for would be taken for a copy.
            self._add(text[:1], start, end)
            self._add(text[1:], start, end)
        else:
            self._add(text, start, end)

    def _add(self, text: str, start: int, end: int) -> None:
        self._parts.append(text)
        self._starts.append(start)
        self._ends.append(end)
        self.length += len(text)
        self.last = text[-1]
        self.reached = end

    @property
    def mark(self) -> int:
        """How many pieces there are: what `since` takes."""
        return len(self._parts)

    def since(self, mark: int, limit: int) -> str:
        """Return the text since `mark`, at most about `limit` characters of it."""
        parts: list[str] = []
        for part in self._parts[mark : mark + limit]:
            parts.append(part)
            limit -= len(part)
            if limit <= 0:
                break
        return "".join(parts)

    def finish(self) -> tuple[str, Places, Places]:
        """Return the text and of each character its start and end in the source, neither ever falling."""
        lengths = np.array([len(part) for part in self._parts], dtype=np.int64)
        starts = np.array(self._starts, dtype=np.int64)
        ends = np.array(self._ends, dtype=np.int64)
        copied = np.repeat(lengths == ends - starts, lengths)
        within = np.arange(self.length, dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        first = np.repeat(starts, lengths)
        return (
            "".join(self._parts),
            np.where(copied, first + within, first),
            np.where(copied, first + within + 1, np.repeat(ends, lengths)),
        )


class Page(Rendering):
    """A rendering in lines: white space, line ends and cells count only where text follows them.

    Attributes:
        lines: line ends that are due before the next text, at most two (a blank line).
        tabs: cells that begin before the next text.
        prefix: what the next text has before it: the dash of a list item.
        glue: what stands between the last text and the next if they share a line.
        fresh: at the start of a cell or item, where a block inside ends no line.
        leads: the last line introduces the next (a heading), so no blank line follows it.
        denying: what is written now is negated by the markup.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.lines = 0
        self.tabs = 0
        self.prefix = ""
        self.glue = ""
        self.fresh = False
        self.leads = False
        self.denying = False
        self._space: tuple[int, int] | None = None

    def end_line(self, count: int = 1) -> None:
        """Let the next text begin a line; behind a blank one if `count` is 2."""
        if not self.fresh:
            self.lines = max(self.lines, count)

    def end_another_line(self) -> None:
        """Let the next text begin a line more than was due already."""
        if not self.fresh:
            self.lines = min(2, self.lines + 1)

    def begin_item(self, prefix: str = "") -> None:
        """Begin a line of a list or table, whatever was due."""
        self.lines, self.tabs, self.glue, self.prefix, self.fresh = 1, 0, "", prefix, bool(prefix)

    def space(self, start: int, end: int) -> None:
        """Put white space before the next text, unless it begins a line."""
        self._space = self._space or (start, end)

    def say(self, start: int, end: int) -> None:
        """Copy a stretch of text behind what is due before it."""
        if start < end:
            first = self._settle(start)
            self.copy(start, end)
            self._deny(first)

    def put(self, text: str, start: int, end: int) -> None:
        """Write `text` for a stretch of the source, behind what is due before it."""
        if text:
            first = self._settle(start)
            self.write(text, start, end)
            self._deny(first)

    def _settle(self, start: int) -> int:
        """Write what is due before text that begins at `start`; return where that text begins here."""
        before = min(self.reached, start)
        if self.lines and self.length:
            count = 1 if self.leads or self.last == ":" else self.lines
            self.write("\n" * (count - (self.last == "\n")), before, start)
        elif self.glue and self.length:
            self.write(self.glue if self.last != ":" else " ", before, start)
        elif self._space and self.length and not self.tabs and not self.last.isspace():
            self.write(" ", *self._space)
        self.write("\t" * self.tabs + self.prefix, min(self.reached, start), start)
        self.lines, self.tabs, self.prefix, self.glue = 0, 0, "", ""
        self.fresh = self.leads = False
        self._space = None
        return self.length

    def _deny(self, first: int) -> None:
        if not self.denying:
            return
        if self.denied and self.denied[-1][1] == first:
            first = self.denied.pop()[0]
        self.denied.append((first, self.length))
