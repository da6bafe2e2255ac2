"""The one way to train a model of any task from labelled notes, and to press it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compression.recipe.language import BASELINE, STRATEGIES, Recipe
from sympress.compression.recipe.material import (
    FurtherTeacher,
    Material,
    Tagging,
    encode_notes,
    training_notes,
    validation_notes,
)
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon, codes_of, forms_by_symptom
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder, token_limit
from sympress.models.model import SymptomModel, build_model, count_macs
from sympress.provenance import environment, fingerprint_annotated
from sympress.runtime.artifact import Extractor, read_extractor, write_checksums, write_provenance
from sympress.runtime.linker import with_lexicon, write_lexicon
from sympress.runtime.session import Runtime, prepare_text
from sympress.runtime.tokens import tags_of
from sympress.studies.judge import Judged, judge_file, scorer_of
from sympress.studies.press import move_artifact, press, train_settings, write_model
from sympress.training import from_logits, train
from sympress.training.data import EncodedNotes, NoteDataset, default_stride
from sympress.training.epochs import EpochLog, Progress, Scorer, default_device
from sympress.training.losses import loss_of
from sympress.training.tagging import (
    KindsLoss,
    attach_kinds_,
    classes_in,
    detach_kinds_,
    kinds_of,
)

# Labelled notes, how a model will read them, and what it learns from.


@dataclass(frozen=True)
class Labelled:
    """Notes with their labels, whatever the task.

    Attributes:
        notes: with their mentions, from which only a task that finds spans learns.
        targets: `(notes, K)` 0 or 1, from which only a task of whole notes learns.
        weights: `(notes,)`, what each note's loss is multiplied by; None where all weigh the same.
    """

    notes: Sequence[AnnotatedNote]
    targets: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.uint8))
    weights: NDArray[np.float32] | None = None

    @property
    def texts(self) -> list[str]:
        """The text of each note, as it was given."""
        return [note.text for note in self.notes]

    @property
    def mentions(self) -> list[tuple[Mention, ...]]:
        """Those of each note."""
        return [note.mentions for note in self.notes]


NONE = Labelled(())


@dataclass(frozen=True)
class Lesson:
    """What a model is to learn, from what, and how.

    Attributes:
        training: notes to learn from.
        validation: notes that choose epoch, thresholds and calibration, or the bias towards spans; none of
            them is a test note.
        config: the task, and how it is learnt; resolved.
        lexicon: of codes; it names the symptom of a span.
        symptoms: of whole notes, the columns of the targets.
        seed: of head and order.
    """

    training: Labelled
    validation: Labelled
    config: StudyConfig
    lexicon: Lexicon
    symptoms: tuple[str, ...] = ()
    seed: int = 0

    @property
    def outputs(self) -> int:
        """Of the model's head: tags of a task that finds spans, else symptoms."""
        task = task_of(self.config.task)
        if not task.finds_spans:
            return len(self.symptoms)
        return len(tags_of(classes_in(self.training.mentions, task)))

    def check(self) -> None:
        """Refuse notes that nothing can be learnt from.

        Raises:
            InputError: no note has a mention, one is told to be something else than the task knows, or there
                is not one weight a note.
        """
        task, training = task_of(self.config.task), self.training
        if task.finds_spans:
            for name, part in (("training", training), ("validation", self.validation)):
                if not any(part.mentions):
                    raise InputError(
                        f"no mention in the {len(part.notes)} {name} notes; give notes with annotated spans"
                    )
                check_classes(task.classes, part.notes, f"{name} notes", f"the task {task.name}")
        if training.weights is not None and training.weights.shape != (len(training.notes),):
            raise InputError(
                f"{len(training.weights)} weights for {len(training.notes)} notes; give one a note"
            )


def check_classes(known: Sequence[str], notes: Iterable[AnnotatedNote], name: str, whose: str) -> None:
    """Refuse spans that are told to be none of the `known` classes, those of a task or a model (`whose`).

    Raises:
        InputError: with the note of the first.
    """
    for note in notes:
        for one in note.mentions:
            if one.assertion not in known:
                raise InputError(
                    f"{name}: note {note.note_id!r} has a span that is {one.assertion}; {whose} "
                    f"tells apart {', '.join(known)} alone"
                )


def make_extractor(
    config: StudyConfig,
    encoder: Encoder,
    lexicon: Lexicon,
    symptoms: Sequence[str] = (),
    mentions: Sequence[Sequence[Mention]] = (),
) -> Extractor:
    """How a model of the task of `config` will read notes; nothing is settled yet.

    Args:
        config: resolved.
        encoder: whose word pieces it reads.
        lexicon: of codes; it names the symptom of a span.
        symptoms: of whole notes.
        mentions: of each training note, of a task that finds spans.
    """
    task, max_tokens = task_of(config.task), token_limit(encoder, config.max_tokens or 256)
    shared: dict[str, Any] = {
        "task": task.name,
        "max_tokens": max_tokens,
        "lower": bool(config.lower),
        "mask_placeholders": bool(config.mask_placeholders),
        "pad_id": int(encoder.tokenizer.pad_token_id or 0),
    }
    if not task.finds_spans:
        window = config.text_window or None
        codes, windows = codes_of(symptoms, lexicon), config.windows or "first"
        stride = default_stride(max_tokens) if windows == "all" else None
        return Extractor(
            symptoms=list(symptoms), codes=codes, text_window=window, windows=windows, stride=stride, **shared
        )
    named = {mention.symptom for own in mentions for mention in own if mention.symptom}
    tagger = Extractor(
        symptoms=sorted(named | set(forms_by_symptom(lexicon))),
        windows="all",
        stride=default_stride(max_tokens),
        tags=list(tags_of(classes_in(mentions, task))),
        **shared,
    )
    return with_lexicon(tagger, lexicon)


def stride_of(extractor: Extractor) -> int | None:
    """Pieces from a window to the next, as the runtime has them; None where the first is all that is read."""
    if extractor.windows == "first" and extractor.tags is None:
        return None
    room = max(1, extractor.max_tokens - 2)
    if extractor.tags is not None:
        return min(room, extractor.stride or default_stride(extractor.max_tokens))
    return min(room, extractor.stride or max(1, room // 2))


def make_material(
    extractor: Extractor,
    training: Labelled,
    validation: Labelled,
    transfer: Sequence[str] = (),
    *,
    max_windows: int | None = None,
) -> Material:
    """What a model learns from, as `extractor` reads it.

    Args:
        extractor: of the model.
        training: notes to learn from.
        validation: notes to choose by.
        transfer: notes that only teachers judge.
        max_windows: of a note that training reads; None for all.
    """
    tagging, sides = None, (training, validation)
    targets = [side.targets for side in sides]
    if extractor.tags is not None:
        targets = [np.zeros((len(side.notes), 0), dtype=np.uint8) for side in sides]
        tagging = Tagging(
            tags=tuple(extractor.tags),
            training=training.mentions,
            validation=validation.mentions,
        )

    def seen(texts: Sequence[str]) -> list[str]:
        return [prepare_text(text, extractor) for text in texts]

    return Material(
        task=extractor.task,
        training=seen(training.texts),
        targets=targets[0],
        transfer=seen(transfer),
        validation=seen(validation.texts),
        validation_targets=targets[1],
        max_tokens=extractor.max_tokens,
        stride=stride_of(extractor),
        max_windows=max_windows,
        tagging=tagging,
        weights=training.weights,
    )


# An encoder learns a task.


@dataclass(frozen=True)
class Trained:
    """A fine-tuned model, and how its training went."""

    model: SymptomModel
    log: EpochLog


def fine_tune(
    encoder: Encoder,
    outputs: int,
    notes: tuple[NoteDataset, NoteDataset],
    checkpoints: Path,
    *,
    config: StudyConfig,
    seed: int,
    score: Scorer,
    kinds: Sequence[str] = (),
    progress: Progress | None = None,
) -> Trained:
    """Fine-tune `encoder`, which is not changed, under the head of the task of `config`.

    Args:
        encoder: the pretrained one.
        outputs: symptoms or tags.
        notes: to learn from, and to choose the epoch by.
        checkpoints: folder; a killed call with the same arguments goes on from what it holds.
        config: how; resolved.
        seed: of head and order.
        score: judges validation logits after an epoch.
        kinds: what a second head learns beside the task, see `training.tagging.KindsLoss`.
        progress: called after each step.
    """
    pooling = "token" if task_of(config.task).finds_spans else config.pooling or "cls"
    model = build_model(encoder.model, outputs, pooling, seed)
    if kinds:
        attach_kinds_(model, kinds, seed)
    torch.manual_seed(seed)
    log = train(
        model.to(default_device()),
        *notes,
        train_settings(config, seed),
        checkpoints,
        pad_id=int(encoder.tokenizer.pad_token_id or 0),
        batch_loss=KindsLoss(config.others_weight) if kinds else from_logits(loss_of(config.task)),
        score=score,
        progress=progress,
    )
    detach_kinds_(model)
    return Trained(model.cpu(), log)


# The same from labelled notes to a folder.


def train_artifact(
    lesson: Lesson, encoder: Encoder, folder: Path, *, progress: Progress | None = None
) -> Path:
    """Train a model and write its artifact to `folder`; returns `folder`.

    A killed call goes on, with the same arguments, in `folder` with the ending `.work`; a finished one
    returns at once. `encoder` is not changed; `progress` is called after each step.

    Raises:
        InputError: there is no note or no mention to learn from, or a window has no room.
    """
    if (folder / "extractor.json").is_file():
        return folder
    lesson.check()
    config, training, tokenizer = lesson.config, lesson.training, encoder.tokenizer
    extractor = make_extractor(config, encoder, lesson.lexicon, lesson.symptoms, training.mentions)
    material = make_material(extractor, training, lesson.validation, max_windows=config.max_windows)
    kinds = kinds_of(training.notes) if extractor.tags and config.others_weight else ()
    judged, score = validation_notes(tokenizer, material, scorer_of(material, extractor.symptoms))
    work = folder.with_name(folder.name + ".work")
    trained = fine_tune(
        encoder,
        len(extractor.tags or extractor.symptoms),
        (training_notes(tokenizer, material, (training.notes, kinds)), judged),
        work / "checkpoints",
        config=config,
        seed=lesson.seed,
        score=score,
        kinds=kinds,
        progress=progress,
    )
    worst = write_model(trained.model, tokenizer, extractor, judged.notes.ids, work / "artifact")
    made = {
        "strategy": BASELINE,
        "recipe": STRATEGIES[BASELINE],
        "epochs": trained.log.epochs,
        "best_epoch": trained.log.best_epoch,
        "train_seconds": trained.log.seconds,
        "parity_max_difference": worst,
        "macs_per_note": macs_per_note(trained.model, judged.notes, len(material.validation)),
    }
    return _finish(lesson, folder, material, made)


def press_artifact(
    lesson: Lesson,
    artifact: Path,
    recipe: Recipe,
    folder: Path,
    *,
    transfer: Sequence[str] = (),
    teachers: Sequence[FurtherTeacher] = (),
    logits: Path | None = None,
    step: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
) -> Path:
    """Press what `train_artifact` made by `recipe` and write the smaller artifact to `folder`; returns it.

    A killed call goes on behind its last finished step; a finished one returns at once.

    Args:
        lesson: what the model had to learn.
        artifact: of the model.
        recipe: what to do.
        folder: of the smaller artifact.
        transfer: further notes, which only the teachers judge.
        teachers: beside the model; a student imitates the average of all.
        logits: folder of the teachers' answers, which calls share; one of its own, then removed, if None.
        step: told of progress.

    Raises:
        InputError: a step cannot be applied.
    """
    if (folder / "extractor.json").is_file():
        return folder
    extractor = read_extractor(artifact)
    sides = (lesson.training, lesson.validation, transfer)
    material = make_material(extractor, *sides, max_windows=lesson.config.max_windows)
    work = folder.with_name(folder.name + ".work")
    torch.manual_seed(lesson.seed)
    pressed = press(
        artifact,
        recipe,
        material,
        train_settings(lesson.config, lesson.seed),
        extractor,
        work=work / "steps",
        draft=work / "artifact",
        score=scorer_of(material, extractor.symptoms),
        threads=lesson.config.threads,
        teachers=teachers,
        logits=logits,
        step=step,
    )
    state = pressed.state
    judged = encode_notes(state.tokenizer, material.validation, state.reads(material))
    made = {
        "strategy": "recipe",
        "recipe": str(recipe),
        "transfer_notes": len(transfer),
        **pressed.as_json(macs_per_note(state.model, judged, len(material.validation))),
    }
    return _finish(lesson, folder, material, made)


def macs_per_note(model: SymptomModel, read: EncodedNotes, notes: int) -> int:
    """Multiply-accumulates a note of `notes`: those of the median window, times the windows of a note."""
    return count_macs(model, int(np.median(read.lengths))) * len(read.ids) // notes


def settle(folder: Path, material: Material, texts: Sequence[str], **how: Any) -> Judged:
    """Choose on validation notes what the artifact in `folder` answers by, and write it there.

    Args:
        folder: of the artifact, with its ONNX file.
        material: the labels of the notes.
        texts: of the validation notes.
        how: of `judge_file`.
    """
    write_checksums(folder)
    judged = judge_file(Runtime.load(folder), texts, material, **how)
    judged.write(folder)
    return judged


def _finish(lesson: Lesson, folder: Path, material: Material, made: dict[str, Any]) -> Path:
    """Settle the artifact in the work folder, say how it was made, and put it in its place."""
    work = folder.with_name(folder.name + ".work")
    draft = work / "artifact"
    write_lexicon(draft, read_extractor(draft), lesson.lexicon)
    f1 = settle(draft, material, lesson.validation.texts).f1
    tagger = {"tagger": tagger_record(lesson.config, lesson.seed), "validation_strict_f1": f1}
    described = {
        "format": 1,
        "seed": lesson.seed,
        "data_fingerprint": fingerprint_annotated([*lesson.training.notes, *lesson.validation.notes]),
        "environment": environment(),
        **made,
        **({"validation_f1": f1} if material.tagging is None else tagger),
    }
    write_provenance(draft, described)
    move_artifact(draft, folder)
    shutil.rmtree(work)
    return folder


def tagger_record(config: StudyConfig, seed: int) -> dict[str, Any]:
    """How a tagger was trained, as its provenance keeps it."""
    names = ("epochs", "batch_size", "learning_rate", "head_rate_ratio", "weight_decay", "warmup_share")
    more = ("lower", "mask_placeholders", "select", "others_weight")
    held = config.model_dump(mode="json", include={*names, *more, "max_tokens"})
    return {
        **{name: held[name] for name in (*names, "max_tokens")},
        "stride": None,
        **{name: held[name] for name in more},
        "seed": seed,
    }
