"""The figures of the page, by Bokeh: each as JSON that the page's own script hands to BokehJS."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from sympress.errors import MissingExtraError
from sympress.report.axes import axis_step, cost_ends, log_ticks, score_ends
from sympress.report.formats import format_number
from sympress.report.labels import place_labels
from sympress.report.palette import Look
from sympress.report.pareto import Place
from sympress.report.tables import printable

if TYPE_CHECKING:
    from bokeh.plotting import figure as Figure

#: Pixels between the axes of a figure on a wide screen and on a phone: names are placed for both.
WIDE, NARROW, HEIGHT = (530.0, 330.0), (255.0, 330.0), 400
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
    try:
        import bokeh.plotting  # noqa: F401  only whether it is there
    except ImportError:
        raise MissingExtraError("report", "bokeh") from None


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
    xs, ys = cost_ends([one.cost for one in found]), score_ends(*_bars(found))
    plot = _figure(xs, ys, axis[0], f1, log=True)
    plot.xaxis.ticker = log_ticks(*xs)
    plot.xaxis.major_label_overrides = {tick: f"{tick:g}" for tick in log_ticks(*xs)}
    front = sorted((one for one in found if not one.dominated and not one.group.is_reference), key=_cost)
    steps = ([one.cost for one in front], [one.f1 for one in front])
    plot.step(*steps, mode="after", line_width=1, line_dash=[2, 3]).tags = ["soft"]
    data = _pareto_columns(found, xs, ys)
    for number, one in enumerate(found):
        _mark(plot, one, looks[one.group.name], {name: values[number] for name, values in data.items()})
    _hover(plot, [("", "@name"), (f1, "@shown"), (axis[1], "@cost")])
    return Drawing(target, title, _item(plot, target))


def _cost(one: Place) -> float:
    return one.cost


def _bars(found: Sequence[Place]) -> tuple[list[float], list[float]]:
    return [one.low for one in found], [one.high for one in found]


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
        height=HEIGHT, sizing_mode="stretch_width", toolbar_location=None, tools="",
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
