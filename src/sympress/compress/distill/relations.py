"""Relations between tokens, which have one shape at any width (Wang et al. 2021, MiniLMv2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sympress.errors import InputError


def relation_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor, heads: int
) -> Tensor:
    """KL(teacher ‖ student) of the relations among queries, among keys and among values, added up.

    Equations 5 to 8 of Wang et al. 2021 with all weights 1; the mean is over every real token of the batch
    rather than note by note. 0 when student equals teacher.

    Args:
        student: queries, keys, values, each `(batch, tokens, channels)`, all heads side by side.
        teacher: the same of the teacher, at any number of channels.
        attention_mask: `(batch, tokens)`, 0 for padding, which has no influence.
        heads: relation heads wanted; fewer are used where the channels do not divide (`common_heads`).

    Raises:
        InputError: as `common_heads`.
    """
    real = attention_mask.bool()
    total = torch.zeros((), device=attention_mask.device)
    for ours, theirs in zip(student, teacher, strict=True):
        used = common_heads(heads, ours.shape[-1], theirs.shape[-1])
        divergence = functional.kl_div(
            relations(ours, real, used), relations(theirs, real, used), reduction="none", log_target=True
        ).sum(-1)  # (batch, heads, tokens)
        total = total + divergence.transpose(1, 2)[real].mean()
    return total


def relations(vectors: Tensor, real: Tensor, heads: int) -> Tensor:
    """Log-softmax over the real tokens of A Aᵀ / √d a relation head, `(batch, heads, tokens, tokens)`.

    `vectors` `(batch, tokens, heads x d)` are split anew into `heads` relation heads; `real` `(batch,
    tokens)` is False for padding, whose columns have probability 0 and whose rows mean nothing.
    """
    split = vectors.float().unflatten(-1, (heads, -1)).transpose(1, 2)  # (batch, heads, tokens, d)
    scores = split @ split.transpose(-1, -2) / math.sqrt(split.shape[-1])
    log_shares: Tensor = scores.float().masked_fill(~real[:, None, None, :], -1e4).log_softmax(-1)
    return log_shares


def common_heads(wanted: int, *channels: int) -> int:
    """The largest number of relation heads up to `wanted` that divides each of `channels`.

    Raises:
        InputError: `wanted` is below 1, or above 1 while only 1 would do.
    """
    if wanted < 1:
        raise InputError(f"relation heads must be 1 or more, not {wanted}")
    divisor = math.gcd(*channels)
    used = max(heads for heads in range(1, wanted + 1) if divisor % heads == 0)
    if used == 1 < wanted:
        raise InputError(
            f"no 2 to {wanted} relation heads divide the attention channels "
            f"{' and '.join(map(str, channels))}; use relation_heads=1 or another width"
        )
    return used
