"""Mentions of symptoms in a note, and the labels of whole notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

# Mentions: spans of a note that name a symptom, and what the note asserts of it.


Assertion = Literal["present", "absent", "possible", "hypothetical", "historical", "family"]
#: Every assertion, in the order in which tables list them.
ASSERTIONS: tuple[Assertion, ...] = get_args(Assertion)

#: What can decide an assertion: a cue of the sentence or of the line above a list, the section, a sign, box
#: or answer beside the words, the word itself (`afebrile`), a measured value (`Temp 101.5 F`), or a model.
ReasonKind = Literal["cue", "section", "mark", "word", "value", "model"]

#: Who found a mention or a symptom: rules, a model, or each of them.
Source = Literal["rules", "model", "both"]


@dataclass(frozen=True, slots=True)
class Reason:
    """What decided the assertion of a mention.

    Attributes:
        kind: what sort of thing it is.
        words: how it is written in the note, in lower case; empty where it stands nowhere.
        start: its first character, counted in the original text; None where it stands nowhere.
        end: one past its last character.
    """

    kind: ReasonKind
    words: str = ""
    start: int | None = None
    end: int | None = None

    def moved(self, span: Callable[[int, int], tuple[int, int]]) -> Reason:
        """This reason where `span` says that its start and end are."""
        if self.start is None or self.end is None:
            return self
        start, end = span(self.start, self.end)
        return replace(self, start=start, end=end)


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a note that names a symptom.

    Attributes:
        start: first character, counted in the original text.
        end: one past the last character.
        symptom: id of the lexicon's symptom, e.g. `fever`; None where none is known for the span.
        assertion: what the note says of it.
        score: a model's probability of the span and its assertion, 0..1; None for rules and people.
        reason: what decided the assertion; None where nothing but the words speaks, and for people.
    """

    start: int
    end: int
    symptom: str | None
    assertion: Assertion = "present"
    score: float | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class OtherSpan:
    """A span that people marked and that names no symptom: anatomy, a test, a drug.

    Attributes:
        start: first character, counted in the original text.
        end: one past the last character.
        kind: what people called it, e.g. `Biological_structure`.
    """

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class AnnotatedNote:
    """A note with the mentions that people or rules found in it, by start, then end.

    `others` is whatever else was marked. Nothing is judged by it; a tagger can learn from it.
    """

    note_id: str
    text: str
    mentions: tuple[Mention, ...]
    others: tuple[OtherSpan, ...] = ()


# What a labeller hands to training: which symptom, or which symptoms, each note carries.


Provenance = Literal["silver", "gold", "coded"]


@dataclass(frozen=True)
class LabelSet:
    """Labels of some notes.

    Attributes:
        task: of whole notes: `topic` (exactly one symptom a note) or `present` (any number, also none).
        symptoms: names of the K symptoms, most frequent first; column k of `targets` is `symptoms[k]`.
        note_ids: the labelled notes, in the order of the rows of `targets`.
        targets: `(notes, K)` uint8, 0 or 1; for `topic` each row sums to 1.
        provenance: `silver` (rules), `gold` (people, spans) or `coded` (people, codes).
        rule: one line that says how the labels were made.
        counts: notes at every step, in order, e.g. `{"notes": 9300, "with a symptom": 5000, ...}`.
    """

    task: str
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
