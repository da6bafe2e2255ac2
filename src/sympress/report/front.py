"""What a search for a budget leaves: the Pareto set as a console table, as CSV, JSON and a figure."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from sympress.compress.budget.found import FINISHED, SearchResult, Tried
from sympress.compress.budget.parse import parse_budget
from sympress.files import write_json, write_text
from sympress.report.axes import cost_ends, score_ends
from sympress.report.plotting import INK, drawing, log_axis, name_marks, panels, score_axis, svg_of

_KEYS = ("size_mb", "latency_ratio", "int8_latency_ratio", "macs_ratio", "f1_drop", "f1")
_BLUE, _RED = "#1f6fb2", "#c0392b"


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
    sizes = [one.measured["size_mb"] for one in shown]
    scores = [one.measured["f1"] for one in shown]
    with drawing():
        figure, (axis,) = panels(1, (6.4, 3.6))
        log_axis(axis, cost_ends(sizes), "MB")
        score_axis(axis, score_ends(scores, scores))
        for one, size, score in zip(shown, sizes, scores, strict=True):
            fill = _BLUE if one.number in result.front else "white"
            axis.plot([size], [score], "o", color=_BLUE, mfc=fill, gid=f"trial-{one.number}", clip_on=False)
            if one.number == result.chosen:
                axis.plot([size], [score], "o", ms=13, color=_RED, mfc="none", gid="chosen", clip_on=False)
        names = [str(one.number) for one in shown]
        name_marks(axis, list(zip(names, sizes, scores, [INK] * len(shown), strict=True)))
        axis.set_ylabel("validation F1")
        axis.set_title(str(result.budget), loc="left", fontsize=9)
        figure.supxlabel("filled: Pareto set; ring: chosen; numbers: trials of search.csv", fontsize=8)
    return svg_of(figure)
