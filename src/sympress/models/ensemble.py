"""Several models as one: networks, TF-IDF and the rules, weighed per symptom on validation notes.

The best teacher that a study has need not be one network. The networks' mean logit, the logit of TF-IDF and
what the rules affirm go into a logistic regression per symptom (`evaluation.probabilities.fit_fusion`). It is
a reference row of the study, and `distill(teacher=ensemble)` lets a student imitate it. It needs every member
in memory, so it is no artifact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from sympress.labels.task import task_of
from sympress.models.rules import AssertedRule
from sympress.models.tfidf import DAMAGE, StoredModel, TfidfClassifier, damaged, to_json
from sympress.runtime.session import Runtime

Floats = NDArray[np.float64]

FILE = "ensemble.json"
_NUMBERS = ("slope", "bias", "weights")
#: TF-IDF's probabilities of 0 and 1 to the last digit would weigh more than everything else.
_LARGEST = 20.0


@dataclass(frozen=True)
class Ensemble(StoredModel):
    """The members and what each weighs.

    Attributes:
        folder: of the file of weights; the members stand beside it.
        networks: folders of artifacts of the task `present`, by name.
        tfidf: folder of a `TfidfClassifier`, by name.
        rules: folder of an `AssertedRule`, by name.
        slope: `(K,)` of the networks' mean logit.
        bias: `(K,)`.
        weights: `(K, 2)` of TF-IDF's logit, and of what the rules affirm.
        macs_per_note: of all members.
        network_weights: numbers in the files of the networks, and those that are not 0.
    """

    folder: Path
    networks: tuple[str, ...]
    tfidf: str
    rules: str
    slope: Floats
    bias: Floats
    weights: Floats
    macs_per_note: int = 0
    network_weights: tuple[int, int] = (0, 0)

    def combine(self, network: Floats, signs: Floats) -> Floats:
        """Logits `(notes, K)` of the networks' mean logits `(notes, K)` and of `signs_of`."""
        return np.asarray(self.slope * network + self.bias + (signs * self.weights).sum(axis=-1))

    def logits(self, texts: Sequence[str]) -> Floats:
        """Logits `(notes, K)` of texts."""
        network = np.stack([one.predict_logits(texts) for one in self._networks]).mean(
            axis=0, dtype=np.float64
        )
        told = signs_of(self._tfidf.predict_proba(texts), self._rules.predict_proba(texts))
        return self.combine(network, told)

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """Probabilities `(notes, K)`."""
        return task_of("present").probabilities(self.logits(texts))

    @property
    def size_bytes(self) -> int:
        """Of the files of all members."""
        files = (self.folder.parent / name / "model.onnx" for name in self.networks)
        networks = sum(file.stat().st_size for file in files)
        return networks + self._tfidf.size_bytes + self._rules.size_bytes + super().size_bytes

    @property
    def parameters(self) -> int:
        """Of all members and of the weights here."""
        own = self.slope.size + self.bias.size + self.weights.size
        return self.network_weights[0] + self._tfidf.parameters + own

    @property
    def nonzero_parameters(self) -> int:
        """Parameters that are not 0."""
        own = sum(int(np.count_nonzero(part)) for part in (self.slope, self.bias, self.weights))
        return self.network_weights[1] + self._tfidf.nonzero_parameters + own

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote; the members are opened when they are asked.

        Raises:
            InputError: the file is missing or damaged.
        """
        try:
            stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
            slope, bias, weights = (np.array(stored[name], dtype=np.float64) for name in _NUMBERS)
            whole, nonzero = map(int, stored["network_weights"])
            networks = tuple(map(str, stored["networks"]))
            tfidf, rules = str(stored["tfidf"]), str(stored["rules"])
            macs = int(stored["macs_per_note"])
            return cls(folder, networks, tfidf, rules, slope, bias, weights, macs, (whole, nonzero))
        except DAMAGE as error:
            raise damaged(folder, error) from error

    def _files(self) -> dict[str, bytes]:
        """The weights and the members' names; the members stand beside the folder."""
        numbers = {name: getattr(self, name).tolist() for name in _NUMBERS}
        members = {"networks": self.networks, "tfidf": self.tfidf, "rules": self.rules}
        counts = {"macs_per_note": self.macs_per_note, "network_weights": self.network_weights}
        return {FILE: to_json({**members, **numbers, **counts})}

    @cached_property
    def _networks(self) -> list[Runtime]:
        return [Runtime.load(self.folder.parent / name) for name in self.networks]

    @cached_property
    def _tfidf(self) -> TfidfClassifier:
        return TfidfClassifier.load(self.folder.parent / self.tfidf)

    @cached_property
    def _rules(self) -> AssertedRule:
        return AssertedRule.load(self.folder.parent / self.rules)


def signs_of(tfidf: Floats, rules: Floats) -> Floats:
    """What an ensemble weighs beside its networks, `(notes, K, 2)`, of two probabilities `(notes, K)`."""
    logits = np.clip(task_of("present").logits(tfidf), -_LARGEST, _LARGEST)
    return np.stack([logits, rules], axis=-1)
