"""Heads that turn token states into one logit a symptom, or one a tag for each token.

`cls` is the classification head of Devlin et al. 2019 (dense, tanh, linear on the first token); `mean`
and `maximum` pool over the real tokens; `token` answers for each token (Devlin et al., section 5.3: spans
and what they assert are tags of one linear layer); `label` is the label-wise attention of Mullenbach et
al. 2018 (CAML, eq. 2-4): each symptom looks for its own evidence in the note. A `HeadForm` turns them into
the heads that other families of encoders are fine-tuned with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

Pooling = Literal["cls", "mean", "maximum", "label", "token"]
#: Those that answer for a note as a whole.
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "maximum", "label")


@dataclass(frozen=True)
class HeadForm:
    """What a head has between the pooled states and its output.

    Attributes:
        dense: a dense layer of the states' width, and behind it
        activation: as transformers calls it, and
        norm_epsilon: of a layer norm; None for none.
        groups: how many outputs each answer is made of, next to each other; () for one each. An answer is the
            log of the sum of its outputs' exponentials, so that its probability is the sum of theirs.
    """

    dense: bool
    activation: str = "tanh"
    norm_epsilon: float | None = None
    groups: tuple[int, ...] = ()

    @classmethod
    def of_pooling(cls, pooling: Pooling) -> HeadForm:
        """That of a head which sympress trains."""
        return cls(dense=pooling == "cls")

    @classmethod
    def read(cls, values: dict[str, Any]) -> HeadForm:
        """From JSON."""
        return cls(**{**values, "groups": tuple(values["groups"])})


class SymptomHead(nn.Module):
    """Pool `(batch, tokens, hidden)` states and map them to `(batch, symptoms)` logits.

    With the pooling `token` nothing is pooled: logits are `(batch, tokens, tags)`.
    """

    def __init__(
        self,
        hidden: int,
        symptoms: int,
        pooling: Pooling,
        dropout: float = 0.1,
        form: HeadForm | None = None,
    ) -> None:
        super().__init__()
        self.pooling, self.form = pooling, form or HeadForm.of_pooling(pooling)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, sum(self.form.groups) or symptoms)
        self.dense = nn.Linear(hidden, hidden) if self.form.dense else None
        self.activation = ACT2FN[self.form.activation]
        epsilon = self.form.norm_epsilon
        self.norm = None if epsilon is None else nn.LayerNorm(hidden, eps=epsilon)
        self.query = nn.Linear(hidden, symptoms, bias=False) if pooling == "label" else None
        for linear in (self.output, self.dense, self.query):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    @property
    def answers(self) -> int:
        """How many logits it gives."""
        return len(self.form.groups) or self.output.out_features

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits `(batch, symptoms)`, or `(batch, tokens, tags)`; tokens with mask 0 have no influence."""
        if self.query is not None:
            return self._label_attention(states, attention_mask, self.query)
        pooled = states if self.pooling == "token" else self._pool(states, attention_mask)
        if self.dense is not None:
            pooled = self.activation(self.dense(pooled))
        if self.norm is not None:
            pooled = self.norm(pooled)
        logits: Tensor = self.output(self.dropout(pooled))
        if not self.form.groups:
            return logits
        parts = logits.split(self.form.groups, dim=-1)
        return torch.stack([part.logsumexp(dim=-1) for part in parts], dim=-1)

    def _pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]
        mask = attention_mask.unsqueeze(-1).to(states.dtype)  # (batch, tokens, 1)
        if self.pooling == "mean":
            return (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
        largest: Tensor = (states + (mask - 1.0) * 1e4).amax(1)
        return largest

    def _label_attention(self, states: Tensor, attention_mask: Tensor, query: nn.Linear) -> Tensor:
        scores = query(states) + (attention_mask.unsqueeze(-1).to(states.dtype) - 1.0) * 1e4
        weights = scores.softmax(dim=1)  # (batch, tokens, symptoms)
        evidence = self.dropout(weights.transpose(1, 2) @ states)  # (batch, symptoms, hidden)
        logits: Tensor = (evidence * self.output.weight).sum(-1) + self.output.bias
        return logits
