"""Lines of Markdown tables for single measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sympress.report.formats import NOT_APPLICABLE, format_number


def table_head(columns: list[str]) -> list[str]:
    """The first two lines of a table: the first column is aligned left, numbers right."""
    return [f"| {' | '.join(columns)} |", f"| {' | '.join([':--', *['--:'] * (len(columns) - 1)])} |"]


def table_row(*cells: str) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def interval(estimate: Mapping[str, Any], *, digits: int = 3, signed: bool = False) -> str:
    """`0.716 [0.713, 0.721]`, escaped for Markdown."""

    def written(value: float) -> str:
        shown = format_number(abs(value), digits)
        return f"{'−' if value < 0 else '+' if signed else ''}{shown}"

    if estimate["value"] is None:
        return NOT_APPLICABLE
    text = written(estimate["value"])
    if estimate["low"] is None or estimate["high"] is None:
        return text
    return f"{text} \\[{written(estimate['low'])}, {written(estimate['high'])}\\]"
