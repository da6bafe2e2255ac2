"""Codebooks of the integers that weights are rounded to: k-means of one dimension, solved exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor

from sympress.compression.quantize import HALF_BYTE

#: Smaller matrices save less than their codebook and its nodes cost.
SMALLEST_MATRIX = 1_024
#: Zero counts as much as this many weights, so that it is a value of its own.
_PINNED = 1e15


def codebook(levels: NDArray[np.integer], clusters: int) -> NDArray[np.int64]:
    """The `clusters` integers, rising, to which `levels` are rounded with the least squared error.

    k-means, as Han et al. 2016 (*Deep Compression*, section 3), of integers: solved exactly over their
    histogram (Wang and Song 2011, *Ckmeans.1d.dp*), so that nothing is drawn. Its values are integers, so
    that products stay those of int8. Zero stays zero where it is a level of a signed type: masked weights
    stay masked.

    Args:
        levels: of any shape, -128..255.
        clusters: how many; fewer come back where there are fewer levels.
    """
    counts = np.bincount(levels.reshape(-1).astype(np.int64) + 128, minlength=384).astype(np.float64)
    values = np.flatnonzero(counts) - 128
    if len(values) <= clusters:
        return values
    weights = counts[values + 128]
    if np.issubdtype(levels.dtype, np.signedinteger):
        weights[values == 0] += _PINNED
    sums = [np.concatenate([[0.0], np.cumsum(weights * values.astype(float) ** power)]) for power in range(3)]
    mass, first, second = (total[None] - total[:, None] for total in sums)  # of values from row to column
    later = np.tri(len(values) + 1, k=-1, dtype=bool).T
    nearest = np.rint(first / np.where(later, mass, 1.0))
    errors = np.where(later, second - 2 * nearest * first + nearest**2 * mass, np.inf)
    best, cuts = errors[0], []
    for _ in range(clusters - 1):
        every = best[:, None] + errors
        cuts.append(every.argmin(0))
        best = every.min(0)
    ends = [len(values)]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    bounds = [0, *reversed(ends)]
    return np.array([nearest[low, high] for low, high in pairwise(bounds)], dtype=np.int64)


def nearest_index(levels: NDArray[np.integer], book: NDArray[np.int64]) -> NDArray[np.intp]:
    """The place in `book` of the value nearest to each level; of two as near the lower one."""
    places: NDArray[np.intp] = np.searchsorted((book[1:] + book[:-1]) / 2, levels, side="left")
    return places


def share_levels(levels: Tensor, clusters: int) -> Tensor:
    """`levels`, whole numbers as floats, each as the value of their codebook that is nearest to it.

    A matrix smaller than `SMALLEST_MATRIX` stays as it is.
    """
    if levels.numel() < SMALLEST_MATRIX:
        return levels.detach()
    whole = levels.detach().cpu().numpy().astype(np.int16)
    book = codebook(whole, clusters)
    return torch.from_numpy(book[nearest_index(whole, book)]).to(levels)


def pack_nibbles(levels: np.ndarray) -> np.ndarray:
    """Levels -8..7 `(rows, width)` as `(rows, ceil(width / 2))` bytes: first half low, second half high."""
    shifted = (levels + 8).astype(np.uint8)
    half = -(-levels.shape[1] // 2)
    low, high = shifted[:, :half], shifted[:, half:]
    high = np.pad(high, ((0, 0), (0, half - high.shape[1])))
    packed: np.ndarray = low | (high << 4)
    return packed


def constant(model: ModelProto, name: str, value: np.ndarray) -> str:
    """`name`, which `model` holds as a constant from now on, as `value` unless it did already."""
    if all(tensor.name != name for tensor in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return name


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
