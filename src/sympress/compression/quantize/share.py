"""Weights shared by clusters: the file holds a codebook for each matrix, and an index for each weight."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from sympress.compression.quantize import HALF_BYTE
from sympress.compression.quantize.aware import constant, pack_nibbles
from sympress.compression.quantize.codebook import SMALLEST_MATRIX, codebook, nearest_index

#: Operators of linear layers that read unsigned weights.
_TAKES = ("MatMulInteger", "DequantizeLinear")


def share_weights_(model: ModelProto, clusters: int) -> list[str]:
    """Store every integer matrix of `model` as a codebook and indices; returns the matrices' names.

    The first nodes of the graph look the values up again. They depend on no input: the runtime computes them
    once, when it loads the file, and multiplies in int8 as before. Two indices share a byte where the
    codebook has 16 values at most and the matrix an even width.

    Args:
        model: a file of `quantize_onnx` or `quantize_calibrated`, changed in place.
        clusters: values of each codebook, 2 to 256.
    """
    multiplied = {name for node in model.graph.node if node.op_type in _TAKES for name in node.input}
    made: list[NodeProto] = []
    shared = []
    for tensor in list(model.graph.initializer):
        integers = tensor.data_type == TensorProto.INT8 or (
            tensor.data_type == TensorProto.UINT8 and tensor.name in multiplied
        )
        if not integers or len(tensor.dims) != 2 or np.prod(tensor.dims) < SMALLEST_MATRIX:
            continue
        made += _looked_up(model, tensor.name, numpy_helper.to_array(tensor), clusters)
        model.graph.initializer.remove(tensor)
        shared.append(tensor.name)
    nodes = [*made, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return shared


def _looked_up(model: ModelProto, name: str, levels: NDArray[np.integer], clusters: int) -> list[NodeProto]:
    """The nodes that make `name` from its codebook, which `model` holds from now on."""
    book = codebook(levels, clusters)
    indices = nearest_index(levels, book).astype(np.uint8)
    paired = len(book) <= HALF_BYTE and levels.shape[1] % 2 == 0
    stored = f"{name}_pairs" if paired else f"{name}_indices"
    values = pack_nibbles(indices.astype(np.int64) - 8) if paired else indices
    constant(model, stored, values)
    constant(model, f"{name}_codebook", book.astype(levels.dtype))
    nodes = []
    if paired:
        four = constant(model, "nibble_shift", np.array(4, dtype=np.uint8))
        fifteen = constant(model, "nibble_mask", np.array(15, dtype=np.uint8))
        nodes = [
            helper.make_node("BitwiseAnd", [stored, fifteen], [f"{name}_low"]),
            helper.make_node("BitShift", [stored, four], [f"{name}_high"], direction="RIGHT"),
            helper.make_node("Concat", [f"{name}_low", f"{name}_high"], [f"{name}_indices"], axis=1),
        ]
    nodes += [
        helper.make_node("Cast", [f"{name}_indices"], [f"{name}_places"], to=TensorProto.INT32),
        helper.make_node("Gather", [f"{name}_codebook", f"{name}_places"], [name]),
    ]
    for node in nodes:
        node.name = f"node_{node.output[0]}"
    return nodes
