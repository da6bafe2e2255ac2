"""Which figures a page has, and from what: quality against cost, epochs, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sympress.report.columns import Group, groups
from sympress.report.interactive import Drawing, Line, draw_lines, draw_pareto
from sympress.report.palette import Look, looks
from sympress.report.pareto import beyond_text, in_view, latency_ms, places, size_mb
from sympress.report.verdict import headline_name
from sympress.results import EpochQuality, Results

if TYPE_CHECKING:
    from sympress.report.calibration import Reliability


def pareto_drawings(runs: Sequence[tuple[str, Results]]) -> list[Drawing]:
    """F1 against size and against latency, all runs in one; none with fewer than two strategies to place."""
    several = len(runs) > 1
    found: list[tuple[str, Group]] = [
        (f"{name}: {group.name}" if several else group.name, group)
        for name, results in runs
        for group in groups(results)
    ]
    styles = looks(group.name for _, group in found)
    f1 = headline_name(runs[0][1])
    drawn = []
    for target, axis, cost in (
        ("pareto-size", ("size of the deployed file, MB (log)", "MB"), size_mb),
        ("pareto-latency", ("latency of one note, ms (log)", "ms"), latency_ms),
    ):
        placed, beyond = in_view(places(found, cost))
        if len(placed) > 1:
            below = f"; below the figure: {beyond_text(beyond)}" if beyond else ""
            title = f"{f1} against {axis[0]}{below}"
            drawn.append(draw_pareto(target, title, placed, looks=styles, axis=axis, f1=f1))
    return drawn


def epoch_drawings(results: Results, prefix: str) -> list[Drawing]:
    """F1 on validation notes after each epoch, a line a strategy (mean over seeds); none without epochs."""
    found = with_epochs(results)
    styles = looks(group.name for group in groups(results))
    lines = [
        Line(group.name, styles[group.name], *zip(*points, strict=True))
        for group in found
        if (points := epoch_points(group))
    ]
    if not lines:
        return []
    f1 = headline_name(results)
    title = f"{f1} on validation notes after each epoch"
    return [draw_lines(f"{prefix}-epochs", title, lines, ("epoch", f"{f1}, validation"))]


def with_epochs(results: Results) -> list[Group]:
    """Return the trained strategies whose every seed keeps its epochs."""
    trained = [group for group in groups(results) if not group.is_reference]
    return [group for group in trained if all(row.epochs for row in group.seeds)]


def epoch_points(group: Group) -> list[tuple[float, float]]:
    """Epoch and F1, the mean over the seeds that have it."""
    found: dict[int, list[float]] = {}
    for row in group.seeds:
        for epoch in row.epochs:
            value = _f1(epoch)
            if value is not None:
                found.setdefault(epoch.epoch, []).append(value)
    return [(float(epoch), sum(values) / len(values)) for epoch, values in sorted(found.items())]


def _f1(epoch: EpochQuality) -> float | None:
    quality = epoch.quality
    return (quality.micro_f1 or quality.f1).value


def calibration_drawings(
    found: Sequence[Reliability], styles: Mapping[str, Look], prefix: str
) -> list[Drawing]:
    """Observed frequency against predicted probability, a line a strategy; none without bins."""
    lines = [Line(one.name, styles[one.name], one.predicted, one.observed) for one in found if one.predicted]
    if not lines:
        return []
    title = "observed frequency against predicted probability, test notes"
    axes = ("predicted probability", "observed frequency")
    return [draw_lines(f"{prefix}-calibration", title, lines, axes, square=True)]
