"""The labeller: the symptoms that a note mentions, and what it asserts of each."""

from __future__ import annotations

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from typing import NamedTuple

from sympress.errors import InputError
from sympress.labels.assertion import CueFinder, NoteContext, decide
from sympress.labels.assertion.cues import CueBook, load_cues
from sympress.labels.lexicon import Lexicon, holds, is_undone, read_forms
from sympress.labels.linking import says_nothing
from sympress.labels.matching import Found, PhraseIndex, Reduced, fold, keep_longest, reduce_text
from sympress.labels.mentions import AnnotatedNote, Assertion, Mention, Reason
from sympress.labels.sections import SectionBook, load_sections
from sympress.labels.temperature import Temperature, find_temperatures
from sympress.notes.markup import View, read_view

# Abbreviations that a note defines: `cerebral palsy (CP)`, `CP (cerebral palsy)`.
#
# After Schwartz and Hearst (2003, Pacific Symposium on Biocomputing): read backwards, every letter of the
# short form stands in the long form, in order, and the first one begins a word. Unlike theirs, every word
# of the long form also gives its first letter, but for small ones: `He came (HA)` defines nothing.


_IN_BRACKETS = re.compile(r"\(([^()\n]{2,60})\)")
_SHORT = re.compile(r"[A-Z][A-Za-z&/-]{0,6}[A-Z]|[A-Z]{2,8}s?")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SMALL = frozenset(["a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"])
_SHORT_BEFORE = re.compile(r"([A-Z][A-Z&/-]{0,6}[A-Z]s?)\s*$")


class Definition(NamedTuple):
    """A short form, lower-cased, and where its long form stands in the note."""

    short: str
    start: int
    end: int


def find_definitions(text: str) -> list[Definition]:
    """Return the abbreviations that `text` defines, by place; each pair of brackets is read once."""
    if "(" not in text:
        return []
    found = []
    for match in _IN_BRACKETS.finditer(text):
        inside = match[1].strip()
        if _SHORT.fullmatch(inside):
            long = _long_before(text, match.start(), inside)
        else:
            before = _SHORT_BEFORE.search(text, max(0, match.start() - 12), match.start())
            if before is None:
                continue
            inside, long = before[1], _long_within(text, match.start(1), match.end(1), before[1])
        if long is not None:
            found.append(Definition(fold(inside), *long))
    return found


def _letters(short: str) -> str:
    return fold("".join(filter(str.isalnum, short[:-1] if short.endswith("s") else short)))


def _long_before(text: str, end: int, short: str) -> tuple[int, int] | None:
    """Return the long form that ends at `end`: at most as many words as Schwartz and Hearst allow."""
    letters = _letters(short)
    first = max(0, end - 30 * (len(letters) + 1))
    words = list(_WORD.finditer(text, first, end))[-min(len(letters) + 5, 2 * len(letters)) :]
    if not words or text[words[-1].end() : end].strip():
        return None
    start = _aligned(fold(text[words[0].start() : end]), letters)
    return None if start is None else (words[0].start() + start, end)


def _long_within(text: str, start: int, end: int, short: str) -> tuple[int, int] | None:
    """Return the long form between two brackets, when it starts there and has more than one word."""
    letters = _letters(short)
    at = _aligned(fold(text[start:end]), letters)
    return (start, end) if at == 0 and len(_WORD.findall(text, start, end)) > 1 else None


def _aligned(long: str, letters: str) -> int | None:
    """Return where the long form starts of which `letters` are the abbreviation; None where they are not."""
    at = len(long)
    for place in range(len(letters) - 1, -1, -1):
        at = long.rfind(letters[place], 0, at)
        while place == 0 and at > 0 and long[at - 1].isalnum():
            at = long.rfind(letters[0], 0, at)
        if at < 0:
            return None
    return at if _gives_initials(long[at:], letters) else None


def _gives_initials(long: str, letters: str) -> bool:
    """Whether every word gives a letter; of three letters or more the last may not: `LAD` artery."""
    firsts = [word[0] for word in _WORD.findall(long) if word not in _SMALL]
    left, given = iter(letters), 0
    while given < len(firsts) and firsts[given] in left:
        given += 1
    return given >= len(firsts) - (len(letters) > 2)


# The labeller: the symptoms that a note mentions, and what it asserts of each.


#: The symptom that a high temperature is a mention of, in a lexicon that has it.
FEVER = "fever"
#: The number of a temperature among the forms: behind them all.
_TEMPERATURE = -1
#: The number of a span that a tagger found and no form names.
_GIVEN = -2
#: Letters that an abbreviation has at the most.
_ABBREVIATED = 4
#: Characters beside a form that its conditions read.
_AROUND = 100
#: Forms and headings, overlapping ones too, for each mention that a note may have.
_FORMS_A_MENTION = 8


class Annotator:
    """Finds the mentions of a lexicon's symptoms in notes and reads what is asserted of them.

    One automaton holds every form and heading and passes a text once; another looks for cues in the sentences
    of mentions only. Neither grows with the notes.
    """

    def __init__(
        self,
        lexicon: Lexicon,
        cues: CueBook | None = None,
        sections: SectionBook | None = None,
        *,
        at_once: bool = True,
    ) -> None:
        """Prepare `lexicon`; `cues` and `sections` default to ours; `at_once` is that of `PhraseIndex`."""
        self._finder = CueFinder(load_cues() if cues is None else cues, at_once=at_once)
        self._sections = load_sections() if sections is None else sections
        self._ids = tuple(symptom.id or symptom.name for symptom in lexicon.symptoms)
        self._forms = read_forms(lexicon)
        self._fever = self._ids.index(FEVER) if FEVER in self._ids else None
        self._told: list[tuple[str | None, ...]] = [
            (None,) if number in self._forms.unnamed else tuple(self._ids[place] for place in places)
            for number, places in enumerate(self._forms.named)
        ]
        self._told.append((FEVER,))  # of a temperature: the last
        groups = {"form": self._forms.written, "heading": self._sections.headings}
        self._index = PhraseIndex(groups, at_once=at_once)

    def complete(self) -> None:
        """Build now what is put off where `at_once` is False: a second, and 180 MB for a moment."""
        self._finder.complete()
        self._index.complete()

    def annotate(self, note_id: str, text: str) -> AnnotatedNote:
        """Return the note with its mentions, by start."""
        return AnnotatedNote(note_id, text, self.mentions(text))

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return the mentions of a note, by start, with offsets into it; see `mentions_of`."""
        view = read_view(text)
        found = self.mentions_of(view)
        return found if view.starts is None else tuple(_moved(one, view.span) for one in found)

    def mentions_of(
        self,
        view: View,
        most: int | None = None,
        spans: Sequence[Mention] = (),
        *,
        only: Container[str] | None = None,
    ) -> tuple[Mention, ...]:
        """Return the mentions of what a note's reader sees, by start, with offsets into `view.text`.

        What the markup denies is absent.

        Args:
            view: the note.
            most: mentions that it may have.
            spans: what a tagger found, by start and disjoint. One that touches no form is a mention of the
                symptom that it names, if any, and one that holds a single form, or stands in it, gives that
                mention its bounds; both have its score, and all others None. What any of them asserts is
                read in the note, as for the forms, whatever the tagger says.
            only: symptoms whose mentions are asked for, which takes less time; None for all.

        Raises:
            InputError: there are more than `most`; no memory is taken for more.
        """
        found = self._read(view.text, most, spans, only)
        if not view.denied:
            return found
        reached, at = 0, 0
        told: list[Mention] = []
        for mention in found:
            while at < len(view.denied) and view.denied[at][0] < mention.end:
                reached, at = max(reached, view.denied[at][1]), at + 1
            told.append(_denied(mention) if reached > mention.start else mention)
        return tuple(told)

    def _read(
        self, text: str, most: int | None, given: Sequence[Mention], only: Container[str] | None
    ) -> tuple[Mention, ...]:
        """Return the mentions of plain text.

        Of forms that overlap the leftmost counts, of those the longest; none goes on in another statement.
        A combined form (`n/v`) is one mention of each of its symptoms. A fever's temperature is a mention of
        `fever`.
        """
        reduced = reduce_text(text)
        looked_for = None if most is None else most * _FORMS_A_MENTION
        forms, headings = self._index.find(reduced, most=looked_for)
        temperatures = find_temperatures(reduced.masked) if self._fever is not None else []
        if not forms and not temperatures and not given:
            return ()
        conditions = self._forms.conditions
        counted = [match for match in forms if match[2] not in conditions or self._counts(match, reduced)]
        given = _without(given, {match[:2] for match in forms} - {match[:2] for match in counted}, text)
        if "(" in text:
            counted = self._without_defined(counted, text)
        kept = self._with_temperatures(keep_longest(_on_one_line(counted, text)), temperatures)
        del forms, counted
        kept, tagged = self._with_given(kept, given, reduced)
        if most is not None and len(kept) > most:
            raise InputError(too_many_mentions(most))
        named = [self._names(number, tagged.get(start), only) for start, _, number in kept]
        if not any(named):
            return ()
        spans = [(start, end) for start, end, number in kept if number == _GIVEN or self._told[number]]
        joined = {at for start, end in spans if (at := text.find("\n", start, end)) >= 0}
        with_given = NoteContext(reduced, headings, self._finder, self._sections, spans=spans, joined=joined)
        own = [(start, end) for start, end, number in kept if number != _GIVEN and self._told[number]]
        # What a tagger found changes nothing of a form.
        note = with_given if len(own) == len(spans) else with_given.without_others(own)
        found: list[Mention] = []
        for (start, end, number), names in zip(kept, named, strict=True):
            if names:
                assertion, reason = decide((with_given if number == _GIVEN else note).context(start, end))
                assertion, reason = self._by_word(assertion, reason, number, reduced, (start, end))
                if assertion != "present" or names != (None,) or number == _GIVEN:
                    span = tagged.get(start)
                    first, last, score = (span.start, span.end, span.score) if span else (start, end, None)
                    found += [Mention(first, last, one, assertion, score, reason) for one in names]
        return tuple(found)

    def _names(
        self, number: int, span: Mention | None, only: Container[str] | None
    ) -> tuple[str | None, ...]:
        """The symptoms of a form, or of a tagger's span; None where it names none."""
        names = (span.symptom if span else None,) if number == _GIVEN else self._told[number]
        return names if only is None else tuple([one for one in names if one in only])

    def _with_given(
        self, kept: list[Found], given: Sequence[Mention], reduced: Reduced
    ) -> tuple[list[Found], dict[int, Mention]]:
        """Return forms and spans of a tagger by start, and by start of either the span that bounds it.

        A span that meets one form alone bounds it, unless it cuts through it. Of several forms in one span,
        or several spans in one form, the forms stay. A span whose words name no finding (`doing well`) is
        left out.
        """
        added: list[Found] = []
        bounds: dict[int, Mention] = {}
        place, shared = 0, -1
        for span in given:
            while place < len(kept) and kept[place][1] <= span.start:
                place += 1
            last = place
            while last < len(kept) and kept[last][0] < span.end:
                last += 1
            over = kept[place:last]
            if not over:
                start = self._behind_cues(reduced, span.start, span.end)
                if start < span.end and not says_nothing(reduced.folded[start : span.end]):
                    added.append((start, span.end, _GIVEN))
                    bounds[start] = _from(span, start)
                continue
            first, end, _ = over[0]
            if first == shared:  # an earlier span stands in it too
                bounds.pop(first, None)
            elif len(over) == 1 and span.start <= first and end <= span.end:
                bounds[first] = _from(span, self._behind_cues(reduced, span.start, first))
            elif len(over) == 1 and first <= span.start and span.end <= end and _whole(reduced.folded, span):
                bounds[first] = span
            shared = over[-1][0]
        return sorted([*kept, *added]) if added else kept, bounds

    def _behind_cues(self, reduced: Reduced, start: int, end: int) -> int:
        """Return where a span begins without the cues that a tagger took for its first words: `no murmur`."""
        while start < end:
            found, what = self._finder.find(reduced, start, end)
            ends = [
                last
                for first, last, k in found
                if first == start and any(one.role == "cue" and one.forward for one in what[k].cues)
            ]
            if not ends:
                break
            start = max(ends)
            while start < end and reduced.folded[start].isspace():
                start += 1
        return start

    def _counts(self, match: Found, reduced: Reduced) -> bool:
        """Whether the conditions of an ambiguous form hold."""
        return holds(self._forms.conditions[match[2]], reduced, match[0], match[1])

    def meant_otherwise(self, text: str, start: int, end: int) -> frozenset[str]:
        """Ids of the symptoms whose ambiguous forms in `text[start:end]` mean something else there."""
        first = max(0, start - _AROUND)
        reduced = reduce_text(text[first : end + _AROUND])
        forms, _ = self._index.find(reduced, start - first, end - first)
        refused = [
            one for one in forms if one[2] in self._forms.conditions and not self._counts(one, reduced)
        ]
        return frozenset(name for *_, number in refused for name in self._told[number] if name is not None)

    def _without_defined(self, matches: list[Found], text: str) -> list[Found]:
        """Leave out abbreviations to which the note itself gives another meaning: `cerebral palsy (CP)`."""
        defined: dict[str, set[int]] = {}
        for short, first, last in find_definitions(text):
            meant = defined.setdefault(short, set())
            place = bisect_right(matches, first, key=_end)
            while place < len(matches) and matches[place][1] <= last:
                if matches[place][0] >= first:
                    meant.update(self._forms.named[matches[place][2]])
                place += 1
        if not defined:
            return matches
        return [
            match
            for match in matches
            if (known := defined.get(self._forms.written[match[2]])) is None
            or (len(self._forms.written[match[2]]) > 3 and match[2] not in self._forms.conditions)
            or not known.isdisjoint(self._forms.named[match[2]])
        ]

    def _with_temperatures(self, matches: list[Found], temperatures: Sequence[Temperature]) -> list[Found]:
        """Return forms and fevers by start: a normal temperature takes its `temp` away."""
        kept: list[Found] = []
        place = 0
        for one in temperatures:
            while place < len(matches) and matches[place][1] <= one.start:
                kept.append(matches[place])
                place += 1
            first = place
            while place < len(matches) and matches[place][0] < one.end:
                place += 1
            over = matches[first:place]
            words = [match for match in over if self._fever in self._forms.named[match[2]]]
            others = [match for match in over if match not in words]
            if words and (one.named or words[0][0] < one.start):
                kept += over
            elif one.fever and not others:
                kept.append((one.start, one.end, _TEMPERATURE))
            else:
                kept += others
        return kept + matches[place:]

    def _by_word(
        self,
        assertion: Assertion,
        reason: Reason | None,
        number: int,
        reduced: Reduced,
        span: tuple[int, int],
    ) -> tuple[Assertion, Reason | None]:
        """Return the assertion of a form that asserts something itself, and that it does: an absent symptom.

        `not afebrile` takes the denial back; any other `no` beside it belongs to something else
        (`no masses, nontender`).
        """
        start, end = span
        if number == _TEMPERATURE and reason is None:
            reason = Reason("value", reduced.folded[start:end], start, end)
        elif number in self._forms.denials and assertion in ("present", "absent", "possible"):
            assertion = "present" if is_undone(reduced, start) else "absent"
            reason = Reason("word", reduced.folded[start:end], start, end)
        return assertion, reason


def too_many_mentions(most: int) -> str:
    """Why a note with more than `most` mentions has no answer."""
    return f"more than {most:,} mentions"


#: That the markup itself says no, as CDA's `negationInd="true"` does; it has no place in what is read.
_NEGATED = Reason("mark", "negationInd")


def _denied(mention: Mention) -> Mention:
    return replace(mention, assertion="absent", reason=_NEGATED)


def _without(given: Sequence[Mention], refused: set[tuple[int, int]], text: str) -> Sequence[Mention]:
    """The spans that touch no abbreviation of `refused`, which means something else here: `ST elevation`.

    A word that is no symptom of the lexicon is a finding all the same: `edema` of the brain, `mass effect`.
    """
    short = sorted(
        (start, end)
        for start, end in refused
        if end - start <= _ABBREVIATED and not text[start + 1 : end].islower()
    )
    if not given or not short:
        return given
    starts, ends = zip(*short, strict=True)
    reached = list(itertools.accumulate(ends, max))
    kept = []
    for span in given:
        last = bisect_left(starts, span.end)  # those before begin before the span ends
        if not last or reached[last - 1] <= span.start:
            kept.append(span)
    return kept


def _from(span: Mention, start: int) -> Mention:
    return span if start == span.start else replace(span, start=start)


def _whole(text: str, span: Mention) -> bool:
    """Whether a span begins and ends with a word."""
    return not (text[span.start - 1 : span.start].isalnum() or text[span.end : span.end + 1].isalnum())


def _moved(mention: Mention, span: Callable[[int, int], tuple[int, int]]) -> Mention:
    """`mention` with its span and the place of its reason where `span` says they are."""
    start, end = span(mention.start, mention.end)
    return replace(mention, start=start, end=end, reason=mention.reason and mention.reason.moved(span))


def _end(match: Found) -> int:
    return match[1]


def _on_one_line(forms: list[Found], text: str) -> list[Found]:
    """`forms` without those that go on in the next line though their first words are a form of their own.

    `migraine` above `headache` is two statements; `shortness of` above `breath` is one form.
    """
    crossing = {match: at for match in forms if (at := text.find("\n", match[0], match[1])) >= 0}
    if not crossing:
        return forms
    ends: dict[int, int] = {}
    for start, end, _ in forms:
        ends[start] = min(end, ends.get(start, end))
    return [
        match
        for match in forms
        if match not in crossing
        or (ends[match[0]] > crossing[match] and not _begins_anew(text, crossing[match]))
    ]


def _begins_anew(text: str, place: int) -> bool:
    """Whether the next line begins with a capital where this one ends in a small letter."""
    following = text[place + 1 : place + 20].lstrip()[:1]
    return following.isupper() and text[max(0, place - 4) : place].rstrip()[-1:].islower()
