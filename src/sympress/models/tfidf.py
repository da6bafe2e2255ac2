"""The reference model that every study is compared with: TF-IDF with logistic regression.

A compressed transformer that does not beat it has no reason to be deployed. It predicts without
scikit-learn or PyTorch.
"""

from __future__ import annotations

import importlib.util
import io
import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sympress.errors import InputError, MissingExtraError
from sympress.files import atomic_path
from sympress.labels.task import task_of

_WORD = re.compile(r"\b\w\w+\b")
#: Score of a class that no training note has: its probability is 0 to six digits.
_NEVER = -50.0
#: scikit-learn's C.
_STRENGTHS = (1.0, 10.0)
_ARRAYS = ("idf", "weights", "bias")


class ReferenceModel(Protocol):
    """What a study asks of a model beside the transformers."""

    @property
    def parameters(self) -> int:
        """Numbers that training set."""

    @property
    def nonzero_parameters(self) -> int:
        """Those that are not 0."""

    @property
    def macs_per_note(self) -> int:
        """Multiply-accumulates of the median note."""

    @property
    def size_bytes(self) -> int:
        """Size of the files that `save` writes."""

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return `(notes, K)`; for `topic` each row sums to 1."""

    def save(self, folder: Path) -> None:
        """Write the model's files into a folder."""


class StoredModel(ABC):
    """A reference model that is a few files."""

    @abstractmethod
    def _files(self) -> dict[str, bytes]:
        """Their names and contents."""

    @property
    def size_bytes(self) -> int:
        """Size of the files that `save` writes."""
        return sum(map(len, self._files().values()))

    def save(self, folder: Path) -> None:
        """Write the files into `folder`, each whole or not at all."""
        for name, content in self._files().items():
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(content)


@dataclass(frozen=True)
class TfidfClassifier(StoredModel):
    """Words and pairs of words, weighted by TF-IDF, and one linear layer.

    Attributes:
        task: softmax over the symptoms for `topic`, one sigmoid each for `present`.
        symptoms: the K names.
        vocabulary: column of each word or pair of words.
        idf: `(V,)` float32 inverse document frequencies.
        weights: `(V, K)` float32.
        bias: `(K,)` float32.
        median_features: terms of the vocabulary in the median training note.
    """

    task: str
    symptoms: tuple[str, ...]
    vocabulary: dict[str, int]
    idf: NDArray[np.float32]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    median_features: int

    @property
    def parameters(self) -> int:
        """Inverse document frequencies, weights and biases."""
        return self.idf.size + self.weights.size + self.bias.size

    @property
    def nonzero_parameters(self) -> int:
        """Parameters that are not 0."""
        return sum(int(np.count_nonzero(part)) for part in (self.idf, self.weights, self.bias))

    @property
    def macs_per_note(self) -> int:
        """Terms of the median training note × K: absent terms cost nothing."""
        return self.median_features * len(self.symptoms)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return `(notes, K)`; a note without a known word gets the bias alone."""
        scores = np.tile(self.bias.astype(np.float64), (len(texts), 1))
        for row, text in enumerate(texts):
            known = ((self.vocabulary.get(term), n) for term, n in Counter(_terms(text)).items())
            found = [(column, n) for column, n in known if column is not None]
            if found:
                columns, counts = np.array(found).T
                # Sublinear term frequency, then unit length: TfidfVectorizer(sublinear_tf=True).
                values = (1 + np.log(counts)) * self.idf[columns]
                scores[row] += values / np.linalg.norm(values) @ self.weights[columns]
        if task_of(self.task).exclusive:
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(scores / scores.sum(axis=1, keepdims=True))
        return np.asarray(0.5 * (1 + np.tanh(0.5 * scores)))  # the logistic function, without overflow

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        try:
            described = json.loads((folder / "tfidf.json").read_text(encoding="utf-8"))
            with np.load(folder / "tfidf.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in _ARRAYS}
            vocabulary = {term: column for column, term in enumerate(described.pop("vocabulary"))}
            symptoms = tuple(described.pop("symptoms"))
            model = cls(symptoms=symptoms, vocabulary=vocabulary, **arrays, **described)
        except DAMAGE as error:
            raise damaged(folder, error) from error
        if model.weights.shape != (len(vocabulary), len(symptoms)):
            raise InputError(f"{folder}: the vocabulary and the weights do not belong together; fit it again")
        return model

    def _files(self) -> dict[str, bytes]:
        """Arrays, without pickle, and the vocabulary in column order."""
        arrays = io.BytesIO()
        np.savez(arrays, allow_pickle=False, idf=self.idf, weights=self.weights, bias=self.bias)
        described = {
            "task": self.task,
            "symptoms": self.symptoms,
            "median_features": self.median_features,
            "vocabulary": sorted(self.vocabulary, key=self.vocabulary.__getitem__),
        }
        return {"tfidf.npz": arrays.getvalue(), "tfidf.json": to_json(described)}


def require_scikit_learn() -> None:
    """Check that TF-IDF can be fitted; it predicts without.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise MissingExtraError("train", "scikit-learn")


def fit_tfidf(
    texts: Sequence[str],
    targets: ArrayLike,
    task: str,
    symptoms: Sequence[str],
    *,
    seed: int = 0,
    validation: tuple[Sequence[str], ArrayLike] | None = None,
) -> TfidfClassifier:
    """Fit TF-IDF (words and pairs, sublinear, in at least 2 notes) and logistic regression.

    Args:
        texts: training notes only.
        targets: `(notes, K)` 0 or 1; `LabelSet.targets`.
        task: multinomial for `topic`, one regression a symptom for `present`.
        symptoms: the K names.
        seed: of the solver.
        validation: texts and targets that choose between C = 1 and C = 10 (less regularised) by their
            likelihood; without them C is 1, scikit-learn's default.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        InputError: no word occurs in two notes.
    """
    require_scikit_learn()
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(analyzer=_terms, sublinear_tf=True, min_df=2)
    try:
        features = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise InputError(f"no word occurs in 2 of {len(texts)} training notes: read more notes") from error
    truth = np.asarray(targets)
    vocabulary = {term: int(column) for term, column in vectorizer.vocabulary_.items()}
    median = int(np.median(np.diff(features.indptr)))
    fitted = []
    for strength in (1.0,) if validation is None else _STRENGTHS:
        weights = np.zeros((features.shape[1], truth.shape[1]), dtype=np.float32)
        bias = np.full(truth.shape[1], _NEVER, dtype=np.float32)
        solver = LogisticRegression(C=strength, max_iter=1000, random_state=seed)
        (_fit_topic if task_of(task).exclusive else _fit_present)(solver, features, truth, weights, bias)
        idf = vectorizer.idf_.astype(np.float32)
        fitted.append(TfidfClassifier(task, tuple(symptoms), vocabulary, idf, weights, bias, median))
    if validation is None:
        return fitted[0]
    return min(fitted, key=lambda model: _log_loss(model.predict_proba(validation[0]), validation[1], task))


def _log_loss(probabilities: NDArray[np.float64], targets: ArrayLike, task: str) -> float:
    """Return the negative log-likelihood of the targets."""
    truth = np.asarray(targets).astype(bool)
    given = np.where(truth, probabilities, 1 - probabilities)
    return -float(np.log(np.maximum(given[truth] if task_of(task).exclusive else given, 1e-12)).sum())


def _fit_topic(solver: Any, features: Any, truth: Any, weights: Any, bias: Any) -> None:
    """Fill weights and bias of the classes that occur; the others keep a score that never wins."""
    classes = truth.argmax(axis=1)
    occurring = np.unique(classes)
    bias[occurring] = 0.0
    if len(occurring) == 1:
        return
    solver.fit(features, classes)
    # Of two classes scikit-learn keeps one score, that of the second against 0.
    filled = occurring[1:] if len(occurring) == 2 else occurring
    weights[:, filled], bias[filled] = solver.coef_.T, solver.intercept_


def _fit_present(solver: Any, features: Any, truth: Any, weights: Any, bias: Any) -> None:
    """Fill weights and bias, symptom by symptom; one that all notes have, or none, gets a bias only."""
    # The dual problem has one variable a note. On 18,541 VAERS reports and 20 symptoms one whole fit took
    # 4.7 s instead of 41.5 s with the primal, on a busy machine; probabilities agree within 1e-3.
    solver.set_params(solver="liblinear", dual=True)
    for k in range(truth.shape[1]):
        if truth[:, k].min() == truth[:, k].max():
            bias[k] = _NEVER if truth[0, k] == 0 else -_NEVER
            continue
        solver.fit(features, truth[:, k])
        weights[:, k], bias[k] = solver.coef_[0], solver.intercept_[0]


def _terms(text: str) -> list[str]:
    """Return words of two or more characters and pairs of neighbours, as scikit-learn's (1, 2)-grams."""
    words = _WORD.findall(text.lower())
    return words + [f"{left} {right}" for left, right in pairwise(words)]


#: What reading a damaged file raises.
DAMAGE = (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError)


def damaged(folder: Path, error: Exception) -> InputError:
    """Return the error for a folder whose files cannot be used."""
    return InputError(f"{folder}: no usable reference model here ({type(error).__name__}); fit it again")


def to_json(value: Any) -> bytes:
    """Return `value` as UTF-8 JSON; NaN is refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
