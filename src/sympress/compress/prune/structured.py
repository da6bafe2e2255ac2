"""Structured removal: heads and feed-forward neurons that are gone, from layers that are smaller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sympress.compress.arch import Family, family_of, head_width, layers_of, removes_heads
from sympress.compress.prune.importance import Importance
from sympress.errors import InputError
from sympress.training.model import SymptomModel


@dataclass(frozen=True)
class Kept:
    """Per layer, ascending indices of the heads and neurons that stay."""

    heads: tuple[tuple[int, ...], ...]
    neurons: tuple[tuple[int, ...], ...]


def choose_kept(importance: Importance, *, heads: float, neurons: float) -> Kept:
    """Keep the most important share of heads and of neurons of each layer, at least one of each.

    The same share in every layer keeps each layer's latency in step. Ties keep the lower index.

    Raises:
        InputError: a share is not above 0 and at most 1.
    """
    for name, share in (("heads", heads), ("neurons", neurons)):
        if not 0 < share <= 1:
            raise InputError(f"the share of {name} to keep must be above 0 and at most 1, not {share}")
    return Kept(
        tuple(_top(scores, heads) for scores in importance.heads),
        tuple(_top(scores, neurons) for scores in importance.neurons),
    )


def _top(scores: Tensor, share: float) -> tuple[int, ...]:
    count = max(1, round(share * len(scores)))
    order = torch.argsort(scores, descending=True, stable=True)
    return tuple(sorted(int(index) for index in order[:count]))


def remove_(model: SymptomModel, kept: Kept) -> None:
    """Remove from `model` everything but `kept`: outputs equal those with the rest masked to zero."""
    family, width = family_of(model.encoder), head_width(model.encoder)
    for layer, heads, neurons in zip(layers_of(model.encoder), kept.heads, kept.neurons, strict=True):
        if removes_heads(family):
            _remove_heads_(layer, family, heads, width)
        _remove_neurons_(layer, family, neurons)


def _remove_heads_(layer: nn.Module, family: Family, heads: Sequence[int], width: int) -> None:
    output = whole_linear(layer, family.attention_output)
    channels = torch.cat([torch.arange(head * width, (head + 1) * width) for head in heads])
    total = output.in_features
    for name in family.queries_keys_values:
        shares = whole_linear(layer, name).out_features // total  # 3 where one matrix makes all three
        rows = torch.cat([channels + part * total for part in range(shares)])
        keep_outputs_(whole_linear(layer, name), rows)
    keep_inputs_(output, channels)


def _remove_neurons_(layer: nn.Module, family: Family, neurons: Sequence[int]) -> None:
    rows = torch.tensor(neurons)
    output = whole_linear(layer, family.neurons_out)
    total = output.in_features
    keep_outputs_(
        whole_linear(layer, family.neurons_in), torch.cat([rows, rows + total]) if family.gated else rows
    )
    keep_inputs_(output, rows)


def whole_linear(layer: nn.Module, name: str) -> nn.Linear:
    """The linear layer `name` of `layer`.

    Raises:
        InputError: it is factorized.
    """
    module = layer.get_submodule(name)
    if not isinstance(module, nn.Linear):
        raise InputError(f"{name} is already factorized; remove heads and neurons before low rank")
    return module


def keep_outputs_(linear: nn.Linear, rows: Tensor) -> None:
    """Keep the output channels `rows` of `linear`."""
    linear.weight = nn.Parameter(linear.weight.data[rows].clone())
    if linear.bias is not None:
        linear.bias = nn.Parameter(linear.bias.data[rows].clone())
    linear.out_features = len(rows)


def keep_inputs_(linear: nn.Linear, columns: Tensor) -> None:
    """Keep the input channels `columns` of `linear`."""
    linear.weight = nn.Parameter(linear.weight.data[:, columns].clone())
    linear.in_features = len(columns)
