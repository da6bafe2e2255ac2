"""What a labeller hands to training: which symptom, or which symptoms, each note carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["topic", "present"]
#: What a model may learn: label sets are of the first two, annotated notes of `mentions`.
AnyTask = Task | Literal["mentions"]
Provenance = Literal["silver", "gold", "coded"]


@dataclass(frozen=True)
class LabelSet:
    """Labels of some notes.

    Attributes:
        task: `topic` (exactly one symptom a note) or `present` (any number, also none).
        symptoms: names of the K symptoms, most frequent first; column k of `targets` is `symptoms[k]`.
        note_ids: the labelled notes, in the order of the rows of `targets`.
        targets: `(notes, K)` uint8, 0 or 1; for `topic` each row sums to 1.
        provenance: `silver` (rules), `gold` (people, spans) or `coded` (people, codes).
        rule: one line that says how the labels were made.
        counts: notes at every step, in order, e.g. `{"notes": 9300, "with a symptom": 5000, ...}`.
    """

    task: Task
    symptoms: tuple[str, ...]
    note_ids: tuple[str, ...]
    targets: NDArray[np.uint8]
    provenance: Provenance
    rule: str
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Index of the one symptom of each note; task `topic` only."""
        if self.task != "topic":
            raise ValueError(f"classes: the task is {self.task!r}, only 'topic' has one class a note")
        return np.asarray(self.targets.argmax(axis=1), dtype=np.int64)
