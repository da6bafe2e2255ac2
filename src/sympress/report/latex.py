"""The results table for a paper: LaTeX (booktabs) and Markdown files."""

from __future__ import annotations

import re
from pathlib import Path

from sympress.files import write_text
from sympress.report.columns import columns, groups
from sympress.report.tables import explanation, markdown_table, printable
from sympress.results import Results

#: What stands for a character that LaTeX takes as its own, or that its default fonts lack.
_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "−": r"$-$",
    "–": "--",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "†": r"\dag{}",
    "⁶": r"$^6$",
    "’": "'",
    "·": r"$\cdot$",
    **{one: f"\\{one}" for one in "&%$#_{}"},
}


def latex_table(results: Results) -> str:
    """Return the table with the console's columns as a LaTeX `table`; it needs the package booktabs."""
    chosen = [(column.header, column.narrow) for column in columns(results) if column.narrow is not None]
    lines = [
        (" & ".join(escape_latex(cell(group)) for _, cell in chosen), group) for group in groups(results)
    ]
    body = []
    for number, (line, group) in enumerate(lines):
        if group.is_reference and number and not lines[number - 1][1].is_reference:
            body.append(r"\midrule")
        body.append(rf"{line} \\")
    head = " & ".join(escape_latex(header) for header, _ in chosen)
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape_latex(explanation(results))}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(chosen) - 1)}}}",
            r"\toprule",
            rf"{head} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Return `text` such that LaTeX sets it as it is."""
    return re.sub(r".", lambda one: _SPECIAL.get(one[0], one[0]), printable(text))


def write_tables(results: Results, folder: Path) -> list[Path]:
    """Write `table.tex` (the console's columns) and `table.md` (every column); return their paths.

    Raises:
        SympressError: a file could not be written.
    """
    contents = {"table.tex": latex_table(results), "table.md": markdown_table(results) + "\n"}
    for name, content in contents.items():
        write_text(folder / name, content)
    return [folder / name for name in contents]
