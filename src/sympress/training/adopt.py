"""A fine-tuned classifier of transformers as a `SymptomModel` that gives the same logits.

Families differ in what stands between the encoder and the output: BERT and RoBERTa a dense layer and tanh,
DistilBERT a ReLU, ELECTRA and DeBERTa a GELU, ModernBERT a layer norm too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from sympress.errors import InputError, SympressError
from sympress.training.checkpoint import Checkpoint
from sympress.training.heads import HeadForm, Pooling
from sympress.training.model import SymptomModel

#: Largest difference of a logit between the checkpoint and what was made of it.
SAME_LOGITS = 1e-4


@dataclass(frozen=True)
class _Head:
    """The layers of a checkpoint's head, and how states are pooled before them."""

    pooling: Pooling
    form: HeadForm
    output: nn.Linear
    dense: nn.Linear | None = None
    norm: nn.LayerNorm | None = None


#: For each answer the logits of the checkpoint that it is made of, with a factor: one, `((2, 1.0),)`; the
#: difference of two, `((1, 1.0), (0, -1.0))`; or several with the factor 1, whose probabilities are added up.
Rows = Sequence[Sequence[tuple[int, float]]]


def adopt(
    checkpoint: Checkpoint, rows: Rows, notes: Sequence[NDArray[np.int64]]
) -> tuple[SymptomModel, float]:
    """Build the model that answers what `checkpoint` does, and compare the two.

    Args:
        checkpoint: its encoder becomes the model's, and it is of no use afterwards.
        rows: what each answer of the model is made of.
        notes: word-piece ids `(tokens,)` of each note on which the two are compared.

    Returns:
        The model, and the largest difference of a logit.

    Raises:
        InputError: the head is not one that sympress knows.
        SympressError: they differ by more than `SAME_LOGITS`.
    """
    with torch.inference_mode():
        wanted = [_answers(checkpoint.model, note, rows) for note in notes]
        model = _build(checkpoint, rows)
        worst = max(
            (float((_own(model, note) - one).abs().max()) for note, one in zip(notes, wanted, strict=True)),
            default=0.0,
        )
    if not worst <= SAME_LOGITS:
        raise SympressError(
            f"{checkpoint.name}: what was made of it differs by {worst:.2e} in a logit, more than "
            f"{SAME_LOGITS:g}; please report its architecture"
        )
    return model, worst


def _answers(model: PreTrainedModel, note: NDArray[np.int64], rows: Rows) -> Tensor:
    """The checkpoint's answers `(1, K)` or `(1, tokens, K)`."""
    ids = torch.from_numpy(note)[None]
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return torch.stack(
        [
            logits[..., [index for index, _ in row]].logsumexp(dim=-1)
            if _is_sum(row)
            else torch.stack([factor * logits[..., index] for index, factor in row]).sum(dim=0)
            for row in rows
        ],
        dim=-1,
    )


def _own(model: SymptomModel, note: NDArray[np.int64]) -> Tensor:
    ids = torch.from_numpy(note)[None]
    logits: Tensor = model(ids, torch.ones_like(ids))
    return logits


def _is_sum(row: Sequence[tuple[int, float]]) -> bool:
    return len(row) > 1 and all(factor == 1.0 for _, factor in row)


def _build(checkpoint: Checkpoint, rows: Rows) -> SymptomModel:
    head = _read_head(checkpoint)
    parts = [[(one,) for one in row] if _is_sum(row) else [tuple(row)] for row in rows]
    several = any(len(part) > 1 for part in parts)
    form = replace(head.form, groups=tuple(len(part) for part in parts) if several else ())
    encoder: Any = getattr(checkpoint.model, checkpoint.model.base_model_prefix)
    pooling = "token" if checkpoint.kind == "tokens" else head.pooling
    model = SymptomModel(encoder, len(rows), pooling, form)
    with torch.no_grad():
        flat = [one for part in parts for one in part]
        model.head.output.weight.copy_(torch.stack([_mixed(head.output.weight, one) for one in flat]))
        model.head.output.bias.copy_(torch.stack([_mixed(head.output.bias, one) for one in flat]))
        for ours, theirs in ((model.head.dense, head.dense), (model.head.norm, head.norm)):
            if ours is not None and theirs is not None:
                ours.weight.copy_(theirs.weight)
                ours.bias.copy_(theirs.bias if theirs.bias is not None else torch.zeros_like(ours.bias))
    return model.eval()


def _mixed(values: Tensor, parts: Sequence[tuple[int, float]]) -> Tensor:
    return torch.stack([factor * values[index] for index, factor in parts]).sum(dim=0)


def _read_head(checkpoint: Checkpoint) -> _Head:
    model, family = checkpoint.model, checkpoint.model.config.model_type
    try:
        if family == "modernbert":
            return _modernbert_head(model, per_token=checkpoint.kind == "tokens")
        if checkpoint.kind == "tokens":
            return _Head("token", HeadForm(dense=False), _linear(model, "classifier"))
        return _note_head(model, family)
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"{checkpoint.name}: a {type(model).__name__} with a head of another form ({error}); give one as "
            "transformers makes it"
        ) from error


def _note_head(model: PreTrainedModel, family: str) -> _Head:
    dense, activation, output = {
        "bert": ("bert.pooler.dense", "tanh", "classifier"),
        "roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
        "xlm-roberta": ("classifier.dense", "tanh", "classifier.out_proj"),
        "electra": ("classifier.dense", "gelu", "classifier.out_proj"),
        "distilbert": ("pre_classifier", "relu", "classifier"),
        "deberta-v2": ("pooler.dense", getattr(model.config, "pooler_hidden_act", "gelu"), "classifier"),
    }[family]
    form = HeadForm(dense=True, activation=activation)
    return _Head("cls", form, _linear(model, output), dense=_linear(model, dense))


def _modernbert_head(model: PreTrainedModel, *, per_token: bool) -> _Head:
    config, norm = model.config, model.get_submodule("head.norm")
    if not isinstance(norm, nn.LayerNorm):
        raise ValueError("no layer norm")
    form = HeadForm(dense=True, activation=config.classifier_activation, norm_epsilon=norm.eps)
    pooling: Pooling = "token" if per_token else config.classifier_pooling
    return _Head(pooling, form, _linear(model, "classifier"), _linear(model, "head.dense"), norm)


def _linear(model: PreTrainedModel, name: str) -> nn.Linear:
    found = model.get_submodule(name)
    if not isinstance(found, nn.Linear):
        raise ValueError(f"{name} is no linear layer")
    return found
