"""The forms of a lexicon by number, and what must stand beside those that may mean something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sympress.labels.automaton import Reduced
from sympress.labels.lexicon import AmbiguousForm, Lexicon

#: So many characters to either side of a form are read.
_BESIDE = 60
_NO_WORD = re.compile(r"[\W_]+")
#: Directly before a denial these take it back.
_UNDOES = (
    *("not", "no longer", "never", "isn t", "wasn t", "aren t", "hasn t been", "not been", "never been"),
    *("not yet", "not completely", "not entirely", "not fully"),
)


@dataclass(frozen=True)
class Forms:
    """The forms of a lexicon by number.

    Attributes:
        written: each form.
        named: the symptoms that it names, or denies, by place; none for an ignored one.
        conditions: of those that may mean something else.
        denials: those that say that what they name is absent.
        unnamed: denials of symptoms in general.
    """

    written: list[str]
    named: list[tuple[int, ...]]
    conditions: Mapping[int, AmbiguousForm]
    denials: frozenset[int]
    unnamed: frozenset[int]


def read_forms(lexicon: Lexicon) -> Forms:
    """Return the forms of `lexicon` by number, those of the first symptom first."""
    written: list[str] = []
    named: list[tuple[int, ...]] = []
    conditions: dict[int, AmbiguousForm] = {}
    denials: set[int] = set()
    for place, symptom in enumerate(lexicon.symptoms):
        for ambiguous in symptom.ambiguous:
            conditions[len(written)] = ambiguous
            written.append(ambiguous.form)
            named.append((place,))
        plain = (*symptom.forms, *symptom.misspellings)
        written += plain
        named += [(place,)] * len(plain)
        denials.update(range(len(written), len(written) + len(symptom.denials)))
        written += symptom.denials
        named += [(place,)] * len(symptom.denials)
    written += (*lexicon.combined, *lexicon.ignored)
    named += (*lexicon.combined.values(), *[()] * len(lexicon.ignored))
    unnamed = range(len(written), len(written) + len(lexicon.denials))
    written += lexicon.denials
    named += [()] * len(lexicon.denials)
    return Forms(written, named, conditions, frozenset((*denials, *unnamed)), frozenset(unnamed))


def holds(condition: AmbiguousForm, reduced: Reduced, start: int, end: int) -> bool:
    """Whether an ambiguous form means its symptom, by how it is written and what is beside it."""
    surface = reduced.text[start:end]
    if condition.case == "upper" and not surface.isupper():
        return False
    if condition.case == "plural" and not (surface[:-1].isupper() and surface.endswith("s")):
        return False
    before = reduced.folded[max(0, start - _BESIDE) : start]
    behind = reduced.folded[end : end + _BESIDE]
    unfit = _stands(condition.not_after, before, True) or _stands(condition.not_before, behind, False)
    return not (
        unfit
        or (condition.only_before and not _stands(condition.only_before, behind, False))
        or (condition.only_after and not _stands(condition.only_after, before, True))
    )


def _stands(phrases: tuple[str, ...], beside: str, before: bool) -> bool:
    """Whether one of `phrases` stands directly before, or behind, a form; `beside` is the text there."""
    if not phrases:
        return False
    words = _NO_WORD.sub(" ", beside).strip()
    if before:
        return f" {words}".endswith(_padded(phrases, " ", ""))
    return f"{words} ".startswith(_padded(phrases, "", " "))


def is_undone(reduced: Reduced, start: int) -> bool:
    """Whether a denial that begins at `start` is taken back: `not afebrile`."""
    before = reduced.folded[max(0, start - _BESIDE) : start].rstrip()
    return before[-1:].isalpha() and _stands(_UNDOES, before, True)


@cache
def _padded(phrases: tuple[str, ...], before: str, behind: str) -> tuple[str, ...]:
    return tuple(f"{before}{phrase}{behind}" for phrase in phrases)
