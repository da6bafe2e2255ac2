"""Plain text put together from pieces of a source, with look-alike characters made alike."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

# Plain text put together from pieces of a source, each piece with its place there.


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


# Characters that look like others, as the others: ligatures, full-width letters, odd spaces and line ends.
#
# What stays as it is: quotation marks and en and em dashes, which rules read, and whatever has a meaning of
# its own (`²`, `½`, `…`, `№`). Letters of Greek and Cyrillic count as Latin ones only within a word that
# has Latin letters too and none that Latin lacks.


_LIGATURES = {"\u0153": "oe", "\u0152": "OE", "\u00e6": "ae", "\u00c6": "AE", "\u0131": "i", "\u017f": "s"}
_HYPHENS = "\u2010\u2011\u2012\u2212\u2043\ufe63"
_LINE_ENDS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_SPACES = (
    "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u200b"
)
# Soft hyphen, joiners, marks of direction and of variants, byte order mark: nothing is to be seen of them.
_INVISIBLE = (
    "\u00ad\u034f\u180e\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2061\u2062\u2063\u2064"
    "\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff"
)
_APOSTROPHES = "\u02bc\u00b4\u2018\u2032\u201b\u02b9"
_ASCII_ENDS = "\v\f\r\x1c\x1d\x1e"
#: No letter has more accents than this.
_MOST_ACCENTS = 8
_LATIN = dict(
    zip(
        "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04bb\u051b\u051d"
        "\u0410\u0412\u0415\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425\u0406\u0408\u0405"
        "\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7",
        "aeopcyxijsdhqwABEKMHOPCTYXIJSovABEZHIKMNOPTYX",
        strict=True,
    )
)
_FOREIGN = "\u0370-\u03ff\u0400-\u052f"
_LETTER = re.compile(f"[A-Za-z{_FOREIGN}]")
_LETTERS = re.compile(f"[A-Za-z{_FOREIGN}]*+")
_ACCENTS = re.compile("[\u0300-\u0333\u0339-\u036f]++")
# Signs of degrees, behind a number.
_RINGS = "\u00ba\u02da"
_NUMBER_BEFORE = re.compile(r"\d ?\Z")


def read_lookalikes(text: str) -> Rendering | None:
    """Return `text` with what is looked for in place of its doubles; None if there are none."""
    if text.isascii() and not any(mark in text for mark in _ASCII_ENDS):
        return None
    found = _odd_characters().search(text)
    if found is None:
        return None
    plain = _Plain(text)
    while found is not None:
        plain.read(found.start())
        found = _odd_characters().search(text, plain.at)
    plain.copy_until(len(text))
    return plain if plain.changed else None


class _Plain(Rendering):
    """A text without look-alikes.

    Attributes:
        at: the source is read up to here; what precedes is copied up to the last change.
        changed: whether anything was read as something else.
    """

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.at = 0
        self.changed = False
        self._copied = 0

    def copy_until(self, end: int) -> None:
        """Add the source's characters up to `end`, from where the last change ended."""
        self.copy(self._copied, end)
        self._copied = end

    def read(self, place: int) -> None:
        """Read the odd character at `place`, with the letters that belong to it."""
        source = self.source
        letter = source[place]
        self.at = place + 1
        text = _table().get(letter)
        if text is not None:
            self._replace(text, place, self.at)
        elif letter == "\r":
            if not source.startswith("\n", self.at):
                self._replace("\n", place, self.at)
        elif letter in _APOSTROPHES:
            if _is_latin(source[place - 1 : place]) and _is_latin(source[self.at : self.at + 1]):
                self._replace("'", place, self.at)
        elif letter in _RINGS:
            if _NUMBER_BEFORE.search(source, max(0, place - 2), place):
                self._replace("\u00b0", place, self.at)
        elif "\u0300" <= letter <= "\u036f":
            self._read_accents(place)
        elif _LETTER.match(letter):
            self._read_word(place)

    def _replace(self, text: str, start: int, end: int) -> None:
        self.copy_until(start)
        self.write(text, start, end)
        self._copied, self.changed = end, True

    def _read_accents(self, place: int) -> None:
        """Compose a letter and the accents behind it, if Unicode has one character for them."""
        accents = _ACCENTS.match(self.source, place)
        if accents is None:
            return
        self.at = accents.end()
        first = place - 1
        if first >= self._copied and self.at - place <= _MOST_ACCENTS:
            composed = unicodedata.normalize("NFC", self.source[first : self.at])
            if len(composed) == 1:
                self._replace(composed, first, self.at)

    def _read_word(self, place: int) -> None:
        """Read a word with letters of Greek or Cyrillic, as Latin if it is a mixture that could be."""
        start = place
        while start > self._copied and _LETTER.match(self.source, start - 1):
            start -= 1
        word = _LETTERS.match(self.source, place)
        self.at = word.end() if word else self.at
        letters = self.source[start : self.at]
        if any(map(str.isascii, letters)) and all(_is_latin(one) or one in _LATIN for one in letters):
            for at, one in enumerate(letters, start):
                if one in _LATIN:
                    self._replace(_LATIN[one], at, at + 1)


def _is_latin(letter: str) -> bool:
    return letter.isascii() and letter.isalpha()


@cache
def _table() -> dict[str, str]:
    """Every character that is replaced wherever it stands, and by what; `""` for nothing."""
    table = dict(_LIGATURES)
    table |= dict.fromkeys(_HYPHENS, "-") | dict.fromkeys(_LINE_ENDS, "\n")
    table |= dict.fromkeys(_SPACES, " ") | dict.fromkeys(_INVISIBLE, "")
    # Ligatures of Latin letters, full-width ASCII, mathematical letters and digits, K and degrees.
    blocks = (range(0xFB00, 0xFB07), range(0xFF01, 0xFF5F), range(0x1D400, 0x1D800), (0x212A, 0x2103, 0x2109))
    for block in blocks:
        for point in block:
            plain = unicodedata.normalize("NFKC", chr(point))
            if plain != chr(point) and plain.replace("\u00b0", "").isascii():
                table[chr(point)] = plain
    return table


@cache
def _odd_characters() -> re.Pattern[str]:
    """A single class of everything that may have to be read as something else: what is searched fastest."""
    singles = re.escape("".join(letter for letter in _table() if letter <= "\uffff"))
    # A range for the mathematical letters: classes with many characters behind U+FFFF are searched slowly.
    return re.compile(
        f"[{singles}\U0001d400-\U0001d7ff{_APOSTROPHES}{_RINGS}\r\u0300-\u0333\u0339-\u036f{_FOREIGN}]"
    )
