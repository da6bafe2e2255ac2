"""What a note asserts of a mention: present, absent, possible, hypothetical, historical or family."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Mapping, Sequence
from copy import copy
from functools import cache, cached_property

from sympress.labels.assertion.answers import (
    Mark,
    Row,
    answer_of_boxes,
    answer_of_columns,
    boxes_before,
    names_boxes,
    names_columns,
    ticked,
)
from sympress.labels.assertion.cues import CueBook, PhraseCues, Placed, load_cues
from sympress.labels.assertion.items import Span
from sympress.labels.assertion.scope import Reach, Statement
from sympress.labels.assertion.sentences import CLINICIAN, REACH, Line, Lines, Sentences
from sympress.labels.matching import (
    FIRST_SEARCHES,
    Found,
    PhraseIndex,
    Reduced,
    fold,
    last_word,
    reduce_text,
    words_of,
)
from sympress.labels.mentions import Assertion, Reason, ReasonKind
from sympress.labels.sections import SectionBook, find_sections, load_sections

#: Where several hold, the first of them is the assertion; without any, `present`.
PRECEDENCE: tuple[Assertion, ...] = ("family", "hypothetical", "absent", "historical", "possible")

#: Everything that holds of a span, and what says so.
Context = Mapping[str, Reason]


def context_of(text: str, start: int, end: int) -> Context:
    """Return everything that holds of a span, not only what takes precedence, each with its reason.

    `no history of chest pain` is both absent and historical. Without anything, empty: present.

    Raises:
        ValueError: the span is empty or not within the text.
    """
    if not 0 <= start < end <= len(text):
        raise ValueError(f"span {start} to {end}: not within a text of {len(text)} characters")
    return _default_reader().read(text, [(start, end)]).context(start, end)


def decide(context: Context) -> tuple[Assertion, Reason | None]:
    """Return the one assertion of everything that holds of a mention, and its reason.

    What is present for no reason but its own words has None.
    """
    for assertion in PRECEDENCE:
        if assertion in context:
            return assertion, context[assertion]
    return "present", context.get("present")


#: A line of a clinician in a dialogue.
_CLINICIAN = re.compile(rf"^[ \t]*\[?{CLINICIAN}\]?[ \t]*:", re.IGNORECASE | re.MULTILINE)
#: Characters that are read before a colon to see whether a cue ends there.
_LONGEST_CUE = 60
#: So many symptoms of one line are read as one row.
_ROW_SPANS = 48
#: Lists are read so deep within one another.
_NESTED_LISTS = 6
#: Marks of so many symptoms are remembered, and of a row more.
_MOST_MARKS = 10_000
#: So many lines above a row its column names are looked for.
_TABLE_LINES = 30


#: Cues of some part of a text: each with the number of what it does, and what the numbers stand for.
CuesFound = tuple[list[Found], Sequence[PhraseCues]]


class CueFinder:
    """Finds cues within a part of a note: most of a note is about no mention, and is not searched."""

    def __init__(self, book: CueBook, *, at_once: bool = True) -> None:
        """Take the cues of `book`; `at_once` is that of `PhraseIndex`."""
        self._book = book
        self._searches = 0
        self._index = book.index if at_once else None

    def complete(self) -> None:
        """Take the index of all cues now, not after the first searches."""
        self._index = self._book.index

    def find(self, reduced: Reduced, first: int, last: int) -> CuesFound:
        """Return the cues between two places of a text, also overlapping ones."""
        if self._index is None:
            self._searches += 1
            if self._searches <= FIRST_SEARCHES:
                few = self._book.within(frozenset(words_of(reduced.masked[first:last])))
                return PhraseIndex({"cue": few.phrases}).find(reduced, first, last)[0], few.cues
            self._index = self._book.index
        return self._index.phrases.find(reduced, first, last)[0], self._index.cues

    def opens_at(self, reduced: Reduced, place: int) -> bool:
        """Whether a cue ends at `place` that says something of what follows."""
        first = max(0, place - _LONGEST_CUE)
        if self._index is not None:
            last = last_word(reduced.folded[first:place])
            if last not in self._index.phrases.last_words:
                return False
        found, what = self.find(reduced, first, place)
        return any(
            end == place
            and any(one.role == "cue" and one.forward and not one.within_item for one in what[k].cues)
            for _, end, k in found
        )


class NoteContext:
    """One note, ready to say what it asserts of its spans; asked in order of their starts it is fastest."""

    def __init__(
        self,
        reduced: Reduced,
        headings: Sequence[Found],
        finder: CueFinder,
        sections: SectionBook,
        *,
        spans: Sequence[Span],
        joined: Container[int] = (),
    ) -> None:
        """Take a note and what was found in it.

        Args:
            reduced: the note.
            headings: found in it.
            finder: of cues.
            sections: what headings say.
            spans: every span that will be asked for, by start.
            joined: line breaks over which the name of a symptom goes on.
        """
        self._reduced = reduced
        self._finder = finder
        self._book = sections
        self._sections = find_sections(reduced.masked, headings, sections.kinds, self._opens_list)
        self._sentences = Sentences(reduced.masked, joined)
        self._lines = Lines(reduced.masked, self._opens_list)
        self._section_starts = [section.start for section in self._sections]
        self.ask_for(spans)

    def ask_for(self, spans: Sequence[Span]) -> None:
        """Take other spans to ask for, and forget what was read for those before."""
        self._spans = spans
        self._statement: tuple[Span, Statement] | None = None
        self._leads: dict[int, Mapping[str, Placed]] = {}
        self._marks: dict[Span, Mark | None] = {}
        self._begun: dict[int, Row] = {}
        self._headers: dict[tuple[int, Callable[[str, int, int], bool]], Span | None] = {}

    def without_others(self, spans: Sequence[Span]) -> NoteContext:
        """The same note where only `spans` are asked for; its sections and lines are not read again."""
        made = copy(self)
        made.ask_for(spans)
        return made

    def context(self, start: int, end: int) -> dict[str, Reason]:
        """Return everything that holds of one of the spans, with what says so."""
        number = bisect_right(self._section_starts, start) - 1
        bounds = self._sentence_of(start, end, number)
        mark = self._mark((start, end))
        statement = self._statement_of(bounds, (start, end))
        lead, section = self._lead_of(bounds, start), self._section_of(number, start)
        context: dict[str, Reason] = {}
        if not statement.silent or lead is not None or section is not None:
            reach = statement.reach((start, end))
            context = {assertion: self._by_cue(placed) for assertion, placed in reach.said.items()}
            if lead is not None:
                self._add_lead(context, reach, lead)
            instructs = section is not None and section[0] == "family" and "hypothetical" in reach.said
            if section is not None and section[0] not in reach.left and not instructs:
                context.setdefault(section[0], self._reason("section", *section[1]))
        if mark is not None and mark.said == "present":
            context.pop("absent", None)
            context.pop("possible", None)
            if mark.still:
                context.pop("historical", None)
            context.setdefault("present", self._by_mark(mark))
        elif mark is not None:
            context[mark.said] = self._by_mark(mark)
        return context

    def _by_cue(self, placed: Placed) -> Reason:
        return self._reason("cue", placed.start, placed.end)

    def _reason(self, kind: ReasonKind, start: int, end: int) -> Reason:
        return Reason(kind, fold(self._reduced.text[start:end]), start, end)

    def _by_mark(self, mark: Mark) -> Reason:
        return self._reason("mark", mark.start, mark.end)

    def _statement_of(self, bounds: Span, span: Span) -> Statement:
        """The statement between two places, in which a span stands; the last one is kept."""
        if self._statement is None or self._statement[0] != bounds or span not in self._statement[1]:
            first, last = bounds
            cues = self._finder.find(self._reduced, first, last)
            inside = self._spans_within(first, last)
            marks = [mark for one in inside if (mark := self._mark(one)) is not None] if cues[0] else []
            answers = [(mark.start, mark.end) for mark in marks]
            asked = self._asked_with(span, bounds) if last - first > REACH else inside
            statement = Statement(self._reduced.folded, bounds, cues, inside, taken=answers, asked=asked)
            self._statement = bounds, statement
        return self._statement[1]

    def _asked_with(self, span: Span, bounds: Span) -> list[Span]:
        """The spans from `span` on that stand in the same statement, of which a long line has many."""
        asked = [span]
        for place in range(bisect_right(self._spans, span), len(self._spans)):
            start, end = self._spans[place]
            if start >= bounds[1]:
                break
            number = bisect_right(self._section_starts, start) - 1
            if self._sentence_of(start, end, number) != bounds:
                break
            asked.append((start, end))
        return asked

    def _spans_within(self, first: int, last: int) -> list[Span]:
        spans = self._spans
        inside = spans[bisect_left(spans, (first, 0)) : bisect_left(spans, (last, 0))]
        return [one for one in inside if one[1] <= last]

    def _mark(self, span: Span) -> Mark | None:
        """What is marked beside a span, in its row or in a column of its table."""
        if span not in self._marks:
            self._read_row(span)
        return self._marks.get(span)  # none of a span that begins with a line break

    def _read_row(self, asked: Span) -> None:
        """Read the marks of the row that holds a span."""
        if len(self._marks) > _MOST_MARKS:
            self._marks.clear()  # rows that are passed are not asked for again
        spans, text = self._spans, self._reduced.masked
        line = self._lines.number(asked[0])
        first, last = self._lines.bounds(line)
        begin, finish = bisect_left(spans, (first, 0)), bisect_right(spans, (last, 0))
        part = (bisect_left(spans, (asked[0], 0)) - begin) // _ROW_SPANS
        if part and line not in self._begun:
            self._begun[line] = Row(text, (first, last), spans[begin : begin + _ROW_SPANS])
        begin += part * _ROW_SPANS
        row = spans[begin : min(finish, begin + _ROW_SPANS)]
        marks = Row(text, (first, last), row, self._begun[line] if part else None).marks
        told = self._in_columns(line, row[0])
        for span in row:
            mark = marks.get(span)
            self._marks[span] = told if told is not None and mark == marks.get(row[0]) else mark
            is_ticked = line and ticked(text, (first, last), span[1])
            if is_ticked and (header := self._header(line, names_columns)) is not None:
                self._marks[span] = answer_of_columns(text, (first, last), span[1], header)

    def _in_columns(self, line: int, span: Span) -> Mark | None:
        """What the two boxes say that stand before the first symptom of a line, under `Y N`."""
        bounds, text = self._lines.bounds(line), self._reduced.masked
        boxes = boxes_before(text, bounds, span[0]) if line else None
        header = None if boxes is None else self._header(line, names_boxes)
        return None if boxes is None or header is None else answer_of_boxes(text, boxes, header)

    def _header(self, line: int, names: Callable[[str, int, int], bool]) -> Span | None:
        """Where the column names of the table stand in which a line is a row."""
        if (line, names) not in self._headers:
            self._headers[line, names] = self._find_header(line, names)
        return self._headers[line, names]

    def _find_header(self, line: int, names: Callable[[str, int, int], bool]) -> Span | None:
        for above in range(line - 1, max(-1, line - _TABLE_LINES), -1):
            first, last = self._lines.bounds(above)
            if last - first > 300 or not self._reduced.masked[first:last].strip():
                return None
            if names(self._reduced.masked, first, last):
                return first, last
        return None

    def _opens_list(self, place: int) -> bool:
        return self._finder.opens_at(self._reduced, place)

    def _lead_of(self, bounds: Span, start: int) -> Line | None:
        """The line that leads the list in which a mention stands; None where a second sentence does."""
        line = self._lines.lead(start)
        if line is None:
            return None
        number = self._lines.number(start)
        own = self._lines.line(number)
        return line if bounds[0] <= (own.start if own else self._lines.bounds(number)[0]) else None

    def _add_lead(self, context: dict[str, Reason], reach: Reach, line: Line) -> None:
        """Add what the line above a list says of its items, unless the item says otherwise."""
        for assertion, placed in self._said_by(line).items():
            if assertion not in reach.stopped and not placed.cue.within_item:
                context.setdefault(assertion, self._by_cue(placed))

    def _said_by(self, line: Line) -> Mapping[str, Placed]:
        """What the cues of a line say of what follows it, and those of the lines that lead it as an item."""
        if line.end not in self._leads:
            said, stopped = dict[str, Placed](), set[str]()
            inner = line
            for _ in range(_NESTED_LISTS):
                reach = self._at_end_of(inner)
                own = {
                    assertion: placed for assertion, placed in reach.said.items() if assertion not in stopped
                }
                said = own | said
                stopped |= reach.stopped
                outer = self._lines.lead(inner.start)
                if outer is None or not (inner.bullet or inner.indent > outer.indent):
                    break
                inner = outer
            self._leads[line.end] = said
        return self._leads[line.end]

    def _at_end_of(self, line: Line) -> Reach:
        """What the cues of a line say at its end; without a colon, only those behind its own symptoms."""
        end = line.end
        first = max(line.start, self._sentences.around(end - 1, end)[0])
        inside = self._spans_within(first, end)
        cues = self._finder.find(self._reduced, first, end)
        reach = Statement(self._reduced.folded, (first, end), cues, [*inside, (end, end)]).reach((end, end))
        if not inside or line.leads:
            return reach
        said = {name: placed for name, placed in reach.said.items() if placed.start >= inside[-1][1]}
        return Reach(said, reach.left, reach.stopped)

    def _section_of(self, number: int, start: int) -> tuple[str, Span] | None:
        """What the section that holds a mention asserts of it, and where its heading stands."""
        if number < 0:
            return None
        section = self._sections[number]
        asserted = self._book.assertions.get(section.kind)
        if asserted == "family" and self._is_spoken and not self._names_family(section.heading):
            return None  # `Mother: He was vomiting.`
        if asserted is None or (
            section.kind in self._book.lines and not self._on_line_of(section.heading[1], start)
        ):
            return None
        return asserted, section.heading

    @cached_property
    def _is_spoken(self) -> bool:
        """Whether a clinician speaks in the note: a relative before a colon then is a speaker."""
        return _CLINICIAN.search(self._reduced.masked) is not None

    def _names_family(self, heading: Span) -> bool:
        return "family" in self._reduced.folded[slice(*heading)]

    def _on_line_of(self, heading_end: int, place: int) -> bool:
        """Whether `place` is on the line of a heading, or the heading has a line to itself."""
        number = self._lines.number(heading_end)
        if number == self._lines.number(place):
            return True
        last = self._lines.bounds(number)[1]
        return last - heading_end < _LONGEST_CUE and not self._reduced.masked[heading_end:last].strip(
            " \t:=*_-–—]"
        )

    def _sentence_of(self, start: int, end: int, number: int) -> Span:
        first, last = self._sentences.around(start, end)
        if number >= 0:
            first = max(first, self._sections[number].start)
        if number + 1 < len(self._sections):
            last = min(last, max(end, self._sections[number + 1].start))
        return first, last


class ContextReader:
    """Reads the cues and headings of any text, without a lexicon."""

    def __init__(self, book: CueBook, sections: SectionBook) -> None:
        self._finder = CueFinder(book)
        self._sections = sections
        self._headings = PhraseIndex({"heading": sections.headings})

    def read(self, text: str, spans: Sequence[Span]) -> NoteContext:
        """Return the context of `text`, ready to be asked for `spans`, which are by start."""
        reduced = reduce_text(text)
        return NoteContext(
            reduced, self._headings.find(reduced)[0], self._finder, self._sections, spans=spans
        )


@cache
def _default_reader() -> ContextReader:
    return ContextReader(load_cues(), load_sections())
