"""Which linear layers int8 harms most: each is quantized alone and the logits compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from sympress.compress.quantize.dynamic import linear_nodes
from sympress.deploy.kernels import open_session
from sympress.errors import InputError


@dataclass(frozen=True)
class LayerError:
    """The mean absolute difference of a logit to the float file when only linear node `name` is int8."""

    name: str
    error: float


def layer_sensitivity(
    source: Path, notes: Sequence[NDArray[np.int64]], *, reduce_range: bool
) -> list[LayerError]:
    """The error of each linear node of the fp32 file `source`, largest first.

    Args:
        source: an fp32 file of `export_onnx`.
        notes: word-piece ids of validation notes, `(tokens,)` each; never of test notes.
        reduce_range: as for `quantize_onnx`.

    Raises:
        InputError: `notes` is empty.
    """
    model = onnx.load(source)
    reference = logits_of(source, notes)
    errors = []
    for name in linear_nodes(model):
        logits = logits_of(_with_one_rounded(model, name, 64 if reduce_range else 127), notes)
        errors.append(LayerError(name, float(np.abs(logits - reference).mean())))
    return sorted(errors, key=lambda layer: -layer.error)


def _with_one_rounded(model: ModelProto, name: str, top: int) -> bytes:
    """`model` with the operands of node `name` on the grids of `quantize_onnx`, multiplied in float.

    The numbers are those of the integer product; nothing is written to disk for it.
    """
    copy = ModelProto()
    copy.CopyFrom(model)
    place, node = next((i, node) for i, node in enumerate(copy.graph.node) if node.name == name)
    values, weight_name = node.input[:2]
    weight = next(tensor for tensor in copy.graph.initializer if tensor.name == weight_name)
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    matrix = numpy_helper.to_array(weight)
    scale = np.abs(matrix).max(axis=1 if transposed else 0, keepdims=True) / np.float32(top)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    rounded = numpy_helper.from_array(np.round(matrix / scale) * scale, "rounded_weight")
    copy.graph.initializer.append(rounded)
    node.input[0], node.input[1] = "rounded_values", "rounded_weight"
    if not any(weight_name in other.input for other in copy.graph.node):
        copy.graph.initializer.remove(weight)
    parts = ["levels", "step", "zero"]
    copy.graph.node.insert(place, helper.make_node("DynamicQuantizeLinear", [values], parts))
    copy.graph.node.insert(place + 1, helper.make_node("DequantizeLinear", parts, ["rounded_values"]))
    serialized: bytes = copy.SerializeToString()
    return serialized


def choose_float(
    sensitivity: Sequence[LayerError], *, count: int | None = None, share: float | None = None
) -> tuple[str, ...]:
    """Names of the `count` most sensitive nodes, or of as few as cause `share` of the summed error.

    Raises:
        InputError: not exactly one of `count` and `share` is given, or it is out of range.
    """
    worst = sorted(sensitivity, key=lambda layer: -layer.error)
    if (count is None) == (share is None):
        raise InputError("layers to keep in float: give either their count or their share of the error")
    if share is not None:
        if not 0 <= share <= 1:
            raise InputError(f"share {share:g} of the error: must be from 0 to 1")
        causes = np.cumsum([0.0, *(layer.error for layer in worst)])
        count = int(np.searchsorted(causes, share * causes[-1]))
    if count is None or not 0 <= count <= len(worst):
        raise InputError(f"{count} layers to keep in float: must be from 0 to {len(worst)}")
    return tuple(layer.name for layer in worst[:count])


def logits_of(model: Path | bytes, notes: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Logits `(notes, K)` of an ONNX file or its content, one note at a time; `(tokens, tags)` of a tagger.

    Raises:
        InputError: `notes` is empty.
    """
    if len(notes) == 0:
        raise InputError("a validation set without notes: there is nothing to compare logits on")
    session = open_session(model, threads=0)
    answers = (
        session.run(None, {"input_ids": note[None], "attention_mask": np.ones_like(note[None])})[0]
        for note in notes
    )
    return np.concatenate([answer.reshape(-1, answer.shape[-1]) for answer in answers])
