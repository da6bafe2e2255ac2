"""The figures of the page, by Bokeh: each as JSON that the page's own script hands to BokehJS."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from sympress.errors import of_extra
from sympress.report.columns import Group, Look, format_number, groups, looks
from sympress.report.verdict import (
    Place,
    beyond_text,
    headline_name,
    in_view,
    latency_ms,
    places,
    printable,
    scored_part,
    size_mb,
)
from sympress.results import EpochQuality, Results

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

    from sympress.report.sections import PrecisionRecall, Reliability


# Ends and ticks of the axes: F1 is linear, a cost logarithmic.


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


# Names beside the marks of a diagram, placed such that they cover each other as little as possible.


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


# The figures of the page, by Bokeh: each as JSON that the page's own script hands to BokehJS.


#: Pixels between the axes of a figure on a wide screen and on a phone: names are placed for both.
WIDE, NARROW, FIGURE_HEIGHT = (530.0, 330.0), (255.0, 330.0), 400
FONT = 'system-ui, -apple-system, "Segoe UI", sans-serif'

#: Where Bokeh's JSON names a model or a document.
_IDS = ("id", "root_id", "docid")


@dataclass(frozen=True)
class Drawing:
    """A figure of the page.

    Attributes:
        target: id of the element that it is drawn into.
        title: what it shows, also for those who do not see it.
        item: Bokeh's JSON, such that it may stand inside a script element.
    """

    target: str
    title: str
    item: str


@dataclass(frozen=True)
class Line:
    """One line of a diagram: its name, look and points."""

    name: str
    look: Look
    xs: tuple[float, ...]
    ys: tuple[float, ...]


def bokeh_script() -> str:
    """Return BokehJS, to be put into the page.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    require_bokeh()
    path = resources.files("bokeh").joinpath("server/static/js/bokeh.min.js")
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def require_bokeh() -> None:
    """Check that the figures of a page can be made.

    Raises:
        MissingExtraError: bokeh is not installed.
    """
    with of_extra("report", "bokeh"):
        import bokeh.plotting  # noqa: F401  only whether it is there


def draw_pareto(
    target: str,
    title: str,
    found: Sequence[Place],
    *,
    looks: Mapping[str, Look],
    axis: tuple[str, str],
    f1: str,
) -> Drawing:
    """Draw F1 against a cost: marks with bars and names, the undominated joined, the dominated faint.

    Args:
        target: id of the element.
        title: what is shown.
        found: at least one place.
        looks: by the strategy's name.
        axis: label of the cost axis, and the unit in the hover text.
        f1: name of the F1 axis.
    """
    xs, ys = (
        cost_ends([one.cost for one in found]),
        score_ends([one.low for one in found], [one.high for one in found]),
    )
    plot = _figure(xs, ys, axis[0], f1, log=True)
    plot.xaxis.ticker = log_ticks(*xs)
    plot.xaxis.major_label_overrides = {tick: f"{tick:g}" for tick in log_ticks(*xs)}
    front = sorted((o for o in found if not o.dominated and not o.group.is_reference), key=lambda o: o.cost)
    steps = ([one.cost for one in front], [one.f1 for one in front])
    plot.step(*steps, mode="after", line_width=1, line_dash=[2, 3]).tags = ["soft"]
    data = _pareto_columns(found, xs, ys)
    for number, one in enumerate(found):
        _mark(plot, one, looks[one.group.name], {name: values[number] for name, values in data.items()})
    _hover(plot, [("", "@name"), (f1, "@shown"), (axis[1], "@cost")])
    return Drawing(target, title, _item(plot, target))


def _pareto_columns(
    found: Sequence[Place], xs: tuple[float, float], ys: tuple[float, float]
) -> dict[str, list[Any]]:
    """What a mark needs, with the place of its name on a wide and on a narrow screen."""
    names = [printable(one.label) for one in found]
    columns: dict[str, list[Any]] = {
        "name": names,
        "x": [one.cost for one in found],
        "y": [one.f1 for one in found],
        "low": [one.low for one in found],
        "high": [one.high for one in found],
        "shown": [f"{one.f1:.3f} ({one.low:.3f} to {one.high:.3f})" for one in found],
        "cost": [format_number(one.cost, 2) for one in found],
    }
    # A phone has no room for the names of dominated rows: they are in the legend there.
    narrow = ["" if one.dominated else name for one, name in zip(found, names, strict=True)]
    for prefix, (width, height), shown in (("wide", WIDE, names), ("narrow", NARROW, narrow)):
        marks = [
            (
                math.log(one.cost / xs[0]) / math.log(xs[1] / xs[0]) * width,
                (ys[1] - one.f1) / (ys[1] - ys[0]) * height,
            )
            for one in found
        ]
        labels = place_labels(shown, marks, (width, height))
        columns[f"{prefix}_dx"] = [label.dx for label in labels]
        columns[f"{prefix}_dy"] = [label.dy for label in labels]
        columns[f"{prefix}_align"] = [label.align for label in labels]
    return columns


def _mark(plot: Figure, one: Place, look: Look, row: Mapping[str, Any]) -> None:
    """One mark with its bar and name; faint where it is dominated."""
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource({name: [value] for name, value in row.items()})
    strength = 0.35 if one.dominated else 1.0
    plot.segment(
        "x", "low", "x", "high", source=source, color=look.colour, alpha=0.6 * strength, line_width=1.2
    )
    fill = {"fill_color": None} if look.is_hollow else {"fill_color": look.colour, "fill_alpha": strength}
    plot.scatter(
        "x", "y", source=source, marker=look.marker, size=11, line_color=look.colour, line_alpha=strength,
        line_width=1.6, name="marks", **fill,
    )  # fmt: skip
    name = plot.text(
        "x", "y", "name", source=source, x_offset="wide_dx", y_offset="wide_dy", text_align="wide_align",
        text_baseline="middle", text_font={"value": FONT}, text_font_size="12px",
    )  # fmt: skip
    name.tags = ["name", "soft" if one.dominated else "ink"]


def draw_lines(
    target: str, title: str, lines: Sequence[Line], axes: tuple[str, str], *, square: bool = False
) -> Drawing:
    """Draw lines with marks: quality after each epoch, or what was observed against what was predicted.

    Args:
        target: id of the element.
        title: what is shown.
        lines: at least one.
        axes: labels of both axes.
        square: both axes run from 0 to 1, with the diagonal.
    """
    if square:
        xs, ys = (0.0, 1.0), (0.0, 1.0)
    else:
        every = [x for line in lines for x in line.xs]
        xs = (min(every) - 0.2, max(every) + 0.2)
        scores = [y for line in lines for y in line.ys]
        ys = score_ends(scores, scores)
    plot = _figure(xs, ys, *axes, log=False)
    if square:
        plot.line([0, 1], [0, 1], line_width=1, line_dash=[2, 3]).tags = ["soft"]
    else:
        plot.xaxis.ticker = sorted({x for line in lines for x in line.xs})
    for line in lines:
        names = [printable(line.name)] * len(line.xs)
        data = {"x": line.xs, "y": line.ys, "name": names, "shown": [f"{y:.3f}" for y in line.ys]}
        _line(plot, {name: list(values) for name, values in data.items()}, line.look)
    _hover(plot, [("", "@name"), (axes[0], "@x"), (axes[1], "@shown")])
    return Drawing(target, title, _item(plot, target))


def draw_curves(
    target: str, title: str, found: Sequence[PrecisionRecall], looks: Mapping[str, Look]
) -> Drawing:
    """Draw precision against recall, a mark where the thresholds are.

    Args:
        target: id of the element.
        title: what is shown.
        found: at least one curve.
        looks: by the strategy's name.
    """
    from bokeh.models import ColumnDataSource

    plot = _figure((0.0, 1.0), (0.0, 1.0), "recall", "precision", log=False)
    for one in found:
        look, (recall, precision) = looks[one.name], one.chosen
        plot.line(list(one.recall), list(one.precision), color=look.colour, line_width=1.6)
        shown = {"x": [recall], "y": [precision], "name": [printable(one.name)]}
        fill = {"fill_color": None} if look.is_hollow else {"fill_color": look.colour}
        plot.scatter(
            "x", "y", source=ColumnDataSource(shown), marker=look.marker, size=11, line_color=look.colour,
            name="marks", **fill,
        )  # fmt: skip
    _hover(plot, [("", "@name"), ("recall", "@x{0.000}"), ("precision", "@y{0.000}")])
    return Drawing(target, title, _item(plot, target))


def _line(plot: Figure, data: dict[str, list[Any]], look: Look) -> None:
    from bokeh.models import ColumnDataSource

    source = ColumnDataSource(data)
    plot.line("x", "y", source=source, color=look.colour, line_width=1.8)
    fill = {"fill_color": None} if look.is_hollow else {"fill_color": look.colour}
    plot.scatter(
        "x", "y", source=source, marker=look.marker, size=7, line_color=look.colour, name="marks", **fill
    )


def _figure(
    xs: tuple[float, float], ys: tuple[float, float], x_label: str, y_label: str, *, log: bool
) -> Figure:
    """An empty diagram without colours: those are the page's, set by its script."""
    from bokeh.models import Range1d
    from bokeh.plotting import figure

    plot = figure(
        height=FIGURE_HEIGHT, sizing_mode="stretch_width", toolbar_location=None, tools="",
        x_axis_type="log" if log else "linear", x_range=Range1d(start=xs[0], end=xs[1]),
        y_range=Range1d(start=ys[0], end=ys[1] + 0.03 * (ys[1] - ys[0])),
        x_axis_label=x_label, y_axis_label=y_label, outline_line_color=None, background_fill_color=None,
        border_fill_color=None, min_border_right=12,
    )  # fmt: skip
    step = axis_step(ys[1] - ys[0])
    ticks = [round(ys[0] + number * step, 6) for number in range(round((ys[1] - ys[0]) / step) + 1)]
    plot.yaxis.ticker = ticks
    plot.yaxis.major_label_overrides = {tick: f"{tick:.2f}" for tick in ticks}
    plot.xgrid.grid_line_color = None
    for axis in plot.axis:
        axis.minor_tick_line_color = None
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font = axis.major_label_text_font = FONT
        axis.axis_label_text_font_size = axis.major_label_text_font_size = "13px"
    return plot


def _hover(plot: Figure, tips: list[tuple[str, str]]) -> None:
    from bokeh.models import HoverTool
    from bokeh.models.renderers import DataRenderer

    marks = [one for one in plot.renderers if isinstance(one, DataRenderer) and one.name == "marks"]
    plot.add_tools(HoverTool(tooltips=tips, renderers=marks))


def _item(plot: Figure, target: str) -> str:
    """Bokeh's JSON with ids that are the same each time, and without what could end a script element."""
    from bokeh.core.types import ID
    from bokeh.embed import json_item

    item = _renumbered(json_item(plot, ID(target)), target, {})
    text = json.dumps(item, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _renumbered(value: Any, target: str, ids: dict[str, str]) -> Any:
    """`value` with its models counted from 0: Bokeh counts all that a process ever made."""
    if isinstance(value, list):
        return [_renumbered(one, target, ids) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: ids.setdefault(one, f"{target}-{len(ids)}")
        if name in _IDS and isinstance(one, str)
        else _renumbered(one, target, ids)
        for name, one in value.items()
    }


# Which figures a page has, and from what: quality against cost, epochs, calibration.


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
    """F1 on the notes that score an epoch, a line a strategy (mean over seeds); none without epochs."""
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
    part = scored_part(results)
    title = f"{f1} on {part} notes after each epoch"
    return [draw_lines(f"{prefix}-epochs", title, lines, ("epoch", f"{f1}, {part}"))]


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


def curve_drawings(
    found: Sequence[PrecisionRecall], styles: Mapping[str, Look], prefix: str
) -> list[Drawing]:
    """Precision against recall, a line a strategy; none without curves."""
    title = "precision against recall as all thresholds of a row move together, test notes"
    return [draw_curves(f"{prefix}-precision-recall", title, found, styles)] if found else []


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
