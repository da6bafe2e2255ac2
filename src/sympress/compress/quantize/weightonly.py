"""Weights stored in 8 or 4 bits by blocks and multiplied with float activations."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from sympress.compress.quantize.dynamic import quantizable_nodes, quietly, write_bare
from sympress.compress.quantize.embeddings import quantize_embeddings_
from sympress.errors import InputError

WEIGHT_BITS = (8, 4)
#: Let the kernel round activations to 8 bits by blocks as well, which is faster than float products.
_ACCURACY_LEVEL = 4


def quantize_weights_only(
    source: Path,
    target: Path,
    *,
    bits: int = 8,
    block: int = 32,
    keep_float: Sequence[str] = (),
    embedding_bits: int = 8,
) -> None:
    """Write `source` to `target` with weights of `bits`, a scale for each `block` inputs of each output.

    A block's grid is symmetric and ends at its largest value (round to nearest). Where outliers ruin the
    rounding of activations, this keeps them; it saves bytes more than time. `Gemm` nodes (the head's) have
    no such kernel and stay float.

    Raises:
        InputError: the runtime has no kernel for `bits`, `block` is no power of two from 16, or
            `keep_float` or `embedding_bits` is unknown.
    """
    _check(bits, block)
    model = onnx.load(source)
    quantizable_nodes(model, keep_float)
    quantize_embeddings_(model, embedding_bits)
    with quietly():
        from onnxruntime.quantization.matmul_nbits_quantizer import (
            DefaultWeightOnlyQuantConfig,
            MatMulNBitsQuantizer,
        )

        config = DefaultWeightOnlyQuantConfig(
            block_size=block, is_symmetric=True, accuracy_level=_ACCURACY_LEVEL, bits=bits
        )
        quantizer = MatMulNBitsQuantizer(model, algo_config=config, nodes_to_exclude=list(keep_float))
        quantizer.process()
    write_bare(quantizer.model.model, target)


def _check(bits: int, block: int) -> None:
    at_hand = weight_only_bits()
    if bits not in at_hand:
        names = " and ".join(str(known) for known in at_hand) or "no"
        raise InputError(
            f"weight-only {bits} bits: onnxruntime {onnxruntime.__version__} "
            f"has kernels for {names} bits here"
        )
    if block < 16 or block & (block - 1):
        raise InputError(f"weight-only block {block}: must be a power of two, at least 16")


@functools.cache
def weight_only_bits() -> tuple[int, ...]:
    """The widths of `WEIGHT_BITS` that this machine's runtime multiplies, found out by trying."""
    return tuple(bits for bits in WEIGHT_BITS if _runs(bits))


def _runs(bits: int) -> bool:
    """Whether a 16 × 16 product with weights of `bits` can be loaded and run."""
    weight = numpy_helper.from_array(np.zeros((16, 1, 2 * bits), dtype=np.uint8), "weight")
    scales = numpy_helper.from_array(np.ones(16, dtype=np.float32), "scales")
    node = helper.make_node(
        "MatMulNBits",
        ["x", "weight", "scales"],
        ["y"],
        domain="com.microsoft",
        K=16,
        N=16,
        bits=bits,
        block_size=16,
    )
    row = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 16]) for name in ("x", "y")]
    graph = helper.make_graph([node], "probe", row[:1], row[1:], [weight, scales])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # a kernel that is missing is an answer here, not an error
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        session.run(None, {"x": np.zeros((1, 16), dtype=np.float32)})
    except Exception:  # the runtime's errors have no common base of their own
        return False
    return True
