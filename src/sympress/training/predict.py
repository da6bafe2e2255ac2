"""Logits of many notes from a PyTorch model."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.training.data import Collate, NoteDataset
from sympress.training.model import SymptomModel
from sympress.training.precision import mixed_precision


@torch.inference_mode()
def predict_logits(
    model: SymptomModel, notes: NoteDataset, pad_id: int, batch_size: int = 32, *, mixed: bool = False
) -> NDArray[np.float32]:
    """Logits `(notes, K)` in the order of `notes`, on the device the model is on, without dropout.

    Of a model that answers for each token: `(tokens, tags)`, of all notes one behind the other.

    `mixed` precision is several times faster where the device has it, and accurate to three digits.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    lengths = notes.notes.lengths
    per_token = notes.per_token
    rows_in_all = int(lengths.sum()) if per_token else len(notes)
    result = np.zeros((rows_in_all, model.symptoms), dtype=np.float32)
    ends = np.cumsum(lengths)
    order = np.argsort(lengths, kind="stable")
    collate = Collate(pad_id)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        batch = collate([notes[int(row)] for row in rows])
        with mixed_precision(device) if mixed else nullcontext():
            logits = model(batch["input_ids"].to(device), batch["attention_mask"].to(device))
        answers = logits.float().cpu().numpy()
        if not per_token:
            result[rows] = answers
            continue
        for row, answer in zip(rows, answers, strict=True):
            result[ends[row] - lengths[row] : ends[row]] = answer[: lengths[row]]
    model.train(was_training)
    return result
