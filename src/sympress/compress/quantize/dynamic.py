"""Int8 that runs as int8: weights and embeddings of an ONNX file, activations quantized as they come."""

from __future__ import annotations

import logging
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic


def quantize_onnx(source: Path, target: Path, *, reduce_range: bool) -> None:
    """Write `source` with int8 weights to `target`.

    Linear layers use signed int8 per output channel (Jacob et al. 2018) and become MatMulInteger;
    embeddings are stored as int8 and scaled after the look-up. `reduce_range` uses 7 bits, so that AVX2
    kernels, which add pairs of products in 16 bits, do not saturate; a CPU with VNNI does not need it.
    """
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # onnxruntime advises shape inference, which dynamic shapes do without
    try:
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
            per_channel=True,
            reduce_range=reduce_range,
            weight_type=QuantType.QInt8,
        )
    finally:
        logger.setLevel(level)


def cpu_has_vnni() -> bool:
    """True if this CPU multiplies int8 without 16-bit saturation (Linux only; False when unknown)."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "vnni" in flags
