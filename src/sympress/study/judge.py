"""How good and how costly a pressed artifact is beside its teacher, as PyTorch and as int8.

Validation notes settle thresholds and calibration of a model of whole notes (`judge`), and the bias towards
spans of a tagger (`judge_spans`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.deploy.artifact import read_extractor, write_extractor
from sympress.deploy.checksums import write_checksums
from sympress.deploy.pieces import Pieces, window_spans
from sympress.deploy.runtime import Runtime, to_probabilities
from sympress.labels.labelset import Task
from sympress.labels.mentions import Mention
from sympress.measure.latency import time_in_turn
from sympress.measure.quality import point_quality
from sympress.results_quality import Quality
from sympress.study.costs import ROUNDS, pick_timed
from sympress.study.settle import Settled, settle, settle_pressed, write_settled
from sympress.study.tagger import answer_note
from sympress.study.yardsticks import INT8, PYTORCH, Yardstick, time_yardsticks
from sympress.training.tagging import choose_span_bias

PRESSED = "pressed"

Probabilities = NDArray[np.float64]
Thresholds = NDArray[np.float64] | None


@dataclass(frozen=True)
class Judged:
    """What validation notes say of a model.

    Attributes:
        settled: its thresholds and calibration; neither of a tagger.
        f1: micro for `present`, macro for `topic`, of exact spans for `mentions`.
        probabilities: `(notes, K)`, uncalibrated; none of a tagger.
        span_bias: of a tagger; None of a model of whole notes.
    """

    settled: Settled
    f1: float
    probabilities: Probabilities
    span_bias: float | None = None

    def write(self, artifact: Path) -> None:
        """Put what was settled into the `extractor.json` of `artifact`, and list its files anew."""
        if self.span_bias is None:
            write_settled(artifact, self.settled)
            return
        write_extractor(artifact, read_extractor(artifact).model_copy(update={"span_bias": self.span_bias}))
        write_checksums(artifact)


def judge(
    task: Task,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    symptoms: Sequence[str],
    *,
    calibrate: bool = True,
    teacher: Probabilities | None = None,
    kept: Settled | None = None,
) -> Judged:
    """Settle thresholds and calibration on validation notes and score there.

    Args:
        task: `topic` or `present`.
        probabilities: `(notes, K)`, uncalibrated.
        targets: `(notes, K)` 0 or 1.
        symptoms: the K names.
        calibrate: whether to calibrate.
        teacher: its probabilities of the same notes, of a pressed model.
        kept: what is settled already, where nobody labelled the notes.
    """
    if kept is not None:
        settled = kept
    elif teacher is None:
        settled = settle(task, probabilities, targets, calibrate=calibrate)
    else:
        settled = settle_pressed(task, probabilities, targets, teacher, calibrate=calibrate)
    answered = settled.apply(task, probabilities)
    f1 = headline_f1(task, answered, targets, symptoms, settled.thresholds)
    return Judged(settled, f1, probabilities)


def judge_spans(
    answers: Sequence[tuple[NDArray[np.float32], Pieces, str]],
    gold: Sequence[Sequence[Mention]],
    tags: Sequence[str],
) -> Judged:
    """Choose a tagger's bias towards spans on validation notes and score there, by exact spans.

    Args:
        answers: of each note its logits `(pieces, tags)`, its pieces and its text.
        gold: the mentions of each.
        tags: of the tagger.
    """
    bias, f1 = choose_span_bias(answers, gold, tags)
    return Judged(Settled(None, None), f1, np.zeros((len(gold), 0)), span_bias=bias)


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


def answerer(runtime: Runtime) -> Callable[[str], NDArray[np.float32]]:
    """Text of a note -> logits `(1, K)`, the largest over its windows; `(pieces, tags)` of a tagger."""
    if runtime.extractor.task == "mentions":
        return lambda text: answer_note(runtime, text)[0]
    if not runtime.reads_all:
        return lambda text: runtime.predict_logits([text])

    def over_windows(text: str) -> NDArray[np.float32]:
        pieces = runtime.pieces(text, offsets=False)
        spans = window_spans(len(pieces.ids), runtime.room, runtime.stride)
        rows = [runtime.logits_of(runtime.specials.surround(pieces.ids[start:end])) for start, end in spans]
        return np.asarray(np.max(np.stack(rows), axis=0, keepdims=True), dtype=np.float32)

    return over_windows


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
    answer = answerer(Runtime.load(folder, threads=threads))
    models: dict[str, Callable[[int], object]] = {PRESSED: lambda index: answer(picked[index])}
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
