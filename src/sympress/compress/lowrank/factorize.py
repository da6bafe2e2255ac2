"""Factorize linear layers: W ~ second @ first, the best rank-r approximation (Eckart & Young 1936)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sympress.compress.arch import layer_linears
from sympress.errors import InputError
from sympress.training.model import LowRankLinear, SymptomModel, replace_module_


def break_even_rank(in_features: int, out_features: int) -> int:
    """The largest rank whose two factors hold fewer weights than the matrix: r (in + out) < in x out."""
    return (in_features * out_features - 1) // (in_features + out_features)


def truncated_svd(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Factors `(rank, in)` and `(out, rank)` whose product is the best rank-`rank` fit of `(out, in)`."""
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    root = values[:rank].sqrt()
    return (root[:, None] * right[:rank]).to(weight.dtype), (left[:, :rank] * root).to(weight.dtype)


def factorize_linear(linear: nn.Linear, rank: int) -> LowRankLinear:
    """Two factors in place of `linear`; exact when `rank` is full.

    Raises:
        InputError: `rank` is below 1 or above the full rank.
    """
    full = min(linear.in_features, linear.out_features)
    if not 1 <= rank <= full:
        raise InputError(
            f"rank {rank} is outside 1..{full} of a {linear.out_features}x{linear.in_features} layer"
        )
    factors = LowRankLinear(linear.in_features, rank, linear.out_features, bias=linear.bias is not None)
    first, second = truncated_svd(linear.weight.data, rank)
    factors.first.weight.data, factors.second.weight.data = first.contiguous(), second.contiguous()
    if linear.bias is not None:
        factors.second.bias.data = linear.bias.data.clone()
    return factors


@dataclass(frozen=True)
class Factorization:
    """What was done: layers factorized, layers left whole because the rank does not pay there."""

    factorized: tuple[str, ...]
    left_whole: tuple[str, ...]


def factorize_encoder_(model: SymptomModel, rank: int) -> Factorization:
    """Factorize every linear layer of the transformer layers in which `rank` saves weights."""
    done: list[str] = []
    left: list[str] = []
    for name, linear in list(layer_linears(model.encoder)):
        if rank > break_even_rank(linear.in_features, linear.out_features):
            left.append(name)
            continue
        replace_module_(model.encoder, name, factorize_linear(linear, rank))
        done.append(name)
    return Factorization(tuple(done), tuple(left))


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
