"""Gold in memory: notes with the spans that people marked in them, or with the symptoms of the whole note."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from sympress.errors import InputError
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.silver import affirmed_symptoms


@dataclass(frozen=True, slots=True)
class GoldNote:
    """A note and what people say of it.

    Attributes:
        note_id: its id.
        text: its text; offsets count its characters.
        affirmed: names of the symptoms that the note affirms.
        mentions: the spans that people marked, by start; empty where `Gold.spans` is false.
        patient_id: whose note it is; None where nobody says.
        group: what the note counts to when figures are told apart; None for no group.
    """

    note_id: str
    text: str
    affirmed: frozenset[str]
    mentions: tuple[Mention, ...] = ()
    patient_id: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Gold:
    """Annotated notes, ready to judge an artifact.

    Attributes:
        notes: at least one.
        name: a short name for tables.
        form: what it was read from, e.g. `brat`.
        spans: people marked spans; otherwise they said of whole notes what these affirm.
        asserted: somebody said what spans assert; otherwise all count as present, unjudged.
        group_by: what `GoldNote.group` is; None without groups.
        remarks: what a reader of the figures must know, a line each.
    """

    notes: tuple[GoldNote, ...]
    name: str = "gold"
    form: str = "memory"
    spans: bool = True
    asserted: bool = True
    group_by: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def patients(self) -> list[str | None] | None:
        """Patient of each note, `(notes,)`; None where no note names one."""
        found = [note.patient_id for note in self.notes]
        return found if any(one is not None for one in found) else None


def gold_of_spans(
    notes: Iterable[AnnotatedNote],
    *,
    patients: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
    asserted: bool = True,
    name: str = "gold",
) -> Gold:
    """Return gold of notes whose mentions people marked.

    Args:
        notes: annotated notes; a symptom is named as the artifact or its lexicon names it, or None.
        patients: `(notes,)` whose note each is.
        groups: `(notes,)` what figures are told apart by.
        asserted: whether the mentions say what the notes assert of them.
        name: a short name for tables.

    Raises:
        InputError: no notes, an id twice, a span outside its text, or other lengths.
    """
    held = [GoldNote(one.note_id, one.text, affirmed_symptoms(one.mentions), one.mentions) for one in notes]
    gold = Gold(tuple(held), name, asserted=asserted)
    return checked(_beside(gold, patients, groups))


def gold_of_symptoms(
    texts: Sequence[str],
    symptoms: Sequence[Iterable[str]],
    *,
    note_ids: Sequence[str] | None = None,
    patients: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
    name: str = "gold",
) -> Gold:
    """Return gold of whole notes: `(notes,)` texts, and the names of the symptoms that each affirms.

    The other arguments are those of `gold_of_spans`; without `note_ids` notes are called after their number.

    Raises:
        InputError: no notes, an id twice, or other lengths.
    """
    ids = [str(number) for number in range(1, len(texts) + 1)] if note_ids is None else list(note_ids)
    if not len(texts) == len(symptoms) == len(ids):
        raise InputError(
            f"{len(texts)} texts, {len(symptoms)} lists of symptoms, {len(ids)} ids: give one of each a note"
        )
    rows = zip(ids, texts, symptoms, strict=True)
    held = tuple(GoldNote(note_id, text, frozenset(named)) for note_id, text, named in rows)
    return checked(_beside(Gold(held, name, spans=False, asserted=False), patients, groups))


def _beside(gold: Gold, patients: Sequence[str | None] | None, groups: Sequence[str | None] | None) -> Gold:
    """`gold` with the patient and the group of each note."""
    notes = gold.notes
    for what, values in (("patients", patients), ("groups", groups)):
        if values is not None and len(values) != len(notes):
            raise InputError(f"{len(values)} {what}, {len(notes)} notes: give one of each a note")
    if patients is not None:
        notes = tuple(replace(one, patient_id=value) for one, value in zip(notes, patients, strict=True))
    if groups is not None:
        notes = tuple(replace(one, group=value) for one, value in zip(notes, groups, strict=True))
    return replace(gold, notes=notes, group_by=None if groups is None else "group")


def checked(gold: Gold) -> Gold:
    """Return `gold` once it is known to fit its notes.

    Raises:
        InputError: no notes, an id twice, or a span outside its text.
    """
    if not gold.notes:
        raise InputError(f"{gold.name}: no annotated note; give notes that people annotated")
    seen: set[str] = set()
    for note in gold.notes:
        if note.note_id in seen:
            raise InputError(f"{gold.name}: note {note.note_id!r} is there twice; keep one of them")
        seen.add(note.note_id)
        for one in note.mentions:
            if not 0 <= one.start < one.end <= len(note.text):
                raise InputError(
                    f"{gold.name}: note {note.note_id!r}: offsets {one.start} {one.end} mark nothing of its "
                    f"{len(note.text)} characters; give the notes as they were annotated"
                )
    return gold
