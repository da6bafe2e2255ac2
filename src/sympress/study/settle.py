"""What is settled on validation notes once a model is made: thresholds, and how its logits are calibrated.

Predictions are stored uncalibrated, and a row says how they are calibrated: rows from before there was a
calibration have none, and their thresholds belong to uncalibrated probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.artifact import read_extractor, write_extractor
from sympress.deploy.calibration import Calibration, recover_logits
from sympress.deploy.checksums import write_checksums
from sympress.labels.labelset import Task
from sympress.measure.calibrate import fit_platt, fit_temperature
from sympress.measure.significance import estimate, micro_f1, outcome_counts, resample_weights
from sympress.measure.thresholds import choose_thresholds

Probabilities = NDArray[np.float64]
#: Parts of the validation notes, each judged by what the others choose, how often they are cut anew, and
#: how often notes are drawn anew for the interval of the difference.
PARTS, REPEATS, RESAMPLES = 5, 4, 1000
#: Pairs of draws of the validation notes by which chance is told.
DRAWS = 10
KEPT = "thresholds and calibration are the teacher's: it answers nearly as that does"


@dataclass(frozen=True)
class Settled:
    """What follows from validation notes.

    Attributes:
        thresholds: `(K,)` of calibrated probabilities; None for `topic`.
        calibration: None where the model is taken as it is.
        kept: whether both are the teacher's, see `settle_pressed`.
    """

    thresholds: NDArray[np.float64] | None
    calibration: Calibration | None
    kept: bool = False

    def apply(self, task: Task, probabilities: Probabilities) -> Probabilities:
        """Return uncalibrated probabilities `(notes, K)` calibrated."""
        return calibrated(task, probabilities, self.calibration)

    def as_json(self) -> dict[str, Any]:
        """The keys of `extractor.json` and of a row."""
        cuts, calibration = self.thresholds, self.calibration
        return {
            "thresholds": None if cuts is None else [float(cut) for cut in cuts],
            "calibration": None if calibration is None else calibration.model_dump(),
        }


def settle(
    task: Task, probabilities: Probabilities, targets: NDArray[np.uint8], *, calibrate: bool = True
) -> Settled:
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
    if task != "present":
        return Settled(None, calibration)
    expected = None if calibration is None else calibrated(task, probabilities, calibration)
    cuts = choose_thresholds(probabilities, targets, expected)
    return Settled(calibrated(task, cuts, calibration), calibration)


def settle_pressed(
    task: Task,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    teacher: Probabilities,
    *,
    calibrate: bool = True,
) -> Settled:
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
        calibrate: as in `settle`.
    """
    own = settle(task, probabilities, targets, calibrate=calibrate)
    if task != "present":
        return own
    kept = replace(settle(task, teacher, targets, calibrate=calibrate), kept=True)
    differing = _differing(_answers(kept, probabilities), _answers(kept, teacher))
    if differing > _moved_by_chance(task, teacher, targets, calibrate=calibrate):
        return own
    if _clearly_better(task, probabilities, targets, teacher, calibrate=calibrate):
        return own
    return kept


def _moved_by_chance(
    task: Task, probabilities: Probabilities, targets: NDArray[np.uint8], *, calibrate: bool
) -> float:
    """Share of answers that a model changes when other notes, drawn with replacement, choose for it."""
    shares = []
    for draw in range(DRAWS):
        random = np.random.default_rng(draw)
        one, other = (
            _answers(settle(task, probabilities[rows], targets[rows], calibrate=calibrate), probabilities)
            for rows in random.integers(0, len(targets), (2, len(targets)))
        )
        shares.append(_differing(one, other))
    return float(np.mean(shares))


def _clearly_better(
    task: Task,
    probabilities: Probabilities,
    targets: NDArray[np.uint8],
    teacher: Probabilities,
    *,
    calibrate: bool,
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
                chosen = settle(task, chosen_by[~judging], targets[~judging], calibrate=calibrate)
                way[judging] += outcome_counts(_answers(chosen, probabilities[judging]), truth[judging])
    gains = []
    for weights in resample_weights(np.arange(len(targets)), 0, RESAMPLES):
        own_f1, kept_f1 = (micro_f1(weights.astype(np.float64) @ way) for way in counts)
        gains.append(own_f1 - kept_f1)
    return (estimate(np.concatenate(gains)).low or 0.0) > 0


def _differing(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float(np.mean(one != other))


def _answers(settled: Settled, probabilities: Probabilities) -> NDArray[np.bool_]:
    """What `settled` answers from uncalibrated probabilities, of the task `present`."""
    cuts = 0.5 if settled.thresholds is None else settled.thresholds
    return np.asarray(settled.apply("present", probabilities) >= cuts)


def fit_calibration(task: Task, probabilities: Probabilities, targets: NDArray[np.uint8]) -> Calibration:
    """A line a symptom for `present` (Platt), one temperature for `topic`; `(notes, K)` each."""
    logits = recover_logits(probabilities, task=task)
    if task == "present":
        slopes, shifts = fit_platt(logits, targets)
    else:
        symptoms = probabilities.shape[1]
        slopes, shifts = np.full(symptoms, 1 / fit_temperature(logits, targets)), np.zeros(symptoms)
    return Calibration(a=slopes.tolist(), b=shifts.tolist())


def calibrates(protocol: str) -> bool:
    """Whether studies under `protocol` calibrate: the published study did not."""
    return protocol != "paper"


def calibrated(task: Task, probabilities: Probabilities, calibration: Calibration | None) -> Probabilities:
    """Return probabilities `(..., K)` calibrated, or as they are."""
    if calibration is None:
        return probabilities
    return calibration.apply(recover_logits(probabilities, task=task), task=task)


def stored_settled(row: dict[str, Any]) -> Settled:
    """What a row of a run folder says was settled; rows of older versions have no calibration."""
    cuts, stored = row.get("thresholds"), row.get("calibration")
    return Settled(
        None if cuts is None else np.array(cuts, dtype=np.float64),
        None if stored is None else Calibration.model_validate(stored),
    )


def write_settled(artifact: Path, settled: Settled) -> None:
    """Put the thresholds and the calibration into the artifact's `extractor.json`, and list it anew."""
    update = {"thresholds": settled.as_json()["thresholds"], "calibration": settled.calibration}
    write_extractor(artifact, read_extractor(artifact).model_copy(update=update))
    write_checksums(artifact)
