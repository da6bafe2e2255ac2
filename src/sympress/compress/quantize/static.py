"""Int8 with the range of every activation measured beforehand, on a calibration set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from sympress.compress.quantize.calibrate import Calibration, input_ranges
from sympress.compress.quantize.dynamic import quantizable_nodes, quietly, write_bare
from sympress.compress.quantize.embeddings import quantize_embeddings_


class _OneNote(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
    """What onnxruntime wants to see; the ranges that are used are ours."""

    def __init__(self, note: NDArray[np.int64]) -> None:
        self._left = [note[None]]

    def get_next(self) -> dict[str, NDArray[np.int64]] | None:
        if not self._left:
            return None
        ids = self._left.pop()
        return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def quantize_calibrated(
    source: Path,
    target: Path,
    notes: Sequence[NDArray[np.int64]],
    *,
    reduce_range: bool,
    calibration: Calibration = "minmax",
    keep_float: Sequence[str] = (),
    embedding_bits: int = 8,
) -> None:
    """Write `source` to `target` with int8 weights and fixed 8-bit ranges of the linear layers' inputs.

    Weights are signed with a scale an output channel, inputs unsigned with a scale a tensor from the
    calibration `notes` (the pair that x86 kernels multiply fastest); outputs stay float, so that each
    activation is rounded once. Nothing is measured at run time, which saves a pass over each activation;
    a note with larger activations than any of `notes` is clipped. (Onnxruntime's own histograms need
    notes of one length, so the ranges come from `input_ranges`.)

    Args:
        source: an fp32 file of `export_onnx`.
        target: where to write.
        notes: word-piece ids of each calibration note, `(tokens,)`.
        reduce_range: 7 bits a weight, as in `quantize_onnx`.
        calibration: how `input_ranges` chooses a range.
        keep_float: names of linear nodes to leave float.
        embedding_bits: 8 or 4.

    Raises:
        InputError: `notes` is empty, or `calibration`, `keep_float` or `embedding_bits` is unknown.
    """
    model = onnx.load(source)
    nodes = quantizable_nodes(model, keep_float)
    quantize_embeddings_(model, embedding_bits)
    ranges = input_ranges(model, nodes, notes, calibration)
    if not nodes:  # the quantizer reads an empty list as "all"
        write_bare(model, target)
        return
    with quietly():
        quantize_static(
            model,
            target,
            _OneNote(notes[0]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_quantize=list(nodes),
            per_channel=True,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            extra_options={
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                "DedicatedQDQPair": True,  # else residual sums would read rounded activations as well
                "TensorQuantOverrides": {
                    name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
                    for name, (low, high) in ranges.items()
                },
            },
        )
    write_bare(onnx.load(target), target)
