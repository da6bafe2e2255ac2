"""What training minimises when it learns from labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sympress.labels.labelset import Task

#: (logits, targets, teacher logits or None), each `(batch, K)` -> scalar loss
Objective = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def topic_loss(logits: Tensor, targets: Tensor, _teacher: Tensor | None = None) -> Tensor:
    """Cross-entropy over the K symptoms; rows of `targets` `(batch, K)` sum to 1."""
    return functional.cross_entropy(logits, targets)


def present_loss(logits: Tensor, targets: Tensor, _teacher: Tensor | None = None) -> Tensor:
    """Binary cross-entropy summed over the K symptoms, averaged over notes."""
    loss = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return loss.sum(-1).mean()


LABEL_LOSSES: dict[Task, Objective] = {"topic": topic_loss, "present": present_loss}


def probabilities(task: Task, logits: Tensor) -> Tensor:
    """Softmax for `topic`, sigmoid for `present`; shape `(batch, K)`."""
    return torch.softmax(logits, -1) if task == "topic" else torch.sigmoid(logits)
