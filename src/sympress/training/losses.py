"""What training minimises for a task: from labels, from a teacher's logits; and targets drawn from logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from sympress.labels.task import Task, task_of

#: The target of a token that is judged by nothing: a special one, or padding.
IGNORED = -100
#: A window's loss of a task that finds spans is the sum over its tokens in units of as many tokens, so that
#: it is of the size of a note's and does not depend on the windows beside it.
TOKENS_A_NOTE = 128


class Objective(Protocol):
    """What to minimise, from logits; targets and teacher's logits are of the same notes or tokens."""

    def __call__(
        self, logits: Tensor, targets: Tensor, teacher: Tensor | None = None, weights: Tensor | None = None, /
    ) -> Tensor:
        """The mean over the notes of a batch, a scalar; `weights` `(batch,)` multiply each note's loss."""


@dataclass(frozen=True)
class TaskLoss:
    """The losses of a task; itself the `Objective` that learns from labels.

    Logits and targets are `(batch, K)`, targets 0 or 1. Of a task that finds spans logits are
    `(batch, tokens, tags)` and targets `(batch, tokens)` indices of tags or `IGNORED`.
    """

    task: Task

    def __call__(
        self,
        logits: Tensor,
        targets: Tensor,
        _teacher: Tensor | None = None,
        weights: Tensor | None = None,
        /,
    ) -> Tensor:
        """The mean of `of_notes`, each multiplied by its weight where there are some."""
        losses = self.of_notes(logits, targets)
        return (losses if weights is None else losses * weights).mean()

    def of_notes(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each note `(batch,)`.

        Cross-entropy where one answer excludes the others, over symptoms or tags; else binary cross-entropy
        summed over symptoms. Those of tokens are summed in units of `TOKENS_A_NOTE`.
        """
        if self.task.finds_spans:
            tokens = functional.cross_entropy(
                logits.transpose(1, 2), targets, reduction="none", ignore_index=IGNORED
            )  # (batch, tokens)
            return tokens.sum(-1) / TOKENS_A_NOTE
        if self.task.exclusive:
            return functional.cross_entropy(logits, targets, reduction="none")
        return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(-1)

    def probabilities(self, logits: Tensor) -> Tensor:
        """A softmax over symptoms or tags, or a sigmoid each; shape as `logits`."""
        return torch.softmax(logits, -1) if self.task.exclusive else torch.sigmoid(logits)

    def sample(self, logits: Tensor, targets: Tensor, generator: torch.Generator) -> Tensor:
        """Targets drawn from what the logits say, in the form of `targets`; ignored tokens stay ignored."""
        chances = self.probabilities(logits.detach().cpu().float())
        if self.task.exclusive:
            flat = torch.multinomial(chances.flatten(0, -2), 1, generator=generator).squeeze(1)
            drawn = flat.reshape(chances.shape[:-1])
            if not self.task.finds_spans:
                drawn = functional.one_hot(drawn, chances.shape[-1])
        else:
            drawn = torch.bernoulli(chances, generator=generator)
        drawn = drawn.to(targets.device, targets.dtype)
        return torch.where(targets == IGNORED, targets, drawn) if self.task.finds_spans else drawn

    def soft_targets(
        self, student: Tensor, teacher: Tensor, temperature: float, targets: Tensor | None = None
    ) -> Tensor:
        """KL(teacher ‖ student) at `temperature`, times temperature²; 0 when the logits are equal.

        Exclusive answers are one distribution; else each is a Bernoulli one and the K divergences are summed.
        Of spans the tags of each token are one; those of tokens whose target is not `IGNORED` are summed in
        units of `TOKENS_A_NOTE`, as `of_notes` sums. T² keeps the gradient's size independent of T (Hinton,
        Vinyals, Dean 2015, section 2).
        """
        if self.task.exclusive:
            student_log = functional.log_softmax(student / temperature, -1)
            teacher_log = functional.log_softmax(teacher / temperature, -1)
            reduction = "none" if self.task.finds_spans else "batchmean"
            divergence = functional.kl_div(student_log, teacher_log, reduction=reduction, log_target=True)
            if self.task.finds_spans:
                tokens = divergence.sum(-1)
                kept = tokens if targets is None else tokens * (targets != IGNORED)
                divergence = kept.sum() / (TOKENS_A_NOTE * len(student))
        else:
            positive = torch.sigmoid(teacher / temperature)
            gap = functional.logsigmoid(teacher / temperature) - functional.logsigmoid(student / temperature)
            other = functional.logsigmoid(-teacher / temperature) - functional.logsigmoid(
                -student / temperature
            )
            divergence = (positive * gap + (1 - positive) * other).sum(-1).mean()
        return divergence * temperature**2


def loss_of(task: str) -> TaskLoss:
    """The losses of the task called `task`.

    Raises:
        InputError: there is none.
    """
    return TaskLoss(task_of(task))
