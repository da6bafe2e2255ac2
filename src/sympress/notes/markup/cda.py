"""CDA and C-CDA: the narrative as lines, and coded entries that no narrative repeats.

Of an entry the name of its value is text (`<value displayName="Fever"/>`), that of its code only where the
value answers it (`Fever: No`) or there is none. `negationInd="true"` denies what the entry says or refers to.
The header (patient, authors, custodian) and acts with a `nullFlavor` give no text.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from sympress.notes.markup.html import VOID, HtmlPage
from sympress.notes.markup.names import names_of
from sympress.notes.markup.tags import Tag, Tags

_ACTS = names_of("cda", "acts")
_NO_TEXT = names_of("cda", "without_text")
_ANSWERS = names_of("cda", "answers")
# A value that is true or false (`BL`).
_FLAGS = {"true": "Yes", "false": "No"}
#: A value's name is looked for in this much of a section's narrative.
_NARRATIVE = 20_000
_LEAD = 8  # characters that layout puts before words, at most about as many
_TRUE = frozenset(("true", "1"))


@dataclass(slots=True, eq=False)
class _Element:
    """An open element, and what is known of the act that it is or stands in.

    Attributes:
        name: of the element.
        denied: negated, by itself or by what holds it.
        void: an act that its `nullFlavor` empties, or inside one.
        act: the innermost act, itself included.
        section: the innermost section, itself included.
        written: length of the text where it began.
        mark: piece of the text with which it began.
        label: its `ID`, for references.
        code: where the name of an act's code stands.
        display: where the name of a value stands.
        valued: whether an act has had a value.
        referred: whether an act refers to words of the narrative.
        narrative: of a section, folded.
    """

    name: str
    denied: bool = False
    void: bool = False
    act: _Element | None = None
    section: _Element | None = None
    written: int = 0
    mark: int = 0
    label: str | None = None
    code: tuple[int, int] | None = None
    display: tuple[int, int] | None = None
    valued: bool = False
    referred: bool = False
    narrative: str = ""


class CdaPage(HtmlPage):
    """The text of a document of CDA, or of a piece of one."""

    def __init__(self, source: str, tags: Tags, *, keep_lines: bool) -> None:
        """Take a text and its tags; with `keep_lines` the lines of the source are lines of the page."""
        super().__init__(source, tags, keep_lines=keep_lines)
        self._stack = [_Element("")]
        self._open = Counter[str]()
        self._labels: dict[str, tuple[int, int]] = {}

    def read(self) -> None:
        """Read the whole source; what is still open at its end is closed."""
        super().read()
        while len(self._stack) > 1:
            self._pop()
        self.denied.sort()

    def hides(self, tag: Tag) -> bool:
        """Whether an element is no text of the note: header, deleted, or encoded."""
        if tag.name in _NO_TEXT:
            return True
        if tag.name == "title":
            return False
        encoded = (tag.value("representation") or "").upper() == "B64"
        return encoded or tag.value("revised") == "delete" or super().hides(tag)

    def open(self, tag: Tag) -> None:
        """Lay out what begins with a tag, and read what it says of an act."""
        super().open(tag)
        if self._hidden:
            return
        element = self._element(tag)
        self._stack.append(element)
        self._open[tag.name] += 1
        self.denying = element.denied
        self._note(tag, element)
        if tag.name in VOID:
            self._pop()
        elif tag.empty:
            self.close(tag)

    def close(self, tag: Tag) -> None:
        """Lay out what ends with a tag; what was left open inside ends with it."""
        if self._open[tag.name]:
            while self._pop() != tag.name:
                pass
        super().close(tag)
        if tag.name == "caption" and self._stack[-1].name in {"paragraph", "item", "content"}:
            self.lines, self.glue, self.leads = 0, ": ", False

    def _element(self, tag: Tag) -> _Element:
        outer = self._stack[-1]
        is_act = tag.name in _ACTS
        element = _Element(
            tag.name,
            denied=outer.denied or (tag.value("negationind") or "").strip().lower() in _TRUE,
            void=outer.void or (is_act and "nullflavor" in tag.attributes),
            act=outer.act,
            section=outer.section,
            written=self.length,
            mark=self.mark,
            label=tag.value("id"),
        )
        if is_act:
            element.act = element
        if tag.name == "section":
            element.section = element
        return element

    def _note(self, tag: Tag, element: _Element) -> None:
        """Remember what a tag's attributes say."""
        outer, act = self._stack[-2], element.act
        name = tag.attributes.get("displayname")
        if tag.name == "value":
            element.display = name
            if name is None and (tag.value("value") or "").lower() in _FLAGS:
                element.display = tag.attributes["value"]
            if act is not None:
                act.valued = True
        elif tag.name == "translation" and outer.name == "value":
            outer.display = outer.display or name
        elif tag.name == "code" and outer.name in _ACTS:
            outer.code = name
        elif tag.name == "reference":
            self._refer((tag.value("value") or "").removeprefix("#"), element)

    def _refer(self, label: str, element: _Element) -> None:
        """Let the words of the narrative that an act refers to stand for it, denied with it."""
        words = self._labels.get(label)
        if words is None or element.act is None:
            return
        element.act.referred = True
        if element.denied:
            self.denied.append(words)

    def _pop(self) -> str:
        element = self._stack.pop()
        self._open[element.name] -= 1
        self.denying = element.denied
        if element.name == "value":
            self._close_value(element)
        elif element.name in _ACTS and element.code and not element.valued and not element.referred:
            if self.length == element.written and not element.void:
                self._say_line(element.code)
        elif (
            element.name == "text"
            and element.section is self._stack[-1]
            and len(element.section.narrative) < _NARRATIVE
        ):
            element.section.narrative += self.since(element.mark, _NARRATIVE).casefold()
        if element.label and self.length > element.written:
            begun = self.since(element.mark, _LEAD)
            first = element.written + len(begun) - len(begun.lstrip("\n\t •"))
            self._labels[element.label] = (min(first, self.length), self.length)
        self.denying = self._stack[-1].denied
        return element.name

    def _close_value(self, value: _Element) -> None:
        """Write the name of a value, unless the narrative or the value's own text says it."""
        act, display = value.act, value.display
        if display is None or value.void or self.length > value.written or (act and act.referred):
            return
        name = self.source[slice(*display)].strip().casefold()
        code = act.code if act else None
        answers = name in _ANSWERS and code is not None and code[0] >= self.reached
        section = value.section
        if name in _FLAGS and not answers:
            return
        if not answers and not value.denied and section and name and name in section.narrative:
            return
        if answers and code is not None:
            self.end_line()
            self.text(*code)
            self.lines, self.glue = 0, ": "
            if name in _FLAGS:
                self.put(_FLAGS[name], *display)
            else:
                self.text(*display)
            self.end_line()
        else:
            self._say_line(display)

    def _say_line(self, span: tuple[int, int]) -> None:
        if span[0] >= self.reached:
            self.end_line()
            self.text(*span)
            self.end_line()
