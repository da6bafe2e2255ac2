"""The trainings that steps ask for: from labels, from a teacher, with masks kept or weights rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from sympress.compress.distill.objective import Distillation, DistillSettings
from sympress.compress.prune.masks import keep_masked
from sympress.compress.prune.movement import GradualMasks
from sympress.compress.recipe.material import Piece, Workshop, training_notes, validation_notes
from sympress.compress.recipe.steps import Distill
from sympress.compress.recipe.taught import taught_notes
from sympress.training.data import NoteDataset
from sympress.training.dropout import dropping
from sympress.training.loss import LABEL_LOSSES
from sympress.training.settings import TrainSettings
from sympress.training.train import BatchLoss, from_logits, train


def learn_from_labels(piece: Piece, shop: Workshop, number: int, settings: TrainSettings) -> None:
    """Train on the labelled notes."""
    loss = from_logits(LABEL_LOSSES[shop.material.task])
    notes = training_notes(piece, shop.material)
    _learn(piece, shop, number, settings=settings, notes=notes, loss=loss)


def learn_from_teacher(
    piece: Piece, shop: Workshop, number: int, step: Distill, settings: TrainSettings
) -> int:
    """Train on the labelled and the unlabelled notes with the teacher's answers; return the passes over them.

    Logits are computed once a teacher and stored; they are averaged over all teachers. Hidden states and
    relations are those of the model that is pressed, which runs again where they are imitated.
    """
    notes = taught_notes(piece, shop, step)
    settings = replace(settings, epochs=passes(settings, len(notes), step.updates or 0))
    inside = step.hidden > 0 or step.relations > 0
    loss = Distillation(
        shop.material.task,
        DistillSettings(
            labels=1 - step.alpha,
            soft=step.alpha,
            hidden=step.hidden,
            relations=step.relations,
            temperature=step.T,
        ),
        [piece.teacher] if inside else [],
    )
    loss.attach_(piece.model, settings.seed)
    with dropping(piece.model, step.dropout):
        _learn(piece, shop, number, settings=settings, notes=notes, loss=loss)
    loss.detach_(piece.model)
    piece.teacher.requires_grad_(requires_grad=True)
    return settings.epochs


def passes(settings: TrainSettings, notes: int, updates: int) -> int:
    """The epochs of `settings`, or as many more as `updates` steps over `notes` take."""
    return max(settings.epochs, math.ceil(updates / math.ceil(notes / settings.batch_size)))


def learn_with_masks(
    piece: Piece, shop: Workshop, number: int, *, share: float, settings: TrainSettings
) -> None:
    """Train on the labels while the weights that training moves towards zero are masked, more and more."""
    notes = training_notes(piece, shop.material)
    steps = settings.epochs * math.ceil(len(notes) / settings.batch_size)
    masks = GradualMasks(piece.model, share, steps, scores="movement")
    loss = from_logits(LABEL_LOSSES[shop.material.task])
    _learn(piece, shop, number, settings=settings, notes=notes, loss=loss, after_step=masks)
    masks.finish_()


def settings_for(
    shop: Workshop, *, epochs: int | None, rate: float | None, batch: int | None = None
) -> TrainSettings:
    """The run's settings with a step's own where it has some."""
    base = shop.settings
    return replace(
        base,
        epochs=epochs or base.epochs,
        learning_rate=rate or base.learning_rate,
        batch_size=batch or base.batch_size,
    )


def _learn(
    piece: Piece,
    shop: Workshop,
    number: int,
    *,
    settings: TrainSettings,
    notes: NoteDataset,
    loss: BatchLoss,
    after_step: Callable[[], None] | None = None,
) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if after_step is None and piece.masked:
        after_step = keep_masked(piece.model, zeros_of(piece))
    validation, score = validation_notes(piece, shop)
    log = train(
        piece.model.to(device),
        notes,
        validation,
        settings,
        shop.folder / f"checkpoints-{number}",
        pad_id=piece.pad_id,
        score=score,
        batch_loss=loss,
        after_step=after_step,
        progress=shop.progress,
    )
    piece.model.cpu()
    before = len(piece.epochs)
    piece.epochs += [{**epoch, "epoch": before + index + 1} for index, epoch in enumerate(log.epochs)]
    piece.train_seconds += log.seconds


def zeros_of(piece: Piece) -> dict[str, torch.Tensor]:
    """The masks that the zeros of the linear layers show."""
    return {
        name: module.weight.data != 0
        for name, module in piece.model.named_modules()
        if isinstance(module, torch.nn.Linear)
    }
