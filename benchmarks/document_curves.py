"""Quality against bytes and against latency for documents: a line a family of strategies, as one SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sympress.errors import InputError
from sympress.report.columns import BASELINE, Group, Look, family_of, groups, looks, seeds_of
from sympress.report.figures import FAINT, INK, drawing, log_axis, mark, name_marks, score_axis, svg_of
from sympress.report.interactive import cost_ends, score_ends
from sympress.report.verdict import f1_interval, headline_name, latency_ms, printable, size_mb
from sympress.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Inches of one diagram.
SIZE = (5.2, 4.4)

Cost = Callable[[Group], float | None]


@dataclass(frozen=True)
class Row:
    """A strategy: its F1 and the ends of its bar (equal to it without an interval)."""

    group: Group
    f1: float
    low: float
    high: float


def curves_svg(results: Results) -> str:
    """Return `curves_figure` as SVG, the same text for the same results.

    Raises:
        InputError: no row has an F1, a size and a latency.
        MissingExtraError: matplotlib is not installed.
    """
    return svg_of(curves_figure(results))


def curves_figure(results: Results) -> Figure:
    """Draw F1 against MB on disk (left) and against latency (right).

    Rows named FAMILY-NUMBER are joined where a family has two or more; references and the baseline are
    dashed lines. F1 is micro for `present`, else macro; bars are the 95 % interval of one seed, the range of
    several. Latency is how many times as fast as the baseline in PyTorch (fp32) or, unless every row was
    timed against that, milliseconds. Rows without a place are named below.

    Raises:
        InputError: no row has an F1, a size and a latency.
        MissingExtraError: matplotlib is not installed.
    """
    found = groups(results)
    rows = [Row(group, *interval) for group in found if (interval := f1_interval(group)) is not None]
    levels = [row for row in rows if row.group.is_reference or row.group.name == BASELINE]
    models = [row for row in rows if not row.group.is_reference]
    panels = (("MB of the deployed file (left is smaller)", size_mb), _latency(models))
    placed = [row for row in models if all(cost(row.group) for _, cost in panels)]
    if not placed:
        raise InputError("no row has an F1, a size and a latency: there is nothing to draw")
    missing = {group.name for group in found} - {row.group.name for row in (*placed, *levels)}
    with drawing():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11.2, 5.4), layout="constrained")
        styles = looks(group.name for group in found)
        ends = score_ends([r.low for r in (*placed, *levels)], [r.high for r in (*placed, *levels)])
        for number, (label, cost) in enumerate(panels):
            axis = figure.add_subplot(1, 2, number + 1)
            score_axis(axis, ends)
            _panel(axis, placed, levels, styles, (label, cost))
        kind = headline_name(results)
        figure.axes[0].set_ylabel(f"{kind} on the test notes")
        figure.suptitle(_title(results, kind), x=0.01, ha="left", fontsize=9, color=INK)
        shown, labels = figure.axes[0].get_legend_handles_labels()
        if labels:
            figure.legend(shown, labels, loc="outside lower left", ncols=6, fontsize=8)
        if missing:
            named = ", ".join(printable(group.name) for group in found if group.name in missing)
            figure.supxlabel(f"not drawn, without an F1 or a cost: {named}", fontsize=8, color=INK)
    return figure


def _title(results: Results, kind: str) -> str:
    seeds = seeds_of(results)
    listed = ", ".join(map(str, seeds))
    bars = f"the 95 % bootstrap interval (seed {listed})"
    if len(seeds) > 1:
        bars = f"the range over {len(seeds)} seeds ({listed}), marks their mean"
    name = printable(results.data.name)
    return f"{kind} of each strategy, {name}, {results.data.test:,} test notes; bars are {bars}"


def _latency(models: Iterable[Row]) -> tuple[str, Cost]:
    """Label and value of the latency axis, the same for every row."""
    if all(_times_as_fast(row.group) for row in models):
        return "times as fast as the baseline in PyTorch, fp32 (right is faster)", _times_as_fast
    return "ms a note at batch 1, median (left is faster)", latency_ms


def _times_as_fast(group: Group) -> float | None:
    ratio = group.mean(lambda row: row.cost.latency_ratio_pytorch)
    return 1 / ratio if ratio else None


def _panel(
    axis: Axes, rows: Sequence[Row], levels: Sequence[Row], styles: dict[str, Look], along: tuple[str, Cost]
) -> None:
    label, cost = along
    costs = {row.group.name: cost(row.group) or math.nan for row in rows}
    log_axis(axis, cost_ends(list(costs.values())), label)
    for row in levels:
        axis.axhline(row.f1, color=FAINT, lw=0.9, ls="--", zorder=1)
        text = f"{printable(row.group.name)} {row.f1:.3f}"
        axis.annotate(
            text, (axis.get_xlim()[1], row.f1), va="bottom", ha="right", fontsize=8, color=FAINT, zorder=5
        )
    for name, line in _families(rows).items():
        line.sort(key=lambda row: costs[row.group.name])
        look = styles[line[0].group.name]
        label = name if len(line) > 1 else ""
        xs, ys = [costs[row.group.name] for row in line], [row.f1 for row in line]
        axis.plot(
            xs, ys, color=look.colour, lw=1.2, zorder=2, marker=look.marker_matplotlib, label=label or None
        )
        for row in line:
            mark(axis, costs[row.group.name], (row.low, row.f1, row.high), look)
    names = [(_short(row, rows), costs[row.group.name], row.f1, INK) for row in rows]
    name_marks(axis, [one for one in names if one[0] != BASELINE], SIZE)


def _families(rows: Sequence[Row]) -> dict[str, list[Row]]:
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(family_of(row.group.name), []).append(row)
    return families


def _short(row: Row, rows: Sequence[Row]) -> str:
    """The strength of a row whose family is in the legend, else its name."""
    name = row.group.name
    family = family_of(name)
    return name if len(_families(rows)[family]) == 1 else name.removeprefix(f"{family}-")
