"""Writing the text of one synthetic note, and remembering where each mention stands."""

from __future__ import annotations

import re
from collections.abc import Callable

from sympress.notes.synthesize.pieces import ComposedNote, Mention, Paragraph, PatientText
from sympress.notes.synthesize.vocabulary import (
    Assertion,
    Category,
    Section,
    Slot,
    Template,
    Unit,
    Vocabulary,
)

#: How often a patient of validation or test gets a reserved form where the symptom has one.
RESERVED_SHARE = 0.3
#: How often a section that may be copied forward is copied from an earlier note of the patient.
COPY_SHARE = 0.3
MIN_CHARACTERS = 300
MAX_CHARACTERS = 4000
#: No section is begun beyond this many characters, so that `MAX_CHARACTERS` holds.
_LAST_SECTION = 3000

# Longer than any list of filler and prime to its length: a walk meets each sentence once before it repeats.
_STRIDES = (31, 37, 41, 43, 47)
_JOINERS: dict[Assertion, tuple[str, ...]] = {
    "present": (" and ", " and ", ", ", " & "),
    "absent": (" or ", " or ", ", ", ", or "),
    "possible": (" or ",),
    "hypothetical": (" or ", ", or ", ", "),
    "historical": (" and ", ", "),
    "family": (" and ", ", "),
}
# Lines longer than 78 characters break at a blank; the newline takes its place, so no offset moves.
_LINE = re.compile(r"(?=[^\n]{79})([^\n]{50,78}) (?=\S)")


class NoteComposer:
    """Writes one note; `random` is the `random()` of the patient's generator, the only source of chance."""

    def __init__(self, vocabulary: Vocabulary, patient: PatientText, random: Callable[[], float]) -> None:
        self._vocabulary = vocabulary
        self._patient = patient
        self._random = random
        self._parts: list[str] = []
        self._length = 0
        self._mentions: list[Mention] = []
        self._present: list[Unit] = []
        self._present_mask = 0
        self._absent_mask = 0  # denied symptoms and all that their denial covers
        self._possible_mask = 0
        self._used = 0  # symptoms that the sentence being written has named
        self._kept = 0  # symptoms that it keeps for its affirmed slots
        self._copied = 0
        self._stride = _STRIDES[int(random() * len(_STRIDES))]
        self._places: dict[str, int] = {}  # where the walk through each list of filler stands

    def compose(self, category: Category) -> ComposedNote:
        """Write all sections of `category`: between 300 and 4,000 characters."""
        random = self._random
        sections = [section for section in category.sections if random() < section.chance]
        copies = [self._adopted(section) for section in sections]
        self._choose_present(int(0.4 + random() * 4.4))
        style = int(random() * 3)
        for section, copy in zip(sections, copies, strict=True):
            if self._length > _LAST_SECTION:
                break
            self._write(section.heading[style] + (" " if style else "\n"))
            if copy is None:
                self._write_section(section)
            else:
                self._repeat(copy)
            self._write("\n" if style == 2 else "\n\n")
        while self._length < MIN_CHARACTERS + 2:  # the end of the last line is stripped
            self._say(self._filler_of(sections[-1] if sections[-1].filler else category.sections[-1]))
            self._write("\n")
        text = "".join(self._parts).rstrip("\n")
        if category.wrapped:
            text = _LINE.sub(r"\1\n", text)
        return ComposedNote(text, tuple(self._mentions), self._copied)

    def _adopted(self, section: Section) -> Paragraph | None:
        """The paragraph to copy into `section`, if any; the rest of the note will not contradict it."""
        if not section.copied or self._random() >= COPY_SHARE:
            return None
        copy = self._patient.paragraphs.get(section.heading[0])
        if copy is None or not self._consistent(copy):
            return None
        for unit in copy.present:
            if not unit.mask & self._present_mask:
                self._present.append(unit)
            self._present_mask |= unit.mask
        self._absent_mask |= copy.excluded
        self._possible_mask |= copy.possible
        return copy

    def _consistent(self, copy: Paragraph) -> bool:
        """Whether a paragraph contradicts none of those already chosen for this note."""
        present = sum(unit.mask for unit in copy.present)
        return not (
            present & (self._absent_mask | self._possible_mask)
            or copy.excluded & (self._present_mask | self._possible_mask)
            or copy.possible & (self._present_mask | self._absent_mask)
        )

    def _choose_present(self, count: int) -> None:
        """Add up to `count` symptoms that this note affirms, half of them from the patient's usual ones."""
        random, usual, draws = self._random, self._patient.usual, self._vocabulary.draws
        for _ in range(count):
            pool = usual if random() < 0.5 else draws
            unit = pool[int(random() * len(pool))]
            if not unit.mask & (self._present_mask | self._absent_mask | self._possible_mask):
                self._present.append(unit)
                self._present_mask |= unit.mask

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)

    def _repeat(self, copy: Paragraph) -> None:
        start = self._length
        self._copied += 1
        self._mentions += [
            Mention(start + old.start, start + old.end, old.unit, old.assertion, old.reserved)
            for old in copy.mentions
        ]
        self._write(copy.text)

    def _write_section(self, section: Section) -> None:
        random = self._random
        part, start, first = len(self._parts), self._length, len(self._mentions)
        mentions = _between(section.mentions, random())
        fillers = _between(section.fillers, random())
        separator = "\n" if section.listed else " "
        for left in range(mentions + fillers, 0, -1):
            if random() * left < mentions:
                mentions -= 1
                self._say(self._sentence_of(section))
            else:
                self._say(self._filler_of(section))
            if left > 1:
                self._write(separator)
        if section.copied:
            self._remember(section, part, start, first)

    def _remember(self, section: Section, part: int, start: int, first: int) -> None:
        written = self._mentions[first:]
        units: dict[Assertion, list[Unit]] = {"present": [], "absent": [], "possible": []}
        for mention in written:
            units.setdefault(mention.assertion, []).append(mention.unit)
        excluded = possible = 0
        for unit in units["absent"]:
            excluded |= unit.mask | unit.covers
        for unit in units["possible"]:
            possible |= unit.mask
        self._patient.paragraphs[section.heading[0]] = Paragraph(
            text="".join(self._parts[part:]),
            mentions=tuple(
                Mention(old.start - start, old.end - start, old.unit, old.assertion, old.reserved)
                for old in written
            ),
            present=tuple(dict.fromkeys(units["present"])),
            excluded=excluded,
            possible=possible,
        )

    def _sentence_of(self, section: Section) -> Template:
        """A template whose affirmed slots can be filled; filler where the note affirms too few symptoms."""
        random = self._random
        for _ in range(6):
            group = self._vocabulary.templates[section.draw[int(random() * len(section.draw))]]
            template = group[int(random() * len(group))]
            if template.present <= len(self._present):
                return template
        return self._filler_of(section) if section.filler else _NO_COMPLAINT

    def _filler_of(self, section: Section) -> Template:
        """A sentence of filler; none comes twice in a note before all of its list have been written."""
        pool = self._vocabulary.filler[section.filler]
        place = self._places.get(section.filler)
        place = int(self._random() * len(pool)) if place is None else (place + self._stride) % len(pool)
        self._places[section.filler] = place
        return pool[place]

    def _say(self, template: Template) -> None:
        # A sentence that affirms keeps the affirmed symptoms for those slots: no "h/o HA, now with HA".
        self._kept = self._present_mask if template.present else 0
        self._used = 0
        if template.parts:
            self._expand(template)
        else:
            self._write(template.tail)

    def _expand(self, template: Template) -> None:
        words, random, parts = self._patient.words, self._random, self._parts
        for literal, slot in template.parts:
            parts.append(literal)
            self._length += len(literal)
            if slot.assertion is not None:
                self._list(slot, slot.assertion)
                continue
            choices = words[slot.name]
            word = choices[int(random() * len(choices))]
            if word.parts:
                self._expand(word)
            else:
                parts.append(word.tail)
                self._length += len(word.tail)
        self._write(template.tail)

    def _list(self, slot: Slot, assertion: Assertion) -> None:
        """Write one symptom, or two to four (fewer where the note affirms fewer)."""
        random = self._random
        count = 2 + int(random() * 3) if slot.plural else 1
        units = [unit for unit in (self._draw(assertion) for _ in range(count)) if unit is not None]
        joiners = _JOINERS[assertion]
        for k, unit in enumerate(units):
            if k:
                last = k == len(units) - 1
                self._write(joiners[int(random() * len(joiners))] if last else ", ")
            self._name(unit, assertion, capital=slot.capital and not k)

    def _draw(self, assertion: Assertion) -> Unit | None:
        """A symptom new to this sentence that contradicts nothing in the note; None if none is left."""
        random = self._random
        if assertion == "present":
            left = [unit for unit in self._present if not unit.mask & self._used]
            if not left:
                return None
            unit = left[int(random() * len(left))]
            self._used |= unit.mask
            return unit
        draws, taken = self._vocabulary.draws, self._used | self._kept
        while True:  # ends: a sentence names few of the symptoms, and a note affirms few
            unit = draws[int(random() * len(draws))]
            mask = unit.mask
            if mask & taken or not self._allowed(unit, assertion):
                continue
            self._used |= mask
            return unit

    def _allowed(self, unit: Unit, assertion: Assertion) -> bool:
        """Whether the note may say so of `unit`; if it may, what that excludes is remembered."""
        if assertion == "absent":
            denied = unit.mask | unit.covers
            if denied & (self._present_mask | self._possible_mask):
                return False
            self._absent_mask |= denied
        elif assertion == "possible":
            if unit.mask & (self._present_mask | self._absent_mask):
                return False
            self._possible_mask |= unit.mask
        return True

    def _name(self, unit: Unit, assertion: Assertion, *, capital: bool) -> None:
        random = self._random
        reserved = bool(self._patient.reserved and unit.reserved and random() < RESERVED_SHARE)
        forms = unit.reserved if reserved else unit.forms
        surface = forms[int(random() * len(forms))]
        if capital:
            surface = surface[0].upper() + surface[1:]
        start = self._length
        self._write(surface)
        self._mentions.append(Mention(start, self._length, unit, assertion, reserved))


_NO_COMPLAINT = Template((), "None.", 0)


def _between(bounds: tuple[int, int], share: float) -> int:
    low, high = bounds
    return low + int(share * (high - low + 1))
