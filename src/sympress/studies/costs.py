"""What each row costs: all timed in one run, in turn, beside PyTorch and a plain int8 export."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quantize_dynamic

from sympress.compression.export import count_weights
from sympress.compression.quantize.kernels import quietly
from sympress.evaluation.cost import peak_memory_bytes, rates_in_turn, time_in_turn
from sympress.files import atomic_path
from sympress.models.model import load_model
from sympress.models.tfidf import ReferenceModel
from sympress.results import Cost, YardstickCost
from sympress.runtime.session import Runtime, to_probabilities
from sympress.runtime.tokens import window_spans

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


# What each deployed row costs: every row timed in one run, in turn, from text to probabilities.


#: Notes that are timed one by one, rounds over them, notes in a batch for throughput, and notes whose peak
#: memory is measured, whatever the task and the command.
TIMED_NOTES = 60
ROUNDS = 3
BATCH = 16
MEMORY_NOTES = 32
#: Only the first seed's artifacts are timed; the others have the same shapes.
TIMED_SEED = 0
#: A row is called smaller, or faster, where it has less than this share of the baseline's bytes, or time.
_SMALLER, _FASTER = 0.98, 0.95


@dataclass(frozen=True)
class Candidate:
    """A row to be timed: an artifact folder, or a reference model in memory with its folder."""

    folder: Path
    reference: ReferenceModel | None
    train_seconds: float
    macs_per_note: int | None


def pick_timed(texts: Sequence[str]) -> list[str]:
    """The notes of `texts` that are timed."""
    return [texts[row] for row in np.random.default_rng(0).permutation(len(texts))[:TIMED_NOTES]]


def compare_costs(cost: Cost, baseline: Cost) -> dict[str, bool]:
    """Whether a row is `smaller` and `faster` than the baseline; one that was not timed is not faster."""
    return {
        "smaller": cost.size_bytes < _SMALLER * baseline.size_bytes,
        "faster": cost.latency_ratio is not None and cost.latency_ratio < _FASTER,
    }


def measure_costs(
    candidates: dict[str, Candidate],
    texts: Sequence[str],
    *,
    baseline: str,
    yardsticks: dict[str, Yardstick],
    threads: int,
) -> tuple[dict[str, Cost], dict[str, YardstickCost]]:
    """Costs of `candidates` and of `yardsticks` over `texts`, all in this run.

    Latency is one note at a time; `notes_per_second` is batched: notes sorted by length, padded within
    batches of 16. Peak memory is that of a fresh process that answers 32 notes.
    """
    picked = pick_timed(texts)
    runtimes = {
        name: Runtime.load(candidate.folder, threads=threads)
        for name, candidate in candidates.items()
        if candidate.reference is None
    }
    single = {name: _one(picked, runtimes.get(name), candidates[name].reference) for name in candidates}
    single |= time_yardsticks(yardsticks, picked)
    timings = time_in_turn(single, len(picked), reference=baseline, also=list(yardsticks), rounds=ROUNDS)
    batched = {name: _batched(picked, runtimes.get(name), candidates[name].reference) for name in candidates}
    rates = rates_in_turn(batched, rounds=ROUNDS)
    costs = {}
    for name, candidate in candidates.items():
        weights = _weights(candidate)
        costs[name] = Cost(
            size_bytes=_size(candidate),
            parameters=weights[0],
            nonzero_parameters=weights[1],
            macs_per_note=candidate.macs_per_note,
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
            latency_ratio=timings[name].ratio,
            latency_ratio_pytorch=timings[name].ratios.get(PYTORCH),
            latency_ratio_int8=timings[name].ratios.get(INT8),
            notes_per_second=rates[name],
            peak_rss_bytes=peak_memory_bytes(candidate.folder, picked[:MEMORY_NOTES]),
            runtime="sympress" if candidate.reference is not None else "onnxruntime",
            threads=threads,
            train_seconds=candidate.train_seconds,
        )
    return costs, {
        name: YardstickCost(
            size_bytes=yardstick.size_bytes,
            latency_ms_p50=timings[name].latency_ms_p50,
            latency_ms_p95=timings[name].latency_ms_p95,
        )
        for name, yardstick in yardsticks.items()
    }


def _one(
    texts: Sequence[str], runtime: Runtime | None, reference: ReferenceModel | None
) -> Callable[[int], object]:
    if runtime is not None:
        return lambda index: runtime.predict([texts[index]])
    if reference is None:
        raise ValueError("a candidate is an artifact or a reference model")
    return lambda index: reference.predict_proba([texts[index]])


def _batched(
    texts: Sequence[str], runtime: Runtime | None, reference: ReferenceModel | None
) -> Callable[[], int]:
    def run() -> int:
        if runtime is None:
            if reference is not None:
                reference.predict_proba(texts)
            return len(texts)
        ids: list[NDArray[np.int64]] = sorted(runtime.encode(texts), key=len)
        for start in range(0, len(ids), BATCH):
            runtime.batch_logits(ids[start : start + BATCH])
        return len(texts)

    return run


def _size(candidate: Candidate) -> int:
    if candidate.reference is not None:
        return candidate.reference.size_bytes
    return (candidate.folder / "model.onnx").stat().st_size


def _weights(candidate: Candidate) -> tuple[int | None, int | None]:
    if candidate.reference is not None:
        return candidate.reference.parameters, candidate.reference.nonzero_parameters
    counts = count_weights(candidate.folder / "model.onnx")
    return counts.parameters, counts.nonzero_parameters
