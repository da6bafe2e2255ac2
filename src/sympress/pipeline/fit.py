"""Train a model on labelled notes that a caller gives: `sympress.train`, `sympress train`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sympress.config import StudyConfig, check_seed, make_config
from sympress.errors import InputError
from sympress.evaluation.gold import Gold, GoldNote, names_of
from sympress.files import alone, folder_to_write, full_disk_explained, is_bare, write_text
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import AnnotatedNote
from sympress.labels.task import task_of
from sympress.models.encoder import load_encoder
from sympress.pipeline.order import Given, check_given
from sympress.pipeline.origin import two_sides
from sympress.progress import Reporter
from sympress.provenance import fingerprint_annotated, public_settings
from sympress.report.card import trained_card
from sympress.runtime.artifact import Extractor, write_provenance
from sympress.studies.press import move_artifact, try_encoder
from sympress.studies.train import Labelled, Lesson, check_classes, train_artifact


@dataclass(frozen=True)
class Fit:
    """What a model is trained on and how.

    Attributes:
        train: labelled notes.
        validation: labelled notes that choose the epoch and the thresholds.
        symptoms: names of what the model tells apart; of `mentions` none: its spans say.
        config: task, encoder, and how it is trained; resolved.
        seed: of the head and the order.
    """

    train: Gold
    validation: Gold
    symptoms: tuple[str, ...]
    config: StudyConfig
    seed: int = 0

    @property
    def fingerprint(self) -> str:
        """SHA-256 of notes and labels."""
        notes = [*self.train.notes, *self.validation.notes]
        digest = hashlib.sha256(fingerprint_annotated([_annotated(note) for note in notes]).encode())
        for note in notes:
            digest.update(json.dumps(sorted(note.affirmed)).encode())
        return digest.hexdigest()


def plan_fit(
    notes: Gold, validation: Gold | None, config: StudyConfig, symptoms: Sequence[str] = (), seed: int = 0
) -> Fit:
    """Check notes and labels before an encoder is asked for; hold a fifth out where none validate.

    Raises:
        InputError: there are too few notes, one to learn from is one to validate on, spans are missing, a
            note of `topic` has not one symptom, or a name in `symptoms` is empty or there twice.
    """
    check_given(Given(notes, validation))
    learnt, judged = two_sides(notes, validation, check_seed(seed))
    if learnt is None or judged is None:
        raise ValueError("there are notes")
    if task_of(config.task).finds_spans:
        task = task_of(config.task)
        for side in (learnt, judged):
            if not any(note.mentions for note in side.notes):
                raise InputError(f"{side.name}: no spans; give (start, end, name) a note, or another task")
            check_classes(task.classes, map(_annotated, side.notes), side.name, f"the task {task.name}")
        return Fit(learnt, judged, (), config, seed)
    counts = Counter(name for note in learnt.notes for name in note.affirmed)
    names = names_of(symptoms) or tuple(sorted(counts, key=lambda name: (-counts[name], name)))
    one = task_of(config.task).labels == "one"
    _check_names(learnt, judged, names, counts, one=one, chosen=bool(symptoms))
    return Fit(learnt, judged, names, config, seed)


def _check_names(
    learnt: Gold,
    judged: Gold,
    names: Sequence[str],
    counts: Counter[str],
    *,
    one: bool,
    chosen: bool,
) -> None:
    if len(names) < (2 if one else 1):
        raise InputError(
            f"{learnt.name}: its labels name {len(names)} symptoms; there is nothing to tell apart"
        )
    for name in names:
        if not counts[name]:
            raise InputError(f"{learnt.name}: no training note has the symptom {name[:60]!r}; leave it out")
    for side in (learnt, judged):
        for note in side.notes:
            if unknown := sorted(note.affirmed - set(names)):
                why = "is none of symptoms; add it there, or" if chosen else "no training note has;"
                raise InputError(
                    f"{side.name}: note {note.note_id!r} has {unknown[0][:60]!r}, which {why} leave it out"
                )
            if one and len(note.affirmed) != 1:
                raise InputError(
                    f"{side.name}: note {note.note_id!r} has {len(note.affirmed)} symptoms; a topic is one, "
                    "the task present takes any number"
                )


def fit(plan: Fit, output: Path, *, command: str | None = None, reporter: Reporter | None = None) -> Path:
    """Train, export and settle the model, and write its artifact to `output`; return it.

    The encoder is tried before: one forward and one export. A killed call goes on, given again, where it
    stopped.

    Raises:
        InputError: the output is taken, the encoder cannot be read, or its architecture is not supported.
    """
    reporter, output = reporter or Reporter(quiet=True), folder_to_write(output)
    work = output.with_name(output.name + ".work")
    if not is_bare(output):
        raise InputError(f"{output}: there is something already; choose another -o")
    lexicon = load_lexicon(plan.config.lexicon or "clinical")
    encoder = load_encoder(plan.config.encoder or "bundled", case=plan.config.case)
    with reporter, full_disk_explained(work):
        learnt, judged = (_labelled(plan, side) for side in (plan.train, plan.validation))
        lesson = Lesson(learnt, judged, plan.config, lexicon, plan.symptoms, plan.seed)
        spans = task_of(plan.config.task).finds_spans
        pooling = "token" if spans else plan.config.pooling or "cls"
        try_encoder(encoder, lesson.outputs, pooling)
        with alone(work, output):
            key = hashlib.sha256(f"{plan.fingerprint} {plan.symptoms} {plan.config!r} {plan.seed}".encode())
            draft = work / key.hexdigest()[:12] / "artifact"  # so that checkpoints are those of this plan
            train_artifact(
                lesson,
                encoder,
                draft,
                progress=lambda done, total: reporter.step("training", done, total),
            )
            record = _record(plan, json.loads((draft / "provenance.json").read_text(encoding="utf-8")))
            write_provenance(draft, record | {"given": True, "command": command})
            settings = Extractor.model_validate_json((draft / "extractor.json").read_text(encoding="utf-8"))
            write_text(draft / "README.md", trained_card(record, settings.task, settings.symptoms))
            move_artifact(draft, output)
            shutil.rmtree(work)
    return output


def _annotated(note: GoldNote) -> AnnotatedNote:
    return AnnotatedNote(note.note_id, note.text, note.mentions)


def _labelled(plan: Fit, side: Gold) -> Labelled:
    rows = [[name in note.affirmed for name in plan.symptoms] for note in side.notes]
    return Labelled([_annotated(note) for note in side.notes], np.array(rows, dtype=np.uint8))


def _record(plan: Fit, stored: dict[str, Any]) -> dict[str, Any]:
    """What the provenance says: what training `stored` there, and of the notes that were given."""
    return stored | {
        "strategy": "train",
        "config": public_settings(plan.config),
        "data_fingerprint": plan.fingerprint,
        "notes": {"train": len(plan.train.notes), "validation": len(plan.validation.notes)},
        "validation_f1": stored.get("validation_f1", stored.get("validation_strict_f1")),
    }


def settings_of(task: str, encoder: str, values: dict[str, Any]) -> StudyConfig:
    """How a model is trained: what is given, else what suits task and encoder.

    Raises:
        InputError: a setting is unknown or out of range.
    """
    held = {name: value for name, value in values.items() if value is not None}
    given = {**held, "task": task, "encoder": encoder, "protocol": "clinical", "published_variants": False}
    return make_config(given).resolved()
