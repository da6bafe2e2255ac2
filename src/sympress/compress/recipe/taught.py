"""Labelled and unlabelled notes with what the teachers answer, in the student's word pieces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compress.distill.int8_teacher import Int8Teacher
from sympress.compress.distill.teachers import average_logits, teacher_logits
from sympress.compress.recipe.material import FurtherTeacher, Piece, Tagging, Workshop, windows_of
from sympress.compress.recipe.pretrained import untrained_model
from sympress.compress.recipe.steps import Distill
from sympress.training.data import EncodedNotes, NoteDataset, encode_texts
from sympress.training.model import SymptomModel
from sympress.training.tagging import (
    Windows,
    align_logits,
    cut_windows,
    default_stride,
    gather_logits,
    spread_logits,
    window_targets,
)

Logits = NDArray[np.float32]


#: Of the draw of further notes where a step wants fewer than there are.
_DRAW_SEED = 0
#: Added to the seed, so that an untrained teacher's head is not the student's.
_OTHER_HEAD = 1000


def taught_notes(piece: Piece, shop: Workshop, step: Distill) -> NoteDataset:
    """Labelled notes, then unlabelled ones, each with the teachers' logits.

    Args:
        piece: the student, its word pieces and its teacher.
        shop: where the notes and the other teachers are.
        step: says how many unlabelled notes there are at the most (a smaller draw is the start of a larger
            one, so that recipes share what a teacher said), whose the logits are and how they are computed.
    """
    transfer, further = shop.material.transfer, step.further
    if further is not None and further < len(transfer):
        drawn = np.random.default_rng(_DRAW_SEED).permutation(len(transfer))[:further]
        transfer = [transfer[row] for row in drawn]
        shop = replace(shop, material=replace(shop.material, transfer=transfer))
    teachers = _teachers(piece, shop, step)
    taught = _taught_whole if shop.material.tagging is None else _taught_windows
    return taught(piece, shop, teachers)


def _taught_whole(piece: Piece, shop: Workshop, teachers: Sequence[FurtherTeacher]) -> NoteDataset:
    material = shop.material
    parts = [
        encode_texts(piece.tokenizer, texts, material.max_tokens)
        for texts in (material.training, material.transfer)
    ]
    answers = [
        average_logits([_logits(one, texts, shop) for one in teachers])
        for texts in (material.training, material.transfer)
        if texts
    ]
    counts = [len(part.ids) for part in parts]
    blank = np.zeros((counts[1], material.targets.shape[1]), dtype=np.uint8)
    return NoteDataset(
        _joined(parts),
        np.concatenate([material.targets, blank]),
        np.concatenate(answers),
        np.arange(sum(counts)) < counts[0],
        weights=_padded(material.weights, counts),
    )


def _taught_windows(piece: Piece, shop: Workshop, teachers: Sequence[FurtherTeacher]) -> NoteDataset:
    """Windows of the task `mentions`; a teacher's answers about whole notes are cut as the student reads."""
    material, tagging = shop.material, shop.material.tagging
    if tagging is None:
        raise ValueError("only the task 'mentions' is taught by windows")
    parts = [windows_of(piece.tokenizer, texts, material) for texts in (material.training, material.transfer)]
    mentions = [tagging.training, [()] * len(material.transfer)]
    targets = [window_targets(part, own, tagging.tags) for part, own in zip(parts, mentions, strict=True)]
    answers = [
        average_logits([_window_logits(one, part, tagging, shop) for one in teachers])
        for part in parts
        if part.texts
    ]
    counts = [len(part.notes.ids) for part in parts]
    weights = None if material.weights is None else material.weights[parts[0].owners]
    return NoteDataset(
        _joined([part.notes for part in parts]),
        np.concatenate(targets).astype(np.int64),
        np.concatenate(answers),
        np.arange(sum(counts)) < counts[0],
        weights=_padded(weights, counts),
    )


def _joined(parts: Sequence[EncodedNotes]) -> EncodedNotes:
    ids = tuple(note for part in parts for note in part.ids)
    return EncodedNotes(ids, sum(part.truncated for part in parts))


def _padded(weights: NDArray[np.float32] | None, counts: Sequence[int]) -> NDArray[np.float32] | None:
    """The weights of the labelled notes, and 1 for the others, which have no label loss."""
    if weights is None:
        return None
    return np.concatenate([weights, np.ones(counts[1], dtype=np.float32)])


def _teachers(piece: Piece, shop: Workshop, step: Distill) -> list[FurtherTeacher]:
    """The teacher as it came, and those beside it, as int8 files if the step says so and no GPU is there."""
    teacher, tokenizer = piece.untouched
    if step.teacher == "pretrained":
        teacher = untrained_model(piece, shop, shop.settings.seed + _OTHER_HEAD)
    own = FurtherTeacher(teacher, tokenizer, tuple(range(teacher.symptoms)), shop.material.max_tokens)
    rounded = step.answers == "int8" and not torch.cuda.is_available()
    return [
        replace(one, model=Int8Teacher(one.model)) if rounded and isinstance(one.model, SymptomModel) else one
        for one in (own, *shop.teachers)
    ]


def _logits(one: FurtherTeacher, texts: Sequence[str], shop: Workshop) -> Logits:
    """Logits `(texts, K)` of one teacher through its own word pieces."""
    return _answers(one, encode_texts(one.tokenizer, texts, one.max_tokens), shop)


def _window_logits(one: FurtherTeacher, windows: Windows, tagging: Tagging, shop: Workshop) -> Logits:
    """Logits `(tokens of all windows, tags)` of one teacher, which reads its own windows and word pieces."""
    stride = min(tagging.stride, default_stride(one.max_tokens))
    theirs = cut_windows(one.tokenizer, windows.texts, one.max_tokens, stride)
    whole = gather_logits(theirs, _answers(one, theirs.notes, shop))
    aligned = [
        align_logits(logits, its_pieces, pieces)
        for logits, its_pieces, pieces in zip(whole, theirs.pieces, windows.pieces, strict=True)
    ]
    return spread_logits(windows, aligned)


def _answers(one: FurtherTeacher, encoded: EncodedNotes, shop: Workshop) -> Logits:
    """The teacher's logits in the order of the student's symptoms or tags, stored in the workshop."""
    teacher = one.model
    if not isinstance(teacher, Int8Teacher):
        teacher.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    logits = teacher_logits(
        [teacher],
        encoded,
        int(one.tokenizer.pad_token_id or 0),
        shop.logits_folder,
        progress=shop.answering,
    )
    if not isinstance(teacher, Int8Teacher):
        teacher.cpu()
    return logits[:, list(one.order)]
