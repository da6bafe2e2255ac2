"""Synthetic clinical notes with gold mentions: the data of sympress where no other may be used.

Every word is ours, no text of a real note is copied. What they are good for is trying the whole way
of the data and testing it; a quality measured on them says nothing about real notes.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, islice

import polars as pl

from sympress.errors import InputError
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.split import reserved_part
from sympress.notes.synthesize.vocabulary import (
    Assertion,
    Category,
    Section,
    Slot,
    Template,
    Unit,
    Vocabulary,
    load_vocabulary,
)

# What a synthetic note is put together from, and what the notes of a patient share.


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention being written: characters `start` to `end` of its note or paragraph."""

    start: int
    end: int
    unit: Unit
    assertion: Assertion
    reserved: bool


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The body of a section, kept for later notes to repeat.

    Attributes:
        text: what was written, without its heading.
        mentions: their offsets start at the first character of `text`.
        present: symptoms that it affirms.
        excluded: bits of the symptoms that it denies.
        possible: bits of the symptoms that it leaves open.
    """

    text: str
    mentions: tuple[Mention, ...]
    present: tuple[Unit, ...]
    excluded: int
    possible: int


@dataclass(slots=True)
class PatientText:
    """What the notes of a patient share: words by sex and age, habits, and paragraphs to copy forward."""

    words: dict[str, tuple[Template, ...]]
    reserved: bool
    usual: tuple[Unit, ...]
    paragraphs: dict[str, Paragraph] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComposedNote:
    """A finished text, its mentions in order, and how many paragraphs were copied forward."""

    text: str
    mentions: tuple[Mention, ...]
    copied: int


# Writing the text of one synthetic note, and remembering where each mention stands.


#: How often a patient of validation or test gets a reserved form where the symptom has one.
RESERVED_SHARE = 0.3
#: How often a section that may be copied forward is copied from an earlier note of the patient.
COPY_SHARE = 0.3
MIN_CHARACTERS = 300
#: No section is begun beyond this many characters, so that no note is longer than 4,000.
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


# Synthetic patients and their notes: deterministic, and a larger number extends a smaller one.


#: One row a mention and symptom; `start` and `end` count characters of the note's text.
MENTION_SCHEMA: dict[str, pl.DataType] = {
    "note_id": pl.String(),
    "start": pl.Int64(),
    "end": pl.Int64(),
    "surface": pl.String(),
    "symptom": pl.String(),
    "assertion": pl.String(),
    "reserved": pl.Boolean(),
}

RETRACTED_SHARE = 0.01
_FIRST_PATIENT = 10_000
_FIRST_ENCOUNTER = 100_000
_NOTES_A_PATIENT = (1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8)
# De-identification moves dates into the future; ten years leave something for a split by calendar year.
_BEGIN, _END = datetime(2140, 1, 1), datetime(2150, 1, 1)


@dataclass(frozen=True)
class SyntheticNotes:
    """Notes with what is said in them.

    Attributes:
        frame: one row a note, `NOTE_SCHEMA`; `codes` are the symptoms that the note affirms.
        mentions: one row a mention, `MENTION_SCHEMA`; a form such as "N/V" has one row a symptom.
        copied_paragraphs: paragraphs copied forward, word by word, from an earlier note of the patient.
    """

    frame: pl.DataFrame
    mentions: pl.DataFrame
    copied_paragraphs: int


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """One synthetic note with everything that a row of NOTEEVENTS says about it.

    `retracted` means that the file also holds an erroneous copy of this note (ISERROR = 1).
    """

    row_id: int
    patient_id: int
    encounter_id: int | None
    written: datetime
    timed: bool
    category: str
    description: str
    caregiver: int | None
    sex: str
    age: int
    note: ComposedNote
    retracted: bool

    @property
    def time(self) -> datetime:
        """The chart time, or midnight of the chart date where the note has no time."""
        return self.written if self.timed else self.written.replace(hour=0, minute=0)

    def gold(self) -> Iterator[tuple[int, int, str, str, bool]]:
        """Start, end, symptom, assertion and whether the form is reserved, for each mention and symptom."""
        for mention in self.note.mentions:
            for symptom in mention.unit.symptoms:
                yield mention.start, mention.end, symptom, mention.assertion, mention.reserved


def synthesize(n: int, *, seed: int = 0) -> SyntheticNotes:
    """Write `n` synthetic notes; the first m of them equal `synthesize(m, seed=seed)`.

    Surface forms marked as reserved appear only in notes of patients whom
    `sympress.notes.split.reserved_part` puts into validation or test.

    Raises:
        InputError: `n` is below 1.
    """
    return gather(iterate_notes(n, seed=seed))


def iterate_notes(n: int, *, seed: int = 0) -> Iterator[NoteRecord]:
    """Yield `n` notes one by one, all notes of a patient together and in the order of their time.

    Raises:
        InputError: `n` is below 1; raised by the call, not by the first step.
    """
    if n < 1:
        raise InputError(f"n={n}: ask for at least 1 synthetic note")
    return islice(_all_notes(seed), n)


def _all_notes(seed: int) -> Iterator[NoteRecord]:
    vocabulary, row_id = load_vocabulary(), 0
    for patient in count():
        for record in _patient_notes(vocabulary, patient, row_id + 1, seed):
            row_id = record.row_id
            yield record


def _patient_notes(vocabulary: Vocabulary, patient: int, row_id: int, seed: int) -> Iterator[NoteRecord]:
    """All notes of one patient; everything but `row_id` depends on `seed` and `patient` alone."""
    # Not for security: a generator of its own for each patient makes a larger n extend a smaller one.
    rng = random.Random(f"{seed}/{patient}")  # noqa: S311
    chance = rng.random
    patient_id = _FIRST_PATIENT + patient
    sex, age = ("F", "M")[rng.randrange(2)], rng.randint(19, 89)
    draws = vocabulary.draws
    text = PatientText(
        words={**vocabulary.words[sex], "age": (Template((), str(age), 0),)},
        reserved=reserved_part(str(patient_id)) != "train",
        usual=tuple(draws[int(chance() * len(draws))] for _ in range(3)),
    )
    stay, outpatient = 0, chance() < 0.15
    written = _BEGIN + timedelta(
        minutes=int(chance() * (_END - _BEGIN - timedelta(days=30)).total_seconds() / 60)
    )
    for k in range(_NOTES_A_PATIENT[int(chance() * len(_NOTES_A_PATIENT))]):
        category = vocabulary.category_draws[int(chance() * len(vocabulary.category_draws))]
        yield NoteRecord(
            row_id=row_id + k,
            patient_id=patient_id,
            encounter_id=None if outpatient else _FIRST_ENCOUNTER + 8 * patient + stay,
            written=written,
            timed=chance() < category.timed,
            category=category.name,
            description=category.descriptions[int(chance() * len(category.descriptions))],
            caregiver=14_000 + int(chance() * 7000) if chance() < 0.6 else None,
            sex=sex,
            age=age,
            note=NoteComposer(vocabulary, text, chance).compose(category),
            retracted=chance() < RETRACTED_SHARE,
        )
        later = written + timedelta(days=20 + int(chance() * 300))
        if chance() < 0.15 and later < _END - timedelta(days=30):
            written, stay, outpatient = later, stay + 1, chance() < 0.15
        else:
            written += timedelta(minutes=60 + int(chance() * 4000))


def gather(records: Iterable[NoteRecord]) -> SyntheticNotes:
    """The notes of `records` as frames."""
    notes: list[tuple[object, ...]] = []
    mentions: list[tuple[object, ...]] = []
    copied = 0
    for record in records:
        note_id, text = str(record.row_id), record.note.text
        affirmed: dict[str, None] = {}
        for start, end, symptom, assertion, reserved in record.gold():
            mentions.append((note_id, start, end, text[start:end], symptom, assertion, reserved))
            if assertion == "present":
                affirmed[symptom] = None
        encounter = None if record.encounter_id is None else str(record.encounter_id)
        source = (note_id, str(record.patient_id), encounter, record.time, record.category.strip())
        notes.append((*source, record.sex, float(record.age), text, list(affirmed)))
        copied += record.note.copied
    return SyntheticNotes(_frame(notes, NOTE_SCHEMA), _frame(mentions, MENTION_SCHEMA), copied)


def _frame(rows: list[tuple[object, ...]], schema: dict[str, pl.DataType]) -> pl.DataFrame:
    columns = zip(*rows, strict=True) if rows else ((),) * len(schema)
    filled = zip(schema.items(), columns, strict=True)
    return pl.DataFrame([pl.Series(name, values, dtype) for (name, dtype), values in filled])
