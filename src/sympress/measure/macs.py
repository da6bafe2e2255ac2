"""Multiply-accumulates of a PyTorch model on one note, counted by PyTorch as it runs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def count_macs(model: nn.Module, tokens: int) -> int:
    """Multiply-accumulates of one note of `tokens` word pieces (matrix products, attention included)."""
    ids = torch.ones((1, max(tokens, 2)), dtype=torch.int64)
    model.zero_grad(set_to_none=True)
    # PyTorch counts the products of attention only where they are written out, not in its fused kernel.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.eval()(ids, torch.ones_like(ids))
    return int(counter.get_total_flops()) // 2
