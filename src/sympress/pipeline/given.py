"""Notes that a caller gives to press a model: labelled by people, by the model itself, or none at all."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.evaluation.gold import Gold, GoldNote, Vocabulary
from sympress.labels.mentions import AnnotatedNote
from sympress.labels.task import task_of
from sympress.notes.synthesize.generator import synthesize
from sympress.pipeline.order import Given
from sympress.pipeline.origin import Origin, Texts
from sympress.runtime.extractor import Extractor
from sympress.runtime.tokens import classes_of
from sympress.studies.judge import predict_mentions
from sympress.studies.train import Labelled, check_classes, make_material
from sympress.training.fingerprints import fingerprint_annotated, fingerprint_texts

#: Share of the patients, or notes, that are held out for validation where none are given.
HELD_OUT = 0.2
#: Notes below which none can be held out.
LEAST_NOTES = 5
#: Synthetic notes on which a model is timed, and kernels are compared, where no notes are given.
SYNTHETIC_NOTES = 60


def given_texts(origin: Origin, given: Given, seed: int) -> Texts:
    """What presses and judges `origin`, of notes that a caller gave.

    Notes that nobody labelled are labelled by the model itself, so that every recipe has labels to learn from
    and the pressed model is judged by how far it agrees with its teacher. Without validation notes a fifth of
    the patients (of the notes, where nobody says whose they are) is held out. Without any note synthetic ones
    time the model.

    Raises:
        InputError: there are too few notes, or a label is none of the model's.
    """
    labelled = given.train is not None or given.validation is not None
    label = Labeller(origin.folder)
    people = given.validation is not None or given.train is not None
    if given.train is not None:
        learnt, judged = two_sides(given.train, given.validation, seed)
    elif given.validation is not None:
        learnt, judged = _by_model(given.unlabelled), given.validation
    elif given.unlabelled:
        learnt, judged = two_sides(_by_model(given.unlabelled), None, seed)
    else:
        texts = synthesize(SYNTHETIC_NOTES, seed=0).frame["text"].to_list()
        learnt, judged = None, _by_model(tuple(texts))
    train = label(learnt, by_people=given.train is not None)
    validation = label(judged, by_people=people)
    transfer = given.unlabelled if given.train is not None else ()
    source = "by people" if labelled else "by the model itself"
    return Texts(
        make_material(origin.extractor, train, validation, transfer, max_windows=origin.config.max_windows),
        validation.texts,
        name=given.train.name if given.train is not None else "notes" if not given.empty else "synthetic",
        labels=f"given: {source}",
        fingerprint=_fingerprint(train, validation),
        inputs={
            "notes": fingerprint_texts([*train.texts, *validation.texts]),
            "labels": _fingerprint(train, validation),
        },
        labelled=people,
        synthetic=given.empty,
    )


def _by_model(texts: Sequence[str]) -> Gold | None:
    """Notes that the model is going to label."""
    if not texts:
        return None
    notes = [GoldNote(str(number), text, frozenset()) for number, text in enumerate(texts, 1)]
    return Gold(tuple(notes), "notes", spans=False, asserted=False)


def two_sides(train: Gold | None, validation: Gold | None, seed: int) -> tuple[Gold | None, Gold | None]:
    """Notes to learn from and notes to judge by, some held out where none are given."""
    if validation is not None or train is None:
        return train, validation
    notes = train.notes
    if len(notes) < LEAST_NOTES:
        raise InputError(
            f"{len(notes)} notes and no validation notes; give {LEAST_NOTES} at least, or validation notes"
        )
    owners = [note.patient_id or f"note/{note.note_id}" for note in notes]
    names = sorted(set(owners))
    if len(names) < 2:
        raise InputError("all notes are of one patient, so none can be held out; give validation notes")
    order = np.random.default_rng(seed).permutation(len(names))
    held = {names[at] for at in order[: max(1, round(HELD_OUT * len(names)))]}
    sides = [
        tuple(note for note, owner in zip(notes, owners, strict=True) if (owner in held) == judged)
        for judged in (False, True)
    ]
    return replace(train, notes=sides[0]), replace(train, notes=sides[1])


class Labeller:
    """Labels as the model has them: of people by its names, of nobody by its answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.extractor = folder, Extractor.load(folder)
        self.settings = self.extractor.settings
        self.columns = {name: column for column, name in enumerate(self.settings.symptoms)}
        self.vocabulary = Vocabulary.of(self.extractor)

    def __call__(self, gold: Gold | None, *, by_people: bool) -> Labelled:
        """The notes with what people said of them, or with what the model answers.

        Raises:
            InputError: a label is none of the model's.
        """
        found = () if gold is None else gold.notes
        notes = [AnnotatedNote(one.note_id, one.text, one.mentions) for one in found]
        if not task_of(self.settings.task).finds_spans:
            of_note: Callable[[GoldNote], NDArray[np.uint8]] = self._targets if by_people else self._answered
            rows = [of_note(one) for one in found]
            targets = np.array(rows, dtype=np.uint8).reshape(len(notes), len(self.columns))
            return Labelled([replace(note, mentions=()) for note in notes], targets)
        targets = np.zeros((len(notes), 0), dtype=np.uint8)
        if gold is not None and not by_people:
            answers = predict_mentions(self.folder, [note.text for note in notes])
            notes = [replace(note, mentions=own) for note, own in zip(notes, answers, strict=True)]
        elif gold is not None:
            if not any(note.mentions for note in notes):
                raise InputError(
                    f"{gold.name}: no spans, which this model finds; give (start, end, name) a note"
                )
            check_classes(classes_of(self.settings.tags or ()), notes, gold.name, "the model")
        return Labelled(notes, targets)

    def _targets(self, note: GoldNote) -> NDArray[np.uint8]:
        targets = np.zeros(len(self.columns), dtype=np.uint8)
        for name in note.affirmed:
            symptom = self.vocabulary.symptom(name)
            if symptom is None or symptom not in self.columns:
                raise InputError(
                    f"note {note.note_id!r}: the model has no symptom {name[:60]!r}"
                    f"{nearest(name, self.columns)}; leave it out, or train a model that has it"
                )
            targets[self.columns[symptom]] = 1
        if task_of(self.settings.task).labels == "one" and targets.sum() != 1:
            raise InputError(
                f"note {note.note_id!r}: {int(targets.sum())} symptoms; this model tells exactly one a note "
                "(task topic)"
            )
        return targets

    def _answered(self, note: GoldNote) -> NDArray[np.uint8]:
        logits, _, _ = self.extractor.note_logits(note.text)
        beliefs = self.extractor.beliefs(logits)
        return np.array([beliefs[name].affirms for name in self.columns], dtype=np.uint8)


def _fingerprint(*sides: Labelled) -> str:
    """SHA-256 of the notes of all sides, then of their targets."""
    digest = hashlib.sha256(fingerprint_annotated([note for side in sides for note in side.notes]).encode())
    for side in sides:
        digest.update(side.targets.tobytes())
    return digest.hexdigest()
