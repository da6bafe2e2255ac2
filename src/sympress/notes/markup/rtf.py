r"""RTF as lines of text: `\par` and `\row` end a line, `\cell` is a tab, formatting vanishes.

Fonts, styles, pictures, headers and every destination marked `\*` give no text; nor does text that is hidden
(`\v`), struck out (`\strike`) or deleted (`\deleted`).
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace

from sympress.notes.markup.html import names_of
from sympress.notes.markup.rendering import Page

#: How RTF begins.
BEGIN = "{\\rtf"

_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]{1,32}+)(?P<number>-?[0-9]{1,10}+)?+ ?"
    r"|(?P<bytes>(?:\\'[0-9A-Fa-f]{2})++)|\\'[0-9A-Fa-f]?\Z"
    r"|\\(?P<symbol>(?:\r\n?|[\s\S]))|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]++)|[\r\n]++|\\"
)
_BYTES_EACH = 4  # characters of `\'e9`

_SKIPPED = names_of("rtf", "without_text")
_LINE_ENDS = names_of("rtf", "line_ends")
_CELL_ENDS = frozenset(("cell", "nestcell"))
_ROW_ENDS = frozenset(("row", "nestrow"))
_CHARACTERS = {
    "emdash": "\u2014",
    "endash": "\u2013",
    "lquote": "\u2018",
    "rquote": "\u2019",
    "ldblquote": "\u201c",
    "rdblquote": "\u201d",
    "bullet": "\u2022",
    "tab": "\t",
    "emspace": " ",
    "enspace": " ",
    "qmspace": " ",
}
_SYMBOLS = {"~": " ", "_": "-", "{": "{", "}": "}", "\\": "\\"}
# Formatting under which words are no text: its number is 0 where it ends.
_LEFT_OUT = frozenset(("v", "strike", "striked", "deleted"))
_CODECS = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
# Code pages of the character sets that fonts declare.
_CHARSETS = {
    0: 1252, 128: 932, 129: 949, 134: 936, 136: 950, 161: 1253, 162: 1254, 163: 1258, 177: 1255, 178: 1256,
    186: 1257, 204: 1251, 222: 874, 238: 1250,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Format:
    r"""What holds within a group.

    Attributes:
        skipped: inside a destination that is no text.
        left_out: formatting under which words are no text.
        fallback: how many characters behind `\u` stand in its place for old readers.
        font: its number, None for the default.
    """

    skipped: bool = False
    left_out: frozenset[str] = frozenset()
    fallback: int = 1
    font: int | None = None


class RtfPage(Page):
    """The text of RTF, as it is read token by token."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._format = _Format()
        self._groups: list[_Format] = []
        self._codec = "cp1252"
        self._fonts: dict[int, str] = {}
        self._declared: int | None = None  # the font whose entry in the table is being read
        self._to_skip = 0  # characters that stand for the last `\u` again
        self._first_half: tuple[int, int] | None = None  # of a surrogate pair: its code unit and place

    def read(self, start: int = 0) -> int:
        """Read the group that begins at `start`; return where it ends, the end of the source if it is cut."""
        for token in _TOKEN.finditer(self.source, start):
            kind = token.lastgroup
            if kind == "brace":
                if not self._brace(token[0]):
                    return token.end()
            elif kind in {"word", "number"}:
                self._word(token["word"], token["number"], token)
            elif kind == "bytes":
                self._bytes(*token.span())
            elif kind == "symbol":
                self._symbol(token["symbol"], token)
            elif kind == "text":
                self._plain(*token.span())
        return len(self.source)

    @property
    def _silent(self) -> bool:
        return self._format.skipped or bool(self._format.left_out)

    def _brace(self, brace: str) -> bool:
        """Open or close a group; return whether any is still open."""
        self._to_skip = 0
        if brace == "{":
            self._groups.append(self._format)
            return True
        if self._groups:
            self._format = self._groups.pop()
        return bool(self._groups)

    def _word(self, word: str, number: str | None, token: re.Match[str]) -> None:
        """Follow a control word."""
        value = int(number) if number else None
        if self._sets_format(word, value) or self._silent:
            return
        if word == "u" and value is not None:
            self._unicode(value & 0xFFFF, token.start(), token.end())
        elif word in _LINE_ENDS:
            if word in _ROW_ENDS:
                self.tabs = 0
            self.end_another_line()
        elif word in _CELL_ENDS:
            self.tabs += 1
        elif word in _CHARACTERS:
            self._put(_CHARACTERS[word], token.start(), token.end())

    def _sets_format(self, word: str, value: int | None) -> bool:
        """Follow a control word that changes how what comes is read; whether it is one."""
        now = self._format
        if word in _SKIPPED:
            self._format = replace(now, skipped=True)
        elif word in _LEFT_OUT:
            ended = now.left_out - {word}
            self._format = replace(now, left_out=ended if value == 0 else ended | {word})
        elif word == "plain":
            self._format = replace(now, left_out=frozenset(), font=None)
        elif word == "uc":
            self._format = replace(now, fallback=max(0, min(value or 0, 16)))
        elif word == "f":
            self._declared = value
            self._format = replace(now, font=value)
        elif word == "fcharset":
            self._declare_font(value)
        elif word == "ansicpg" or word in _CODECS:
            self._codec = _CODECS.get(word) or _codec_of(value or 1252)
        else:
            return False
        return True

    def _declare_font(self, charset: int | None) -> None:
        if self._declared is not None and charset in _CHARSETS:
            self._fonts[self._declared] = _codec_of(_CHARSETS[charset])

    def _symbol(self, symbol: str, token: re.Match[str]) -> None:
        """Follow a control symbol."""
        if symbol == "*":
            self._format = replace(self._format, skipped=True)
        elif self._silent:
            return
        elif symbol[0] in "\r\n":
            self.end_another_line()
        elif symbol in _SYMBOLS:
            self._put(_SYMBOLS[symbol], token.start(), token.end())

    def _plain(self, start: int, end: int) -> None:
        if self._silent:
            return
        skipped = min(self._to_skip, end - start)
        self._to_skip -= skipped
        self.say(start + skipped, end)

    def _put(self, text: str, start: int, end: int) -> None:
        if self._to_skip:
            self._to_skip -= 1
        else:
            self.put(text, start, end)

    def _bytes(self, start: int, end: int) -> None:
        r"""Decode a run of `\'e9` by the code page of its font."""
        if self._silent:
            return
        skipped = min(self._to_skip, (end - start) // _BYTES_EACH)
        self._to_skip -= skipped
        start += skipped * _BYTES_EACH
        values = bytes.fromhex(self.source[start:end].replace("\\'", ""))
        font = self._format.font
        codec = self._fonts.get(font, self._codec) if font is not None else self._codec
        text = values.decode(codec, "replace")
        if len(text) != len(values):
            self.put(text, start, end)
            return
        for number, character in enumerate(text):
            at = start + number * _BYTES_EACH
            self.put(character, at, at + _BYTES_EACH)

    def _unicode(self, unit: int, start: int, end: int) -> None:
        r"""Write the character of `\u`, of two of them if they are the halves of one."""
        self._to_skip = self._format.fallback
        if 0xD800 <= unit < 0xDC00:
            self._first_half = unit, start
            return
        if 0xDC00 <= unit < 0xE000 and self._first_half is not None:
            high, start = self._first_half
            unit = 0x10000 + ((high - 0xD800) << 10) + (unit - 0xDC00)
        self._first_half = None
        if not 0xD800 <= unit < 0xE000 and start >= self.reached:
            self.put(chr(unit), start, end)


def _codec_of(page: int) -> str:
    """Return the codec of a Windows code page, that of Western Europe for one that Python lacks."""
    name = "utf-8" if page == 65001 else f"cp{page}"
    try:
        codecs.lookup(name)
    except LookupError:
        return "cp1252"
    return name
