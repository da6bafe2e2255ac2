"""The tags of HTML and XML in a note, told from what only looks like one (`temp <38`, `<Redacted>`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache

from sympress.notes.markup.names import names_of

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
        self._closings = {match[1].lower(): match.start() for match in _CLOSING.finditer(text)}
        self.last_close = {_local(name): place for name, place in sorted(self._closings.items(), key=_place)}
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


def _place(closing: tuple[str, int]) -> int:
    return closing[1]


@cache
def _closing_tag(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}(?![\w:.-])", re.IGNORECASE)
