"""How good and how costly a pressed artifact is beside its teacher, as PyTorch and as int8."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.deploy.runtime import Runtime, to_probabilities
from sympress.labels.labelset import Task
from sympress.measure.latency import time_in_turn
from sympress.measure.quality import point_quality
from sympress.results_quality import Quality
from sympress.study.costs import ROUNDS, pick_timed
from sympress.study.settle import Settled, settle, settle_pressed
from sympress.study.yardsticks import INT8, PYTORCH, Yardstick, time_yardsticks

PRESSED = "pressed"

Probabilities = NDArray[np.float64]
Thresholds = NDArray[np.float64] | None


@dataclass(frozen=True)
class Judged:
    """What validation notes say of a model.

    Attributes:
        settled: its thresholds and calibration.
        f1: micro for `present`, else macro.
        probabilities: `(notes, K)`, uncalibrated.
    """

    settled: Settled
    f1: float
    probabilities: Probabilities


def judge(
    task: Task,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    symptoms: Sequence[str],
    *,
    calibrate: bool = True,
    teacher: Probabilities | None = None,
) -> Judged:
    """Settle thresholds and calibration on validation notes and score there.

    Args:
        task: `topic` or `present`.
        probabilities: `(notes, K)`, uncalibrated.
        targets: `(notes, K)` 0 or 1.
        symptoms: the K names.
        calibrate: whether to calibrate.
        teacher: its probabilities of the same notes, of a pressed model.
    """
    if teacher is None:
        settled = settle(task, probabilities, targets, calibrate=calibrate)
    else:
        settled = settle_pressed(task, probabilities, targets, teacher, calibrate=calibrate)
    answered = settled.apply(task, probabilities)
    f1 = headline_f1(task, answered, targets, symptoms, settled.thresholds)
    return Judged(settled, f1, probabilities)


def headline_f1(
    task: Task,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    symptoms: Sequence[str],
    thresholds: Thresholds,
) -> float:
    """Micro-F1 of the task `present`, macro-F1 of `topic`; 0 where it is undefined."""
    quality = point_quality(task, probabilities, targets, symptoms, thresholds=thresholds)
    return (quality.micro_f1 or quality.f1).value or 0.0


def epoch_score(
    task: Task, logits: NDArray[np.float32], targets: NDArray[np.uint8], symptoms: Sequence[str]
) -> tuple[float, Quality]:
    """What an epoch is chosen by, from validation logits `(notes, K)`, and all quality numbers.

    Macro-F1 for `topic`. For `present` the mean average precision, which needs no threshold: thresholds are
    chosen once training is over, and F1 at 0.5 favours epochs that are merely surer of themselves. 0 where
    it is undefined.
    """
    quality = point_quality(task, to_probabilities(task, logits), targets, symptoms)
    return (quality.average_precision or quality.f1).value or 0.0, quality


def epoch_score_name(task: Task) -> str:
    """What `epoch_score` returns for `task`, in words."""
    return "average precision" if task == "present" else "F1"


def predict_yardstick(yardstick: Yardstick, texts: Sequence[str]) -> Probabilities:
    """Probabilities `(notes, K)` of a yardstick, one note at a time."""
    return np.concatenate([cast("Probabilities", yardstick.answer(text)) for text in texts])


def time_against(
    folder: Path,
    yardsticks: dict[str, Yardstick],
    texts: Sequence[str],
    *,
    threads: int,
) -> dict[str, dict[str, float]]:
    """Median milliseconds and ratio to both yardsticks, of the artifact and of them, on the same notes."""
    picked = pick_timed(texts)
    runtime = Runtime.load(folder, threads=threads)
    models: dict[str, Callable[[int], object]] = {PRESSED: lambda index: runtime.predict([picked[index]])}
    models |= time_yardsticks(yardsticks, picked)
    cores = torch.get_num_threads()
    torch.set_num_threads(threads)
    timings = time_in_turn(models, len(picked), reference=PYTORCH, also=[INT8], rounds=ROUNDS)
    torch.set_num_threads(cores)
    return {
        name: {
            "latency_ms_p50": timing.latency_ms_p50,
            "latency_ratio": timing.ratio,
            "int8_latency_ratio": timing.ratios[INT8],
        }
        for name, timing in timings.items()
    }
