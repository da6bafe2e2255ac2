"""Whether signed 8-bit weights are multiplied exactly here: asked of the runtime, not of the CPU's name."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

#: Inputs of a sum and outputs of the product that is tried; rows as of one token and of a note.
_INPUTS, _OUTPUTS, _ROWS = 64, 16, (1, 16)
_LARGEST = (255, 127)  # of an unsigned input, of a signed weight


@cache
def full_range_is_exact() -> bool:
    """True if the runtime multiplies unsigned inputs by signed weights of all 8 bits without saturating.

    x86 without VNNI adds pairs of products in 16 bits (`pmaddubsw`): 2 · 255 · 127 is cut to 32,767, about
    half of what it should be, while weights of at most 64, `reduce_range`, always fit: 2 · 255 · 64 =
    32,640. Kernels with VNNI and those of ARM add in 32 bits. The largest product there is is computed
    once a process, for one row and for several, which have kernels of their own; False if it cannot be.
    """
    inputs, weight = _LARGEST
    try:
        session = onnxruntime.InferenceSession(
            _product(np.full((_INPUTS, _OUTPUTS), weight, dtype=np.int8)), providers=["CPUExecutionProvider"]
        )
        answers = [
            session.run(None, {"x": np.full((rows, _INPUTS), inputs, dtype=np.uint8)})[0] for rows in _ROWS
        ]
    except Exception:  # the runtime's errors have no common base of their own
        return False
    return all(bool((answer == _INPUTS * inputs * weight).all()) for answer in answers)


def _product(weight: np.ndarray) -> bytes:
    """An ONNX file that multiplies `x` `(rows, in)` of 0..255 by `weight` `(in, out)` in integers."""
    columns, outputs = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", columns])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", outputs])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    serialized: bytes = model.SerializeToString()
    return serialized
