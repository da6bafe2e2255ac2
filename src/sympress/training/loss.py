"""What training minimises when it learns from labels."""

from __future__ import annotations

from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from sympress.labels.labelset import AnyTask

#: The target of a token that is judged by nothing: a special one, or padding.
IGNORED = -100
#: A window's loss of the task `mentions` is the sum over its tokens in units of as many tokens, so that it
#: is of the size of a note's and does not depend on the windows beside it.
TOKENS_A_NOTE = 128


class Objective(Protocol):
    """What to minimise, from logits; targets and teacher's logits are of the same notes or tokens."""

    def __call__(
        self, logits: Tensor, targets: Tensor, teacher: Tensor | None = None, weights: Tensor | None = None, /
    ) -> Tensor:
        """The mean over the notes of a batch, a scalar; `weights` `(batch,)` multiply each note's loss."""


def note_losses(task: AnyTask, logits: Tensor, targets: Tensor) -> Tensor:
    """The loss of each note `(batch,)`.

    `topic`: cross-entropy over the K symptoms, `present`: binary cross-entropy summed over them; logits and
    targets `(batch, K)`. `mentions`: cross-entropy over the tags, summed over tokens in units of
    `TOKENS_A_NOTE`; logits `(batch, tokens, tags)`, targets `(batch, tokens)` indices or `IGNORED`.
    """
    if task == "topic":
        return functional.cross_entropy(logits, targets, reduction="none")
    if task == "present":
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)
    tokens = functional.cross_entropy(
        logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED
    )  # (batch, tokens)
    return tokens.sum(-1) / TOKENS_A_NOTE


def label_loss(
    task: AnyTask,
    logits: Tensor,
    targets: Tensor,
    _teacher: Tensor | None = None,
    weights: Tensor | None = None,
    /,
) -> Tensor:
    """The mean of `note_losses`, each multiplied by its weight where there are some."""
    losses = note_losses(task, logits, targets)
    return (losses if weights is None else losses * weights).mean()


topic_loss: Objective = partial(label_loss, "topic")
present_loss: Objective = partial(label_loss, "present")
mentions_loss: Objective = partial(label_loss, "mentions")

LABEL_LOSSES: dict[AnyTask, Objective] = {
    "topic": topic_loss,
    "present": present_loss,
    "mentions": mentions_loss,
}


def probabilities(task: AnyTask, logits: Tensor) -> Tensor:
    """Sigmoids for `present`, else a softmax over symptoms or tags; shape as `logits`."""
    return torch.sigmoid(logits) if task == "present" else torch.softmax(logits, -1)


def sample_targets(task: AnyTask, logits: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
    """Targets drawn from what the logits say, in the form of `targets`; an ignored token stays ignored."""
    chances = probabilities(task, logits.detach().cpu().float())
    if task == "present":
        drawn = torch.bernoulli(chances, generator=generator)
    else:
        flat = torch.multinomial(chances.flatten(0, -2), 1, generator=generator).squeeze(1)
        drawn = flat.reshape(chances.shape[:-1])
        if task == "topic":
            drawn = functional.one_hot(drawn, chances.shape[-1])
    drawn = drawn.to(targets.device, targets.dtype)
    return torch.where(targets == IGNORED, targets, drawn) if task == "mentions" else drawn
