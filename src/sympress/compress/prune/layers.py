"""Which transformer layers the loss can do without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sympress.compress.arch import layers_of
from sympress.compress.prune.importance import notes_loss
from sympress.errors import InputError
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel


def layer_importance(
    model: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    objective: Objective,
    skipped: Sequence[int] = (),
) -> dict[int, float]:
    """For each layer that is not `skipped`, how much the mean loss of a note rises without it.

    Measured, not estimated: the notes run once for each layer, with that layer passing on its input.
    Negative where the model does better without it.
    """
    with skipping(model, skipped):
        whole = _mean_loss(model, batches, objective)
    rises = {}
    for index in range(len(layers_of(model.encoder))):
        if index not in skipped:
            with skipping(model, [*skipped, index]):
                rises[index] = _mean_loss(model, batches, objective) - whole
    return rises


def choose_layers(
    model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective, count: int
) -> tuple[int, ...]:
    """The `count` layers to keep, ascending: one by one, the least important of those left is dropped.

    Importance is measured anew after each, since neighbouring layers do alike and back each other up; so
    the notes run about `(layers^2 - count^2) / 2` times. Of equals the later goes.

    Raises:
        InputError: `count` is not 1 to the number of layers.
    """
    total = len(layers_of(model.encoder))
    if not 1 <= count <= total:
        raise InputError(f"layers={count}: the model has {total} layers, so 1 to {total} can stay")
    dropped: list[int] = []
    while total - len(dropped) > count:
        rises = layer_importance(model, batches, objective, dropped)
        dropped.append(min(rises, key=lambda index: (rises[index], -index)))
    return tuple(index for index in range(total) if index not in dropped)


@contextmanager
def skipping(model: SymptomModel, layers: Sequence[int]) -> Iterator[None]:
    """Within it, each of `layers` passes on its input, as if it were removed."""
    modules = layers_of(model.encoder)
    hooks = [modules[index].register_forward_hook(_pass_on) for index in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _pass_on(_layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]


@torch.no_grad()
def _mean_loss(model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective) -> float:
    model.eval()
    device = next(model.parameters()).device
    total, notes = 0.0, 0
    for batch in batches:
        moved = {name: value.to(device) for name, value in batch.items()}
        total += float(notes_loss(model, moved, objective))
        notes += len(batch["input_ids"])
    return total / notes
