"""HTML and XML as lines of text: blocks, items and rows begin lines, cells are told apart by tabs."""

from __future__ import annotations

import html
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from html.entities import html5
from importlib import resources

from sympress.notes.markup.rendering import Page

# The names of markup that `names.toml` lists.


def names_of(markup: str, group: str) -> frozenset[str]:
    """Return a group of names of a markup, in lower case."""
    return frozenset(_tables()[markup][group])


@cache
def _tables() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((resources.files("sympress.notes.markup") / "names.toml").read_text("utf-8"))


# Character references of HTML and XML (`&nbsp;`, `&#39;`, `&#x27;`), as browsers read them.


#: What may be a reference. The longest name has 31 letters.
REFERENCE = re.compile(r"&(?:#[0-9]{1,7};?|#[xX][0-9a-fA-F]{1,6};?|[A-Za-z][A-Za-z0-9]{1,31};?)")
# Without tags around it only this much is proof of a reference: `R&D;` is none.
_PROOF = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|lt|gt|[A-Za-z][A-Za-z0-9]{2,31});")


@lru_cache(maxsize=4096)
def decode_reference(reference: str) -> tuple[str, int]:
    """Return what a match of `REFERENCE` stands for and how many characters of it do so.

    As in a browser, a known name counts without its semicolon and where letters follow (`&nbspfever`);
    of what is no reference none does: `("", 0)`.
    """
    name = reference[1:]
    if name.startswith("#"):
        return html.unescape(reference), len(reference)
    for length in range(len(name), 1, -1):
        if (value := html5.get(name[:length])) is not None:
            return value, length + 1
    return "", 0


def has_reference(text: str) -> bool:
    """Whether a text without tags has a reference that is written in full."""
    return "&" in text and any(found[0][1] == "#" or found[0][1:] in html5 for found in _PROOF.finditer(text))


# The tags of HTML and XML in a note, told from what only looks like one (`temp <38`, `<Redacted>`).


# Every repetition is possessive and every stretch ends at `<`, so that no place is looked at often.
_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z]\w*+(?:[:.-]\w++)*+)(?![^\s/<>])"
    r"(?P<rest>(?:[\s/]*+[^\s<>/][^\s<>=/]*+(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s<>]*+))?+)*+[\s/]*+)"
    r"(?P<end>>?)"
)
_ATTRIBUTE = re.compile(
    r"(?P<name>[^\s<>/][^\s<>=/]*+)(?:\s*+=\s*+(?:\"(?P<double>[^\"]*+)\"|'(?P<single>[^']*+)'|(?P<bare>[^\s<>]*+)))?+"
)
_DECLARATION = re.compile(r"<[!?/]?[A-Za-z\[][^<>]*+(?P<end>>?)")
_CLOSING = re.compile(r"</([A-Za-z][\w:.-]*)")

# A tag of these names is proof that a text is HTML.
_SURE = names_of("html", "sure")
# So it is of these where it is closed or has an attribute.
_INLINE = names_of("html", "inline")
# Names that also stand for what was taken out of a note (`<name>`, `<date>`): tags only under that condition.
_WORDS = names_of("html", "words")
#: Names of CDA that HTML lacks.
CDA_NAMES = names_of("cda", "names")
_KNOWN = _SURE | _INLINE | _WORDS | CDA_NAMES
# Attributes that need no value.
_BARE = names_of("html", "bare_attributes")
# Elements whose inside is no text of the note, up to their closing tag.
_RAW = names_of("html", "without_text")
# Of these also where the closing tag is missing.
_HIDES_REST = frozenset(("script", "style"))


@dataclass(slots=True, eq=False)
class Tag:
    """A tag, or anything else that is markup and no text.

    Attributes:
        name: in lower case, without a prefix of XML; empty for comments and declarations.
        start: its first character.
        end: one past its last.
        closing: whether it is `</…>`.
        empty: whether it is `<…/>`.
        source: the text.
        inside: where its attributes stand.
    """

    name: str
    start: int
    end: int
    closing: bool
    empty: bool
    source: str
    inside: tuple[int, int]
    _attributes: Mapping[str, tuple[int, int]] | None = None

    @property
    def attributes(self) -> Mapping[str, tuple[int, int]]:
        """Where the value of each attribute stands, by its name in lower case; the first of a name counts."""
        if self._attributes is None:
            self._attributes = self._read_attributes() if self.inside[0] < self.inside[1] else {}
        return self._attributes

    def _read_attributes(self) -> Mapping[str, tuple[int, int]]:
        found: dict[str, tuple[int, int]] = {}
        for match in _ATTRIBUTE.finditer(self.source, *self.inside):
            kind = match.lastgroup or "name"
            span = match.span(kind) if kind != "name" else (match.end(), match.end())
            found.setdefault(match["name"].lower().rpartition(":")[2], span)
        return found

    def value(self, name: str) -> str | None:
        """Return the value of an attribute, None if the tag has no such attribute."""
        span = self.attributes.get(name)
        return None if span is None else self.source[slice(*span)]


class Tags:
    """All tags of a text, in one pass.

    Attributes:
        found: the tags, by start, none inside another.
        names: their names.
        sure: whether they prove that the text is markup.
        last_close: where the last closing tag of each name begins.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        closings = [(match[1].lower(), match.start()) for match in _CLOSING.finditer(text)]
        self._closings = dict(closings)
        self.last_close = {_local(name): place for name, place in closings}
        self.sure = False
        self.found = tuple(self._scan())
        self.names = frozenset(tag.name for tag in self.found)

    def _scan(self) -> Iterator[Tag]:
        text = self._text
        at = text.find("<")
        while at >= 0:
            tag = self._special(at) if text.startswith(("<!", "<?"), at) else self._element(at)
            if tag is None:
                at = text.find("<", at + 1)
                continue
            yield tag
            at = text.find("<", tag.end)

    def _special(self, at: int) -> Tag | None:
        """The comment, declaration or instruction at a place; an open one reaches to the end of the text."""
        text = self._text
        if text.startswith("<![CDATA[", at):
            return Tag("", at, at + 9, False, True, text, (at, at))  # its inside is text; `]]>` is left out
        if text.startswith("<!--", at):
            end = text.find("-->", at + 4)
            self.sure = self.sure or end >= 0
            return self._nothing(at, end + 3 if end >= 0 else len(text))
        match = _DECLARATION.match(text, at)
        if match is None or not (match["end"] or match.end() == len(text)):
            return None
        self.sure = self.sure or match[0][:9].lower() == "<!doctype"
        return self._nothing(at, match.end())

    def _nothing(self, start: int, end: int) -> Tag:
        return Tag("", start, end, False, True, self._text, (start, start))

    def _element(self, at: int) -> Tag | None:
        """The tag at a place, with the inside of an element that has no text."""
        text = self._text
        match = _TAG.match(text, at)
        if match is None:
            return None
        name, rest = match["name"].lower(), match["rest"]
        if not self._is_tag(name, match):
            return None
        closing, empty = bool(match["close"]), rest.rstrip().endswith("/")
        end = match.end()
        if name in _RAW and not closing and not empty:
            close = _closing_tag(name).search(text, end) if self._closings.get(name, -1) >= end else None
            end = close.start() if close else (len(text) if name in _HIDES_REST else end)
        return Tag(_local(name), at, end, closing, empty, text, match.span("rest"))

    def _is_tag(self, name: str, match: re.Match[str]) -> bool:
        rest, local = match["rest"], _local(name)
        if not match["end"]:
            # Cut, by another `<` or at the end of the text, there even within its name.
            if match.end() == len(self._text) and not rest:
                return any(known.startswith(local) for known in _KNOWN)
            return ("=" in rest or match.end() == len(self._text)) and local in _KNOWN
        words = rest.replace("/", " ").lower().split()
        if "=" not in rest and not all(word in _BARE for word in words):
            return False
        proof = "=" in rest or local in self.last_close or rest.rstrip().endswith("/") or bool(words)
        if local in _SURE or (proof and local in _KNOWN):
            self.sure = True
            return True
        return proof or local in _INLINE or local != name or "-" in name


def _local(name: str) -> str:
    """Return a name without a prefix of XML; those of Word (`o:p`) name other things than HTML's own."""
    prefix, colon, local = name.rpartition(":")
    return local if colon and prefix not in {"o", "v", "w", "m", "st1"} else name


@cache
def _closing_tag(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}(?![\w:.-])", re.IGNORECASE)


# HTML and XML as lines of text: blocks, items and rows begin lines, cells are told apart by tabs.
#
# What a reader of the page would not see is no text: comments, scripts, attributes, hidden elements,
# options that are not selected. Nor are words that are struck out (`<s>`, `<del>`): the writer took them
# back.


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
        elif (first := end - len(source[start:end].lstrip(_BLANK))) > start:
            self.space(start, first)
            start = first
        last = end if kept else start + len(source[start:end].rstrip(_BLANK))
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
