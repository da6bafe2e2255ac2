r"""Finding surface forms in a note, with word boundaries exactly as Python's `\bform\b`.

Each form is looked for by itself: one alternation of all forms would not find `pain` inside
`chest pain`, and the paper's rule does.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sympress.labels.lexicon import Lexicon


@dataclass(frozen=True, slots=True)
class FormMatch:
    """A form found in a text; `start` and `end` count characters of the original text.

    `symptom` is the position of its symptom in the lexicon.
    """

    start: int
    end: int
    symptom: int
    form: str


def fold(text: str) -> str:
    """Return `text` in lower case, with as many characters as before.

    `str.lower` makes two characters of `İ` (U+0130), the only one of Unicode that grows, and would
    shift every offset behind it: it becomes a plain `i` here.
    """
    return text.replace("\u0130", "i").lower()


def first_symptom(folded: str, lexicon: Lexicon) -> int | None:
    """Return the position of the first symptom, in lexicon order, that occurs in a folded text."""
    for position, symptom in enumerate(lexicon.symptoms):
        if any(occurs(form, folded) for form in symptom.forms):
            return position
    return None


def occurs(form: str, folded: str) -> bool:
    """Whether `form` stands in a folded text between word boundaries."""
    return form in folded and next(_starts(form, folded), None) is not None


def find_forms(folded: str, lexicon: Lexicon) -> list[FormMatch]:
    """Return every occurrence of every form, also those inside or across another one.

    Ordered by start, then the longest first, then lexicon order.
    """
    matches = [
        FormMatch(start, start + len(form), position, form)
        for position, symptom in enumerate(lexicon.symptoms)
        for form in symptom.forms
        if form in folded
        for start in _starts(form, folded)
    ]
    return sorted(matches, key=lambda match: (match.start, -match.end, match.symptom))


def find_mentions(folded: str, lexicon: Lexicon) -> list[FormMatch]:
    """Return the occurrences that do not overlap: leftmost first, of those the longest.

    `chest pain` is one mention of chest pain here, and none of pain.
    """
    mentions: list[FormMatch] = []
    for match in find_forms(folded, lexicon):
        if not mentions or match.start >= mentions[-1].end:
            mentions.append(match)
    return mentions


def _starts(form: str, folded: str) -> Iterator[int]:
    """Yield where the pattern of `form` between boundaries matches, as `re.finditer` would."""
    start = folded.find(form)
    while start >= 0:
        end = start + len(form)
        whole = _is_boundary(folded, start) and _is_boundary(folded, end)
        if whole:
            yield start
        start = folded.find(form, end if whole else start + 1)


def _is_boundary(text: str, position: int) -> bool:
    r"""Whether `\b` matches at `position`: one side is a word character, the other is not."""
    before = position > 0 and _is_word(text[position - 1])
    return before != (position < len(text) and _is_word(text[position]))


def _is_word(character: str) -> bool:
    r"""Whether `\w` matches: the definition of Python's `re` for text."""
    return character == "_" or character.isalnum()
