"""Mentions: spans of a note that name a symptom, and what the note asserts of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

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
