"""Quantization-aware training as published: fake-quantized weights and activations, never int8 at work."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sympress.training.model import SymptomModel, replace_module_


def fake_quantize(values: Tensor, scale: Tensor, zero: Tensor, low: int, high: int) -> Tensor:
    """Round `values` to the grid of integers `low`..`high`; gradients pass straight through.

    q = clamp(round(x / s) + z, low, high), result (q - z) s (Jacob et al. 2018, eq. 1 and 12; the
    straight-through estimator of Bengio et al. 2013 for the backward pass).
    """
    rounded = (torch.clamp(torch.round(values / scale) + zero, low, high) - zero) * scale
    return values + (rounded - values).detach()


class FakeQuantLinear(nn.Linear):
    """A linear layer that computes with int8-rounded weights and 8-bit-rounded inputs, in float.

    The settings of PyTorch's `fbgemm` configuration: weights symmetric, -128..127, a scale an output
    channel; inputs affine, 0..127, from a moving average of the smallest and largest value seen.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, linear: nn.Linear, momentum: float = 0.01) -> None:
        super().__init__(linear.in_features, linear.out_features, bias=linear.bias is not None)
        self.load_state_dict(linear.state_dict())
        self.momentum = momentum
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Linear uses
        """Map `(..., in)` to `(..., out)` with rounded operands."""
        input = input.float()  # noqa: A001  mixed precision is too coarse to observe and round in
        if self.training:
            self._observe(input.detach())
        scale = ((self.high - self.low) / 127).clamp(min=1e-8)
        zero = torch.clamp(torch.round(-self.low / scale), 0, 127)
        rounded = fake_quantize(input, scale, zero, 0, 127)
        return functional.linear(rounded, self.rounded_weight(), self.bias)

    def rounded_weight(self) -> Tensor:
        """The weight on its int8 grid."""
        scale = (self.weight.detach().abs().amax(1, keepdim=True) / 127.5).clamp(min=1e-8)
        return fake_quantize(self.weight, scale, torch.zeros_like(scale), -128, 127)

    @torch.no_grad()
    def _observe(self, values: Tensor) -> None:
        low, high = values.min().clamp(max=0), values.max().clamp(min=0)
        weight = torch.where(self.seen, self.momentum, 1.0)
        self.low.lerp_(low, weight)
        self.high.lerp_(high, weight)
        self.seen.fill_(True)


def simulate_int8_(model: SymptomModel) -> int:
    """Make every linear layer but the label query a `FakeQuantLinear`; returns how many there are."""
    linears = [
        (name, module)
        for name, module in model.named_modules()
        if type(module) is nn.Linear and name != "head.query"
    ]
    for name, module in linears:
        replace_module_(model, name, FakeQuantLinear(module))
    return len(linears)


def settle_weights_(model: SymptomModel) -> None:
    """Turn every `FakeQuantLinear` into a plain linear layer with its rounded weights, as published."""
    for name, module in list(model.named_modules()):
        if isinstance(module, FakeQuantLinear):
            plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            plain.weight.data = module.rounded_weight().detach().clone()
            if module.bias is not None:
                plain.bias.data = module.bias.data.clone()
            replace_module_(model, name, plain)
