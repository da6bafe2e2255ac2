"""What is settled on validation notes once a model is made, and how good it is beside its teacher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compression.recipe.material import Material
from sympress.errors import InputError
from sympress.evaluation.cost import ROUNDS, by_index, pick_timed, time_in_turn
from sympress.evaluation.probabilities import choose_thresholds, fit_platt, fit_temperature
from sympress.evaluation.quality import score_quality
from sympress.evaluation.significance import estimate, micro_f1, outcome_counts, resample_weights
from sympress.labels.mentions import Mention
from sympress.labels.task import task_of
from sympress.results import Quality
from sympress.runtime.artifact import (
    Calibration,
    read_extractor,
    write_checksums,
    write_extractor,
)
from sympress.runtime.extractor import Extractor
from sympress.runtime.session import Runtime
from sympress.runtime.tokens import Pieces, note_logits
from sympress.studies.costs import INT8, PYTORCH, Yardstick
from sympress.training.epochs import Scorer
from sympress.training.tagging import choose_span_bias

# What is settled on validation notes once a model is made: thresholds, and how its logits are calibrated.
#
# Predictions are stored uncalibrated, and a row says how they are calibrated: rows from before there was a
# calibration have none, and their thresholds belong to uncalibrated probabilities.


Probabilities = NDArray[np.float64]
#: Parts of the validation notes, each judged by what the others choose, how often they are cut anew, and
#: how often notes are drawn anew for the interval of the difference.
PARTS, REPEATS, RESAMPLES = 5, 4, 1000
#: Pairs of draws of the validation notes by which chance is told.
DRAWS = 10
KEPT = "thresholds and calibration are the teacher's: it answers nearly as that does"


@dataclass(frozen=True)
class OperatingPoint:
    """What follows from validation notes.

    Attributes:
        thresholds: `(K,)` of calibrated probabilities; None for `topic`.
        calibration: None where the model is taken as it is.
        kept: whether both are the teacher's, see `choose_beside_teacher`.
    """

    thresholds: NDArray[np.float64] | None
    calibration: Calibration | None
    kept: bool = False

    def apply(self, task: str, probabilities: Probabilities) -> Probabilities:
        """Return uncalibrated probabilities `(notes, K)` calibrated."""
        return calibrated(task, probabilities, self.calibration)

    def as_json(self) -> dict[str, Any]:
        """The keys of `extractor.json` and of a row."""
        cuts, calibration = self.thresholds, self.calibration
        return {
            "thresholds": None if cuts is None else [float(cut) for cut in cuts],
            "calibration": None if calibration is None else calibration.model_dump(),
        }


def choose_operating_point(
    task: str, probabilities: Probabilities, targets: NDArray[np.uint8], *, calibrate: bool = True
) -> OperatingPoint:
    """Fit the calibration and choose thresholds on validation notes.

    Thresholds are chosen on uncalibrated probabilities and calibrated with them; what the calibrated model
    expects counts in the choice (`choose_thresholds`).

    Args:
        task: `present` gets thresholds and a line a symptom, `topic` one temperature.
        probabilities: `(notes, K)`, uncalibrated, on validation notes.
        targets: `(notes, K)` 0 or 1.
        calibrate: False leaves probabilities as they are; so does `calibrates`' protocol.
    """
    calibration = fit_calibration(task, probabilities, targets) if calibrate else None
    if not task_of(task).has_thresholds:
        return OperatingPoint(None, calibration)
    expected = None if calibration is None else calibrated(task, probabilities, calibration)
    cuts = choose_thresholds(probabilities, targets, expected)
    return OperatingPoint(calibrated(task, cuts, calibration), calibration)


def choose_beside_teacher(
    task: str,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    teacher: Probabilities,
    *,
    calibrate: bool = True,
) -> OperatingPoint:
    """The same for a pressed model: its teacher's where it answers nearly as that does, else its own.

    That is where the two, both with the teacher's thresholds, differ in no more answers than the teacher
    itself does when it chooses them on two draws of the validation notes, the mean of `DRAWS` pairs: what
    such notes choose anew moves more answers than pressing did. Even there its own are taken if they are
    clearly better on validation notes that did not choose, `PARTS` times in each of `REPEATS` cuts: the
    interval of what they add to micro-F1 has to lie above 0.

    Args:
        task: the teacher's are kept for `present` alone, whose thresholds they are about.
        probabilities: of the pressed model, `(notes, K)`, uncalibrated, on validation notes.
        targets: `(notes, K)` 0 or 1.
        teacher: the teacher's probabilities of the same notes, uncalibrated.
        calibrate: as in `choose_operating_point`.
    """
    choose = partial(choose_operating_point, task, calibrate=calibrate)
    own = choose(probabilities, targets)
    if not task_of(task).has_thresholds:
        return own
    kept = replace(choose(teacher, targets), kept=True)
    differing = np.mean(_answers(task, kept, probabilities) != _answers(task, kept, teacher))
    if differing > _moved_by_chance(task, choose, teacher, targets):
        return own
    return own if _clearly_better(task, choose, probabilities, targets, teacher) else kept


#: Probabilities `(notes, K)` and targets of some notes -> what they choose.
_Choose = Callable[[Probabilities, NDArray[np.uint8]], OperatingPoint]


def _moved_by_chance(
    task: str, choose: _Choose, probabilities: Probabilities, targets: NDArray[np.uint8]
) -> float:
    """Share of answers that a model changes when other notes, drawn with replacement, choose for it."""
    shares = []
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        one, other = (
            _answers(task, choose(probabilities[rows], targets[rows]), probabilities)
            for rows in random.integers(0, len(targets), (2, len(targets)))
        )
        shares.append(np.mean(one != other))
    return float(np.mean(shares))


def _clearly_better(
    task: str,
    choose: _Choose,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    teacher: Probabilities,
) -> bool:
    """Whether what a model chooses for itself beats what its teacher chose, on notes that did not choose."""
    truth = targets.astype(bool)
    counts = [np.zeros((len(targets), 3 * targets.shape[1])) for _ in range(2)]
    for repeat in range(REPEATS):
        order = np.random.default_rng(repeat).permutation(len(targets))
        for part in range(PARTS):
            judging = np.zeros(len(targets), dtype=bool)
            judging[order[part::PARTS]] = True
            for way, chosen_by in zip(counts, (probabilities, teacher), strict=True):
                chosen = choose(chosen_by[~judging], targets[~judging])
                way[judging] += outcome_counts(_answers(task, chosen, probabilities[judging]), truth[judging])
    gains = []
    for weights in resample_weights(np.arange(len(targets)), 0, RESAMPLES):
        own_f1, kept_f1 = (micro_f1(weights.astype(np.float64) @ way) for way in counts)
        gains.append(own_f1 - kept_f1)
    return (estimate(np.concatenate(gains)).low or 0.0) > 0


def _answers(task: str, operating_point: OperatingPoint, probabilities: Probabilities) -> NDArray[np.bool_]:
    """What `operating_point` answers from uncalibrated probabilities."""
    return task_of(task).affirmed(operating_point.apply(task, probabilities), operating_point.thresholds)


def fit_calibration(task: str, probabilities: Probabilities, targets: NDArray[np.uint8]) -> Calibration:
    """A line a symptom for `present` (Platt), one temperature for `topic`; `(notes, K)` each."""
    logits = task_of(task).logits(probabilities)
    if not task_of(task).exclusive:
        slopes, shifts = fit_platt(logits, targets)
    else:
        symptoms = probabilities.shape[1]
        slopes, shifts = np.full(symptoms, 1 / fit_temperature(logits, targets)), np.zeros(symptoms)
    return Calibration(a=slopes.tolist(), b=shifts.tolist())


def calibrates(protocol: str) -> bool:
    """Whether studies under `protocol` calibrate: the published study did not."""
    return protocol != "paper"


def calibrated(task: str, probabilities: Probabilities, calibration: Calibration | None) -> Probabilities:
    """Return probabilities `(..., K)` calibrated, or as they are."""
    if calibration is None:
        return probabilities
    return calibration.apply(task_of(task).logits(probabilities), task=task)


def stored_settled(row: dict[str, Any]) -> OperatingPoint:
    """What a row of a run folder says was settled; rows of older versions have no calibration."""
    cuts, stored = row.get("thresholds"), row.get("calibration")
    return OperatingPoint(
        None if cuts is None else np.array(cuts, dtype=np.float64),
        None if stored is None else Calibration.model_validate(stored),
    )


# How good and how costly a pressed artifact is beside its teacher, as PyTorch and as int8.
#
# Validation notes settle thresholds and calibration of a model of whole notes (`judge`), and the bias
# towards spans of a tagger (`judge_spans`).


PRESSED = "pressed"

NoteProbabilities = NDArray[np.float64]
Thresholds = NDArray[np.float64] | None


@dataclass(frozen=True)
class Judged:
    """What validation notes say of a model.

    Attributes:
        operating_point: its thresholds and calibration; neither of a tagger.
        f1: micro for `present`, macro for `topic`, of exact spans for `mentions`.
        probabilities: `(notes, K)`, uncalibrated; none of a tagger.
        span_bias: of a tagger; None of a model of whole notes.
    """

    operating_point: OperatingPoint
    f1: float
    probabilities: NoteProbabilities
    span_bias: float | None = None

    def write(self, artifact: Path) -> None:
        """Put what was settled into the `extractor.json` of `artifact`, and list its files anew."""
        point = self.operating_point
        update: dict[str, Any] = {"span_bias": self.span_bias}
        if self.span_bias is None:
            update = {"thresholds": point.as_json()["thresholds"], "calibration": point.calibration}
        write_extractor(artifact, read_extractor(artifact).model_copy(update=update))
        write_checksums(artifact)


def judge(
    task: str,
    probabilities: NoteProbabilities,
    targets: NDArray[np.uint8],
    symptoms: Sequence[str],
    *,
    calibrate: bool = True,
    teacher: NoteProbabilities | None = None,
    kept: OperatingPoint | None = None,
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
        operating_point = kept
    elif teacher is None:
        operating_point = choose_operating_point(task, probabilities, targets, calibrate=calibrate)
    else:
        operating_point = choose_beside_teacher(task, probabilities, targets, teacher, calibrate=calibrate)
    answered = operating_point.apply(task, probabilities)
    f1 = headline_f1(task, answered, targets, symptoms, operating_point.thresholds)
    return Judged(operating_point, f1, probabilities)


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
    return Judged(OperatingPoint(None, None), f1, np.zeros((len(gold), 0)), span_bias=bias)


def judge_file(
    runtime: Runtime,
    texts: Sequence[str],
    material: Material,
    *,
    calibrate: bool = True,
    teacher: NoteProbabilities | None = None,
    kept: OperatingPoint | None = None,
) -> Judged:
    """What validation notes settle of a deployed file of any task, and its F1 there.

    Args:
        runtime: the file.
        texts: of the validation notes.
        material: their labels.
        calibrate: as in `judge`, of whole notes; so are
        teacher: and
        kept: what there is of a teacher.
    """
    if material.tagging is not None:
        answers = [(*answer_note(runtime, text), text) for text in texts]
        return judge_spans(answers, material.tagging.validation, material.tagging.tags)
    answer, task = answerer(runtime), material.task
    probabilities = task_of(task).probabilities(np.concatenate([answer(text) for text in texts]))
    return judge(
        task,
        probabilities,
        material.validation_targets,
        runtime.extractor.symptoms,
        calibrate=calibrate,
        teacher=teacher,
        kept=kept,
    )


def headline_f1(
    task: str,
    probabilities: NoteProbabilities,
    targets: NDArray[np.uint8],
    symptoms: Sequence[str],
    thresholds: Thresholds,
) -> float:
    """Micro-F1 of the task `present`, macro-F1 of `topic`; 0 where it is undefined."""
    quality = score_quality(task, probabilities, targets, symptoms, thresholds=thresholds, resamples=0)
    return (quality.micro_f1 or quality.f1).value or 0.0


def epoch_score(
    task: str, logits: NDArray[np.float32], targets: NDArray[np.uint8], symptoms: Sequence[str]
) -> tuple[float, Quality]:
    """What an epoch is chosen by, from validation logits `(notes, K)`, and all quality numbers.

    Macro-F1 for `topic`. For `present` the mean average precision, which needs no threshold: thresholds are
    chosen once training is over, and F1 at 0.5 favours epochs that are merely surer of themselves. 0 where
    it is undefined.
    """
    quality = score_quality(task, task_of(task).probabilities(logits), targets, symptoms, resamples=0)
    return (quality.average_precision or quality.f1).value or 0.0, quality


def scorer_of(material: Material, symptoms: Sequence[str]) -> Scorer:
    """What chooses an epoch by validation logits of whole notes (`epoch_score`); spans have their own."""

    def score(logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        return epoch_score(material.task, logits, material.validation_targets, symptoms)[0], {}

    return score


def epoch_score_name(task: str) -> str:
    """What `epoch_score` returns for `task`, in words."""
    return "average precision" if task_of(task).has_thresholds else "F1"


def answer_note(runtime: Runtime, text: str) -> tuple[NDArray[np.float32], Pieces]:
    """Logits `(pieces, tags)` of a whole note from the deployed file, and its pieces."""
    pieces = runtime.pieces(text, offsets=True)
    run = runtime.logits_of
    return note_logits(pieces, runtime.specials, room=runtime.room, stride=runtime.stride, run=run), pieces


def predict_mentions(artifact: Path, texts: Sequence[str], *, threads: int = 1) -> list[tuple[Mention, ...]]:
    """The mentions of each text, by the deployed file; offsets count characters of `texts`.

    Raises:
        InputError: the artifact is damaged or of another task.
    """
    extractor = Extractor.load(artifact, threads=threads)
    if not task_of(extractor.task).finds_spans:
        raise InputError(f"{artifact}: its task is {extractor.task!r}, which finds no spans; give a tagger")
    return [
        tuple(Mention(one.start, one.end, one.symptom, one.assertion, one.score) for one in result.mentions)
        for result in extractor(texts)
    ]


def answerer(runtime: Runtime) -> Callable[[str], NDArray[np.float32]]:
    """Text of a note -> logits `(1, K)`; `(pieces, tags)` of a tagger."""
    if task_of(runtime.extractor.task).finds_spans:
        return lambda text: answer_note(runtime, text)[0]
    return lambda text: runtime.predict_logits([text])


def predict_yardstick(yardstick: Yardstick, texts: Sequence[str]) -> NoteProbabilities:
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
    models |= by_index(yardsticks, picked)
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
