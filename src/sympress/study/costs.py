"""What each deployed row costs: every row timed in one run, in turn, from text to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.probe import peak_memory_bytes
from sympress.deploy.runtime import Runtime
from sympress.measure.cost import count_weights
from sympress.measure.latency import rates_in_turn, time_in_turn
from sympress.measure.reference import ReferenceModel
from sympress.results import Cost, YardstickCost
from sympress.study.yardsticks import INT8, PYTORCH, Yardstick, time_yardsticks

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
