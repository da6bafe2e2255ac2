"""Synthetic patients and their notes: deterministic, and a larger number extends a smaller one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, islice

import polars as pl

from sympress.errors import InputError
from sympress.notes.schema import NOTE_SCHEMA
from sympress.notes.split import reserved_part
from sympress.notes.synthesize.compose import NoteComposer
from sympress.notes.synthesize.pieces import ComposedNote, PatientText
from sympress.notes.synthesize.vocabulary import Template, Vocabulary, load_vocabulary

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
    return _gather(iterate_notes(n, seed=seed))


def synthesize_batches(n: int, *, seed: int = 0, batch: int = 5000) -> Iterator[SyntheticNotes]:
    """Yield the notes of `synthesize(n, seed=seed)` in order, `batch` at a time, in bounded memory.

    Raises:
        InputError: `n` or `batch` is below 1.
    """
    if batch < 1:
        raise InputError(f"batch={batch}: give at least 1 note a batch")
    records = iterate_notes(n, seed=seed)
    return (_gather(islice(records, min(batch, n - start))) for start in range(0, n, batch))


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


def _gather(records: Iterable[NoteRecord]) -> SyntheticNotes:
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
