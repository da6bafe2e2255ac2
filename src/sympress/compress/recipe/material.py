"""What a recipe works with: notes, targets, how to train, and the model as it is between two steps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sympress.compress.distill.teachers import Teacher
from sympress.compress.recipe.steps import Quantize
from sympress.labels.labelset import Task
from sympress.training.data import Collate, NoteDataset, encode_texts
from sympress.training.model import SymptomModel
from sympress.training.train import Progress, Scorer, TrainSettings

#: Notes on which importance, activations and least squares are measured.
CALIBRATION_NOTES = 512


@dataclass(frozen=True)
class Material:
    """Notes, as the model sees them, and their targets; none of them is a test note.

    Attributes:
        task: what the targets are.
        training: labelled notes.
        targets: `(training, K)` of 0 and 1.
        transfer: further notes, which only the teacher judges.
        validation: notes that choose an epoch.
        validation_targets: `(validation, K)`.
        max_tokens: the longest input in word pieces.
    """

    task: Task
    training: Sequence[str]
    targets: NDArray[np.uint8]
    transfer: Sequence[str]
    validation: Sequence[str]
    validation_targets: NDArray[np.uint8]
    max_tokens: int


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

    model: Teacher
    tokenizer: PreTrainedTokenizerBase
    order: tuple[int, ...]
    max_tokens: int


@dataclass(frozen=True)
class Workshop:
    """Where and how the steps of one recipe run.

    Attributes:
        material: the notes.
        settings: of every training that a step does not set itself.
        score: judges validation logits after an epoch.
        folder: for finished steps and checkpoints.
        logits_folder: for teachers' logits, which recipes share.
        progress: called after each training step.
        trains: False where no step may train.
        teachers: more teachers; students imitate the average of all logits.
    """

    material: Material
    settings: TrainSettings
    score: Scorer
    folder: Path
    logits_folder: Path
    progress: Progress | None = None
    trains: bool = True
    teachers: tuple[FurtherTeacher, ...] = ()


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
        quantize: how the file will be quantized, once that step has come.
        remarks: one line a step.
        epochs: validation quality after each epoch of all trainings, numbered through.
        train_seconds: of all trainings.
    """

    model: SymptomModel
    tokenizer: PreTrainedTokenizerBase
    teacher: SymptomModel
    untouched: tuple[SymptomModel, PreTrainedTokenizerBase]
    masked: bool = False
    quantize: Quantize | None = None
    remarks: list[str] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    train_seconds: float = 0.0

    @property
    def pad_id(self) -> int:
        """The tokenizer's padding id."""
        return int(self.tokenizer.pad_token_id or 0)


def training_notes(piece: Piece, material: Material) -> NoteDataset:
    """The labelled notes in the word pieces of `piece`."""
    return NoteDataset(
        encode_texts(piece.tokenizer, material.training, material.max_tokens), material.targets
    )


def validation_notes(piece: Piece, material: Material) -> NoteDataset:
    """The validation notes in the word pieces of `piece`."""
    encoded = encode_texts(piece.tokenizer, material.validation, material.max_tokens)
    return NoteDataset(encoded, material.validation_targets)


def calibration_batches(
    piece: Piece, material: Material, notes: int = CALIBRATION_NOTES
) -> list[dict[str, Tensor]]:
    """The first training notes in batches of 16, of like length within a batch."""
    encoded = encode_texts(piece.tokenizer, material.training[:notes], material.max_tokens)
    dataset = NoteDataset(encoded, material.targets[:notes])
    order = np.argsort(encoded.lengths, kind="stable")
    collate = Collate(piece.pad_id)
    return [
        collate([dataset[int(row)] for row in order[start : start + 16]])
        for start in range(0, len(order), 16)
    ]


#: (piece it changes, workshop, number of the step in the recipe) -> one line that says what it did.
Apply = Callable[[Piece, Any, Workshop, int], str]
