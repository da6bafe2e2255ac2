"""HTML and XML as lines of text: blocks, items and rows begin lines, cells are told apart by tabs.

What a reader of the page would not see is no text: comments, scripts, attributes, hidden elements, options
that are not selected. Nor are words that are struck out (`<s>`, `<del>`): the writer took them back.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from sympress.notes.markup.entities import REFERENCE, decode_reference
from sympress.notes.markup.names import names_of
from sympress.notes.markup.rendering import Page
from sympress.notes.markup.tags import Tag, Tags

_PARAGRAPHS = names_of("html", "paragraphs")
_LISTS = names_of("html", "lists")
_LINES = names_of("html", "lines")
_HEADINGS = names_of("html", "headings")
_ITEMS = frozenset(("li", "item"))
_CELLS = frozenset(("td", "th"))
_PREFORMATTED = frozenset(("pre", "textarea"))
_STRUCK = frozenset(("s", "strike", "del"))
#: Elements without an inside.
VOID = names_of("html", "void")
# Blocks that prove that the lines of the source are not those of the page.
_BLOCKS = _PARAGRAPHS | _LISTS | _ITEMS | _CELLS | {"tr", "dt", "dd"} | (_HEADINGS - {"title"})
_INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|line-through", re.IGNORECASE)

# White space of HTML; a non-breaking space is none.
_BLANK = " \t\r\n\f"
_PIECE = re.compile(rf"(?:[ \t\r\n\f]{{2,}}|[\t\r\n\f])|\]\]>|{REFERENCE.pattern}")
_LINE_REST = re.compile(r"[ \t]*\r?\n?")
_NEWLINE = re.compile(r"\r\n?|\n")


class HtmlPage(Page):
    """The text of a page of HTML, as it is read tag by tag."""

    def __init__(self, source: str, tags: Tags, *, keep_lines: bool) -> None:
        """Take a text and its tags; with `keep_lines` the lines of the source are lines of the page."""
        super().__init__(source)
        self._tags = tags
        self._keep_lines = keep_lines
        self._preformatted = 0
        self._hidden = ""  # the element whose inside is left out
        self._depth = 0
        self._row_open: bool | None = None  # None: no row so far
        self._cells = 0
        self._term_open = False  # a term that no description has followed

    def read(self) -> None:
        """Read the whole source."""
        at = 0
        for tag in self._tags.found:
            self._text(at, tag.start)
            at = tag.end
            if self._hidden:
                self._stay_hidden(tag)
            elif tag.closing:
                self.close(tag)
            elif tag.name:
                self.open(tag)
        self._text(at, len(self.source))

    def _text(self, start: int, end: int) -> None:
        if start < end and not self._hidden:
            self.text(start, end)

    def text(self, start: int, end: int) -> None:
        """Add what stands between two tags: references decoded, white space as on the page."""
        source = self.source
        kept = self._keep_lines or self._preformatted > 0
        if kept:
            start = self._skip_due_line(start, end)
        elif (first := _skip_blank(source, start, end)) > start:
            self.space(start, first)
            start = first
        last = end if kept else _last_blank(source, start, end)
        at = start
        for match in _PIECE.finditer(source, start, last):
            blank = match[0][0] in _BLANK
            if blank and kept:
                continue
            length = match.end() - match.start()
            text = " " if blank else ""
            if match[0][0] == "&":
                text, length = decode_reference(match[0])
                if not length:
                    continue
            self.say(at, match.start())
            self.put(text, match.start(), match.start() + length)
            at = match.start() + length
        self.say(at, last)
        if last < end:
            self.space(last, end)

    def _skip_due_line(self, start: int, end: int) -> int:
        """Skip the end of a line of the source where a tag has ended it already (`<br>` and a newline)."""
        if not self.lines:
            return start
        match = _LINE_REST.match(self.source, start, end)
        start = match.end() if match else start
        if not self.source[start:end].strip(_BLANK):
            if _NEWLINE.search(self.source, start, end):
                self.lines = 2
            return end
        return start

    def _hide(self, tag: Tag) -> bool:
        """Whether the inside of an element is left out; only if its closing tag follows."""
        if tag.empty or tag.name in VOID or self._tags.last_close.get(tag.name, -1) < tag.end:
            return False
        hides = self.hides(tag)
        if hides:
            self._hidden, self._depth = tag.name, 1
        return hides

    def hides(self, tag: Tag) -> bool:
        """Whether an element is not to be seen on the page, or is no text of the note."""
        if tag.name in _STRUCK or tag.name == "title":
            return True
        if tag.name == "option":
            return "selected" not in tag.attributes
        if tag.inside[0] == tag.inside[1]:
            return False
        return "hidden" in tag.attributes or bool(_INVISIBLE.search(tag.value("style") or ""))

    def _stay_hidden(self, tag: Tag) -> None:
        if tag.name != self._hidden or tag.empty:
            return
        self._depth += -1 if tag.closing else 1
        if not self._depth:
            self._hidden = ""

    def open(self, tag: Tag) -> None:
        """Lay out what begins with a tag."""
        if not self._hide(tag) and (lay_out := _AT_OPEN.get(tag.name)) is not None:
            lay_out(self, tag)

    def close(self, tag: Tag) -> None:
        """Lay out what ends with a tag."""
        if (lay_out := _AT_CLOSE.get(tag.name)) is not None:
            lay_out(self, tag)

    def _break(self, _: Tag) -> None:
        self.end_another_line()

    def _block(self, _: Tag) -> None:
        self.end_line(2)

    def _line(self, _: Tag) -> None:
        self.end_line()

    def _end_list(self, _: Tag) -> None:
        self.fresh, self.prefix = False, ""
        self.end_line(2)

    def _end_heading(self, _: Tag) -> None:
        self.end_line()
        self.leads = True

    def _item(self, _: Tag) -> None:
        self.begin_item("• ")

    def _end_item(self, _: Tag) -> None:
        self.fresh, self.prefix = False, ""
        self.end_line()

    def _row(self, _: Tag) -> None:
        self.begin_item()
        self._row_open, self._cells = True, 0

    def _end_row(self, _: Tag) -> None:
        self.fresh, self._row_open = False, False
        self.end_line()

    def _cell(self, _: Tag) -> None:
        if self._row_open is False:
            # A cell behind the rows of a table inside another cell.
            self.lines, self._cells, self._row_open = 1, 0, True
        elif self._cells or (self.length and not self.lines):
            self.lines = 0
            self.tabs += 1
        self._cells += 1
        self.fresh = True

    def _end_cell(self, _: Tag) -> None:
        self.fresh = False
        if self._row_open is not False:
            self.lines = 0

    def _term(self, _: Tag) -> None:
        self.begin_item()
        self._term_open = True

    def _description(self, _: Tag) -> None:
        self.begin_item()
        if self._term_open:
            self.lines, self.glue = 0, ": "
        self._term_open = False

    def _preformat(self, tag: Tag) -> None:
        self.end_line()
        self._preformatted += not tag.empty

    def _end_preformatted(self, _: Tag) -> None:
        self.end_line()
        self._preformatted = max(0, self._preformatted - 1)

    def _box(self, tag: Tag) -> None:
        """Write a check box or radio button as `[x]` or `[ ]`."""
        if (tag.value("type") or "").lower() in {"checkbox", "radio"}:
            checked = (tag.value("checked") or "").lower() != "false" and "checked" in tag.attributes
            self.put("[x]" if checked else "[ ]", tag.start, tag.end)


_LayOut = Callable[[HtmlPage, Tag], None]
_AT_OPEN: dict[str, _LayOut] = {
    **dict.fromkeys(_PARAGRAPHS | _HEADINGS, HtmlPage._block),
    **dict.fromkeys(_LISTS | _LINES, HtmlPage._line),
    **dict.fromkeys(_ITEMS, HtmlPage._item),
    **dict.fromkeys(_CELLS, HtmlPage._cell),
    **dict.fromkeys(_PREFORMATTED, HtmlPage._preformat),
    "br": HtmlPage._break,
    "tr": HtmlPage._row,
    "dt": HtmlPage._term,
    "dd": HtmlPage._description,
    "input": HtmlPage._box,
}
_AT_CLOSE: dict[str, _LayOut] = {
    **dict.fromkeys(_PARAGRAPHS, HtmlPage._block),
    **dict.fromkeys(_LISTS, HtmlPage._end_list),
    **dict.fromkeys(_LINES, HtmlPage._line),
    **dict.fromkeys(_HEADINGS, HtmlPage._end_heading),
    **dict.fromkeys(_ITEMS | {"dt", "dd"}, HtmlPage._end_item),
    **dict.fromkeys(_CELLS, HtmlPage._end_cell),
    **dict.fromkeys(_PREFORMATTED, HtmlPage._end_preformatted),
    "br": HtmlPage._break,
    "tr": HtmlPage._end_row,
}


def keeps_lines(tags: Tags) -> bool:
    """Whether the lines of the source are those of the note: no block stands among its tags."""
    return not (tags.names & _BLOCKS)


def _skip_blank(source: str, start: int, end: int) -> int:
    while start < end and source[start] in _BLANK:
        start += 1
    return start


def _last_blank(source: str, start: int, end: int) -> int:
    while end > start and source[end - 1] in _BLANK:
        end -= 1
    return end
