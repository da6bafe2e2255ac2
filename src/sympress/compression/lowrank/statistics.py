"""What low rank learns from calibration notes: how much each input of each linear layer counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sympress.errors import InputError
from sympress.models.families import layer_linears
from sympress.models.model import SymptomModel
from sympress.training.data import note_logits, notes_in, take_notes
from sympress.training.losses import Objective


@dataclass(frozen=True)
class Statistics:
    """How much the inputs of each linear layer count.

    Attributes:
        method: the way of factorizing they are made for.
        moments: by name from the encoder, float64: `(in, in)` for `activation`, `(in,)` for `fisher`.
        notes: calibration notes seen.
    """

    method: Literal["activation", "fisher"]
    moments: Mapping[str, Tensor]
    notes: int


@torch.no_grad()
def activation_statistics(model: SymptomModel, batches: Iterable[dict[str, Tensor]]) -> Statistics:
    """Second moments XᵀX `(in, in)` of the inputs of every linear layer, in one pass (Wang et al. 2024).

    Only real tokens count. Inputs that are not a batch of notes (DeBERTa's table of relative positions) are
    scaled to count as much as the tokens of the batch, so that the result does not depend on how notes are
    batched.

    Args:
        model: not changed; neither are its gradients.
        batches: of `input_ids` and `attention_mask` `(batch, tokens)`.

    Raises:
        InputError: there is no calibration note.
    """
    moments: dict[str, Tensor] = {}
    notes = 0
    with _evaluating(model):
        for batch in _on_device(model, batches):
            mask = batch["attention_mask"].bool()
            with _watching_inputs(model, partial(_add_moment_, moments, mask)):
                model(batch["input_ids"], batch["attention_mask"])
            notes += notes_in(batch)
    return Statistics("activation", moments, _some(notes))


def _add_moment_(moments: dict[str, Tensor], mask: Tensor, name: str, states: Tensor) -> None:
    of_notes = states.shape[:-1] == mask.shape
    rows = (states[mask] if of_notes else states.flatten(0, -2)).double()  # (rows, in)
    weight = 1.0 if of_notes else float(mask.sum()) / len(rows)
    moment = weight * (rows.T @ rows)
    moments[name] = moments[name] + moment if name in moments else moment


def fisher_statistics(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> Statistics:
    """Squared gradients of the loss, summed over notes and over the outputs of each input, `(in,)`.

    The importance of an input is the summed diagonal Fisher information of all weights it is multiplied with
    (Hsu et al. 2022: they write y = x W, where an input is a row of W; in PyTorch's weights it is a column).
    The gradient is squared note by note, not batch by batch.

    Args:
        model: not changed; neither are its gradients.
        batches: of `input_ids` and `attention_mask` `(batch, tokens)`, and `labels` `(batch, ...)`.
        objective: the loss.

    Raises:
        InputError: there is no calibration note.
    """
    names, linears = zip(*layer_linears(model.encoder), strict=True)
    weights = [linear.weight for linear in linears]
    totals = [torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device) for weight in weights]
    notes = 0
    with _evaluating(model):
        for note in _one_by_one(_on_device(model, batches)):
            loss = objective(note_logits(model, note), note["labels"], None)
            gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
            for total, gradient in zip(totals, gradients, strict=True):
                total.add_(gradient.double().square().sum(0))
            notes += 1
    return Statistics("fisher", dict(zip(names, totals, strict=True)), _some(notes))


def _some(notes: int) -> int:
    if notes == 0:
        raise InputError("the calibration set has no notes; give at least one")
    return notes


def _on_device(model: SymptomModel, batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    device = next(model.parameters()).device
    for batch in batches:
        yield {key: value.to(device) for key, value in batch.items()}


def _one_by_one(batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    for batch in batches:
        for row in range(notes_in(batch)):
            yield take_notes(batch, row, row + 1)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; afterwards as before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def _watching_inputs(model: SymptomModel, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `see` with the name and the input `(..., in)` of each linear layer, whenever one computes."""
    hooks = [
        linear.register_forward_pre_hook(lambda _module, arguments, name=name: see(name, arguments[0]))
        for name, linear in layer_linears(model.encoder)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
