"""The results table: narrow for a console, narrow or wide as Markdown."""

from __future__ import annotations

import re

from rich import box
from rich.table import Table
from rich.text import Text

from sympress.report.columns import MARK, columns, groups, seeds_of
from sympress.report.formats import PARTLY
from sympress.report.verdict import verdict
from sympress.results import Results

__all__ = ["console_table", "explanation", "markdown_table", "verdict"]


def console_table(results: Results) -> Table:
    """Return the narrow table: quality, difference, size, latency, throughput; fits 120 columns.

    The references stand last, under a rule. What the brackets and ratios mean is the caption.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(printable(f"{results.protocol} · {results.task} · {results.data.name}")),
        caption=Text(explanation(results)),
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    header, *lines = _cells(results, full=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    found = groups(results)
    for number, group in enumerate(found):
        next_is_reference = number + 1 < len(found) and found[number + 1].is_reference
        table.add_row(
            *(Text(printable(cell)) for cell in lines[number]),
            style="dim" if group.is_reference else None,
            end_section=next_is_reference and not group.is_reference,
        )
    return table


def markdown_table(results: Results, *, full: bool = True) -> str:
    """Return a Markdown table with every column, or with those of the console (`full=False`)."""
    header, *lines = _cells(results, full=full)
    rule = [":--"] + ["--:"] * (len(header) - 1)
    escaped = [[escape_markdown(cell) for cell in line] for line in (header, *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (escaped[0], rule, *escaped[1:]))


def _cells(results: Results, *, full: bool) -> list[list[str]]:
    """Return the header and then one line a strategy, all as text."""
    chosen = [
        (column.header, cell)
        for column in columns(results)
        if (cell := column.cell if full else column.narrow) is not None
    ]
    return [[header for header, _ in chosen], *([cell(g) for _, cell in chosen] for g in groups(results))]


def explanation(results: Results) -> str:
    """Say in one line what the numbers of the table are: intervals, seeds, ratios, marks, references."""
    seeds = seeds_of(results)
    listed = ", ".join(str(seed) for seed in seeds)
    interval = "95 % bootstrap interval, test notes resampled by patient"
    if len(seeds) > 1:
        numbers = (
            f"mean (range) over {len(seeds)} seeds ({listed}); {MARK} each seed's {interval}, excludes 0"
        )
    else:
        numbers = f"[ ] {interval}; seed {listed}; {MARK} the interval excludes 0"
    averaged = any(row.quality.f1.note for row in results.strategies if row.quality.f1.value is not None)
    partly = f" {PARTLY} averaged over the symptoms that are defined on the test notes." if averaged else ""
    return (
        f"{results.data.test:,} test notes; {numbers}; × ratio to the baseline; MB = 10⁶ bytes; "
        f"latency at batch 1; reference rows are not compressed models.{partly}"
    )


def printable(text: str) -> str:
    """Return `text` with control characters (line ends, terminal escapes) replaced by a visible mark."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def escape_markdown(text: str) -> str:
    """Return `text` such that Markdown shows it as it is: no markup, no HTML, no new cell or line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", printable(text).replace("&", "&amp;"))
