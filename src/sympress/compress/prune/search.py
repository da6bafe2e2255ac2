"""Which heads and neurons to keep under a budget (Kwon et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sympress.compress.prune.importance import Importance, MaskGradients
from sympress.compress.prune.structured import Kept
from sympress.errors import InputError


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
        flat = torch.cat([own.double().cpu() for own in scores])
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
