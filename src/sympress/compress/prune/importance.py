"""How much each attention head and each feed-forward neuron matters to the loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sympress.compress.arch import family_of, head_width, layers_of
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel


@dataclass(frozen=True)
class Importance:
    """Per layer: heads `(heads,)` and neurons `(neurons,)`, non-negative; larger matters more."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]


def taylor_importance(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> Importance:
    """|sum over tokens of activation x gradient|, averaged over notes (Michel et al. 2019, eq. 2).

    That is the first-order estimate of how the loss changes when a head (or neuron) is removed. Squared
    per note before averaging, as a diagonal Fisher estimate (Kwon et al. 2022).
    """
    model.eval()
    family, width = family_of(model.encoder), head_width(model.encoder)
    outputs = [
        (layer.get_submodule(family.attention_output), layer.get_submodule(family.neurons_out))
        for layer in layers_of(model.encoder)
    ]
    seen: dict[int, Tensor] = {}
    hooks = [
        linear.register_forward_pre_hook(_keeper(seen, index * 2 + part))
        for index, pair in enumerate(outputs)
        for part, linear in enumerate(pair)
    ]
    totals: dict[int, Tensor] = {}
    try:
        for batch in batches:
            model.zero_grad(set_to_none=True)
            logits = model(batch["input_ids"], batch["attention_mask"])
            (objective(logits, batch["labels"], None) * len(logits)).backward()
            for key, activation in seen.items():
                if activation.grad is None:
                    continue
                note = (activation * activation.grad).sum(1)  # (batch, channels)
                if key % 2 == 0:
                    note = note.unflatten(-1, (-1, width)).sum(-1)  # (batch, heads)
                totals[key] = totals.get(key, torch.zeros(note.shape[1])) + note.detach().square().sum(0)
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
    layers = range(len(outputs))
    return Importance(tuple(totals[2 * i] for i in layers), tuple(totals[2 * i + 1] for i in layers))


def _keeper(seen: dict[int, Tensor], key: int) -> Any:
    def keep(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        arguments[0].retain_grad()
        seen[key] = arguments[0]

    return keep
