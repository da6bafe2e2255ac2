"""One logit per symptom from a model's logit and from what rules find in the note; numpy only.

A model of whole notes has seen which words of a report go with a code; rules read which of a symptom's own
words a note affirms and which it denies. Neither knows what the other does, so a small logistic model per
symptom weighs the two. It is fitted on validation notes (`evaluation.probabilities.fit_fusion`) and stored in
`extractor.json`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from sympress.labels.mentions import Mention
from sympress.labels.task import affirms

Floats = NDArray[np.float64]

#: What the rules say of one symptom of a note: a mention of it is present; it is mentioned, and none is.
SIGNS = ("present", "denied")


class Fusion(BaseModel):
    """The fused logit is `slope * logit + bias`, plus `present` or `denied` where the rules find that.

    Attributes:
        mentions: of each symptom of the model, the symptoms of the lexicon that stand for it; none where no
            words do, so that the model decides alone.
        slope: positive: among notes of which the rules say the same, the model's order stays.
        bias: added to every note.
        present: added where a mention is present.
        denied: added where the symptom is mentioned and no mention of it is present.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mentions: list[list[str]]
    slope: list[float]
    bias: list[float]
    present: list[float]
    denied: list[float]

    @field_validator("slope")
    @classmethod
    def _rising(cls, slopes: list[float]) -> list[float]:
        if not all(slope > 0 for slope in slopes):
            raise ValueError("a slope is not positive")
        return slopes

    @model_validator(mode="after")
    def _of_one_size(self) -> Self:
        sizes = {len(one) for one in (self.mentions, self.slope, self.bias, self.present, self.denied)}
        if len(sizes) > 1:
            raise ValueError("its lists are not of one length")
        return self

    @classmethod
    def neutral(cls, mentions: Sequence[Sequence[str]]) -> Self:
        """The fusion that leaves every logit as it is."""
        zeros = [0.0] * len(mentions)
        return cls(
            mentions=[list(one) for one in mentions],
            slope=[1.0] * len(mentions),
            bias=zeros,
            present=zeros,
            denied=zeros,
        )

    def signs(self, mentions: Iterable[Mention]) -> Floats:
        """What the `mentions` of a note say, `(K, 2)` of 0 and 1 in the order of `SIGNS`."""
        found = np.zeros((len(self.mentions), len(SIGNS)))
        for one in mentions:
            for column in self._columns.get(one.symptom or "", ()):
                found[column, 0 if affirms(one.assertion) else 1] = 1.0
        found[:, 1] *= 1.0 - found[:, 0]
        return found

    def apply(self, logits: NDArray[np.float32], signs: Floats) -> NDArray[np.float32]:
        """Fused logits `(..., K)` of logits `(..., K)` and signs `(..., K, 2)`."""
        slope, bias, weights = self._numbers
        fused = slope * logits + bias + (signs * weights).sum(axis=-1)
        return np.asarray(fused, dtype=np.float32)

    @property
    def weighed(self) -> Container[str]:
        """The symptoms of the lexicon whose mentions count."""
        return self._columns.keys()

    @cached_property
    def _numbers(self) -> tuple[Floats, Floats, Floats]:
        """Slope, bias `(K,)` and weights of the signs `(K, 2)`."""
        weights = np.stack([self.present, self.denied], axis=-1)
        return np.array(self.slope), np.array(self.bias), weights

    @cached_property
    def _columns(self) -> dict[str, list[int]]:
        """The model's symptoms, by number, that each symptom of the lexicon stands for."""
        columns: dict[str, list[int]] = {}
        for column, ids in enumerate(self.mentions):
            for one in set(ids):
                columns.setdefault(one, []).append(column)
        return columns
