"""What a model is asked of a note: a task is one thing, told once.

Everything else of a task follows from its labels: how logits become probabilities, whether there are
thresholds, which head answers, how it is judged, and, in `training.losses`, what training minimises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

from sympress.errors import InputError
from sympress.labels.mentions import ASSERTIONS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: as commands, configurations and artifacts call it.
        labels: a note has exactly `one` symptom of K, any number of `several`, or `spans`, each of a class.
        sources: where a study may take its labels from.
        classes: of spans, what a span is told to be; a tagger's tags mark those that its notes hold.
        affirming: classes that say that the patient has the symptom now.
    """

    name: str
    labels: Literal["one", "several", "spans"]
    sources: tuple[str, ...]
    classes: tuple[str, ...] = ()
    affirming: tuple[str, ...] = ()

    @property
    def finds_spans(self) -> bool:
        """Whether each word piece is answered, and spans come of that; else a note as a whole."""
        return self.labels == "spans"

    @property
    def asserts(self) -> bool:
        """Whether the classes of its spans are assertions, which rules read too."""
        return self.finds_spans and set(self.classes) <= set(ASSERTIONS)

    @property
    def exclusive(self) -> bool:
        """Whether one answer excludes the others: a softmax over symptoms or tags, else a sigmoid each."""
        return self.labels != "several"

    @property
    def has_thresholds(self) -> bool:
        """Whether each symptom is affirmed from a probability of its own on."""
        return self.labels == "several"

    @property
    def average(self) -> Literal["micro", "macro"]:
        """Of the F1 that decides: of a choice between symptoms each counts alike, else each answer does."""
        return "macro" if self.labels == "one" else "micro"

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Probabilities of logits `(..., K)` or `(..., tags)`, which may be none; of the same shape."""
        wide = np.asarray(logits, dtype=np.float64)
        if self.exclusive:
            raised = np.exp(wide - wide.max(axis=-1, keepdims=True, initial=-np.inf))
            return np.asarray(raised / raised.sum(axis=-1, keepdims=True), dtype=np.float64)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(wide, -700, 700))), dtype=np.float64)

    def logits(self, probabilities: ArrayLike) -> Floats:
        """The logits that `probabilities` of the same shape came from.

        Of exclusive answers they are right up to a number a note, which a softmax does not see. Probabilities
        that are 0 or 1 to the last digit give the largest logit that a float64 can tell from them.
        """
        shares, smallest = np.asarray(probabilities, dtype=np.float64), np.finfo(np.float64).tiny
        if self.exclusive:
            return np.asarray(np.log(np.maximum(shares, smallest)))
        kept = np.clip(shares, smallest, 1 - np.finfo(np.float64).epsneg)
        return np.asarray(np.log(kept) - np.log1p(-kept))

    def affirmed(self, probabilities: Floats, thresholds: ArrayLike | None = None) -> NDArray[np.bool_]:
        """What a note affirms `(..., K)`: the most probable symptom, or all that reach their thresholds.

        Args:
            probabilities: `(..., K)` of whole notes.
            thresholds: `(K,)`; None for 0.5.
        """
        if not self.has_thresholds:
            likeliest = probabilities.argmax(axis=-1)[..., None]
            return np.asarray(np.arange(probabilities.shape[-1]) == likeliest)
        return np.asarray(probabilities >= (0.5 if thresholds is None else np.asarray(thresholds)))


_SOURCES_OF_SPANS = ("silver", "gold")

#: Every task by its name. A further one is one more entry.
TASKS: dict[str, Task] = {
    one.name: one
    for one in (
        Task("topic", "one", ("lexicon", "coded", "concepts")),
        Task("present", "several", ("coded", "concepts", "silver", "gold", "mix")),
        Task("mentions", "spans", _SOURCES_OF_SPANS, ASSERTIONS, affirming=("present",)),
    )
}


def task_of(name: str) -> Task:
    """The task called `name`.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(f"unknown task {name!r}: use {' or '.join(TASKS)}")
    return TASKS[name]


def affirms(told: str) -> bool:
    """Whether a span that is `told` to be this says that the patient has the symptom now."""
    return any(told in task.affirming for task in TASKS.values())


def span_classes() -> tuple[str, ...]:
    """Every class that spans of some task are told to be, the assertions first."""
    return tuple(dict.fromkeys(told for task in TASKS.values() for told in task.classes))


def _known(name: str) -> str:
    if name not in TASKS:
        *most, last = (repr(one) for one in TASKS)
        expected = f"{', '.join(most)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


#: A field of a settings model that names a task.
TaskName = Annotated[str, AfterValidator(_known)]
