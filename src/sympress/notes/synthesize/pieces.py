"""What a synthetic note is put together from, and what the notes of a patient share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sympress.notes.synthesize.vocabulary import Assertion, Template, Unit


@dataclass(frozen=True, slots=True)
class Mention:
    """A mention being written: characters `start` to `end` of its note or paragraph."""

    start: int
    end: int
    unit: Unit
    assertion: Assertion
    reserved: bool


@dataclass(frozen=True, slots=True)
class Paragraph:
    """The body of a section, kept for later notes to repeat.

    Attributes:
        text: what was written, without its heading.
        mentions: their offsets start at the first character of `text`.
        present: symptoms that it affirms.
        excluded: bits of the symptoms that it denies.
        possible: bits of the symptoms that it leaves open.
    """

    text: str
    mentions: tuple[Mention, ...]
    present: tuple[Unit, ...]
    excluded: int
    possible: int


@dataclass(slots=True)
class PatientText:
    """What the notes of a patient share: words by sex and age, habits, and paragraphs to copy forward."""

    words: dict[str, tuple[Template, ...]]
    reserved: bool
    usual: tuple[Unit, ...]
    paragraphs: dict[str, Paragraph] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ComposedNote:
    """A finished text, its mentions in order, and how many paragraphs were copied forward."""

    text: str
    mentions: tuple[Mention, ...]
    copied: int
