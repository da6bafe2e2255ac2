"""What each row costs: all timed in one run, in turn, beside PyTorch and a plain int8 export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from sympress.compression.quantize.kernels import quantizing
from sympress.evaluation.cost import (
    ROUNDS,
    by_index,
    count_weights,
    peak_memory_bytes,
    pick_timed,
    rates_in_turn,
    time_in_turn,
)
from sympress.files import atomic_path
from sympress.labels.task import task_of
from sympress.models.model import load_model
from sympress.models.tfidf import ReferenceModel
from sympress.results import Cost, YardstickCost
from sympress.runtime.artifact import model_file, model_source
from sympress.runtime.session import SLOWER_FUSED, Runtime, open_session, pooled_logits

# The two yardsticks of every ratio: the teacher in PyTorch, and the best one gets without sympress.


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
    CPU), and runs in a session like those of our own files: what a session leaves out is no gain of a
    recipe. Both read notes through the same tokenizer.

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
    """Text of a note -> probabilities `(1, K)`, from what the artifact reads of it; logits of `mentions`."""
    task = task_of(runtime.extractor.task)

    def answer(text: str) -> object:
        windows = runtime.windows_of(text).windows
        if task.finds_spans:
            return [run(window) for window in windows]
        return task.probabilities(pooled_logits(windows, run))

    return answer


def quantize_plainly(source: Path, target: Path) -> None:
    """ONNX Runtime's own int8: signed, a scale an output channel, 7 bits; embeddings with one scale."""
    with quantizing():
        quantize_dynamic(
            onnx.load(source),
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
    session = open_session(path, threads=threads)
    runtime = Runtime.load(teacher, threads=threads)

    def run(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        row = ids[None]
        logits: NDArray[np.float32] = session.run(
            None, {"input_ids": row, "attention_mask": np.ones_like(row)}
        )[0]
        return logits

    return Yardstick(path.stat().st_size, _over_windows(runtime, run))


# What each deployed row costs: every row timed in one run, in turn, from text to probabilities.


#: Notes in a batch for throughput, and notes whose peak memory is measured, whatever the task.
BATCH = 16
MEMORY_NOTES = 32
#: Only the first seed's artifacts are timed; the others have the same shapes.
TIMED_SEED = 0
#: A row is called smaller, or faster, where it has less than this share of the baseline's bytes, or time.
_SMALLER, _FASTER = 0.98, 0.95


@dataclass(frozen=True)
class Candidate:
    """A row to be timed.

    Attributes:
        folder: of what is deployed.
        row: what the run folder keeps of it.
        answer: text of a note -> its answer.
        answer_all: texts -> their answers, as fast as it goes; None for one note after the other.
        reference: a model beside the encoders; None for an artifact.
        counted: whether a reference has parameters at all.
    """

    folder: Path
    row: Mapping[str, Any]
    answer: Callable[[str], object]
    answer_all: Callable[[Sequence[str]], object] | None = None
    reference: ReferenceModel | None = None
    counted: bool = True

    def rate(self, texts: Sequence[str]) -> Callable[[], int]:
        """What answers all `texts` and returns how many there are."""
        every = self.answer_all or (lambda all_of: [self.answer(text) for text in all_of])

        def run() -> int:
            every(texts)
            return len(texts)

        return run

    def size(self) -> dict[str, Any]:
        """Bytes, parameters and the runtime, as `Cost` has them."""
        counts = count_weights(model_source(self.folder)) if self.reference is None else self.reference
        return {
            "size_bytes": self.reference.size_bytes
            if self.reference
            else model_file(self.folder).stat().st_size,
            "parameters": counts.parameters if self.counted else None,
            "nonzero_parameters": counts.nonzero_parameters if self.counted else None,
            "runtime": "onnxruntime" if self.reference is None else "sympress",
        }


def compare_costs(cost: Cost, baseline: Cost) -> dict[str, bool]:
    """Whether a row is `smaller` and `faster` than the baseline; one that was not timed is not faster."""
    return {
        "smaller": cost.size_bytes < _SMALLER * baseline.size_bytes,
        "faster": cost.latency_ratio is not None and cost.latency_ratio < _FASTER,
    }


def measure_costs(
    candidates: Mapping[str, Candidate],
    texts: Sequence[str],
    *,
    baseline: str,
    yardsticks: Mapping[str, Yardstick],
    threads: int,
) -> tuple[dict[str, Cost], dict[str, YardstickCost]]:
    """Costs of `candidates` and of `yardsticks` over `texts`, all in this run.

    Latency is one note at a time; `notes_per_second` is batched where a row answers batches (`in_batches`).
    Peak memory is that of a fresh process that answers 32 notes.
    """
    picked = pick_timed(texts)
    single = by_index(candidates, picked) | by_index(yardsticks, picked)
    timings = time_in_turn(single, len(picked), reference=baseline, also=list(yardsticks), rounds=ROUNDS)
    rates = rates_in_turn({name: one.rate(picked) for name, one in candidates.items()}, rounds=ROUNDS)
    costs = {
        name: Cost(
            **candidate.size(),
            macs_per_note=candidate.row.get("macs_per_note"),
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
            latency_ratio=timings[name].ratio,
            latency_ratio_pytorch=timings[name].ratios.get(PYTORCH),
            latency_ratio_int8=timings[name].ratios.get(INT8),
            notes_per_second=rates[name],
            peak_rss_bytes=peak_memory_bytes(candidate.folder, picked[:MEMORY_NOTES]),
            threads=threads,
            train_seconds=float(candidate.row.get("train_seconds") or 0.0),
        )
        for name, candidate in candidates.items()
    }
    return costs, {
        name: YardstickCost(
            size_bytes=yardstick.size_bytes,
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
            disabled_optimizers=[] if name == PYTORCH else list(SLOWER_FUSED),
        )
        for name, yardstick in yardsticks.items()
    }


def in_batches(runtime: Runtime) -> Callable[[Sequence[str]], object]:
    """Texts -> nothing, by an artifact of whole notes: windows by length, padded within batches of 16."""

    def run(texts: Sequence[str]) -> None:
        if runtime.extractor.fusion is not None:
            for text in texts:
                runtime.mentions_in(text)
        ids = sorted((window for text in texts for window in runtime.windows_of(text).windows), key=len)
        for start in range(0, len(ids), BATCH):
            runtime.batch_logits(ids[start : start + BATCH])

    return run
