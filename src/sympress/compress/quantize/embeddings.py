"""Embedding tables in 8 or 4 bits with a scale for every row: a rare word does not pay for a loud one."""

from __future__ import annotations

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from sympress.compress.quantize.simulate import fake_quantize
from sympress.errors import InputError

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
    four = constant(model, "nibble_shift", np.array(4, dtype=np.uint8))
    fifteen = constant(model, "nibble_mask", np.array(15, dtype=np.uint8))
    halves = f"{name}_nibbles" if width % 2 == 0 else f"{name}_padded"
    nodes = [
        helper.make_node("BitwiseAnd", [f"{name}_stored", fifteen], [f"{name}_low"]),
        helper.make_node("BitShift", [f"{name}_stored", four], [f"{name}_high"], direction="RIGHT"),
        helper.make_node("Concat", [f"{name}_low", f"{name}_high"], [halves], axis=-1),
    ]
    if width % 2:
        bounds = [
            constant(model, f"nibble_{what}", np.array([value]))
            for what, value in (("start", 0), (f"end_{width}", width), ("axis", -1))
        ]
        nodes.append(helper.make_node("Slice", [halves, *bounds], [f"{name}_nibbles"]))
    return nodes


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
