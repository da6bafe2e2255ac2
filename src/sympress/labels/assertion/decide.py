"""From cues, marks and sections to the one assertion of a mention.

A mention may be under several cues ("no history of chest pain"). The first of `PRECEDENCE` that holds is its
assertion: what is about someone else is not about the patient at all; what has not happened is neither there
nor absent; what is absent was neither there before nor is it possible.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from sympress.labels.assertion.cues import Cue, CueBook, load_cues
from sympress.labels.assertion.marks import read_mark
from sympress.labels.assertion.scope import Reach, cues_around, reach_mention
from sympress.labels.automaton import (
    FIRST_SEARCHES,
    Found,
    PhraseIndex,
    Reduced,
    last_word,
    reduce_text,
    words_of,
)
from sympress.labels.mentions import Assertion
from sympress.labels.sections import SectionBook, find_sections, load_sections, section_at
from sympress.labels.sentences import Sentences

#: Where several hold, the first of them is the assertion; without any, `present`.
PRECEDENCE: tuple[Assertion, ...] = ("family", "hypothetical", "absent", "historical", "possible")


def assert_mention(text: str, start: int, end: int) -> Assertion:
    """Return what `text` asserts of the span `start` to `end`, by the cues that come with sympress.

    The span may name anything: it need not be in a lexicon.

    Raises:
        ValueError: the span is empty or not within the text.
    """
    return decide(context_of(text, start, end))


def context_of(text: str, start: int, end: int) -> frozenset[str]:
    """Return everything that holds of a span, not only what takes precedence.

    `no history of chest pain` is both absent and historical. Without anything, an empty set: present.

    Raises:
        ValueError: the span is empty or not within the text.
    """
    if not 0 <= start < end <= len(text):
        raise ValueError(f"span {start} to {end}: not within a text of {len(text)} characters")
    return _default_reader().read(text).context(start, end)


def decide(context: frozenset[str]) -> Assertion:
    """Return the one assertion of everything that holds of a mention."""
    for assertion in PRECEDENCE:
        if assertion in context:
            return assertion
    return "present"


#: Characters that are read before a colon to see whether a cue ends there.
_LONGEST_CUE = 60


#: Cues of some part of a text: each with the number of what it does, and what the numbers stand for.
CuesFound = tuple[list[Found], Sequence[tuple[Cue, ...]]]


class CueFinder:
    """Finds cues within a part of a note: most of a note is about no mention, and is not searched."""

    def __init__(self, book: CueBook, *, at_once: bool = True) -> None:
        """Take the cues of `book`; `at_once` is that of `PhraseIndex`."""
        self._book = book
        self._searches = 0
        self._index = self._build() if at_once else None

    def find(self, reduced: Reduced, first: int, last: int) -> CuesFound:
        """Return the cues between two places of a text, also overlapping ones."""
        if self._index is None:
            self._searches += 1
            if self._searches <= FIRST_SEARCHES:
                few = self._book.within(frozenset(words_of(reduced.masked[first:last])))
                return PhraseIndex({"cue": few.phrases}).find(reduced, first, last)[0], few.cues
            self._index = self._build()
        return self._index.find(reduced, first, last)[0], self._book.every.cues

    def ends_at(self, reduced: Reduced, place: int) -> bool:
        """Whether a cue ends at `place`; most words are the last of no cue, and are not searched."""
        first = max(0, place - _LONGEST_CUE)
        if self._index is not None and last_word(reduced.folded[first:place]) not in self._index.last_words:
            return False
        return any(end == place for _, end, _ in self.find(reduced, first, place)[0])

    def _build(self) -> PhraseIndex:
        return PhraseIndex({"cue": self._book.every.phrases})


class NoteContext:
    """One note, ready to say what it asserts of its spans; asked in order of their starts it is fastest."""

    def __init__(
        self, reduced: Reduced, headings: Sequence[Found], finder: CueFinder, sections: SectionBook
    ) -> None:
        self._reduced = reduced
        self._finder = finder
        self._assertions = sections.assertions
        self._sections = find_sections(reduced.masked, headings, sections.kinds, self._ends_cue)
        self._sentences = Sentences(reduced.masked)
        self._sentence = (0, -1)
        self._cues: tuple[int, int, CuesFound] = (0, -1, ([], ()))

    def context(self, start: int, end: int) -> frozenset[str]:
        """Return everything that holds of a span: assertions other than `present`."""
        number = section_at(self._sections, start)
        first, last = self._sentence_of(start, end, number)
        found, what = self._cues_within(first, last)
        cues = cues_around(found, start, end, what)
        reach = reach_mention(self._reduced.folded, start, end, cues)
        context = set(reach.said)
        self._add_section(context, reach, number)
        mark = read_mark(self._reduced.masked, start, end)
        if mark == "present":
            context -= {"absent", "possible"}
        elif mark is not None:
            context.add(mark)
        return frozenset(context)

    def _cues_within(self, first: int, last: int) -> CuesFound:
        """Return the cues of a sentence; those of the last one are kept."""
        if self._cues[:2] != (first, last):
            self._cues = first, last, self._finder.find(self._reduced, first, last)
        return self._cues[2]

    def _ends_cue(self, place: int) -> bool:
        return self._finder.ends_at(self._reduced, place)

    def _add_section(self, context: set[str], reach: Reach, number: int) -> None:
        if number >= 0:
            asserted = self._assertions.get(self._sections[number].kind)
            if asserted is not None and asserted not in reach.left:
                context.add(asserted)

    def _sentence_of(self, start: int, end: int, number: int) -> tuple[int, int]:
        first, last = self._sentence
        if not (first <= start and end <= last):
            first, last = self._sentence = self._sentences.around(start, end)
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

    def read(self, text: str) -> NoteContext:
        """Return the context of `text`."""
        reduced = reduce_text(text)
        return NoteContext(reduced, self._headings.find(reduced)[0], self._finder, self._sections)


@cache
def _default_reader() -> ContextReader:
    return ContextReader(load_cues(), load_sections())
