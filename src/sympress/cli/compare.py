"""`sympress compare A B`: two runs or two artifacts on the same test notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sympress.files import write_json
from sympress.report.formats import format_difference, format_number
from sympress.report.judgement import format_p
from sympress.report.tables import printable

if TYPE_CHECKING:
    from sympress.study.compare import Paired


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A run or an artifact.", show_default=False)],
    second: Annotated[
        Path | None,
        typer.Argument(
            metavar="B",
            help="Another of its kind; or nothing, for a run whose rows meet their own baseline.",
            show_default=False,
        ),
    ] = None,
    notes: Annotated[
        Path | None,
        typer.Option(help="The notes that they were made from, where they moved; not for two runs."),
    ] = None,
    test_fraction: Annotated[
        float | None,
        typer.Option(
            help="Judge two artifacts, or what a run pressed, by the test notes of this share of patients, a "
            "larger one than theirs."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Also write the numbers to this JSON file.")
    ] = None,
) -> None:
    """Compare two runs, or two artifacts, on the same notes: paired bootstrap by patient, McNemar, Holm.

    With --test-fraction, one run by itself: what it pressed, against the baseline of each seed.
    """
    from sympress.extras import require_training

    require_training()
    from sympress.progress import Reporter
    from sympress.study.compare import compare_paths

    rows = compare_paths(first, second, notes=notes, test_fraction=test_fraction, reporter=Reporter())
    console = Console()
    console.print(comparison_table(rows, first, second, narrow=console.width < _WIDE))
    if output is not None:
        write_json(
            output,
            {
                "format": 1,
                "a": first.name,
                "b": second and second.name,
                "rows": [row.as_json() for row in rows],
            },
        )
        console.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


#: Columns of a terminal that hold a line a pair; on fewer a pair takes a line a number.
_WIDE = 120
_HEADERS = (
    "row",
    "notes",
    "differ",
    "F1 A",
    "F1 B",
    "Δ macro F1",
    "p",
    "p Holm",
    "Δ micro F1",
    "p",
    "McNemar",
)


def comparison_table(rows: list[Paired], first: Path, second: Path | None, *, narrow: bool = False) -> Table:
    """Both micro-F1 of each pair, the differences (B minus A) and their p-values.

    Args:
        rows: the pairs.
        first: what A is.
        second: what B is; None for the rows of `first`, against its baselines.
        narrow: a line a number instead of a line a pair.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_header=not narrow,
        title=Text(printable(f"A {first}   B {second}" if second else f"A baseline, B row, both of {first}")),
        caption=Text(
            "Δ is B minus A, with 95 % bootstrap interval by patient; p by swapping whole patients’ answers, "
            "Holm over the rows; McNemar takes answers as independent."
        ),
        title_justify="left",
        caption_justify="left",
    )
    if narrow:
        table.add_column()
        table.add_column(justify="right")
        for row in rows:
            pairs = list(zip(_HEADERS, _cells(row), strict=True))
            for number, (header, cell) in enumerate(pairs, start=1):
                table.add_row(header, Text(printable(cell)), end_section=number == len(pairs))
        return table
    for number, header in enumerate(_HEADERS):
        table.add_column(header, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in _cells(row)))
    return table


def _cells(row: Paired) -> tuple[str, ...]:
    """A pair's numbers in the order of `_HEADERS`."""
    return (
        row.name if row.seed is None else f"{row.name} · seed {row.seed}",
        format_number(row.notes, 0),
        format_number(row.differing, 0),
        format_number(row.micro_f1_a, 3),
        format_number(row.micro_f1_b, 3),
        format_difference(row.macro_difference),
        format_p(row.p_macro),
        format_p(row.p_holm),
        format_difference(row.micro_difference),
        format_p(row.p_micro),
        format_p(row.p_mcnemar),
    )
