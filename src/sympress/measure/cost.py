"""Cost of a deployed ONNX file: bytes, weights, multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class WeightCounts:
    """Numbers stored in a model file, and how many of them are not zero."""

    parameters: int
    nonzero_parameters: int


def count_weights(path: Path) -> WeightCounts:
    """Count the weights of the ONNX file itself: floats, and int8 with scales and zero points aside.

    Scalars and shape constants (int64) are not weights. An int8 weight that was rounded to zero counts
    as zero.
    """
    import onnx

    total = nonzero = 0
    tensors = onnx.load(path).graph.initializer
    zeros = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors if _is_scale(tensor.name)}
    for tensor in tensors:
        kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        if tensor.data_type not in kinds or not tensor.dims or _is_scale(tensor.name):
            continue
        values = onnx.numpy_helper.to_array(tensor)
        total += values.size
        zero = zeros.get(tensor.name.removesuffix("_quantized") + "_zero_point", np.zeros(1))
        # an int8 tensor with one zero point stores it where the weight is zero; one a channel is always 0
        nonzero += int(np.count_nonzero(values != zero.item() if zero.size == 1 else values))
    return WeightCounts(total, nonzero)


def _is_scale(name: str) -> bool:
    return name.endswith(("_scale", "_scales", "_zero_point"))
