"""What every figure for papers shares: settings, axes, marks and names, by Matplotlib."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sympress.errors import MissingExtraError
from sympress.report.axes import axis_step, log_ticks
from sympress.report.labels import place_labels
from sympress.report.palette import Look
from sympress.report.tables import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Nothing of the machine: no fonts but Matplotlib's own, no date, the same names of parts each time.
SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "svg.hashsalt": "sympress",
    "svg.fonttype": "path",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa4ac",
    "axes.labelcolor": "#3c454d",
    "xtick.color": "#3c454d",
    "ytick.color": "#3c454d",
    "axes.grid": False,
    "text.parse_math": False,
    "legend.frameon": False,
}
INK, FAINT, GRID = "#1b1f23", "#8b949b", "#e3e6e8"
DOTS_PER_INCH = 200
#: Inches of one diagram.
PANEL = (4.6, 3.6)


@contextmanager
def drawing() -> Iterator[None]:
    """Draw with `SETTINGS` whatever the user's own are.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError("report", "matplotlib") from None
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)  # type: ignore[arg-type]  # its keys are literals there
        yield


def svg_of(figure: Figure) -> str:
    """Return a figure as SVG: no date, no versions, rounded coordinates, the same text each time."""
    buffer = io.StringIO()
    with drawing():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    text = re.sub(r"\d+\.\d{4,}", lambda number: f"{float(number[0]):.2f}", buffer.getvalue())
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(
            buffer, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None}, facecolor="white"
        )
    return buffer.getvalue()


def panels(number: int, size: tuple[float, float] = PANEL) -> tuple[Figure, list[Axes]]:
    """Return a figure with `number` diagrams side by side, each of `size` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * number, size[1]), layout="constrained")
    return figure, [figure.add_subplot(1, number, place + 1) for place in range(number)]


def log_axis(axis: Axes, ends: tuple[float, float], label: str) -> None:
    """Make the horizontal axis logarithmic, with round ticks."""
    from matplotlib.ticker import NullLocator

    axis.set_xscale("log")
    axis.set_xlim(*ends)
    ticks = log_ticks(*ends)
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xlabel(f"{label} (log)")


def score_axis(axis: Axes, ends: tuple[float, float]) -> None:
    """Make the vertical axis linear from `ends[0]` to `ends[1]`, with faint lines."""
    step = axis_step(ends[1] - ends[0])
    axis.set_ylim(*ends)
    ticks = [ends[0] + number * step for number in range(round((ends[1] - ends[0]) / step) + 1)]
    axis.set_yticks(ticks, [f"{tick:.2f}" for tick in ticks])
    axis.grid(visible=True, axis="y", color=GRID, lw=0.7)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)


def mark(axis: Axes, x: float, bar: tuple[float, float, float], look: Look, *, strength: float = 1) -> None:
    """Draw a mark with its bar; `bar` is the low end, the value, and the high end."""
    low, value, high = bar
    axis.plot([x, x], [low, high], color=look.colour, lw=1, alpha=0.6 * strength, zorder=2)
    axis.plot(
        [x], [value], marker=look.marker_matplotlib, ms=6.5, color=look.colour, alpha=strength, ls="",
        clip_on=False, zorder=3, mfc="white" if look.is_hollow else look.colour,
    )  # fmt: skip


def name_marks(
    axis: Axes, names: Sequence[tuple[str, float, float, str]], panel: tuple[float, float] = PANEL
) -> None:
    """Write each name beside its mark, `(name, x, y, colour)`, once both axes have their ends.

    `panel` is the size of the diagram in inches.
    """
    if not names:
        return
    ground = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
    # A name is 8 points high where `place_labels` reckons with 12, so there is more room than it knows of.
    width, height = panel[0] * 72 * 1.15, panel[1] * 72 * 1.0
    place = axis.transLimits.transform(axis.transScale.transform([(x, y) for _, x, y, _ in names]))
    marks = [(float(x) * width, (1 - float(y)) * height) for x, y in place]
    labels = place_labels([printable(name) for name, *_ in names], marks, (width, height))
    for (name, x, y, colour), label in zip(names, labels, strict=True):
        axis.annotate(
            printable(name), (x, y), xytext=(label.dx * 0.8, -label.dy * 0.8), textcoords="offset points",
            ha=label.align, va="center", color=colour, fontsize=8, zorder=4, bbox=ground,
        )  # fmt: skip


def draw_line(axis: Axes, name: str, look: Look, xs: Sequence[float], ys: Sequence[float]) -> None:
    """Draw a line with marks, named for a legend."""
    axis.plot(
        xs, ys, marker=look.marker_matplotlib, ms=4, lw=1.3, color=look.colour, label=printable(name),
        mfc="white" if look.is_hollow else look.colour,
    )  # fmt: skip
