"""Mentions: spans of a note that name a symptom, and what the note asserts of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Assertion = Literal["present", "absent", "possible", "hypothetical", "historical", "family"]
#: Every assertion, in the order in which tables list them.
ASSERTIONS: tuple[Assertion, ...] = get_args(Assertion)


@dataclass(frozen=True, slots=True)
class Mention:
    """A span of a note that names a symptom.

    Attributes:
        start: first character, counted in the original text.
        end: one past the last character.
        symptom: id of the lexicon's symptom, e.g. `fever`; None where none is known for the span.
        assertion: what the note says of it.
        score: probability of the span and its assertion, 0..1; 1 for rules and people.
    """

    start: int
    end: int
    symptom: str | None
    assertion: Assertion = "present"
    score: float = 1.0


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
