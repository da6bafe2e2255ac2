"""What a search for a budget leaves: the Pareto set as a console table, as CSV, JSON and a figure."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from xml.sax.saxutils import escape

from rich import box
from rich.table import Table
from rich.text import Text

from sympress.compress.budget.found import FINISHED, SearchResult, Tried
from sympress.compress.budget.parse import parse_budget
from sympress.files import write_json, write_text

_KEYS = ("size_mb", "latency_ratio", "int8_latency_ratio", "macs_ratio", "f1_drop", "f1")
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 640, 340, 60, 20, 30, 48


def front_table(result: SearchResult) -> Table:
    """The Pareto set, smallest file first; a star marks the chosen recipe."""
    table = Table(box=box.SIMPLE_HEAD, title="Pareto set (validation notes)", title_justify="left")
    for number, name in enumerate(("", "MB", "latency", "F1 drop", "F1", "recipe")):
        table.add_column(name, justify="left" if number in (0, 5) else "right", overflow="fold")
    front = sorted((result.tried[number] for number in result.front), key=lambda one: one.measured["size_mb"])
    for one in front:
        found = one.measured
        table.add_row(
            "*" if one.number == result.chosen else "",
            f"{found['size_mb']:.2f}",
            f"{found['latency_ratio']:.3f}×",
            f"{found['f1_drop']:.4f}",
            f"{found['f1']:.4f}",
            Text(one.recipe),
        )
    return table


def write_front(result: SearchResult, folder: Path) -> None:
    """Write `search.json`, `search.csv` (every trial) and `search.svg` to `folder`."""
    write_json(folder / "search.json", result.to_dict())
    write_text(folder / "search.csv", _csv(result))
    write_text(folder / "search.svg", front_figure(result))


def read_front(folder: Path) -> SearchResult:
    """The search whose `search.json` is in `folder`."""
    stored = json.loads((folder / "search.json").read_text(encoding="utf-8"))
    tried = tuple(Tried(**one) for one in stored["tried"])
    return SearchResult(parse_budget(stored["budget"]), tried, tuple(stored["front"]), stored["chosen"])


def _csv(result: SearchResult) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["trial", "recipe", "verdict", "pareto", "chosen", *_KEYS])
    for one in result.tried:
        values = [f"{one.measured[key]:.6g}" if key in one.measured else "" for key in _KEYS]
        marks = [int(one.number in result.front), int(one.number == result.chosen)]
        writer.writerow([one.number, one.recipe, one.verdict, *marks, *values])
    return stream.getvalue()


def front_figure(result: SearchResult) -> str:
    """An SVG of validation F1 against megabytes (log): finished trials, the Pareto set, the chosen one."""
    shown = [one for one in result.tried if one.verdict == FINISHED]
    sizes = [math.log10(one.measured["size_mb"]) for one in shown]
    scores = [one.measured["f1"] for one in shown]
    x_low, x_high = min(sizes) - 0.05, max(sizes) + 0.05
    y_low, y_high = min(scores) - 0.005, max(scores) + 0.005

    def place(size: float, score: float) -> tuple[float, float]:
        x = _LEFT + (size - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        return x, _TOP + (y_high - score) / (y_high - y_low) * (_HEIGHT - _TOP - _BOTTOM)

    marks = [
        _mark(one, *place(size, score), result) for one, size, score in zip(shown, sizes, scores, strict=True)
    ]
    floor = _HEIGHT - _BOTTOM
    axes = [
        f'<path d="M{_LEFT} {_TOP}V{floor}H{_WIDTH - _RIGHT}" fill="none" stroke="#888"/>',
        f'<text x="{_LEFT}" y="{_HEIGHT - 8}">MB, log: {10**x_low:.2f} to {10**x_high:.2f}; '
        "filled: Pareto set; ring: chosen</text>",
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{y_high:.3f}</text>',
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">{y_low:.3f}</text>',
        f'<text x="{_LEFT}" y="16">validation F1; {escape(str(result.budget))}</text>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="11" fill="#333">\n' + "\n".join([*axes, *marks]) + "\n</svg>\n"
    )


def _mark(one: Tried, x: float, y: float, result: SearchResult) -> str:
    """A dot with its recipe as the tooltip."""
    fill = "#1f6fb2" if one.number in result.front else "#fff"
    ring = '<circle r="9" fill="none" stroke="#c0392b"/>' if one.number == result.chosen else ""
    title = escape(f"{one.measured['size_mb']:.2f} MB, F1 {one.measured['f1']:.4f}: {one.recipe}")
    return (
        f'<g transform="translate({x:.1f} {y:.1f})"><title>{title}</title>'
        f'<circle r="4" fill="{fill}" stroke="#1f6fb2"/>{ring}</g>'
    )
