"""The labeller: the symptoms that a note mentions, and what it asserts of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sympress.labels.assertion.cues import CueBook, load_cues
from sympress.labels.assertion.decide import CueFinder, NoteContext, decide
from sympress.labels.automaton import Found, PhraseIndex, Reduced, keep_longest, reduce_text
from sympress.labels.lexicon import AmbiguousForm, Lexicon
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.sections import SectionBook, load_sections


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
        forms, self._named, self._conditions = _forms_of(lexicon)
        self._index = PhraseIndex({"form": forms, "heading": self._sections.headings}, at_once=at_once)

    def annotate(self, note_id: str, text: str) -> AnnotatedNote:
        """Return the note with its mentions, by start."""
        return AnnotatedNote(note_id, text, self.mentions(text))

    def mentions(self, text: str) -> tuple[Mention, ...]:
        """Return the mentions of `text`, by start, with offsets into it.

        Of forms that overlap the leftmost counts, of those the longest; a combined form (`n/v`) is one
        mention of each of its symptoms.
        """
        reduced = reduce_text(text)
        forms, headings = self._index.find(reduced)
        if not forms:
            return ()
        kept = keep_longest([match for match in forms if self._counts(match, reduced)])
        note = NoteContext(reduced, headings, self._finder, self._sections)
        found: list[Mention] = []
        for start, end, number in kept:
            named = self._named[number]
            if named:
                assertion = decide(note.context(start, end))
                found += [Mention(start, end, self._ids[place], assertion) for place in named]
        return tuple(found)

    def _counts(self, match: Found, reduced: Reduced) -> bool:
        """Whether the conditions of an ambiguous form hold; those of any other form do."""
        condition = self._conditions.get(match[2])
        return condition is None or _holds(condition, reduced, match[0], match[1])


def _forms_of(
    lexicon: Lexicon,
) -> tuple[list[str], list[tuple[int, ...]], Mapping[int, AmbiguousForm]]:
    """Return every form, the symptoms that it names (none for an ignored one), and the conditions of some."""
    forms: list[str] = []
    named: list[tuple[int, ...]] = []
    conditions: dict[int, AmbiguousForm] = {}
    for place, symptom in enumerate(lexicon.symptoms):
        for form in symptom.forms:
            forms.append(form)
            named.append((place,))
        for ambiguous in symptom.ambiguous:
            conditions[len(forms)] = ambiguous
            forms.append(ambiguous.form)
            named.append((place,))
    for form, places in lexicon.combined.items():
        forms.append(form)
        named.append(places)
    forms += lexicon.ignored
    named += [()] * len(lexicon.ignored)
    return forms, named, conditions


def _holds(condition: AmbiguousForm, reduced: Reduced, start: int, end: int) -> bool:
    surface = reduced.text[start:end]
    if condition.case == "upper" and not surface.isupper():
        return False
    if condition.case == "plural" and not (surface[:-1].isupper() and surface.endswith("s")):
        return False
    if condition.not_after and _stands(condition.not_after, reduced.folded[max(0, start - 60) : start], True):
        return False
    return not (condition.not_before and _stands(condition.not_before, reduced.folded[end : end + 60], False))


def _stands(phrases: Sequence[str], beside: str, before: bool) -> bool:
    """Whether one of `phrases` stands directly before, or behind, a form; `beside` is the text there."""
    words = _NO_WORD.sub(" ", beside).strip()
    padded = f" {words}" if before else f"{words} "
    if before:
        return padded.endswith(tuple(f" {phrase}" for phrase in phrases))
    return padded.startswith(tuple(f"{phrase} " for phrase in phrases))


_NO_WORD = re.compile(r"[\W_]+")
