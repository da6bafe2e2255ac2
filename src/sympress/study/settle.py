"""What is settled on validation notes once a model is made: thresholds, and how its logits are calibrated.

Predictions are stored uncalibrated, and a row says how they are calibrated: rows from before there was a
calibration have none, and their thresholds belong to uncalibrated probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.deploy.artifact import read_extractor, write_extractor
from sympress.deploy.calibration import Calibration, recover_logits
from sympress.labels.labelset import Task
from sympress.measure.calibrate import fit_platt, fit_temperature
from sympress.measure.thresholds import choose_thresholds

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class Settled:
    """What follows from validation notes.

    Attributes:
        thresholds: `(K,)` of calibrated probabilities; None for `topic`.
        calibration: None where the model is taken as it is.
    """

    thresholds: NDArray[np.float64] | None
    calibration: Calibration | None

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
    """Put the thresholds and the calibration into the artifact's `extractor.json`."""
    update = {"thresholds": settled.as_json()["thresholds"], "calibration": settled.calibration}
    write_extractor(artifact, read_extractor(artifact).model_copy(update=update))
