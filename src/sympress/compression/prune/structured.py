"""Heads and feed-forward neurons: how much each matters, which to keep, and their removal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sympress.errors import InputError
from sympress.models.families import Family, family_of, head_width, layers_of, removes_heads
from sympress.models.model import SymptomModel
from sympress.training.data import note_logits, notes_in
from sympress.training.losses import Objective

# How much each attention head, feed-forward neuron and hidden dimension matters to the loss.


@dataclass(frozen=True)
class Importance:
    """Per layer: heads `(heads,)` and neurons `(neurons,)`, non-negative; larger matters more.

    All of them estimate the same loss, so that a head compares with a neuron, and layer with layer.
    """

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]


@dataclass(frozen=True)
class MaskGradients:
    """Per layer: gradients of each note's loss to a mask of ones, `(notes, heads)` and `(notes, neurons)`."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]

    def importance(self) -> Importance:
        """The diagonal of the empirical Fisher information (Kwon et al. 2022)."""
        return Importance(
            tuple(gradients.square().sum(0) for gradients in self.heads),
            tuple(gradients.square().sum(0) for gradients in self.neurons),
        )


def mask_gradients(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> MaskGradients:
    """Sum over tokens of activation x gradient; a few hundred notes at most, they are kept.

    That product is the first-order estimate of how a note's loss changes when a head (or neuron) is removed
    (Michel et al. 2019, eq. 2).
    """
    family, width = family_of(model.encoder), head_width(model.encoder)
    modules = [
        layer.get_submodule(name)
        for layer in layers_of(model.encoder)
        for name in (family.attention_output, family.neurons_out)
    ]
    found = note_gradients(model, batches, objective, modules)
    joined = [torch.cat(batch) for batch in zip(*found, strict=True)]  # (notes, channels) each
    heads = (channels.unflatten(-1, (-1, width)).sum(-1) for channels in joined[0::2])
    return MaskGradients(tuple(heads), tuple(joined[1::2]))


def note_gradients(
    model: SymptomModel,
    batches: Iterable[dict[str, Tensor]],
    objective: Objective,
    modules: Sequence[nn.Module],
    *,
    outputs: bool = False,
) -> Iterator[list[Tensor]]:
    """For each batch and module, sum over tokens of activation x gradient of each note's loss.

    The activations are the modules' inputs, or their outputs. Yields tensors `(notes, channels)`; padding
    adds nothing, since no loss depends on it. Leaves no hooks and no gradients behind.
    """
    model.eval()
    device = next(model.parameters()).device
    seen: dict[int, Tensor] = {}
    with ExitStack() as hooks:
        for index, module in enumerate(modules):
            hooks.enter_context(module.register_forward_hook(_keeper(seen, index, outputs=outputs)))
        hooks.callback(model.zero_grad, set_to_none=True)
        for batch in batches:
            model.zero_grad(set_to_none=True)
            moved = {name: value.to(device) for name, value in batch.items()}
            with torch.enable_grad():  # a caller may have switched gradients off
                notes_loss(model, moved, objective).backward()
            yield [_activation_times_gradient(seen[index], moved) for index in range(len(modules))]


def notes_loss(model: SymptomModel, batch: dict[str, Tensor], objective: Objective) -> Tensor:
    """The losses of a batch's notes added up; `objective` gives their mean."""
    logits = note_logits(model, batch)
    return objective(logits, batch["labels"], batch.get("teacher_logits")) * len(logits)


def _activation_times_gradient(activation: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Summed over the tokens of each note, of `activation` `(windows, tokens, channels)`."""
    gradient = torch.zeros_like(activation) if activation.grad is None else activation.grad
    windows = (activation * gradient).sum(1).detach()  # (windows, channels)
    if "owners" not in batch:
        return windows
    return windows.new_zeros(notes_in(batch), windows.shape[-1]).index_add_(0, batch["owners"], windows)


def _keeper(seen: dict[int, Tensor], key: int, *, outputs: bool) -> Callable[..., None]:
    def keep(_module: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        seen[key] = output if outputs else arguments[0]
        seen[key].retain_grad()

    return keep


# Structured removal: heads and feed-forward neurons that are gone, from layers that are smaller.


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


# Which heads and neurons to keep under a budget (Kwon et al. 2022).


@dataclass(frozen=True)
class Costs:
    """What one head and one neuron cost, in multiply-accumulates or in measured milliseconds.

    `fixed` is what the rest costs, in the same unit: a linear model of latency has such a part.
    """

    head: float
    neuron: float
    fixed: float = 0.0

    def total(self, heads: int, neurons: int) -> float:
        """What `heads` and `neurons` cost over all layers, with the fixed part."""
        return self.fixed + heads * self.head + neurons * self.neuron


def mac_costs(hidden: int, head_width: int, tokens: int, *, gated: bool = False) -> Costs:
    """Multiply-accumulates of one head and one neuron on a note of `tokens` word pieces.

    A head has query, key, value and output matrices of `hidden x head_width` and two products between all
    tokens; a neuron has two weight vectors of `hidden`, three where it is gated.
    """
    return Costs(
        head=tokens * 4 * hidden * head_width + 2 * tokens**2 * head_width,
        neuron=tokens * (3 if gated else 2) * hidden,
    )


def search_kept(importance: Importance, costs: Costs, *, keep: float, all_heads: bool = False) -> Kept:
    """Within `keep` of the present cost, keep what loses the least importance; one of each a layer at least.

    Algorithm 1 of Kwon et al. 2022: for every number of heads, the most important ones stay and the most
    important neurons fill what is left of the budget. Exact for a diagonal Fisher information, since all
    heads cost the same, and all neurons. Unlike theirs, no layer loses its last head or neuron.

    Args:
        importance: comparable over layers, as `MaskGradients.importance` gives it.
        costs: of a head and of a neuron, in any one unit.
        keep: share of the cost that stays, above 0 and at most 1.
        all_heads: remove neurons alone.

    Raises:
        InputError: `keep` is out of range, or below what one head and one neuron a layer cost.
    """
    if not 0 < keep <= 1:
        raise InputError(f"the share of the cost to keep must be above 0 and at most 1, not {keep:g}")
    heads, neurons = _Ranking(importance.heads), _Ranking(importance.neurons)
    whole = costs.total(heads.units, neurons.units)
    budget = keep * whole * (1 + 1e-12)  # so that rounding does not refuse an exact fit
    fewest = heads.units if all_heads else heads.layers
    best: tuple[float, int, int] | None = None
    for stay in range(fewest, heads.units + 1):
        left = budget - costs.total(stay, neurons.layers)
        if left < 0:
            break
        filled = min(neurons.units, neurons.layers + int(left / costs.neuron))
        lost = heads.lost(stay) + neurons.lost(filled)
        if best is None or lost < best[0]:
            best = (lost, stay, filled)
    if best is None:
        least = costs.total(fewest, neurons.layers) / whole
        raise InputError(
            f"{keep:g} of the cost cannot be met: one head and one neuron a layer"
            f"{', all heads here,' if all_heads else ''} cost {least:.4f}; ask for more"
        )
    return Kept(heads.top(best[1]), neurons.top(best[2]))


class _Ranking:
    """Heads, or neurons, of all layers in the order in which they are kept: each layer's best come first."""

    def __init__(self, scores: Sequence[Tensor]) -> None:
        self.layers = len(scores)
        self._places = [(layer, index) for layer, own in enumerate(scores) for index in range(len(own))]
        flat = torch.cat([own.cpu().double() for own in scores])
        first = torch.tensor(
            [index == int(scores[layer].argmax()) for layer, index in self._places], dtype=torch.bool
        )
        order = torch.argsort(flat, descending=True, stable=True)
        self._order = torch.cat([order[first[order]], order[~first[order]]])
        self._sums = torch.cat([torch.zeros(1, dtype=torch.float64), flat[self._order].cumsum(0)])

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self._places)

    def lost(self, stay: int) -> float:
        """Importance of all but the first `stay`."""
        return float(self._sums[-1] - self._sums[stay])

    def top(self, stay: int) -> tuple[tuple[int, ...], ...]:
        """The first `stay`, by layer, in ascending order."""
        kept: list[list[int]] = [[] for _ in range(self.layers)]
        for place in sorted(self._places[int(position)] for position in self._order[:stay]):
            kept[place[0]].append(place[1])
        return tuple(tuple(layer) for layer in kept)


def rearrange(kept: Kept, gradients: MaskGradients) -> Kept:
    """Exchange within each layer what is removed, never at more estimated loss than before.

    The block-diagonal Fisher information of a layer's masks, `F = sum over notes of g g^T`, knows that two
    heads back each other up; its estimate of the loss is `|sum of g over the removed|^2` summed over notes.
    Greedy as the mask rearrangement of Kwon et al. 2022: each unit that stays is removed in turn, the least
    important first, and of all removed ones that one is put back whose return leaves the least. How many
    stay in a layer is unchanged.
    """
    return Kept(
        tuple(_rearranged(stay, own) for stay, own in zip(kept.heads, gradients.heads, strict=True)),
        tuple(_rearranged(stay, own) for stay, own in zip(kept.neurons, gradients.neurons, strict=True)),
    )


def _rearranged(stay: tuple[int, ...], gradients: Tensor) -> tuple[int, ...]:
    """`stay` exchanged for as many of the units of one layer; `gradients` are `(notes, units)`."""
    units = gradients.T.double().contiguous()  # (units, notes)
    squares = units.square().sum(1)
    removed = torch.ones(len(units), dtype=torch.bool, device=units.device)
    removed[list(stay)] = False
    if not removed.any():
        return stay
    total = units[removed].sum(0)  # (notes,)
    for index in sorted(stay, key=lambda unit: float(squares[unit])):
        removed[index] = True
        total = total + units[index]
        without = squares - 2 * (units @ total)  # |total - g|^2, less |total|^2
        back = int(without.masked_fill(~removed, torch.inf).argmin())
        removed[back] = False
        total = total - units[back]
    return tuple(int(unit) for unit in (~removed).nonzero().flatten())
