"""What a recipe works with: notes, targets, teachers' answers, and the model between two steps."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sympress.compression.distill import Distill
from sympress.compression.distill.teachers import Int8Teacher, Teacher, average_logits, teacher_logits
from sympress.compression.recipe.steps import untrained_model
from sympress.errors import InputError
from sympress.labels.mentions import AnnotatedNote, Mention
from sympress.models.model import SymptomModel
from sympress.training.data import (
    WINDOWS_AT_ONCE,
    Collate,
    EncodedNotes,
    NoteDataset,
    default_stride,
    encode_texts,
    encode_windows,
    joined_notes,
    split_batch,
)
from sympress.training.epochs import Progress, Scorer, TrainSettings, default_device
from sympress.training.tagging import (
    MovingWindows,
    Windows,
    align_logits,
    cut_windows,
    gather_logits,
    note_kinds,
    note_tags,
    span_scorer,
    window_targets,
)

#: Notes on which importance, activations and least squares are measured.
CALIBRATION_NOTES = 512


@dataclass(frozen=True)
class Tagging:
    """What the task `mentions` learns from: spans, which every tokenizer cuts anew.

    Attributes:
        tags: what each logit of a token stands for, see `runtime.tokens.tags_of`.
        training: the mentions of each training note.
        validation: the mentions of each validation note.
    """

    tags: tuple[str, ...]
    training: Sequence[Sequence[Mention]]
    validation: Sequence[Sequence[Mention]]


@dataclass(frozen=True)
class Material:
    """Notes, as the model sees them, and their targets; none of them is a test note.

    Attributes:
        task: what the targets are.
        training: labelled notes.
        targets: `(training, K)` of 0 and 1; of no use to `mentions`, which has `tagging`.
        transfer: further notes, which only the teacher judges.
        validation: notes that choose an epoch.
        validation_targets: `(validation, K)`.
        max_tokens: the longest input in word pieces: a window of a note.
        stride: pieces from the start of a window to that of the next; None where the first window is all that
            is read. Spans need one.
        max_windows: windows of a note that training reads, the first ones; None for all. Teachers, and what
            is chosen on validation notes, read all.
        tagging: spans; of the task `mentions` alone.
        weights: `(training,)`, what each note's label loss is multiplied by.
        answers: `(training + transfer, K)` logits of a teacher that is no network, or not at hand: students
            imitate their average with the other teachers', not the model's own; None without one. Not of
            `mentions`.
    """

    task: str
    training: Sequence[str]
    targets: NDArray[np.uint8]
    transfer: Sequence[str]
    validation: Sequence[str]
    validation_targets: NDArray[np.uint8]
    max_tokens: int
    stride: int | None = None
    max_windows: int | None = None
    tagging: Tagging | None = None
    weights: NDArray[np.float32] | None = None
    answers: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        wanted = (len(self.training) + len(self.transfer), *self.targets.shape[1:])
        if self.answers is not None and (self.tagging is not None or self.answers.shape != wanted):
            raise InputError(
                f"stored answers of shape {self.answers.shape} do not fit {wanted[0]:,} notes of the task "
                f"{self.task}: give one row of logits a training and transfer note"
            )


def fingerprint_material(material: Material) -> str:
    """SHA-256 of every note and target, in order; nothing can be read from it."""
    digest = hashlib.sha256(f"{material.task} {material.max_tokens}".encode())
    if material.stride is not None:
        digest.update(f" windows {material.stride} {material.max_windows}".encode())
    for texts in (material.training, material.transfer, material.validation):
        digest.update(f" {len(texts)} notes".encode())
        for text in texts:
            written = text.encode()
            digest.update(len(written).to_bytes(8, "little"))  # so that no two sets of notes read alike
            digest.update(written)
    for targets in (material.targets, material.validation_targets):
        digest.update(f" {targets.shape}".encode())
        digest.update(np.ascontiguousarray(targets, dtype=np.uint8).tobytes())
    if material.tagging is not None:
        digest.update(repr(material.tagging).encode())
    if material.weights is not None:
        digest.update(np.ascontiguousarray(material.weights, dtype=np.float32).tobytes())
    if material.answers is not None:
        digest.update(b" answers")
        digest.update(np.ascontiguousarray(material.answers, dtype=np.float32).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True)
class FurtherTeacher:
    """A teacher beside the model that is pressed, which reads notes through its own word pieces.

    Attributes:
        model: answers with logits `(batch, its labels)`.
        tokenizer: its own.
        order: `(K,)`, the place of each symptom among its labels.
        max_tokens: its longest input in word pieces.
        stride: as of `Material`: whether, and how, it reads whole notes by windows.
    """

    model: Teacher | Int8Teacher
    tokenizer: PreTrainedTokenizerBase
    order: tuple[int, ...]
    max_tokens: int
    stride: int | None = None


@dataclass(frozen=True)
class Context:
    """Where and how the steps of one recipe run.

    Attributes:
        material: the notes.
        settings: of every training that a step does not set itself.
        score: judges validation logits after an epoch; of `mentions` the spans are judged instead.
        folder: for finished steps and checkpoints.
        logits_folder: for teachers' logits, which recipes share.
        progress: called after each training step.
        answering: told of the notes that a teacher has answered.
        trains: False where no step may train.
        teachers: more teachers; students imitate the average of all logits.
        pretrained: the encoder before fine-tuning, for steps that begin with it.
    """

    material: Material
    settings: TrainSettings
    score: Scorer
    folder: Path
    logits_folder: Path
    progress: Progress | None = None
    answering: Progress | None = None
    trains: bool = True
    teachers: tuple[FurtherTeacher, ...] = ()
    pretrained: PreTrainedModel | None = None


@dataclass
class State:
    """The model between two steps, with what belongs to it.

    Attributes:
        model: what is pressed.
        tokenizer: its own.
        teacher: the model before anything was pressed; its vocabulary is trimmed along, for losses that
            look inside it.
        untouched: teacher and tokenizer as they came, for the logits that students imitate.
        masked: whether zeros among the weights must stay.
        remarks: one line a step.
        epochs: validation quality after each epoch of all trainings, numbered through.
        train_seconds: of all trainings.
        max_tokens: the longest input of `model` in word pieces; None for the material's.
    """

    model: SymptomModel
    tokenizer: PreTrainedTokenizerBase
    teacher: SymptomModel
    untouched: tuple[SymptomModel, PreTrainedTokenizerBase]
    masked: bool = False
    remarks: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0
    max_tokens: int | None = None

    def read_up_to_(self, tokens: int) -> None:
        """Let the model, which has no positions, read inputs of up to `tokens` word pieces."""
        self.max_tokens = tokens
        self.tokenizer = copy.deepcopy(self.tokenizer)  # the teacher's may be the same one
        self.tokenizer.model_max_length = max(tokens, int(self.tokenizer.model_max_length))

    def reads(self, material: Material) -> Material:
        """`material`, whose whole notes are read in windows of the model's own size, or cut off there."""
        if self.max_tokens is None or material.tagging is not None:
            return material
        stride = None if material.stride is None else default_stride(self.max_tokens)
        return replace(material, max_tokens=self.max_tokens, stride=stride)

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding id."""
        return int(self.tokenizer.pad_token_id or 0)


def windows_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], material: Material) -> Windows:
    """`texts` cut into windows, as the task `mentions` reads them."""
    if material.tagging is None:
        raise ValueError(f"the task {material.task!r} finds no spans")
    return cut_windows(tokenizer, texts, material.max_tokens, _stride_of(material))


def _stride_of(material: Material) -> int:
    return material.stride or default_stride(material.max_tokens)


def encode_notes(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], material: Material, *, most: int | None = None
) -> EncodedNotes:
    """`texts` in word pieces as the model reads them: by windows, or cut off at the limit.

    Args:
        tokenizer: of the model.
        texts: as the model sees them.
        material: says how it reads.
        most: windows of a note of a task of whole notes; None for all. Each window of `mentions` is a note.
    """
    if material.tagging is not None:
        return windows_of(tokenizer, texts, material).notes
    return _encode(tokenizer, texts, material.max_tokens, material.stride, most)


def _encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_tokens: int,
    stride: int | None,
    most: int | None = None,
) -> EncodedNotes:
    if stride is None:
        return encode_texts(tokenizer, texts, max_tokens)
    return encode_windows(tokenizer, texts, max_tokens, stride, most=most)


def training_notes(
    tokenizer: PreTrainedTokenizerBase,
    material: Material,
    others: tuple[Sequence[AnnotatedNote], Sequence[str]] = ((), ()),
) -> NoteDataset:
    """The labelled notes in word pieces of `tokenizer`.

    Args:
        tokenizer: of the model that learns.
        material: the notes.
        others: of spans, the same notes with what else was marked, and its kinds, which a second head learns.
    """
    if material.tagging is None:
        encoded = encode_notes(tokenizer, material.training, material, most=material.max_windows)
        return NoteDataset(encoded, material.targets, weights=material.weights)
    windows = windows_of(tokenizer, material.training, material)
    tags = note_tags(windows, material.tagging.training, material.tagging.tags)
    further = note_kinds(windows, *others) if others[1] else None
    return MovingWindows(windows, tags, weights=material.weights, kinds=further)


def validation_notes(
    tokenizer: PreTrainedTokenizerBase, material: Material, score: Scorer
) -> tuple[NoteDataset, Scorer]:
    """The validation notes in word pieces of `tokenizer`, and what judges their logits: `score`, or spans."""
    if material.tagging is None:
        encoded = encode_notes(tokenizer, material.validation, material)
        return NoteDataset(encoded, material.validation_targets), score
    tagging = material.tagging
    windows = windows_of(tokenizer, material.validation, material)
    targets = window_targets(windows, tagging.validation, tagging.tags)
    return NoteDataset(windows.notes, targets), span_scorer(windows, tagging.validation, tagging.tags)


def calibration_batches(
    state: State, material: Material, notes: int = CALIBRATION_NOTES
) -> list[dict[str, Tensor]]:
    """The first training notes (of `mentions` windows) in batches of 16, of like length within a batch."""
    first = replace(
        material,
        training=material.training[:notes],
        targets=material.targets[:notes],
        tagging=material.tagging and replace(material.tagging, training=material.tagging.training[:notes]),
        weights=None,
        answers=None,
    )
    dataset = training_notes(state.tokenizer, state.reads(first))
    order = np.argsort(dataset.notes.tokens[:notes], kind="stable")
    collate = Collate(state.pad_id)
    batches = (
        collate([dataset[int(row)] for row in order[start : start + 16]])
        for start in range(0, len(order), 16)
    )
    return [part for batch in batches for part in split_batch(batch, WINDOWS_AT_ONCE)]


# Labelled and unlabelled notes with what the teachers answer, in the student's word pieces.


Logits = NDArray[np.float32]


#: Of the draw of further notes where a step wants fewer than there are.
_DRAW_SEED = 0
#: Added to the seed, so that an untrained teacher's head is not the student's.
_OTHER_HEAD = 1000


def teacher_notes(state: State, context: Context, step: Distill) -> NoteDataset:
    """Labelled notes, then unlabelled ones, each with the teachers' logits.

    Args:
        state: the student, its word pieces and its teacher.
        context: where the notes and the other teachers are.
        step: says how many unlabelled notes there are at the most (a smaller draw is the start of a larger
            one, so that recipes share what a teacher said), whose the logits are and how they are computed.
    """
    material, further = context.material, step.further
    if further is not None and further < len(material.transfer):
        rows = draw_further(len(material.transfer), further)
        context = replace(context, material=_with_transfer(material, rows))
    teachers = _teachers(state, context, step)
    taught = _taught_whole if context.material.tagging is None else _taught_windows
    return taught(state, context, teachers)


def _with_transfer(material: Material, rows: NDArray[np.int64]) -> Material:
    """`material` with no further notes but `rows`, in that order."""
    answers, labelled = material.answers, len(material.training)
    if answers is not None:
        answers = np.concatenate([answers[:labelled], answers[labelled:][rows]])
    return replace(material, transfer=[material.transfer[row] for row in rows], answers=answers)


def draw_further(available: int, wanted: int) -> NDArray[np.int64]:
    """The rows of the `wanted` unlabelled notes that a step draws; a smaller draw begins a larger one."""
    return np.random.default_rng(_DRAW_SEED).permutation(available)[:wanted]


def _taught_whole(state: State, context: Context, teachers: Sequence[FurtherTeacher]) -> NoteDataset:
    material, labelled = context.material, len(context.material.training)
    sides = (material.training, material.transfer)
    read = state.reads(material)
    parts = [encode_notes(state.tokenizer, texts, read, most=read.max_windows) for texts in sides]
    stored = [None, None] if material.answers is None else np.split(material.answers, [labelled])
    answers = []
    for texts, own in zip(sides, stored, strict=True):
        if texts:
            every = [_logits(one, texts, context) for one in teachers]
            answers.append(average_logits(every if own is None else [*every, own]))
    counts = [len(part) for part in parts]
    blank = np.zeros((counts[1], material.targets.shape[1]), dtype=np.uint8)
    return NoteDataset(
        joined_notes(parts),
        np.concatenate([material.targets, blank]),
        np.concatenate(answers),
        np.arange(sum(counts)) < counts[0],
        weights=_padded(material.weights, counts),
    )


def _taught_windows(state: State, context: Context, teachers: Sequence[FurtherTeacher]) -> NoteDataset:
    """Windows of the task `mentions`; a teacher's answers about whole notes are cut as the student reads."""
    material, tagging = context.material, context.material.tagging
    if tagging is None:
        raise ValueError("only the task 'mentions' is taught by windows")
    parts = [windows_of(state.tokenizer, texts, material) for texts in (material.training, material.transfer)]
    mentions = [*tagging.training, *[()] * len(material.transfer)]
    answers = [
        average
        for part in parts
        if part.texts
        for average in _note_logits(part, teachers, _stride_of(material), context)
    ]
    counts, windows = [len(part.texts) for part in parts], parts[0] + parts[1]
    return MovingWindows(
        windows,
        note_tags(windows, mentions, tagging.tags),
        teacher_logits=answers,
        labelled=np.arange(sum(counts)) < counts[0],
        weights=_padded(material.weights, counts),
    )


def _padded(weights: NDArray[np.float32] | None, counts: Sequence[int]) -> NDArray[np.float32] | None:
    """The weights of the labelled notes, and 1 for the others, which have no label loss."""
    if weights is None:
        return None
    return np.concatenate([weights, np.ones(counts[1], dtype=np.float32)])


def _teachers(state: State, context: Context, step: Distill) -> list[FurtherTeacher]:
    """The teacher as it came, and those beside it, as int8 files if the step says so and no GPU is there."""
    teacher, tokenizer = state.untouched
    if step.teacher == "pretrained":
        teacher = untrained_model(state, context, context.settings.seed + _OTHER_HEAD)
    material, order = context.material, tuple(range(teacher.symptoms))
    own = [FurtherTeacher(teacher, tokenizer, order, material.max_tokens, material.stride)]
    if material.answers is not None:
        own = []  # they are the teacher's
    rounded = step.answers == "int8" and default_device().type == "cpu"
    return [
        replace(one, model=Int8Teacher(one.model)) if rounded and isinstance(one.model, SymptomModel) else one
        for one in (*own, *context.teachers)
    ]


def _logits(one: FurtherTeacher, texts: Sequence[str], context: Context) -> Logits:
    """Logits `(texts, K)` of one teacher, which reads notes through its own word pieces and windows."""
    return _answers(one, _encode(one.tokenizer, texts, one.max_tokens, one.stride), context)


def _note_logits(
    windows: Windows, teachers: Sequence[FurtherTeacher], stride: int, context: Context
) -> list[Logits]:
    """Logits `(pieces, tags)` of each whole note, all teachers averaged; each reads its own windows."""
    every = []
    for one in teachers:
        its_stride = min(stride, default_stride(one.max_tokens))
        theirs = cut_windows(one.tokenizer, windows.texts, one.max_tokens, its_stride)
        whole = gather_logits(theirs, _answers(one, theirs.notes, context))
        every.append(
            [
                align_logits(logits, its_pieces, pieces)
                for logits, its_pieces, pieces in zip(whole, theirs.pieces, windows.pieces, strict=True)
            ]
        )
    return [average_logits(list(own)) for own in zip(*every, strict=True)]


def _answers(one: FurtherTeacher, encoded: EncodedNotes, context: Context) -> Logits:
    """The teacher's logits in the order of the student's symptoms or tags, stored in the workshop."""
    teacher = one.model
    if not isinstance(teacher, Int8Teacher):
        teacher.to(default_device())
    logits = teacher_logits(
        [teacher],
        encoded,
        int(one.tokenizer.pad_token_id or 0),
        context.logits_folder,
        progress=context.answering,
    )
    if not isinstance(teacher, Int8Teacher):
        teacher.cpu()
    return logits[:, list(one.order)]
