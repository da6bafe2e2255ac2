"""The map from a model's logits to probabilities that can be taken at their word; numpy only.

It is fitted on validation notes (`measure.calibrate`) and stored in `extractor.json`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, field_validator

Floats = NDArray[np.float64]


class Calibration(BaseModel):
    """One line a symptom, `a * logit + b`; every `a` is positive, so the order of notes never changes.

    For `topic` all `a` are one over the temperature and all `b` are 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    a: list[float]
    b: list[float]

    @field_validator("a")
    @classmethod
    def _rising(cls, slopes: list[float]) -> list[float]:
        if not all(slope > 0 for slope in slopes):
            raise ValueError("a slope is not positive")
        return slopes

    def apply(self, logits: ArrayLike, *, task: Literal["topic", "present"] = "present") -> Floats:
        """Return calibrated probabilities of logits `(notes, K)`."""
        return calibrate_probabilities(logits, self.a, self.b, task=task)


def calibrate_probabilities(
    logits: ArrayLike, a: ArrayLike, b: ArrayLike, *, task: Literal["topic", "present"] = "present"
) -> Floats:
    """Return the probabilities of `a * logits + b`: a sigmoid each, or one softmax a note for `topic`.

    Args:
        logits: `(..., K)`, as the model gives them.
        a: `(K,)`, all positive.
        b: `(K,)`.
        task: `topic` for one softmax over the K symptoms.

    Returns:
        `(..., K)` float64.
    """
    moved = np.asarray(a, dtype=np.float64) * np.asarray(logits, dtype=np.float64)
    moved = moved + np.asarray(b, dtype=np.float64)
    if task == "topic":
        raised = np.exp(moved - moved.max(axis=-1, keepdims=True, initial=-np.inf))
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(moved, -700, 700))), dtype=np.float64)


def recover_logits(probabilities: ArrayLike, *, task: Literal["topic", "present"] = "present") -> Floats:
    """Return the logits `(..., K)` that probabilities `(..., K)` came from.

    For `topic` they are right up to a number a note, which a softmax does not see. Probabilities that are
    0 or 1 to the last digit give the largest logit that a float64 can tell from them.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    smallest = np.finfo(np.float64).tiny
    if task == "topic":
        return np.asarray(np.log(np.maximum(shares, smallest)))
    kept = np.clip(shares, smallest, 1 - np.finfo(np.float64).epsneg)
    return np.asarray(np.log(kept) - np.log1p(-kept))
