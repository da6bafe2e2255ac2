"""What a student imitates: a teacher's probabilities (Hinton, Vinyals, Dean 2015) and its states."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from sympress.labels.labelset import AnyTask
from sympress.training.loss import TOKENS_A_NOTE


def soft_target_loss(
    task: AnyTask, student: Tensor, teacher: Tensor, temperature: float, real: Tensor | None = None
) -> Tensor:
    """KL(teacher ‖ student) at `temperature`, times temperature²; 0 when the logits are equal.

    For `topic` the K logits `(batch, K)` are one distribution; for `present` each is a Bernoulli one and
    the K divergences are summed. For `mentions` the tags `(batch, tokens, tags)` of each token are one; those
    of the `real` tokens `(batch, tokens)` are summed in units of `TOKENS_A_NOTE`, as the label loss sums.
    T² keeps the gradient's size independent of T (Hinton et al., section 2).
    """
    if task == "topic":
        student_log = functional.log_softmax(student / temperature, -1)
        teacher_log = functional.log_softmax(teacher / temperature, -1)
        divergence = functional.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    elif task == "mentions":
        student_log = functional.log_softmax(student / temperature, -1)
        teacher_log = functional.log_softmax(teacher / temperature, -1)
        tokens = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(-1)
        kept = tokens if real is None else tokens * real
        divergence = kept.sum() / (TOKENS_A_NOTE * len(student))
    else:
        positive = torch.sigmoid(teacher / temperature)
        gap = functional.logsigmoid(teacher / temperature) - functional.logsigmoid(student / temperature)
        other = functional.logsigmoid(-teacher / temperature) - functional.logsigmoid(-student / temperature)
        divergence = (positive * gap + (1 - positive) * other).sum(-1).mean()
    return divergence * temperature**2


def hidden_loss(
    student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor, *, normalised: bool = False
) -> Tensor:
    """How far a student's states are from its teacher's over real tokens; 0 when they are equal.

    The mean squared difference (Jiao et al. 2020, TinyBERT, eq. 8) or, `normalised`, the squared distance
    of the states scaled to length 1, within 0..4 (Sun et al. 2019, PKD, eq. 7; they take the first token
    only, we take every one). Both papers add up the layers; we average, so that a weight means the same
    at any depth.

    Args:
        student: one `(batch, tokens, width)` a layer, already projected to the teacher's width.
        teacher: the states to reach, in the same order and of the same shapes.
        attention_mask: `(batch, tokens)`, 0 for padding, which has no influence.
        normalised: compare directions alone.
    """
    real = attention_mask.bool()
    gaps = [
        _states_gap(ours[real].float(), theirs[real].float(), normalised=normalised)
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(gaps).mean()


def _states_gap(student: Tensor, teacher: Tensor, *, normalised: bool) -> Tensor:
    if normalised:
        difference = functional.normalize(student, dim=-1) - functional.normalize(teacher, dim=-1)
        return difference.square().sum(-1).mean()
    return functional.mse_loss(student, teacher)
