"""The figures for papers, by Matplotlib: SVG and PNG, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.report.axes import cost_ends, score_ends
from sympress.report.calibration import calibration_of
from sympress.report.columns import Group, groups
from sympress.report.drawings import epoch_points, with_epochs
from sympress.report.palette import Look, looks
from sympress.report.pareto import Place, beyond_text, in_view, latency_ms, places, size_mb
from sympress.report.plotting import (
    FAINT,
    INK,
    draw_line,
    drawing,
    log_axis,
    mark,
    name_marks,
    panels,
    png_of,
    score_axis,
    svg_of,
)
from sympress.report.sections import mean_of
from sympress.report.tables import printable
from sympress.report.verdict import headline_name
from sympress.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


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


def pareto_svg(results: Results) -> str:
    """Return `pareto_figure` as SVG.

    Raises:
        InputError: fewer than two strategies have an F1, a size and a latency.
    """
    figure = pareto_figure(results)
    if figure is None:
        raise InputError("no two rows have an F1, a size and a latency: there is nothing to draw")
    return svg_of(figure)


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
    """F1 on validation notes after each epoch, mean over seeds; None without epochs."""
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
        axis.set_ylabel(f"{headline_name(results)}, validation")
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
