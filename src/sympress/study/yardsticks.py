"""The two yardsticks of every ratio: the teacher in PyTorch, and the best one gets without sympress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from sympress.compress.quantize.dynamic import quietly
from sympress.deploy.pieces import window_spans
from sympress.deploy.runtime import Runtime, to_probabilities
from sympress.files import atomic_path
from sympress.training.model import load_model

PYTORCH = "pytorch-fp32"
INT8 = "onnx-int8"


@dataclass(frozen=True)
class Yardstick:
    """The uncompressed teacher, run in a way that needs no sympress.

    Attributes:
        size_bytes: of its weights file.
        answer: text of a note -> probabilities.
    """

    size_bytes: int
    answer: Callable[[str], object]


def teacher_yardsticks(teacher: Path, folder: Path, *, threads: int) -> dict[str, Yardstick]:
    """PyTorch fp32, and ONNX Runtime int8 made by its own quantizer, of the artifact `teacher`.

    The int8 file has signed weights, a scale an output channel and 7 bits (safe from saturation on every
    CPU), and runs with the runtime's default optimizations. Both read notes through the same tokenizer.

    Args:
        teacher: the baseline's artifact.
        folder: where the int8 file is kept.
        threads: cores for both.
    """
    return {PYTORCH: _pytorch(teacher, threads), INT8: _int8(teacher, folder / "int8.onnx", threads)}


def _pytorch(teacher: Path, threads: int) -> Yardstick:
    runtime, model = Runtime.load(teacher, threads=threads), load_model(teacher).eval()
    torch.set_num_threads(threads)

    @torch.inference_mode()
    def run(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        row = torch.from_numpy(ids[None])
        logits: NDArray[np.float32] = model(row, torch.ones_like(row)).numpy()
        return logits

    return Yardstick((teacher / "model.safetensors").stat().st_size, _over_windows(runtime, run))


def _over_windows(
    runtime: Runtime, run: Callable[[NDArray[np.int64]], NDArray[np.float32]]
) -> Callable[[str], object]:
    """Text of a note -> probabilities `(1, K)`, its largest logits over the windows; logits of `mentions`.

    Reads as many windows as the artifact does.
    """
    task = runtime.extractor.task

    def answer(text: str) -> object:
        if not runtime.reads_all:
            return to_probabilities(task, run(runtime.encode([text])[0]))
        pieces = runtime.pieces(text, offsets=False)
        spans = window_spans(len(pieces.ids), runtime.room, runtime.stride)
        rows = [run(runtime.specials.surround(pieces.ids[start:end])) for start, end in spans]
        return rows if task == "mentions" else to_probabilities(task, np.max(np.stack(rows), axis=0))

    return answer


def quantize_plainly(source: Path, target: Path) -> None:
    """ONNX Runtime's own int8: signed, a scale an output channel, 7 bits; embeddings with one scale."""
    with quietly():
        quantize_dynamic(
            source,
            target,
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        )


def _int8(teacher: Path, path: Path, threads: int) -> Yardstick:
    if not path.is_file():
        with atomic_path(path) as draft:
            quantize_plainly(teacher / "model.onnx", draft)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    runtime = Runtime.load(teacher, threads=threads)

    def run(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        row = ids[None]
        logits: NDArray[np.float32] = session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row)}
        )[0]
        return logits

    return Yardstick(path.stat().st_size, _over_windows(runtime, run))


def time_yardsticks(
    yardsticks: dict[str, Yardstick], texts: Sequence[str]
) -> dict[str, Callable[[int], object]]:
    """The yardsticks as functions of a note's index, to be timed in turn with everything else."""

    def timed(yardstick: Yardstick) -> Callable[[int], object]:
        return lambda index: yardstick.answer(texts[index])

    return {name: timed(yardstick) for name, yardstick in yardsticks.items()}
