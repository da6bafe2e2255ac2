"""What a recipe works with: notes, targets, how to train, and the model as it is between two steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from sympress.compress.distill.int8_teacher import Int8Teacher
from sympress.compress.distill.teachers import Teacher
from sympress.labels.labelset import AnyTask
from sympress.labels.mentions import Mention
from sympress.training.data import Collate, EncodedNotes, NoteDataset, encode_texts
from sympress.training.epochs import Progress, Scorer
from sympress.training.model import SymptomModel
from sympress.training.settings import TrainSettings
from sympress.training.tagging import Windows, cut_windows, span_scorer, window_targets

#: Notes on which importance, activations and least squares are measured.
CALIBRATION_NOTES = 512


@dataclass(frozen=True)
class Tagging:
    """What the task `mentions` learns from: spans, which every tokenizer cuts anew.

    Attributes:
        tags: what each logit of a token stands for, see `deploy.decode.tags_of`.
        stride: pieces from the start of a window to that of the next.
        training: the mentions of each training note.
        validation: the mentions of each validation note.
    """

    tags: tuple[str, ...]
    stride: int
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
        max_tokens: the longest input in word pieces; of `mentions` a window of a note.
        tagging: spans; of the task `mentions` alone.
        weights: `(training,)`, what each note's label loss is multiplied by.
    """

    task: AnyTask
    training: Sequence[str]
    targets: NDArray[np.uint8]
    transfer: Sequence[str]
    validation: Sequence[str]
    validation_targets: NDArray[np.uint8]
    max_tokens: int
    tagging: Tagging | None = None
    weights: NDArray[np.float32] | None = None


def fingerprint_material(material: Material) -> str:
    """SHA-256 of every note and target, in order; nothing can be read from it."""
    digest = hashlib.sha256(f"{material.task} {material.max_tokens}".encode())
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
    return digest.hexdigest()


@dataclass(frozen=True)
class FurtherTeacher:
    """A teacher beside the model that is pressed, which reads notes through its own word pieces.

    Attributes:
        model: answers with logits `(batch, its labels)`.
        tokenizer: its own.
        order: `(K,)`, the place of each symptom among its labels.
        max_tokens: its longest input in word pieces.
    """

    model: Teacher | Int8Teacher
    tokenizer: PreTrainedTokenizerBase
    order: tuple[int, ...]
    max_tokens: int


@dataclass(frozen=True)
class Workshop:
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
class Piece:
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
    """

    model: SymptomModel
    tokenizer: PreTrainedTokenizerBase
    teacher: SymptomModel
    untouched: tuple[SymptomModel, PreTrainedTokenizerBase]
    masked: bool = False
    remarks: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding id."""
        return int(self.tokenizer.pad_token_id or 0)


def windows_of(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], material: Material) -> Windows:
    """`texts` cut into windows, as the task `mentions` reads them."""
    if material.tagging is None:
        raise ValueError(f"the task {material.task!r} reads no windows")
    return cut_windows(tokenizer, texts, material.max_tokens, material.tagging.stride)


def encode_notes(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], material: Material
) -> EncodedNotes:
    """`texts` in word pieces as the model reads them: cut off at the limit, or as windows of `mentions`."""
    if material.tagging is None:
        return encode_texts(tokenizer, texts, material.max_tokens)
    return windows_of(tokenizer, texts, material).notes


def training_notes(piece: Piece, material: Material) -> NoteDataset:
    """The labelled notes in the word pieces of `piece`."""
    if material.tagging is None:
        encoded = encode_texts(piece.tokenizer, material.training, material.max_tokens)
        return NoteDataset(encoded, material.targets, weights=material.weights)
    windows = windows_of(piece.tokenizer, material.training, material)
    targets = window_targets(windows, material.tagging.training, material.tagging.tags)
    weights = None if material.weights is None else material.weights[windows.owners]
    return NoteDataset(windows.notes, targets, weights=weights)


def validation_notes(piece: Piece, shop: Workshop) -> tuple[NoteDataset, Scorer]:
    """The validation notes in the word pieces of `piece`, and what judges their logits."""
    material = shop.material
    if material.tagging is None:
        encoded = encode_texts(piece.tokenizer, material.validation, material.max_tokens)
        return NoteDataset(encoded, material.validation_targets), shop.score
    tagging = material.tagging
    windows = windows_of(piece.tokenizer, material.validation, material)
    targets = window_targets(windows, tagging.validation, tagging.tags)
    return NoteDataset(windows.notes, targets), span_scorer(windows, tagging.validation, tagging.tags)


def calibration_batches(
    piece: Piece, material: Material, notes: int = CALIBRATION_NOTES
) -> list[dict[str, Tensor]]:
    """The first training notes (of `mentions` windows) in batches of 16, of like length within a batch."""
    first = replace(
        material,
        training=material.training[:notes],
        targets=material.targets[:notes],
        tagging=material.tagging and replace(material.tagging, training=material.tagging.training[:notes]),
        weights=None,
    )
    dataset = training_notes(piece, first)
    order = np.argsort(dataset.notes.lengths[:notes], kind="stable")
    collate = Collate(piece.pad_id)
    return [
        collate([dataset[int(row)] for row in order[start : start + 16]])
        for start in range(0, len(order), 16)
    ]
