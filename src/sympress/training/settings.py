"""How a model is trained: the settings of one training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TrainSettings:
    """How to train. Rates are AdamW's; the head learns `head_rate_ratio` times faster than the encoder.

    `select` keeps the `last` epoch, the `best` on validation notes, or the `average` of the weights after
    each epoch of the second half.
    """

    epochs: int = 5
    batch_size: int = 16
    learning_rate: float = 3e-5
    head_rate_ratio: float = 1.0
    weight_decay: float = 0.01
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup_share: float = 0.0
    clip_norm: float = 1.0
    seed: int = 0
    select: Literal["last", "best", "average"] = "last"
    save_steps: int = 400
