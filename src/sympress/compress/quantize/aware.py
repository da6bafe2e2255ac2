"""Quantization-aware training whose forward pass computes what the deployed int8 file computes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sympress.compress.arch import family_of, layers_of
from sympress.compress.quantize.embeddings import EMBEDDING_BITS, SMALLEST_TABLE, round_rows, row_scales
from sympress.compress.quantize.simulate import fake_quantize
from sympress.errors import InputError
from sympress.training.model import SymptomModel, replace_module_


class QatLinear(nn.Linear):
    """A linear layer with the operands of `MatMulInteger` as `quantize_onnx` deploys it.

    Weights are symmetric with a scale an output channel: s = max|w| / 64 with 7 bits, / 127 with 8.
    Inputs are 0..255 with the range of this very call, zero included, over the whole tensor:
    s = (max - min) / 255, z = round(-min / s) (`DynamicQuantizeLinear` of the ONNX standard). Gradients
    pass straight through. It shares its parameters with the layer it replaces.

    With `first` the file computes the first token alone (`keep_first_`): its range is what counts.
    """

    def __init__(self, linear: nn.Linear, *, reduce_range: bool, first: bool = False) -> None:
        bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias=bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.top, self.first = 64 if reduce_range else 127, first

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Linear uses
        """Map `(..., in)` to `(..., out)` with rounded operands."""
        values = input.float()
        rounded = self.rounded_input(values, values[:, :1] if self.first else values)
        return functional.linear(rounded, self.rounded_weight(), self.bias)

    @staticmethod
    def rounded_input(values: Tensor, measured: Tensor | None = None) -> Tensor:
        """`values` on the 8-bit grid of the range of those that are `measured`, or of their own."""
        within = (values if measured is None else measured).detach()
        low, high = within.amin().clamp(max=0), within.amax().clamp(min=0)
        scale = torch.where(high > low, (high - low) / 255, 1.0)
        return fake_quantize(values, scale, torch.round(-low / scale), 0, 255)

    def rounded_weight(self) -> Tensor:
        """The weight `(out, in)` on its grid."""
        largest = self.weight.detach().abs().amax(1, keepdim=True)
        scale = (largest / self.top).clamp(min=torch.finfo(largest.dtype).tiny)
        return fake_quantize(self.weight, scale, torch.zeros_like(scale), -self.top, self.top)


class QatEmbedding(nn.Embedding):
    """An embedding whose rows are rounded as `quantize_embeddings_` stores them; shares its table."""

    def __init__(self, embedding: nn.Embedding, *, bits: int) -> None:
        super().__init__(
            embedding.num_embeddings,
            embedding.embedding_dim,
            padding_idx=embedding.padding_idx,
            device="meta",
        )
        self.weight = embedding.weight
        self.bits = bits

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Embedding uses
        """Rows `(..., width)` of ids `(...)`; rounding those that are looked up rounds the table."""
        rows = super().forward(input)
        return round_rows(rows, row_scales(rows.detach(), self.bits), self.bits)


def make_aware_(model: SymptomModel, *, reduce_range: bool, embedding_bits: int = 8) -> int:
    """Make linear layers and embeddings of `model` round as the deployed file will; returns how many.

    Train the model as usual, then `settle_aware_` it, export it and `quantize_onnx` it with the same
    `reduce_range` and `embedding_bits`: on one note at a time the file gives the logits that the aware
    model gave in evaluation, on every CPU (`open_session`). Dropout and padded batches make training noisier,
    not different.

    Raises:
        InputError: the model is aware already, or `embedding_bits` is not 8 or 4.
    """
    if embedding_bits not in EMBEDDING_BITS:
        raise InputError(f"embeddings of {embedding_bits} bits: must be one of 8, 4")
    modules = list(model.named_modules())
    if any(isinstance(module, QatLinear | QatEmbedding) for _, module in modules):
        raise InputError("the model is quantization-aware already: settle it before making it so again")
    count, first = 0, _first_alone(model)
    for name, module in modules:
        if type(module) is nn.Linear:
            alone = any(f"{name}.".startswith(f"{part}.") for part in first)
            replace_module_(model, name, QatLinear(module, reduce_range=reduce_range, first=alone))
        elif type(module) is nn.Embedding and module.num_embeddings >= SMALLEST_TABLE:
            replace_module_(model, name, QatEmbedding(module, bits=embedding_bits))
        else:
            continue
        count += 1
    return count


def _first_alone(model: SymptomModel) -> list[str]:
    """The linear layers of which the deployed file computes the first token alone; `keep_first_`."""
    if model.head.pooling != "cls":
        return []
    family = family_of(model.encoder)
    parts = [family.attention_output, family.neurons_in, family.neurons_out]
    if len(family.queries_keys_values) == 3:  # not in one matrix, nor tied to relative positions
        parts.append(family.queries_keys_values[0])
    last = len(layers_of(model.encoder)) - 1
    return [f"encoder.{family.layers}.{last}.{part}" for part in parts]


def settle_aware_(model: SymptomModel) -> None:
    """Turn aware layers into plain ones with the float weights that were learnt, ready for export.

    The weights are not rounded here: `quantize_onnx` rounds them, once, to the grid they were trained on.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, QatLinear):
            linear = nn.Linear(
                module.in_features, module.out_features, bias=module.bias is not None, device="meta"
            )
            linear.weight, linear.bias = module.weight, module.bias
            replace_module_(model, name, linear)
        elif isinstance(module, QatEmbedding):
            embedding = nn.Embedding(
                module.num_embeddings, module.embedding_dim, padding_idx=module.padding_idx, device="meta"
            )
            embedding.weight = module.weight
            replace_module_(model, name, embedding)
