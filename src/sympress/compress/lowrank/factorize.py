"""Replace linear layers by two factors, wherever that saves weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from sympress.compress.arch import layer_linears
from sympress.compress.lowrank.allocate import RankChoice, Spectrum, check_rank, choose_ranks
from sympress.compress.lowrank.statistics import Statistics
from sympress.compress.lowrank.svd import decompose, factors_of, truncated_svd
from sympress.errors import InputError, nearest
from sympress.training.model import LowRankLinear, SymptomModel, replace_module_

Method = Literal["svd", "activation", "fisher"]
METHODS: tuple[Method, ...] = ("svd", "activation", "fisher")


@dataclass(frozen=True)
class Factorization:
    """What was done: layers factorized and, in the same order, their ranks; layers left whole."""

    factorized: tuple[str, ...]
    left_whole: tuple[str, ...]
    ranks: tuple[int, ...]


def lowrank_(
    model: SymptomModel,
    *,
    method: Method = "svd",
    rank: int | None = None,
    energy: float | None = None,
    keep: float | None = None,
    statistics: Statistics | None = None,
) -> Factorization:
    """Factorize the linear layers of the transformer layers; those in which it saves nothing stay whole.

    Args:
        model: changed in place. Heads and neurons may have been removed from it before.
        method: what the error is measured on: `svd` the weights; `activation` the layers' outputs over the
            calibration notes; `fisher` the weights times their inputs' importance to the loss.
        rank: see `RankChoice`, of which exactly one must be given; so for `energy` (of the weighted matrix)
            and `keep`.
        energy: above 0, at most 1.
        keep: above 0, at most 1.
        statistics: of this very model, from `activation_statistics` or `fisher_statistics`; not for `svd`.

    Raises:
        InputError: a setting is out of range, a layer is factorized already, or `statistics` are missing or
            made for another method or for layers of another size.
    """
    choice = RankChoice(rank, energy, keep)
    linears = _whole_linears(model)
    if rank is not None:
        check_rank(rank, max(min(it.weight.shape) for it in linears.values()), "the largest linear layer")
    moments = _moments(method, statistics, linears)
    parts = {name: decompose(linear.weight.data, moments.get(name)) for name, linear in linears.items()}
    spectra = {
        name: Spectrum(linears[name].out_features, linears[name].in_features, part.values)
        for name, part in parts.items()
    }
    chosen = choose_ranks(spectra, choice)
    used = {name: layer_rank for name, layer_rank in chosen.items() if layer_rank is not None}
    for name, layer_rank in used.items():
        first, second = factors_of(linears[name].weight.data, parts[name], layer_rank)
        replace_module_(model.encoder, name, _low_rank(linears[name], first, second))
    whole = tuple(name for name in linears if name not in used)
    return Factorization(tuple(used), whole, tuple(used.values()))


def _whole_linears(model: SymptomModel) -> dict[str, nn.Linear]:
    for name, module in model.encoder.named_modules():
        if isinstance(module, LowRankLinear):
            raise InputError(f"{name} is already factorized; use low rank once, on whole layers")
    return dict(layer_linears(model.encoder))


def _moments(
    method: Method, statistics: Statistics | None, linears: Mapping[str, nn.Linear]
) -> Mapping[str, Tensor]:
    """How much each layer's inputs count; empty for plain SVD."""
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise InputError(f"low-rank method {method!r} is not one of {known}{nearest(method, METHODS)}")
    if method == "svd":
        return {}
    if statistics is None or statistics.method != method:
        raise InputError(f"low rank by {method!r} needs {method} statistics of calibration notes")
    for name, linear in linears.items():
        width = len(statistics.moments[name]) if name in statistics.moments else 0
        if width != linear.in_features:
            raise InputError(
                f"{name} takes {linear.in_features} inputs but its statistics have {width}; "
                "collect them from the model as it is now"
            )
    return statistics.moments


def factorize_encoder_(model: SymptomModel, rank: int) -> Factorization:
    """Factorize every linear layer of the transformer layers in which `rank` saves weights, by plain SVD."""
    return lowrank_(model, method="svd", rank=rank)


def factorize_linear(linear: nn.Linear, rank: int, moment: Tensor | None = None) -> LowRankLinear:
    """Two factors in place of `linear`; exact when `rank` is full. For `moment` see `decompose`.

    Raises:
        InputError: `rank` is below 1 or above the full rank.
    """
    full = min(linear.in_features, linear.out_features)
    if not 1 <= rank <= full:
        raise InputError(
            f"rank {rank} is outside 1..{full} of a {linear.out_features}x{linear.in_features} layer"
        )
    return _low_rank(linear, *truncated_svd(linear.weight.data, rank, moment))


def _low_rank(linear: nn.Linear, first: Tensor, second: Tensor) -> LowRankLinear:
    factors = LowRankLinear(linear.in_features, len(first), linear.out_features, bias=linear.bias is not None)
    factors.first.weight.data, factors.second.weight.data = first, second
    if linear.bias is not None:
        factors.second.bias.data = linear.bias.data.clone()
    return factors


def factorize_classifier_(model: SymptomModel, rank: int) -> int:
    """The published variant: factorize the K-class output layer alone, in place of its own weight.

    The authors replace the weight by the product of its factors; with K classes its rank is at most K,
    so any rank of K or more reproduces it and nothing is saved. Returns the rank that was used.
    """
    output = model.head.output
    used = min(rank, output.in_features // 2, output.out_features)
    first, second = truncated_svd(output.weight.data, used)
    output.weight.data = second @ first
    return used
