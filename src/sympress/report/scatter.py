"""Where the marks of the F1-against-size picture stand; the template draws them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sympress.report.columns import Group
from sympress.report.verdict import headline_f1

WIDTH, HEIGHT = 640, 340
#: The right margin is room for the names, which all stand to the right of their marks.
LEFT, RIGHT, TOP, BOTTOM = 52, 170, 16, 44
LABEL_HEIGHT = 14


@dataclass(frozen=True)
class Point:
    """One strategy: its mark, the ends of its interval (equal without one), where its name stands."""

    label: str
    is_reference: bool
    x: float
    y: float
    y_low: float
    y_high: float
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Scatter:
    """Everything in units of the drawing, `(0, 0)` at its upper left."""

    points: list[Point]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def scatter(found: list[Group]) -> Scatter | None:
    """Place F1 (0 to 1, linear) against MB on disk (log); None with fewer than two strategies to place."""
    data = [
        (group, size, *interval)
        for group in found
        if (interval := f1_interval(group)) and (size := size_mb(group))
    ]
    if len(data) < 2:
        return None
    sizes = [math.log10(size) for _, size, *_ in data]
    low, high = min(sizes) - 0.1, max(sizes) + 0.1
    step = axis_step(max(row[4] for row in data) - min(row[3] for row in data))
    bottom = max(0.0, math.floor(min(row[3] for row in data) / step) * step)
    top = max(bottom + step, min(1.0, math.ceil(max(row[4] for row in data) / step) * step))

    def place_x(size: float) -> float:
        return LEFT + (math.log10(size) - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def place_y(f1: float) -> float:
        return TOP + (top - f1) / (top - bottom) * (HEIGHT - TOP - BOTTOM)

    marks = [(g, place_x(size), place_y(f1), place_y(lo), place_y(hi)) for g, size, f1, lo, hi in data]
    y_values = [bottom + number * step for number in range(round((top - bottom) / step) + 1)]
    return Scatter(
        points=_labelled(marks),
        x_ticks=[(place_x(size), f"{size:g}") for size in log_ticks(10**low, 10**high)],
        y_ticks=[(place_y(value), f"{value:.2f}") for value in y_values],
    )


def f1_interval(group: Group) -> tuple[float, float, float] | None:
    """Mean F1 and the ends of its bar: the interval of a single seed, the range of several."""
    estimates = [headline_f1(row) for row in group.seeds]
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    if len(values) < len(estimates) or not values:
        return None
    low, high = min(values), max(values)
    if len(estimates) == 1 and estimates[0].low is not None and estimates[0].high is not None:
        low, high = estimates[0].low, estimates[0].high
    return sum(values) / len(values), low, high


def size_mb(group: Group) -> float | None:
    """Size in MB, or None where nothing stands on disk."""
    size = group.mean(lambda row: row.cost.size_bytes)
    return size / 1e6 if size else None


def axis_step(span: float) -> float:
    """Distance of the lines of the F1 axis, so that there are about three to eight."""
    return next((step for step in (0.01, 0.02, 0.05, 0.1) if span / step <= 6), 0.2)


def log_ticks(low: float, high: float) -> list[float]:
    """Round values from `low` to `high`: 1, 2 and 5 of each decade, or 1 alone where there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    wide = high / low > 200
    ticks = [factor * 10.0**decade for decade in decades for factor in ((1,) if wide else (1, 2, 5))]
    return [tick for tick in ticks if low <= tick <= high]


def _labelled(marks: list[tuple[Group, float, float, float, float]]) -> list[Point]:
    """Put each name to the right of its mark, moved down, then up, until no two names collide."""
    marks = sorted(marks, key=lambda mark: mark[2])
    heights: list[float] = []
    for _, _, y, _, _ in marks:
        heights.append(max(y + 4, heights[-1] + LABEL_HEIGHT) if heights else y + 4)
    lowest = float(HEIGHT - BOTTOM)
    for number in reversed(range(len(heights))):
        heights[number] = min(heights[number], lowest)
        lowest = heights[number] - LABEL_HEIGHT
    return [
        Point(group.name, group.is_reference, x, y, y_low, y_high, x + 14, height)
        for (group, x, y, y_low, y_high), height in zip(marks, heights, strict=True)
    ]
