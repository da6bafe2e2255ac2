"""Quality against bytes and against latency, as one SVG: a line a family of strategies."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from sympress.errors import InputError
from sympress.report.columns import BASELINE, Group, groups, seeds_of
from sympress.report.scatter import axis_step, f1_interval, log_ticks, size_mb
from sympress.report.tables import printable
from sympress.results import Results

#: `depth-2` is the family `depth` at strength 2.
FAMILY = re.compile(r"(?P<family>.+)-(?P<strength>\d+)")
#: Okabe and Ito's colours, told apart with any colour vision; with six markers, 42 families differ.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
CIRCLE = "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z"
BIG_CIRCLE = "M-8 0a8 8 0 1 0 16 0a8 8 0 1 0-16 0z"
PLUS = "M-1.8-5H1.8V-1.8H5V1.8H1.8V5H-1.8V1.8H-5V-1.8H-1.8z"
MARKERS = (CIRCLE, "M-4-4H4V4H-4z", "M0-5.5L5 4H-5z", "M0-6L5.5 0L0 6L-5.5 0z", "M0 5.5L5-4H-5z", PLUS)

WIDTH, MARGIN = 1120, 64
TOP, BOTTOM = 64, 510
#: Left and right edge of each panel.
EDGES = ((MARGIN, 540), (620, 1096))
#: A text of size 11: width of a letter, height above and below its line.
LETTER, ASCENT, DESCENT = 6.8, 9, 3

#: Left, top, right, bottom.
Box = tuple[float, float, float, float]
Cost = Callable[[Group], float | None]


@dataclass(frozen=True)
class Row:
    """A strategy: its F1 and the ends of its bar (equal to it without an interval)."""

    group: Group
    f1: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Rows drawn alike, each with its label: a family in the order of its strengths, or a row by itself."""

    name: str
    rows: tuple[tuple[Row, str], ...]
    colour: str = "#333"
    marker: str = CIRCLE
    fill: str = "#fff"


@dataclass(frozen=True)
class Panel:
    """One diagram: its left and right edge, what is counted along it, and the values at its edges."""

    edges: tuple[int, int]
    label: str
    cost: Cost
    costs: tuple[float, float]
    scores: tuple[float, float]

    def x(self, cost: float) -> float:
        """Where a cost stands: logarithmic, `costs` at the edges."""
        low, high = self.costs
        return self.edges[0] + math.log(cost / low) / math.log(high / low) * (self.edges[1] - self.edges[0])

    def y(self, f1: float) -> float:
        """Where an F1 stands: linear, `scores` at bottom and top."""
        low, high = self.scores
        return TOP + (high - f1) / (high - low) * (BOTTOM - TOP)

    def points(self, curve: Curve) -> list[tuple[float, float]]:
        """Where the rows of `curve` stand; only rows that have a cost are drawn."""
        return [(self.x(self.cost(row.group) or self.costs[0]), self.y(row.f1)) for row, _ in curve.rows]


def curves_svg(results: Results) -> str:
    """Return a self-contained SVG of F1 against MB on disk (left) and against latency (right).

    Rows named FAMILY-NUMBER are joined where a family has two or more; every other row is a point with its
    name; references and baseline are dashed lines. F1 is micro for `present`, else macro; bars are the 95 %
    interval of one seed, the range of several. Latency is how many times as fast as the baseline in PyTorch
    (fp32) or, unless every row was timed against that, milliseconds. Rows without a place are named below.

    Raises:
        InputError: no row has an F1, a size and a latency.
    """
    found = groups(results)
    rows = [Row(group, *interval) for group in found if (interval := f1_interval(group)) is not None]
    levels = [row for row in rows if row.group.is_reference or row.group.name == BASELINE]
    models = [row for row in rows if not row.group.is_reference]
    axes = (("MB of the deployed file (log axis; left is smaller)", size_mb), _latency(models))
    placed = [row for row in models if all(cost(row.group) for _, cost in axes)]
    if not placed:
        raise InputError("no row has an F1, a size and a latency: there is nothing to draw")
    curves, scores = _curves(placed), _score_ends([*placed, *levels])
    kind = "macro" if any(row.quality.micro_f1 is None for row in results.strategies) else "micro"
    parts = [
        _text(MARGIN, 24, f"{kind}-F1 of each strategy by its strength: {results.data.name}", size=16),
        _text(MARGIN, 44, _subtitle(results)),
    ]
    for edges, (label, cost) in zip(EDGES, axes, strict=True):
        ends = _cost_ends([cost(row.group) or 0 for row in placed])
        parts += _drawn(Panel(edges, label, cost, ends, scores), curves, levels, kind)
    legend, y = _legend(curves, BOTTOM + 64)
    drawn = {row.group.name for row in (*placed, *levels)}
    missing = [group.name for group in found if group.name not in drawn]
    if missing:
        y += 20
        legend.append(_text(MARGIN, y, f"not drawn, without an F1 or a cost: {', '.join(missing)}"))
    return _document([*parts, *legend], round(y) + 18)


def _subtitle(results: Results) -> str:
    seeds = seeds_of(results)
    listed = ", ".join(map(str, seeds))
    bars = f"the 95 % bootstrap interval (seed {listed})"
    if len(seeds) > 1:
        bars = f"the range over {len(seeds)} seeds ({listed}), marks their mean"
    return f"{results.data.test:,} test notes; up is better; bars are {bars}"


def _latency(models: Iterable[Row]) -> tuple[str, Cost]:
    """Label and value of the latency axis, the same for every row."""
    if all(_times_as_fast(row.group) for row in models):
        return "times as fast as the baseline in PyTorch, fp32 (log axis; right is faster)", _times_as_fast
    return "ms a note at batch 1, median (log axis; left is faster)", _milliseconds


def _times_as_fast(group: Group) -> float | None:
    ratio = group.mean(lambda row: row.cost.latency_ratio_pytorch)
    return 1 / ratio if ratio else None


def _milliseconds(group: Group) -> float | None:
    return group.mean(lambda row: row.cost.latency_ms_p50)


def _score_ends(rows: Sequence[Row]) -> tuple[float, float]:
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    step = axis_step(high - low)
    bottom = max(0.0, math.floor(low / step) * step)
    return bottom, max(bottom + step, min(1.0, math.ceil(high / step) * step))


def _cost_ends(costs: Sequence[float]) -> tuple[float, float]:
    """Both ends with room for marks and names."""
    room = max(1.1, (max(costs) / min(costs)) ** 0.06)
    return min(costs) / room, max(costs) * room


def _curves(rows: Iterable[Row]) -> list[Curve]:
    """Families in the order of the run, then the rows by themselves, the baseline last and so on top."""
    families: dict[str, list[tuple[Row, str]]] = {}
    alone = []
    for row in rows:
        named = FAMILY.fullmatch(row.group.name)
        if named is None:
            alone.append(row)
        else:
            families.setdefault(named["family"], []).append((row, named["strength"]))
    joined = [(name, members) for name, members in families.items() if len(members) > 1]
    curves = []
    for number, (name, members) in enumerate(joined):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        ordered = tuple(sorted(members, key=lambda member: int(member[1])))
        curves.append(Curve(name, ordered, colour, marker, colour))
    alone += [members[0][0] for members in families.values() if len(members) == 1]
    alone.sort(key=lambda row: row.group.name == BASELINE)
    return curves + [_single(row) for row in alone]


def _single(row: Row) -> Curve:
    name = row.group.name
    if name == BASELINE:
        return Curve(name, ((row, name),), "#000", BIG_CIRCLE, "#000")
    return Curve(name, ((row, name),))


# Drawing -------------------------------------------------------------------------------------------


def _drawn(panel: Panel, curves: Sequence[Curve], levels: Sequence[Row], kind: str) -> list[str]:
    """Axes, dashed lines, marks, and then every name where it covers least."""
    left, right = panel.edges
    dashed = 'stroke="#555" stroke-dasharray="6 4"'
    parts = _axes(panel, kind)
    parts += [f'<path d="M{left} {panel.y(row.f1):.1f}H{right}" {dashed}/>' for row in levels]
    taken: list[Box] = []
    for curve in curves:
        parts += _marks(panel, curve, taken)
    for row in levels:
        y = panel.y(row.f1)
        spots = [
            (x, y + down, share) for down in (-5, 14) for x, share in ((left + 6, 0.0), (right - 6, 1.0))
        ]
        parts.append(_label(f"{row.group.name} {row.f1:.3f}", spots, panel.edges, taken))
    for curve in curves:
        for (x, y), (_, label) in zip(panel.points(curve), curve.rows, strict=True):
            if curve.name != BASELINE:  # its name stands at its dashed line
                parts.append(_label(label, _around(x, y), panel.edges, taken))
    return parts


def _axes(panel: Panel, kind: str) -> list[str]:
    (left, right), (low, high) = panel.edges, panel.scores
    # A narrow span may lie between two round numbers.
    ticks = found if len(found := log_ticks(*panel.costs)) > 1 else list(panel.costs)
    step = axis_step(high - low)
    parts = []
    for cost in ticks:
        parts.append(f'<path d="M{panel.x(cost):.1f} {TOP}V{BOTTOM}" stroke="#e4e4e4"/>')
        parts.append(_text(panel.x(cost), BOTTOM + 17, f"{cost:.3g}", anchor="middle"))
    for f1 in (low + number * step for number in range(round((high - low) / step) + 1)):
        parts.append(f'<path d="M{left} {panel.y(f1):.1f}H{right}" stroke="#e4e4e4"/>')
        parts.append(_text(left - 6, panel.y(f1) + 4, f"{f1:.2f}", anchor="end"))
    parts.append(f'<path d="M{left} {TOP}V{BOTTOM}H{right}" fill="none" stroke="#333"/>')
    parts.append(_text((left + right) / 2, BOTTOM + 36, panel.label, anchor="middle"))
    x, y = left - 42, (TOP + BOTTOM) / 2
    turned = f' transform="rotate(-90 {x} {y:.1f})"'
    return [*parts, _text(x, y, f"{kind}-F1 on the test notes", anchor="middle", more=turned)]


def _marks(panel: Panel, curve: Curve, taken: list[Box]) -> list[str]:
    """The line, bars and marks of `curve`; what they cover is added to `taken`."""
    points = panel.points(curve)
    parts = []
    for (x0, y0), (x1, y1) in pairwise(points):
        parts.append(
            f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{curve.colour}" stroke-width="1.8"/>'
        )
        dots = max(1, round(math.hypot(x1 - x0, y1 - y0) / 8))
        along = ((x0 + (x1 - x0) * dot / dots, y0 + (y1 - y0) * dot / dots) for dot in range(dots))
        taken += [(x - 2, y - 2, x + 2, y + 2) for x, y in along]
    for (row, _), (x, y) in zip(curve.rows, points, strict=True):
        top, bottom = panel.y(row.high), panel.y(row.low)
        taken += [(x - 7, y - 7, x + 7, y + 7), (x - 1, top, x + 1, bottom)]
        said = f"{row.group.name}: F1 {row.f1:.3f} ({row.low:.3f} to {row.high:.3f})"
        parts += [
            f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{curve.colour}" stroke-width="0.8"/>',
            f'<path transform="translate({x:.1f} {y:.1f})" d="{curve.marker}" fill="{curve.fill}" '
            f'stroke="{curve.colour}"><title>{_escaped(said)}</title></path>',
        ]
    return parts


def _around(x: float, y: float) -> list[tuple[float, float, float]]:
    """Where a name may stand beside a mark, best first: x, y, and its share that lies left of x."""
    sides = [(x + 9, 0.0), (x - 9, 1.0)]
    near = [*((side, y + 4, share) for side, share in sides), (x, y - 11, 0.5), (x, y + 19, 0.5)]
    corners = [(side, y + down, share) for down in (-8, 16, -20, 28) for side, share in sides]
    return [*near, *corners, (x, y - 25, 0.5), (x, y + 33, 0.5)]


def _label(
    text: str, spots: Iterable[tuple[float, float, float]], edges: tuple[int, int], taken: list[Box]
) -> str:
    """`text` inside the panel where it covers little of `taken`, nearest first; that place is then taken."""
    width, panel = LETTER * len(text), (edges[0], TOP, edges[1], BOTTOM)

    def cost(ranked: tuple[int, Box]) -> float:
        rank, box = ranked
        outside = width * (ASCENT + DESCENT) - _overlap(box, panel)
        # A bar or a line below a name is better than a name far from its mark.
        return sum(_overlap(box, other) for other in taken) + 4 * outside + 4 * rank

    boxes = [(x - share * width, y - ASCENT, x + (1 - share) * width, y + DESCENT) for x, y, share in spots]
    _, best = min(enumerate(boxes), key=cost)
    taken.append(best)
    halo = ' paint-order="stroke" stroke="#fff" stroke-width="3" stroke-linejoin="round"'
    return _text(best[0], best[3] - DESCENT, text, more=halo)


def _overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    return max(0.0, width) * max(0.0, min(one[3], other[3]) - max(one[1], other[1]))


def _legend(curves: Iterable[Curve], y: float) -> tuple[list[str], float]:
    """Line, marker, name and strengths of each family; returns also the height of the last line."""
    parts, x = [], MARGIN + 0.0
    for curve in curves:
        text = f"{curve.name} {', '.join(label for _, label in curve.rows)}"
        if len(curve.rows) == 1:  # named at its mark, but for the baseline
            if curve.name != BASELINE:
                continue
            text = curve.name
        width = 48 + LETTER * len(text)
        if x > MARGIN and x + width > WIDTH - MARGIN:
            x, y = MARGIN + 0.0, y + 22
        parts += [
            f'<path d="M{x:.1f} {y - 4:.1f}h24" stroke="{curve.colour}" stroke-width="1.8"/>',
            f'<path transform="translate({x + 12:.1f} {y - 4:.1f})" d="{curve.marker}" fill="{curve.fill}"/>',
            _text(x + 30, y, text),
        ]
        x += width
    return parts, y


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 11, more: str = "") -> str:
    shown = f'text-anchor="{anchor}" font-size="{size}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {shown}{more}>{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape(printable(text))


def _document(parts: Iterable[str], height: int) -> str:
    """The drawing on a white ground of its own, so that it reads the same on a dark page."""
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
    ground = f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>'
    return "\n".join([f'{opening} font-family="sans-serif" fill="#222">', ground, *parts, "</svg>"]) + "\n"
