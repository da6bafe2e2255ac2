"""One look a strategy: a colour that is told apart with any colour vision, and a marker."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sympress.report.columns import BASELINE, REFERENCE_STRATEGIES

#: `depth-2` is the family `depth` at strength 2.
FAMILY = re.compile(r"(?P<family>.+)-(?P<strength>\d+)")
#: Okabe and Ito's colours without black and yellow, which one of the two backgrounds swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: The baseline and the references: legible on white and on black.
NEUTRAL = "#808A93"
#: The names of a marker in Bokeh and in Matplotlib, and its outline for a legend.
MARKERS = (
    ("circle", "o", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z"),
    ("square", "s", "M-4.5-4.5H4.5V4.5H-4.5z"),
    ("triangle", "^", "M0-5.5L5.5 4.5H-5.5z"),
    ("diamond", "D", "M0-6L5 0L0 6L-5 0z"),
    ("inverted_triangle", "v", "M0 5.5L5.5-4.5H-5.5z"),
    ("hex", "h", "M-2.8-4.8H2.8L5.5 0L2.8 4.8H-2.8L-5.5 0z"),
)


@dataclass(frozen=True)
class Look:
    """How a strategy is drawn: a colour, and a marker by its name in Bokeh, in Matplotlib, and as a path."""

    colour: str
    marker: str
    marker_matplotlib: str
    path: str
    is_hollow: bool


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Return the look of each name; `family-1` and `family-2` are drawn alike, 36 families are told apart."""
    found: dict[str, Look] = {}
    families: dict[str, int] = {}
    for name in dict.fromkeys(names):
        if name == BASELINE or name in REFERENCE_STRATEGIES:
            found[name] = Look(NEUTRAL, *MARKERS[1 if name == "tfidf" else 0], name != BASELINE)
            continue
        number = families.setdefault(family_of(name), len(families))
        lap = number // len(COLOURS)
        marker = MARKERS[(number + lap) % len(MARKERS)]
        found[name] = Look(COLOURS[number % len(COLOURS)], *marker, False)
    return found


def family_of(name: str) -> str:
    """Return `depth` for `depth-2`, and any other name as it is."""
    named = FAMILY.fullmatch(name)
    return named["family"] if named else name
