"""Quantization simulated in training: on the deployed file's grid, and as published."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from sympress.compression.quantize import SMALLEST_MATRIX, codebook, nearest_index
from sympress.errors import InputError
from sympress.models.families import family_of, layers_of
from sympress.models.model import OutputRounding, RoundedLinear, SymptomModel, with_rounding

# Quantization-aware training of linear layers: fake-quantized weights and inputs, never int8 at work.


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
        model.set_submodule(name, FakeQuantLinear(module))
    return len(linears)


def store_rounded_weights_(model: SymptomModel) -> None:
    """Turn every `FakeQuantLinear` into a plain linear layer with its rounded weights."""
    for name, module in list(model.named_modules()):
        if isinstance(module, FakeQuantLinear):
            plain = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            plain.weight.data = module.rounded_weight().detach().clone()
            if module.bias is not None:
                plain.bias.data = module.bias.data.clone()
            model.set_submodule(name, plain)


# Quantization-aware training as the notebook of the published study does it: PyTorch's eager mode.


class ObservedRounding(OutputRounding):
    """Rounds to the range seen so far: a moving average of each batch's least and largest value.

    `FusedMovingAvgObsFakeQuantize` of PyTorch's `fbgemm` configuration: 0..127, zero is in the range. In
    evaluation the range stays; the notebook's moves on with the notes that are scored.
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, momentum: float = 0.01) -> None:
        super().__init__(levels=127)
        self.momentum = momentum
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.bool))

    def forward(self, values: Tensor) -> Tensor:
        """Values of any shape; gradients pass straight through where nothing is clipped."""
        values = values.float()  # mixed precision is too coarse to observe and round in
        if self.training:
            self._observe(values.detach())
        zero = self.zero.to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(values, self.scale, zero, 0, int(self.levels))

    @torch.no_grad()
    def _observe(self, values: Tensor) -> None:
        weight = torch.where(self.seen, self.momentum, 1.0)
        self.low.lerp_(values.min(), weight)
        self.high.lerp_(values.max(), weight)
        self.seen.fill_(True)
        low, high = self.low.clamp(max=0), self.high.clamp(min=0)
        self.scale.copy_(((high - low) / self.levels).clamp(min=torch.finfo(torch.float32).eps))
        self.zero.copy_((-torch.round(low / self.scale)).clamp(min=0).minimum(self.levels))


class EagerLinear(RoundedLinear):
    """A linear layer that computes with int8-rounded weights and rounds its output."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Linear uses
        """Map `(..., in)` to `(..., out)`."""
        rounded: Tensor = self.rounding(functional.linear(input, self.rounded_weight(), self.bias))
        return rounded

    def rounded_weight(self) -> Tensor:
        """The weight on its int8 grid, -128..127 with a scale a row: that of its values of this very step."""
        low, high = self.weight.detach().amin(1), self.weight.detach().amax(1)
        scale = torch.maximum(-low / 128, high / 127).clamp(min=torch.finfo(torch.float32).eps)
        zeros = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(self.weight, scale, zeros, 0, -128, 127)


def simulate_eager_(model: SymptomModel) -> int:
    """Round outputs as the notebook's `prepare_qat` does, and weights of linear layers; how many modules.

    The outputs of linear layers, layer norms and embeddings are rounded to their observed range, that of the
    head's tanh to a fixed one (scale 1/128, 0..255). A head of label attention, which the notebook has not,
    multiplies its weights itself and stays as it is.
    """
    left = {"head.query", "head.output"} if model.head.pooling == "label" else set()
    kinds = (nn.Linear, nn.LayerNorm, nn.Embedding)
    found = [one for one in model.named_modules() if isinstance(one[1], kinds) and one[0] not in left]
    for name, module in found:
        rounding = ObservedRounding()
        linear = isinstance(module, nn.Linear)
        new = EagerLinear(module, rounding) if linear else with_rounding(module, rounding)
        model.set_submodule(name, new)
    if model.head.dense is None or model.head.form.activation != "tanh":
        return len(found)
    fixed = OutputRounding(levels=255)
    fixed.scale.fill_(1 / 128)
    fixed.zero.fill_(128)
    model.head.activation = with_rounding(model.head.activation, fixed)
    return len(found) + 1


def settle_eager_(model: SymptomModel) -> None:
    """Store rounded weights, and the ranges of outputs as they are now: both roundings are deployed."""
    for name, module in list(model.named_modules()):
        rounding = getattr(module, "rounding", None)
        if isinstance(module, EagerLinear):
            with torch.no_grad():
                module.weight.copy_(module.rounded_weight())
        if isinstance(rounding, ObservedRounding):
            final = OutputRounding()
            final.scale.copy_(rounding.scale)
            final.zero.copy_(rounding.zero)
            model.set_submodule(name, with_rounding(module, final))


# Embedding tables in 8 or 4 bits with a scale for every row: a rare word does not pay for a loud one.


EMBEDDING_BITS = (8, 4)
#: Smaller tables (token types) stay float: they save less than the nodes that would unpack them cost.
SMALLEST_TABLE = 16
#: Shares of a row's largest value that 4 bits may clip at; the one with the least squared error is used.
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)


def row_scales(rows: Tensor, bits: int) -> Tensor:
    """The step of each row's grid, `(..., 1)` for rows `(..., width)`; the grid is -top..top times it.

    With 8 bits (top = 127) the largest value of a row is the end of its grid, so no error exceeds half
    a step. With 4 bits (top = 7) the grid may end earlier, where the squared error of the row is least:
    clipping a few large values buys finer steps for the rest (Zhao et al. 2019, OCS, section 3.2).

    Raises:
        InputError: `bits` is neither 8 nor 4.
    """
    if bits not in EMBEDDING_BITS:
        raise InputError(f"embeddings of {bits} bits: must be one of 8, 4")
    top = 2 ** (bits - 1) - 1
    widest: Tensor = (rows.abs().amax(-1, keepdim=True) / top).clamp(min=torch.finfo(rows.dtype).tiny)
    if bits == 8:
        return widest
    best, least = widest, torch.full_like(widest, torch.inf)
    for clip in _CLIPS:
        error = (round_rows(rows, widest * clip, bits) - rows).square().sum(-1, keepdim=True)
        best = torch.where(error < least, widest * clip, best)
        least = torch.minimum(error, least)
    return best


def round_rows(rows: Tensor, scales: Tensor, bits: int) -> Tensor:
    """`rows` `(..., width)` on the grid of their `scales` `(..., 1)`; gradients pass straight through."""
    top = 2 ** (bits - 1) - 1
    return fake_quantize(rows, scales, torch.zeros_like(scales), -top, top)


def pack_nibbles(levels: np.ndarray) -> np.ndarray:
    """Levels -8..7 `(rows, width)` as `(rows, ceil(width / 2))` bytes: first half low, second half high."""
    shifted = (levels + 8).astype(np.uint8)
    half = -(-levels.shape[1] // 2)
    low, high = shifted[:, :half], shifted[:, half:]
    high = np.pad(high, ((0, 0), (0, half - high.shape[1])))
    packed: np.ndarray = low | (high << 4)
    return packed


def quantize_embeddings_(model: ModelProto, bits: int) -> list[str]:
    """Store every embedding table of `model` in `bits` with a scale a row; returns the tables' names.

    A table is a float matrix of at least `SMALLEST_TABLE` rows that is only ever looked up by row. Each
    look-up becomes a look-up of integers and one of their scales, in operators every runtime has.

    Raises:
        InputError: `bits` is neither 8 nor 4.
    """
    done = []
    for name, lookups in embedding_lookups(model).items():
        index = next(i for i, tensor in enumerate(model.graph.initializer) if tensor.name == name)
        rows = torch.from_numpy(numpy_helper.to_array(model.graph.initializer[index]).copy())
        scales = row_scales(rows, bits)
        levels = (rows / scales).round().clamp(-(2 ** (bits - 1) - 1), 2 ** (bits - 1) - 1).numpy()
        stored = levels.astype(np.int8) if bits == 8 else pack_nibbles(levels)
        del model.graph.initializer[index]
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(stored, f"{name}_rounded"),
                numpy_helper.from_array(scales.numpy(), f"{name}_scales"),
            ]
        )
        for lookup in lookups:
            _replace(model, lookup, _unpacked(model, name, lookup, rows.shape[1], bits))
        done.append(name)
    return done


def embedding_lookups(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Table name -> its `Gather` nodes, for the tables that `quantize_embeddings_` stores in integers."""
    tables = {
        tensor.name
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and tensor.dims[0] >= SMALLEST_TABLE
    }
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in tables.intersection(node.input):
            users.setdefault(name, []).append(node)
    return {name: nodes for name, nodes in users.items() if all(looks_up(node, name) for node in nodes)}


def looks_up(node: NodeProto, table: str) -> bool:
    """True if `node` takes rows of `table`."""
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and node.input[0] == table and axis == 0


def _unpacked(model: ModelProto, table: str, lookup: NodeProto, width: int, bits: int) -> list[NodeProto]:
    ids, result = lookup.input[1], lookup.output[0]
    name = f"{result}_rows"
    nodes = [
        helper.make_node("Gather", [f"{table}_rounded", ids], [f"{name}_stored"]),
        helper.make_node("Gather", [f"{table}_scales", ids], [f"{name}_scale"]),
    ]
    levels = f"{name}_stored"
    if bits == 4:
        nodes += _nibbles(model, name, width)
        levels = f"{name}_nibbles"
    nodes.append(helper.make_node("Cast", [levels], [f"{name}_float"], to=TensorProto.FLOAT))
    if bits == 4:
        eight = constant(model, "embedding_zero", np.array(8, dtype=np.float32))
        nodes.append(helper.make_node("Sub", [f"{name}_float", eight], [f"{name}_signed"]))
    nodes.append(helper.make_node("Mul", [nodes[-1].output[0], f"{name}_scale"], [result]))
    for node in nodes:
        node.name = f"node_{node.output[0]}"
    return nodes


def _nibbles(model: ModelProto, name: str, width: int) -> list[NodeProto]:
    """`{name}_stored` `(..., ceil(width / 2))` bytes -> `{name}_nibbles` `(..., width)` of 0..15."""
    halves = f"{name}_nibbles" if width % 2 == 0 else f"{name}_padded"
    nodes = split_bytes(model, f"{name}_stored", name, halves)
    if width % 2:
        bounds = [
            constant(model, f"nibble_{what}", np.array([value]))
            for what, value in (("start", 0), (f"end_{width}", width), ("axis", -1))
        ]
        nodes.append(helper.make_node("Slice", [halves, *bounds], [f"{name}_nibbles"]))
    return nodes


def split_bytes(model: ModelProto, stored: str, name: str, result: str, axis: int = -1) -> list[NodeProto]:
    """The nodes that make `result` of the low, then the high halves of the bytes of `stored`."""
    four = constant(model, "nibble_shift", np.array(4, dtype=np.uint8))
    fifteen = constant(model, "nibble_mask", np.array(15, dtype=np.uint8))
    return [
        helper.make_node("BitwiseAnd", [stored, fifteen], [f"{name}_low"]),
        helper.make_node("BitShift", [stored, four], [f"{name}_high"], direction="RIGHT"),
        helper.make_node("Concat", [f"{name}_low", f"{name}_high"], [result], axis=axis),
    ]


def constant(model: ModelProto, name: str, value: np.ndarray) -> str:
    """`name`, which `model` holds as a constant from now on, as `value` unless it did already."""
    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


def _replace(model: ModelProto, node: NodeProto, replacement: list[NodeProto]) -> None:
    """Put `replacement` where `node` stands, so that the graph stays sorted."""
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    place = next(i for i, other in enumerate(nodes) if list(other.output) == list(node.output))
    nodes[place : place + 1] = replacement
    del model.graph.node[:]
    model.graph.node.extend(nodes)


# Quantization-aware training whose forward pass computes what the deployed int8 file computes.


class QatLinear(nn.Linear):
    """A linear layer with the operands of `MatMulInteger` as `quantize_onnx` deploys it.

    Weights are symmetric with a scale an output channel: s = max|w| / 64 with 7 bits, / 127 with 8.
    Inputs are 0..255 with the range of this very call, zero included, over the whole tensor:
    s = (max - min) / 255, z = round(-min / s) (`DynamicQuantizeLinear` of the ONNX standard). Gradients
    pass straight through. It shares its parameters with the layer it replaces.

    With `first` the file computes the first token alone (`keep_first_token_`): its range is what counts. With
    `clusters` weights take the values of a codebook, found anew in each pass (`share_weights_`).
    """

    def __init__(
        self, linear: nn.Linear, *, reduce_range: bool, first: bool = False, clusters: int | None = None
    ) -> None:
        bias = linear.bias is not None
        super().__init__(linear.in_features, linear.out_features, bias=bias, device="meta")
        self.weight, self.bias = linear.weight, linear.bias
        self.top, self.first, self.clusters = 64 if reduce_range else 127, first, clusters

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
        if self.clusters is not None:
            return self.weight + (shared_rows(self.weight, scale, self.clusters) - self.weight).detach()
        return fake_quantize(self.weight, scale, torch.zeros_like(scale), -self.top, self.top)


def share_levels(levels: Tensor, clusters: int) -> Tensor:
    """`levels`, whole numbers as floats, each as the value of their codebook that is nearest to it.

    A matrix smaller than `SMALLEST_MATRIX` stays as it is.
    """
    if levels.numel() < SMALLEST_MATRIX:
        return levels.detach()
    whole = levels.detach().cpu().numpy().astype(np.int16)
    book = codebook(whole, clusters)
    return torch.from_numpy(book[nearest_index(whole, book)]).to(levels)


def shared_rows(rows: Tensor, scales: Tensor, clusters: int) -> Tensor:
    """`rows` `(n, width)` in 8 bits of their `scales` `(n, 1)`, with the values of one codebook."""
    return share_levels((rows.detach() / scales).round(), clusters) * scales


class QatEmbedding(nn.Embedding):
    """An embedding whose rows are rounded as `quantize_embeddings_` stores them; shares its table.

    With `clusters`, of 8 bits, all rows share the values of a codebook.
    """

    def __init__(self, embedding: nn.Embedding, *, bits: int, clusters: int | None = None) -> None:
        super().__init__(
            embedding.num_embeddings,
            embedding.embedding_dim,
            padding_idx=embedding.padding_idx,
            device="meta",
        )
        self.weight = embedding.weight
        self.bits, self.clusters = bits, clusters if bits == 8 else None

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  the name that nn.Embedding uses
        """Rows `(..., width)` of ids `(...)`; rounding those that are looked up rounds the table."""
        rows = super().forward(input)
        if self.clusters is not None:
            table = self.weight.detach()
            shared = functional.embedding(
                input, shared_rows(table, row_scales(table, self.bits), self.clusters)
            )
            return rows + (shared - rows).detach()
        return round_rows(rows, row_scales(rows.detach(), self.bits), self.bits)


def make_aware_(
    model: SymptomModel, *, reduce_range: bool, embedding_bits: int = 8, clusters: int | None = None
) -> int:
    """Make linear layers and embeddings of `model` round as the deployed file will; returns how many.

    Train the model as usual, then `settle_aware_` it, export it and `quantize_onnx` it with the same
    `reduce_range` and `embedding_bits`, and `share_weights_` of it where there are `clusters`: on one note at
    a time the file gives the logits that the aware model gave in evaluation, on every CPU (`open_session`).
    Dropout and padded batches make training noisier, not different.

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
            aware = QatLinear(module, reduce_range=reduce_range, first=alone, clusters=clusters)
            model.set_submodule(name, aware)
        elif type(module) is nn.Embedding and module.num_embeddings >= SMALLEST_TABLE:
            model.set_submodule(name, QatEmbedding(module, bits=embedding_bits, clusters=clusters))
        else:
            continue
        count += 1
    return count


def _first_alone(model: SymptomModel) -> list[str]:
    """The linear layers of which the deployed file computes the first token alone; `keep_first_token_`."""
    family = family_of(model.encoder)
    if model.head.pooling != "cls" or not family.attention:
        return []
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
            model.set_submodule(name, linear)
        elif isinstance(module, QatEmbedding):
            embedding = nn.Embedding(
                module.num_embeddings, module.embedding_dim, padding_idx=module.padding_idx, device="meta"
            )
            embedding.weight = module.weight
            model.set_submodule(name, embedding)
