"""Which cues of a sentence reach a mention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sympress.labels.assertion.cues import Cue
from sympress.labels.automaton import Found

_DASHES = frozenset({"-", "\u2010", "\u2011", "\u2013", "--"})


class Reach(NamedTuple):
    """What the cues say of a mention, and which assertions of its section they end."""

    said: set[str]
    left: set[str]


def cues_around(
    found: Sequence[Found], start: int, end: int, cues: Sequence[tuple[Cue, ...]]
) -> list[tuple[int, int, Cue]]:
    """Return the cues that are not hidden by a longer phrase, by start.

    A phrase that overlaps the mention itself is none: in `no change in vision`, asked of `change in
    vision`, the cue is `no`.
    """
    outside = [match for match in found if match[1] <= start or match[0] >= end]
    # Longest first, not leftmost first: `were not consistent with` is `not consistent with`, not `were not`.
    outside.sort(key=_longest_first)
    kept: list[Found] = []
    for match in outside:
        for other in kept:
            if match[0] < other[1] and other[0] < match[1]:
                break
        else:
            kept.append(match)
    kept.sort()
    return [(begin, finish, cue) for begin, finish, number in kept for cue in cues[number]]


def reach_mention(text: str, start: int, end: int, cues: Sequence[tuple[int, int, Cue]]) -> Reach:
    """Return what the cues of a sentence say of the span `start` to `end`.

    Args:
        text: of the note.
        start: of the mention.
        end: of the mention.
        cues: of the sentence, by start, none of them overlapping the mention.
    """
    said: set[str] = set()
    left = _look_back(text, start, cues, said)
    _look_ahead(text, end, cues, said)
    return Reach(said, left)


def _longest_first(match: Found) -> tuple[int, int, int]:
    return match[0] - match[1], match[0], match[2]


def _look_back(text: str, start: int, cues: Sequence[tuple[int, int, Cue]], said: set[str]) -> set[str]:
    """Add what forward cues before `start` say; return the section's assertions that stops end."""
    stopped: set[str] = set()
    left: set[str] = set()
    for begin, finish, cue in reversed(cues):
        if finish > start:
            continue
        if cue.role == "stop":
            if not cue.after_comma or text[:begin].rstrip().endswith(","):
                stopped |= cue.ends
                if cue.leaves_section:
                    left |= cue.ends
        elif (
            cue.role == "cue"
            and cue.forward
            and cue.assertion not in stopped
            and _words_between(text, finish, start, cue.max_words)
            and not _leaves_bracket(text, finish, start)
        ):
            said.add(cue.assertion)
    return left


def _look_ahead(text: str, end: int, cues: Sequence[tuple[int, int, Cue]], said: set[str]) -> None:
    """Add what backward cues behind `end` say."""
    stopped: set[str] = set()
    for begin, _, cue in cues:
        if begin < end:
            continue
        if cue.role == "stop":
            if not cue.after_comma or text[:begin].rstrip().endswith(","):
                stopped |= cue.ends
        elif cue.role == "cue" and cue.forward:
            stopped.add("absent")
        elif (
            cue.role == "cue"
            and cue.assertion not in stopped
            and (cue.across_commas or "," not in text[end:begin])
            and _words_between(text, end, begin, cue.max_words)
        ):
            said.add(cue.assertion)


def _leaves_bracket(text: str, start: int, end: int) -> bool:
    """Whether a bracket that is open at `start` closes before `end`: `chills (no fever), cough`."""
    gap = text[start:end]
    if ")" not in gap:
        return False
    depth = 0
    for character in gap:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return True
    return False


def _words_between(text: str, start: int, end: int, limit: int) -> bool:
    """Whether at most `limit` words stand between two places."""
    # A word has at least one character: most gaps need no count. A dash that stands alone is no word.
    return end - start <= limit or sum(word not in _DASHES for word in text[start:end].split()) <= limit
