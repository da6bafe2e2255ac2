"""Whether probabilities can be taken at their word: what a run says of it, for a table and a curve."""

from __future__ import annotations

from dataclasses import dataclass

from sympress.report.columns import groups
from sympress.report.formats import format_estimate
from sympress.results import CalibrationQuality, Results


@dataclass(frozen=True)
class Reliability:
    """Calibration of one strategy, first seed.

    Attributes:
        name: of the strategy.
        cells: calibration error, Brier score, and both before calibration.
        predicted: mean probability of each bin.
        observed: share of answers of the bin that are true.
    """

    name: str
    cells: tuple[str, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]


def calibration_of(results: Results) -> list[Reliability]:
    """Return the calibration of every strategy that has one."""
    first = [(group.name, group.seeds[0].quality.calibration) for group in groups(results)]
    return [_reliability(name, found) for name, found in first if found is not None]


def _reliability(name: str, found: CalibrationQuality) -> Reliability:
    points = [(one.predicted, one.observed.value) for one in found.bins if one.observed.value is not None]
    values = (found.ece, found.ece_width, found.brier, found.ece_before, found.brier_before)
    return Reliability(
        name,
        tuple(format_estimate(value) for value in values),
        tuple(x for x, _ in points),
        tuple(y for _, y in points),
    )
