"""Clinical messages as lines of text: CDA and HL7 v2."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from sympress.notes.markup.html import VOID, HtmlPage, Tag, Tags, names_of
from sympress.notes.markup.rendering import Page

# CDA and C-CDA: the narrative as lines, and coded entries that no narrative repeats.
#
# Of an entry the name of its value is text (`<value displayName="Fever"/>`), that of its code only where
# the value answers it (`Fever: No`) or there is none. `negationInd="true"` denies what the entry says or
# refers to. The header (patient, authors, custodian) and acts with a `nullFlavor` give no text.


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


# HL7 v2: what the observations and comments of a message say, one line each repetition or `\.br\`.
#
# Text comes from OBX-5 and NTE-3; every other segment gives none. The name of an observation (OBX-3) stands
# before its value as a question before its answer (`Fever: No`), or on a line of its own before a text.
# Dates, encapsulated data and results that were withdrawn (OBX-11 of D, W or X) are left out.


_NAMES = (
    "MSH|BHS|BTS|FHS|FTS|MSA|ERR|EVN|PID|PD1|PV1|PV2|NK1|GT1|IN1|IN2|IN3|ORC|OBR|OBX|NTE|SPM|TXA|DG1|AL1|PR1|"
    "RXA|RXR|RXE|RXO|RXC|RXD|RXG|TQ1|TQ2|FT1|SCH|AIS|AIG|AIL|AIP|RGS|MRG|ROL|PRT|ARV|CTI|CTD|DSC|SFT|QRD|"
    "QRF|QAK|QPD|RCP|ACC|DRG|UB1|UB2|PDA|IAM|PRB|GOL|VAR|CON|SAC|EQU|Z[A-Z0-9]{2}"
)
_SEGMENT = re.compile(rf"(?:\A\s*+|(?<=[\r\n\v]))[ \t]*+(?P<name>{_NAMES})(?P<separator>[|^~&#$%*!])")
# Segments that prove a text to be HL7 without a header.
_PROOF = re.compile(
    r"(?:\A\s*+|(?<=[\r\n\v]))[ \t]*+"
    r"(?:MSH[|#$%*!][^\sA-Za-z0-9]{2,5}[|#$%*!]|OBX\|\d{0,9}\|[A-Z]{2,3}?\||NTE\|\d{1,9}\|)"
)
#: A line end within a field, proof of HL7 where no segment is.
_BREAK = re.compile(r"\\\.(?:br|sp|ce|in|ti|fi|nf|sk)[+-]?\d{0,4}\\", re.IGNORECASE)

_TEXTS = frozenset(("TX", "FT", "ST", ""))
_CODED = frozenset(("CE", "CWE", "CNE", "CF", "ID", "IS"))
_NUMBERS = frozenset(("NM", "SN"))
_WITHDRAWN = frozenset("DWX")
_UNITS = {"cel": "C", "degc": "C", "[degf]": "F", "degf": "F"}
#: An answer is at most this long; what is longer is a text below its heading.
_ANSWER = 60


@dataclass(frozen=True, slots=True)
class _Marks:
    """The characters that divide a message."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    part: str = "&"


def is_hl7(text: str) -> bool:
    """Whether a text is a message of HL7 v2, some segments of one, or a field with HL7's line ends."""
    likely = "MSH" in text or "OBX|" in text or "NTE|" in text  # a plain search is much the faster one
    return (likely and _PROOF.search(text) is not None) or has_breaks(text)


def has_breaks(text: str) -> bool:
    r"""Whether a text holds HL7's line ends (`\.br\`)."""
    return "\\." in text and _BREAK.search(text) is not None


class Hl7Page(Page):
    """The text of HL7 v2, as it is read segment by segment."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self._marks = _Marks()
        self._heading = ""

    def read(self) -> None:
        """Read the whole source; what stands before the first segment is text."""
        if not _PROOF.search(self.source):
            self._value(0, len(self.source))
            return
        segments = list(_SEGMENT.finditer(self.source))
        self._value(0, segments[0].start())
        for number, segment in enumerate(segments):
            end = segments[number + 1].start() if number + 1 < len(segments) else len(self.source)
            name, separator = segment["name"], segment["separator"]
            if name == "MSH":
                self._marks = _marks_of(self.source, segment.start("separator"))
            elif separator == self._marks.field:
                self._segment(name, segment.end(), end)

    def _segment(self, name: str, start: int, end: int) -> None:
        while end > start and self.source[end - 1] in "\r\n\v\x1c":
            end -= 1
        if name == "NTE":
            fields = list(self._split(start, end, self._marks.field, 4))
            if len(fields) > 2:
                self.end_line()
                self._value(*fields[2])
                self.end_line()
        elif name == "OBX":
            fields = list(self._split(start, end, self._marks.field, 12))
            if len(fields) > 4:
                self._observe(fields)

    def _observe(self, fields: list[tuple[int, int]]) -> None:
        """Write an observation: its name as far as it says more than the line before, and its value."""
        kind = self._at(fields[1]).strip().upper()
        value = fields[4]
        status = self._at(fields[10]).strip() if len(fields) > 10 else ""
        if status in _WITHDRAWN or not self._at(value).strip():
            return
        if not (kind in _TEXTS or kind in _CODED or kind in _NUMBERS):
            return
        self.end_line()
        name = self._name_of(fields[2])
        short = value[1] - value[0] <= _ANSWER and not self._has_lines(value)
        # `CC: fever` is a line of a text, not the answer to the name.
        if kind in _TEXTS and not (short and ":" not in self._at(value)):
            self._head(name)
            self._value(*value)
        else:
            written = self._name(name, as_heading=kind in {"TX", "FT"})
            if kind in _CODED:
                self._codes(value)
            elif kind == "SN":
                for part in self._split(*value, self._marks.component):
                    self._value(*part)
            else:
                self._value(*value)
            if written and kind not in _CODED and self._at(fields[5] if len(fields) > 5 else (0, 0)).strip():
                self._unit(fields[5])
        self.end_line()

    def _name(self, name: tuple[int, int] | None, *, as_heading: bool) -> bool:
        """Write a name before an answer; one that heads the lines before only once."""
        if name is None:
            return False
        words = self._at(name)
        if as_heading and words == self._heading:
            return False
        self._heading = words if as_heading else ""
        self._value(*name)
        self.lines, self.glue = 0, ": "
        return True

    def _head(self, name: tuple[int, int] | None) -> None:
        """Write a name on a line of its own, unless it heads the lines before already."""
        words = self._at(name) if name else ""
        if name is not None and words != self._heading:
            self._value(*name)
            if self.last != ":":
                self.write(":", name[1], name[1])
            self.end_line()
        self._heading = words

    def _name_of(self, field: tuple[int, int]) -> tuple[int, int] | None:
        """Return where the words of a coded field stand: its text, its other text, or its code."""
        parts = list(self._split(*field, self._marks.component, 9))
        for place in (1, 4, 8):
            if place < len(parts) and any(map(str.isalpha, self._at(parts[place]))):
                return parts[place]
        code = self._at(parts[0])
        is_word = code.replace(" ", "").replace("_", "").isalpha()
        return parts[0] if is_word and len(parts) == 1 else None

    def _codes(self, value: tuple[int, int]) -> None:
        """Write the words of coded answers, the code of one without any."""
        for number, one in enumerate(self._split(*value, self._marks.repetition)):
            words = self._name_of(one) or next(self._split(*one, self._marks.component))
            if number:
                self.glue = ", "
            self._value(*words)

    def _unit(self, field: tuple[int, int]) -> None:
        start, end = next(self._split(*field, self._marks.component))
        self.glue = " "
        unit = _UNITS.get(self._at((start, end)).strip().lower())
        if unit:
            self.put(unit, start, end)
        else:
            self._value(start, end)

    def _at(self, span: tuple[int, int]) -> str:
        return self.source[slice(*span)]

    def _has_lines(self, span: tuple[int, int]) -> bool:
        text = self._at(span)
        return self._marks.repetition in text or "\n" in text or "\r" in text or has_breaks(text)

    def _split(self, start: int, end: int, mark: str, most: int = 0) -> Iterator[tuple[int, int]]:
        """Yield the spans between `mark`, at most `most` of them if that is given; at least one."""
        count = 0
        while True:
            at = self.source.find(mark, start, end)
            count += 1
            if at < 0 or count == most:
                yield start, end if at < 0 else at
                return
            yield start, at
            start = at + 1

    def _value(self, start: int, end: int) -> None:
        """Write a value: escapes decoded, repetitions and line ends as lines."""
        source, marks = self.source, self._marks
        at = start
        for match in _pieces(marks).finditer(source, start, end):
            self.say(at, match.start())
            at = match.end()
            piece = match[0]
            if piece[0] in "\r\n":
                self.end_another_line()
            elif piece == marks.repetition:
                if _means_about(source, match.start()):
                    self.say(*match.span())
                else:
                    self.end_another_line()
            else:
                self._escape(piece[1:-1], *match.span())
        self.say(at, end)

    def _escape(self, code: str, start: int, end: int) -> None:
        """Write what an escape sequence stands for."""
        marks = self._marks
        letters = {"F": marks.field, "S": marks.component, "T": marks.part, "R": marks.repetition}
        letters["E"] = marks.escape
        if code in letters:
            self.put(letters[code], start, end)
        elif code[0] == "X":
            text = bytes.fromhex(code[1:]).decode("latin-1")
            bare = text.strip("\r\n")
            if bare:
                self.put(bare, start, end)
            if bare != text:
                self.end_another_line()
        elif code[:3].lower() in {".br", ".sp", ".ce"}:
            for _ in range(min(2, int(code[3:].lstrip("+-") or 1))):
                self.end_another_line()
        elif code[:3].lower() == ".sk":
            self.put(" ", start, end)


@lru_cache(maxsize=16)
def _pieces(marks: _Marks) -> re.Pattern[str]:
    """What a value has besides its characters: escape sequences, repetitions, line ends."""
    escape = re.escape(marks.escape)
    return re.compile(
        rf"{escape}(?:\.[A-Za-z]{{2}}[+-]?\d{{0,4}}|[FSTREHN]|X(?:[0-9A-Fa-f]{{2}}){{1,64}}|"
        rf"[CM][0-9A-Fa-f]{{4,6}}|Z[A-Za-z0-9]{{0,16}}){escape}|{re.escape(marks.repetition)}|\r\n?|\n"
    )


def _means_about(source: str, place: int) -> bool:
    """Whether a tilde stands for "about": before a number, behind white space or a bracket."""
    return (
        source[place] == "~"
        and source[place + 1 : place + 2].isdigit()
        and source[max(0, place - 1) : place] in {"", " ", "\t", "(", "x", "="}
    )


def _marks_of(source: str, place: int) -> _Marks:
    """Return the marks that a header declares from `place` on; the usual ones instead of letters."""
    field = source[place]
    declared = source[place + 1 : place + 5].partition(field)[0]
    usual = _Marks()
    marks = [usual.component, usual.repetition, usual.escape, usual.part]
    for number, mark in enumerate(declared):
        if not (mark.isalnum() or mark.isspace()):
            marks[number] = mark
    return _Marks(field, *marks)
