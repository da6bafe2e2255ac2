"""Modules that round what they give to 8 bits, in float, as a published study's quantization did."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class OutputRounding(nn.Module):
    """Round values to `levels + 1` steps of `scale` around `zero` (Jacob et al. 2018, eq. 1 and 12).

    q = clamp(round(x / s) + z, 0, levels), result (q - z) s. Both numbers are stored with the model.
    """

    scale: Tensor
    zero: Tensor
    levels: Tensor

    def __init__(self, levels: int = 127) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero", torch.zeros(()))
        self.register_buffer("levels", torch.tensor(float(levels)))

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        steps = torch.round(values * (1 / self.scale)) + self.zero
        return (torch.minimum(steps.clamp(min=0), self.levels) - self.zero) * self.scale


class RoundedLinear(nn.Linear):
    """A linear layer whose output is rounded; shares its parameters with the layer it replaces."""

    def __init__(self, plain: nn.Linear, rounding: OutputRounding | None = None) -> None:
        bias = plain.bias is not None
        super().__init__(plain.in_features, plain.out_features, bias=bias, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.rounding = rounding or OutputRounding()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Linear uses
        """Map `(..., in)` to `(..., out)`."""
        rounded: Tensor = self.rounding(super().forward(input))
        return rounded


class RoundedNorm(nn.LayerNorm):
    """A layer norm whose output is rounded; shares its parameters with the one it replaces."""

    def __init__(self, plain: nn.LayerNorm, rounding: OutputRounding | None = None) -> None:
        super().__init__(plain.normalized_shape, eps=plain.eps, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.rounding = rounding or OutputRounding()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.LayerNorm uses
        """Values of any shape that ends in the normalized one."""
        rounded: Tensor = self.rounding(super().forward(input))
        return rounded


class RoundedEmbedding(nn.Embedding):
    """An embedding whose rows are rounded as they are looked up; shares its table."""

    def __init__(self, plain: nn.Embedding, rounding: OutputRounding | None = None) -> None:
        super().__init__(
            plain.num_embeddings, plain.embedding_dim, padding_idx=plain.padding_idx, device="meta"
        )
        self.weight = plain.weight
        self.rounding = rounding or OutputRounding()

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Embedding uses
        """Rows `(..., width)` of ids `(...)`."""
        rounded: Tensor = self.rounding(super().forward(input))
        return rounded


class RoundedActivation(nn.Module):
    """An activation whose output is rounded."""

    def __init__(self, plain: nn.Module, rounding: OutputRounding | None = None) -> None:
        super().__init__()
        self.plain, self.rounding = plain, rounding or OutputRounding()

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape."""
        rounded: Tensor = self.rounding(self.plain(values))
        return rounded


Rounded = RoundedLinear | RoundedNorm | RoundedEmbedding | RoundedActivation


def with_rounding(plain: nn.Module, rounding: OutputRounding | None = None) -> Rounded:
    """`plain` with its output rounded."""
    if isinstance(plain, nn.Linear):
        return RoundedLinear(plain, rounding)
    if isinstance(plain, nn.LayerNorm):
        return RoundedNorm(plain, rounding)
    if isinstance(plain, nn.Embedding):
        return RoundedEmbedding(plain, rounding)
    return RoundedActivation(plain, rounding)


def restore_rounding_(model: nn.Module, names: set[str]) -> None:
    """Round the outputs of the modules of `model` that a file with the tensors `names` rounds."""
    for name, module in list(model.named_modules()):
        if f"{name}.rounding.scale" in names:
            model.set_submodule(name, with_rounding(module))
