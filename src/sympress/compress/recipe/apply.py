"""Each step of a recipe, applied: the one table from a step's class to what it does."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from sympress.compress.arch import family_of, head_width, layers_of
from sympress.compress.distill.narrow import narrow_student
from sympress.compress.distill.student import student_of
from sympress.compress.lowrank.embeddings import factorize_embeddings_
from sympress.compress.lowrank.factorize import lowrank_
from sympress.compress.lowrank.statistics import Statistics, activation_statistics, fisher_statistics
from sympress.compress.prune.masks import apply_masks_, magnitude_masks
from sympress.compress.prune.step import prune_
from sympress.compress.quantize.aware import make_aware_, settle_aware_
from sympress.compress.recipe.learn import (
    learn_from_labels,
    learn_from_teacher,
    learn_with_masks,
    settings_for,
)
from sympress.compress.recipe.material import Apply, Piece, Workshop, calibration_batches
from sympress.compress.recipe.steps import (
    Adapt,
    Distill,
    FineTune,
    LowRank,
    Mask,
    Prune,
    Quantize,
    Step,
    Vocab,
)
from sympress.compress.vocab.pieces import choose_pieces, count_pieces
from sympress.compress.vocab.positions import cut_positions_
from sympress.compress.vocab.trim import trim_vocabulary_
from sympress.errors import InputError
from sympress.training.adapt import AdaptSettings, adapt_encoder_
from sympress.training.loss import LABEL_LOSSES, sample_targets
from sympress.training.model import SymptomModel

#: Notes on which low rank measures activations: their second moments are `(in, in)` a layer in float64.
LOWRANK_NOTES = 256


def adapt(piece: Piece, step: Adapt, shop: Workshop, number: int) -> str:
    """Adapt the encoder to the notes; its head fits again once a later step has trained it."""
    if not shop.trains:
        raise InputError(f"step {number} trains, which --no-training rules out; take it out of the recipe")
    settings = AdaptSettings(
        epochs=step.epochs,
        batch_size=shop.settings.batch_size,
        seed=shop.settings.seed,
        max_tokens=shop.material.max_tokens,
    )
    texts = [*shop.material.training, *shop.material.transfer]
    folder = shop.folder / f"checkpoints-{number}"
    log = adapt_encoder_(
        piece.model.encoder, piece.tokenizer, texts, settings, folder, progress=shop.progress
    )
    piece.train_seconds += log.seconds
    after = (
        "; its head no longer fits until a later step (distill, fine-tune) trains it" if log.helped else ""
    )
    return log.verdict() + after


def trim(piece: Piece, step: Vocab, shop: Workshop, _number: int) -> str:
    """Keep the rows of the embeddings that training and transfer notes read; the teacher's go alike."""
    material = shop.material
    counts = count_pieces(piece.tokenizer, [*material.training, *material.transfer])
    kept = choose_pieces(piece.tokenizer, counts, step.keep)
    trimmed = trim_vocabulary_(piece.model, piece.tokenizer, kept.ids)
    if piece.teacher is not piece.model:
        trim_vocabulary_(piece.teacher, piece.tokenizer, kept.ids)
    piece.tokenizer = trimmed
    said = (
        f"{len(kept.ids):,} of {kept.vocabulary:,} word pieces stay; {kept.coverage:.1%} of the notes' "
        "pieces are among them, the others split further"
    )
    return said + (_cut_positions(piece, material.max_tokens) if step.positions == "read" else "")


def _cut_positions(piece: Piece, max_tokens: int) -> str:
    """Cut the positions of model and teacher, and tell the tokenizer how long an input may be."""
    rows, kept = cut_positions_(piece.model, max_tokens)
    if piece.teacher is not piece.model:
        cut_positions_(piece.teacher, max_tokens)
    if kept == rows:
        return ""
    piece.tokenizer.model_max_length = min(max_tokens, int(piece.tokenizer.model_max_length))
    return f"; {kept:,} of {rows:,} positions stay, those of inputs of {max_tokens:,} pieces"


def distill(piece: Piece, step: Distill, shop: Workshop, number: int) -> str:
    """Make the student that the step describes and train it from the teacher."""
    whole = len(layers_of(piece.model.encoder))
    said = "the present model learns from the teacher"
    if step.width is not None:
        piece.model = _narrow(piece, step, shop.settings.seed)
        piece.masked = False
        layers = len(layers_of(piece.model.encoder))
        said = f"a fresh student, {step.width} wide, of {layers} layers"
    elif step.layers is not None:
        piece.model = student_of(piece.model, step.student_layers(whole), step.choose)
        said = f"a student of {step.student_layers(whole)} of {whole} layers"
    settings = settings_for(shop, epochs=step.epochs, rate=step.rate, batch=step.batch)
    epochs = learn_from_teacher(piece, shop, number, step, settings)
    labelled, further = len(shop.material.training), len(shop.material.transfer)
    notes = labelled + (further if step.further is None else min(step.further, further))
    return f"{said}; {epochs} epochs over {notes:,} notes ({labelled:,} labelled)"


def _narrow(piece: Piece, step: Distill, seed: int) -> SymptomModel:
    """A fresh student of the step's sizes; what it does not say is as in the teacher, in proportion."""
    config = piece.teacher.encoder.config
    width = int(step.width or config.hidden_size)
    neurons = int(getattr(config, family_of(piece.teacher.encoder).neurons_setting))
    return narrow_student(
        piece.teacher,
        layers=step.student_layers(len(layers_of(piece.model.encoder))),
        width=width,
        heads=step.heads or max(1, width // head_width(piece.teacher.encoder)),
        ffn=step.ffn or max(1, round(neurons * width / int(config.hidden_size))),
        seed=seed,
    )


def fine_tune(piece: Piece, step: FineTune, shop: Workshop, number: int) -> str:
    """Train on the labels."""
    settings = settings_for(shop, epochs=step.epochs, rate=step.rate)
    learn_from_labels(piece, shop, number, settings)
    return f"{settings.epochs} epochs over {len(shop.material.training):,} labelled notes"


def quantize(piece: Piece, step: Quantize, shop: Workshop, number: int) -> str:
    """Remember how the file will be quantized; where asked, train with int8 simulated first."""
    piece.quantize = step
    if not step.aware:
        return f"the file is quantized ({step.kind}, embeddings {step.embeddings} bits)"
    make_aware_(piece.model, reduce_range=True, embedding_bits=step.embeddings)
    settings = settings_for(shop, epochs=step.epochs, rate=step.rate)
    learn_from_teacher(piece, shop, number, Distill(), settings)
    settle_aware_(piece.model)
    return f"{settings.epochs} epochs with int8 simulated; the file is quantized ({step.kind})"


def lowrank(piece: Piece, step: LowRank, shop: Workshop, _number: int) -> str:
    """Replace matrices by two factors wherever that saves weights."""
    said = []
    if step.rank is not None or step.energy is not None or step.keep is not None:
        if piece.masked:
            raise InputError("the zeros of mask do not outlast two factors: put lowrank before mask")
        statistics = _statistics(piece, step, shop)
        done = lowrank_(
            piece.model,
            method=step.method,
            rank=step.rank,
            energy=step.energy,
            keep=step.keep,
            statistics=statistics,
        )
        said.append(
            f"{len(done.factorized)} linear layers become two factors of rank {min(done.ranks)} to "
            f"{max(done.ranks)}, {len(done.left_whole)} stay whole because no rank pays there"
            if done.ranks
            else f"all {len(done.left_whole)} linear layers stay whole because no rank pays there"
        )
    if step.embeddings is not None:
        counts = torch.from_numpy(count_pieces(piece.tokenizer, shop.material.training))
        rank = factorize_embeddings_(piece.model, rank=step.embeddings, counts=counts)
        said.append("embeddings stay whole" if rank is None else f"embeddings of rank {rank}")
    return "; ".join(said)


def _statistics(piece: Piece, step: LowRank, shop: Workshop) -> Statistics | None:
    if step.method == "svd":
        return None
    batches = calibration_batches(piece, shop.material, LOWRANK_NOTES)
    if step.method == "activation":
        return activation_statistics(piece.model, batches)
    return fisher_statistics(piece.model, batches, LABEL_LOSSES[shop.material.task])


def prune(piece: Piece, step: Prune, shop: Workshop, _number: int) -> str:
    """Remove heads, neurons, hidden dimensions or layers."""
    if piece.masked and step.reconstruct:
        raise InputError("least squares would fill the zeros of mask: put prune before mask")
    return prune_(
        piece.model,
        calibration_batches(piece, shop.material),
        LABEL_LOSSES[shop.material.task],
        heads=step.heads,
        ffn=step.ffn,
        hidden=step.hidden,
        layers=step.layers,
        macs=step.macs,
        reconstruct=step.reconstruct,
        sample=None
        if step.score == "fisher"
        else partial(sample_targets, shop.material.task, generator=torch.Generator().manual_seed(0)),
    )


def mask(piece: Piece, step: Mask, shop: Workshop, number: int) -> str:
    """Set weights to zero: at once by magnitude, or in the course of a training by movement."""
    if step.score == "movement":
        settings = replace(settings_for(shop, epochs=None, rate=None), select="last")
        learn_with_masks(piece, shop, number, share=step.share, settings=settings)
    else:
        apply_masks_(piece.model, magnitude_masks(piece.model, step.share))
    piece.masked = True
    where = "linear layer of the encoder" if step.score == "movement" else "linear layer"
    return f"{step.share:.0%} of the weights of each {where} are masked: zeros in a file of the same size"


def trains(step: Step) -> bool:
    """True if `step` trains the model."""
    if isinstance(step, Mask):
        return step.score == "movement"
    if isinstance(step, Quantize):
        return step.aware
    return isinstance(step, Adapt | Distill | FineTune)


APPLY: dict[type[Step], Apply] = {
    Adapt: adapt,
    Vocab: trim,
    Distill: distill,
    LowRank: lowrank,
    Prune: prune,
    Mask: mask,
    FineTune: fine_tune,
    Quantize: quantize,
}
