"""The Pareto set: the points that no other point beats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sympress.errors import InputError


def pareto_front(points: Sequence[Mapping[str, float]], minimise: Sequence[str]) -> list[int]:
    """Indices, ascending, of the points that no other point dominates; equal points all stay.

    One point dominates another if it is nowhere larger and somewhere smaller (Deb et al. 2002, NSGA-II,
    section III). In lexicographic order only earlier points can dominate a later one, and, domination
    being transitive, a dominated one is dominated by a member of the front: O(n log n + n x front).

    Args:
        points: what each candidate costs, e.g. `{"size_mb": 6.1, "f1_drop": 0.003}`.
        minimise: the keys that count, each the smaller the better.

    Raises:
        InputError: `minimise` is empty, or a point lacks one of its keys or has NaN there.
    """
    if not minimise:
        raise InputError("a Pareto set needs at least one value to minimise")
    values = [_values(number, point, minimise) for number, point in enumerate(points)]
    front: list[int] = []
    for index in sorted(range(len(values)), key=lambda place: values[place]):
        if not any(_dominates(values[member], values[index]) for member in front):
            front.append(index)
    return sorted(front)


def _values(number: int, point: Mapping[str, float], keys: Sequence[str]) -> tuple[float, ...]:
    for key in keys:
        if key not in point or math.isnan(point[key]):
            raise InputError(f"point {number} of the Pareto set has no {key}")
    return tuple(point[key] for key in keys)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))
