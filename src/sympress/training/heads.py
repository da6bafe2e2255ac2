"""Heads that turn token states into one logit a symptom, or one a tag for each token.

`cls` is the classification head of Devlin et al. 2019 (dense, tanh, linear on the first token); `mean`
and `maximum` pool over the real tokens; `token` answers for each token (Devlin et al., section 5.3: spans
and what they assert are tags of one linear layer); `label` is the label-wise attention of Mullenbach et
al. 2018 (CAML, eq. 2-4): each symptom looks for its own evidence in the note.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Pooling = Literal["cls", "mean", "maximum", "label", "token"]
#: Those that answer for a note as a whole.
POOLINGS: tuple[Pooling, ...] = ("cls", "mean", "maximum", "label")


class SymptomHead(nn.Module):
    """Pool `(batch, tokens, hidden)` states and map them to `(batch, symptoms)` logits.

    With the pooling `token` nothing is pooled: logits are `(batch, tokens, tags)`.
    """

    def __init__(self, hidden: int, symptoms: int, pooling: Pooling, dropout: float = 0.1) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, symptoms)
        self.dense = nn.Linear(hidden, hidden) if pooling == "cls" else None
        self.query = nn.Linear(hidden, symptoms, bias=False) if pooling == "label" else None
        for linear in (self.output, self.dense, self.query):
            if linear is not None:
                nn.init.normal_(linear.weight, std=0.02)
        nn.init.zeros_(self.output.bias)

    def forward(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits `(batch, symptoms)`, or `(batch, tokens, tags)`; tokens with mask 0 have no influence."""
        if self.query is not None:
            return self._label_attention(states, attention_mask, self.query)
        if self.pooling == "token":
            tagged: Tensor = self.output(self.dropout(states))
            return tagged
        logits: Tensor = self.output(self.dropout(self._pool(states, attention_mask)))
        return logits

    def _pool(self, states: Tensor, attention_mask: Tensor) -> Tensor:
        if self.dense is not None:
            return torch.tanh(self.dense(states[:, 0]))
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
