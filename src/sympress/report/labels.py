"""Names beside the marks of a diagram, placed such that they cover each other as little as possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: A text of size 12: width of a letter, height of its box.
LETTER, HEIGHT = 6.6, 14.0

#: Left, top, right, bottom; y runs downwards.
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Label:
    """Where a name stands: offset of its middle line from the mark, and which end of it is meant.

    Attributes:
        dx: to the right, in pixels.
        dy: downwards.
        align: `left`, `center` or `right`.
    """

    dx: float
    dy: float
    align: str


def place_labels(
    texts: Sequence[str], marks: Sequence[tuple[float, float]], size: tuple[float, float]
) -> list[Label]:
    """Return a place for each text beside its mark, in their order.

    Args:
        texts: the names.
        marks: x and y of each mark in pixels, `(0, 0)` at the upper left.
        size: width and height of the diagram; names stay inside where they can.
    """
    taken: list[Box] = [(x - 7, y - 7, x + 7, y + 7) for x, y in marks]
    found = []
    for text, (x, y) in zip(texts, marks, strict=True):
        spots = [(rank, spot, _box(text, x, y, spot)) for rank, spot in enumerate(_spots())]
        _, best, box = min(spots, key=lambda spot: _cost(spot[0], spot[2], taken, size))
        taken.append(box)
        found.append(best)
    return found


def _spots() -> list[Label]:
    """Places around a mark, the best first."""
    heights = (0, -9, 9, -20, 20, -34, 34, -48, 48, -62, 62, -76, 76)
    right = [Label(10, dy, "left") for dy in heights]
    left = [Label(-10, dy, "right") for dy in heights]
    middle = [Label(0, dy, "center") for dy in (-16, 16, -30, 30, -44, 44)]
    near = [right[0], left[0], *middle[:2], *right[1:3], *left[1:3]]
    return [*near, *right[3:5], *left[3:5], *middle[2:], *right[5:], *left[5:]]


def _box(text: str, x: float, y: float, spot: Label) -> Box:
    width = LETTER * len(text)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[spot.align]
    left = x + spot.dx - share * width
    return left, y + spot.dy - HEIGHT / 2, left + width, y + spot.dy + HEIGHT / 2


def _cost(rank: int, box: Box, taken: Sequence[Box], size: tuple[float, float]) -> float:
    outside = (box[2] - box[0]) * HEIGHT - _overlap(box, (0, 0, *size))
    return sum(_overlap(box, other) for other in taken) + 4 * outside + 3 * rank


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    return max(0.0, width) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
