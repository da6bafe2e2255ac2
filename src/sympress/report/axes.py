"""Ends and ticks of the axes: F1 is linear, a cost logarithmic."""

from __future__ import annotations

import math
from collections.abc import Sequence


def score_ends(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """Return round ends of an F1 axis that hold every bar; never below 0."""
    span = max(highs) - min(lows)
    step = axis_step(1.08 * span)
    bottom = max(0.0, math.floor((min(lows) - 0.04 * span) / step + 1e-9) * step)
    return bottom, max(bottom + step, min(1.0, math.ceil(max(highs) / step - 1e-9) * step))


def cost_ends(costs: Sequence[float]) -> tuple[float, float]:
    """Return both ends of a cost axis, with room for marks and names."""
    room = max(1.25, (max(costs) / min(costs)) ** 0.08)
    return min(costs) / room, max(costs) * room


def axis_step(span: float) -> float:
    """Distance of the lines of the F1 axis, so that there are about three to eight."""
    return next((step for step in (0.01, 0.02, 0.05, 0.1) if span / step <= 6.5), 0.2)


def log_ticks(low: float, high: float) -> list[float]:
    """Round values from `low` to `high`: 1, 2 and 5 of each decade, or 1 alone where there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    wide = high / low > 200
    ticks = [factor * 10.0**decade for decade in decades for factor in ((1,) if wide else (1, 2, 5))]
    return [tick for tick in ticks if low <= tick <= high]
