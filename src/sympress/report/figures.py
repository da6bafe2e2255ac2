"""The figures for papers, by Matplotlib: SVG and PNG, the same bytes for the same results."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sympress.errors import of_extra
from sympress.files import atomic_path
from sympress.report.columns import Group, Look, groups, looks
from sympress.report.interactive import (
    axis_step,
    cost_ends,
    epoch_points,
    log_ticks,
    place_labels,
    score_ends,
    with_epochs,
)
from sympress.report.sections import calibration_of, mean_of
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
from sympress.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# What every figure for papers shares: settings, axes, marks and names, by Matplotlib.


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
    with of_extra("report", "matplotlib"):
        import matplotlib as mpl
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


# The figures for papers, by Matplotlib: SVG and PNG, the same bytes for the same results.


def write_figures(results: Results, folder: Path) -> list[Path]:
    """Write every figure that the results allow as `NAME.svg` and `NAME.png`; return their paths.

    Raises:
        MissingExtraError: matplotlib is not installed.
        SympressError: a file could not be written.
    """
    written = []
    for name, draw in FIGURES.items():
        figure = draw(results)
        if figure is None:
            continue
        for kind, content in (("svg", svg_of(figure).encode()), ("png", png_of(figure))):
            path = folder / f"{name}.{kind}"
            with atomic_path(path) as draft:
                draft.write_bytes(content)
            written.append(path)
    return written


def pareto_figure(results: Results) -> Figure | None:
    """F1 against size (left) and latency (right); None with fewer than two strategies to place."""
    found = [(group.name, group) for group in groups(results)]
    styles = looks(name for name, _ in found)
    costs = (("size of the deployed file, MB", size_mb), ("latency of one note, ms", latency_ms))
    placed = [(label, *in_view(places(found, cost))) for label, cost in costs]
    if any(len(one) < 2 for _, one, _ in placed):
        return None
    with drawing():
        figure, axes = panels(2)
        for axis, (label, one, _) in zip(axes, placed, strict=True):
            _pareto(axis, one, styles, label)
        axes[0].set_ylabel(headline_name(results))
        if beyond := beyond_text(placed[0][2]):
            figure.supxlabel(printable(f"below the diagrams: {beyond}"), fontsize=8, color=INK)
    return figure


def _pareto(axis: Axes, found: Sequence[Place], styles: dict[str, Look], label: str) -> None:
    xs, ys = (
        cost_ends([one.cost for one in found]),
        score_ends([o.low for o in found], [o.high for o in found]),
    )
    log_axis(axis, xs, label)
    score_axis(axis, ys)
    front = sorted((o for o in found if not o.dominated and not o.group.is_reference), key=lambda o: o.cost)
    axis.step(
        [o.cost for o in front], [o.f1 for o in front], where="post", color=FAINT, lw=0.8, ls=":", zorder=1
    )
    for one in found:
        strength = 0.35 if one.dominated else 1.0
        mark(axis, one.cost, (one.low, one.f1, one.high), styles[one.group.name], strength=strength)
    names = [(one.label, one.cost, one.f1, FAINT if one.dominated else INK) for one in found]
    name_marks(axis, names)


def epochs_figure(results: Results) -> Figure | None:
    """F1 on the notes that score an epoch, mean over seeds; None without epochs."""
    lines = [(group, points) for group in with_epochs(results) if (points := epoch_points(group))]
    if not lines:
        return None
    styles = looks(group.name for group in groups(results))
    scores = [y for _, points in lines for _, y in points]
    with drawing():
        figure, (axis,) = panels(1, (6.4, 3.6))
        score_axis(axis, score_ends(scores, scores))
        for group, points in lines:
            draw_line(axis, group.name, styles[group.name], *zip(*points, strict=True))
        axis.set_xticks(sorted({x for _, points in lines for x, _ in points}))
        axis.set_xlabel("epoch")
        axis.set_ylabel(f"{headline_name(results)}, {scored_part(results)}")
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


def symptoms_figure(results: Results) -> Figure | None:
    """F1 of each symptom for each strategy, as a heat map; None without numbers by symptom."""
    found = groups(results)
    rows = [[_by_symptom(group, symptom) for group in found] for symptom in results.data.symptoms]
    if not any(value is not None for row in rows for value in row):
        return None
    with drawing():
        figure, (axis,) = panels(1, (1.6 + 0.75 * len(found), 1.0 + 0.24 * len(rows)))
        cells = [[float("nan") if value is None else value for value in row] for row in rows]
        image = axis.imshow(cells, cmap="cividis", aspect="auto", vmin=0, vmax=1)
        names = [printable(group.name) for group in found]
        axis.set_xticks(range(len(found)), names, rotation=35, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(rows)), [printable(symptom) for symptom in results.data.symptoms])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        for number, row in enumerate(rows):
            for column, value in enumerate(row):
                shown, dark = ("–", True) if value is None else (f"{value:.2f}", value > 0.55)
                axis.text(
                    column, number, shown, ha="center", va="center", fontsize=7, color=INK if dark else "w"
                )
        figure.colorbar(image, ax=axis, label="F1, test notes", shrink=0.8)
    return figure


def _by_symptom(group: Group, symptom: str) -> float | None:
    return mean_of(
        [one.f1 for row in group.seeds for one in row.quality.per_symptom if one.symptom == symptom]
    )


def calibration_figure(results: Results) -> Figure | None:
    """Observed frequency against predicted probability, first seed; None without calibration."""
    found = [one for one in calibration_of(results) if one.predicted]
    if not found:
        return None
    styles = looks(group.name for group in groups(results))
    with drawing():
        figure, (axis,) = panels(1, (5.6, 4.2))
        axis.plot([0, 1], [0, 1], color=FAINT, lw=0.8, ls=":")
        score_axis(axis, (0.0, 1.0))
        for one in found:
            draw_line(axis, one.name, styles[one.name], one.predicted, one.observed)
        axis.set_xlim(0, 1)
        axis.set_xlabel("predicted probability")
        axis.set_ylabel("observed frequency")
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    return figure


#: Every figure by its file name.
FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "pareto": pareto_figure,
    "epochs": epochs_figure,
    "symptoms": symptoms_figure,
    "calibration": calibration_figure,
}
