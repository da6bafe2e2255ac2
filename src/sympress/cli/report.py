"""`sympress report RUN`: make the report of a run again from its results file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from sympress.report.csvs import write_csvs
from sympress.report.html import write_report
from sympress.report.tables import console_table, verdict
from sympress.results import load_results


def report(
    run: Annotated[Path, typer.Argument(help="Folder that `sympress study -o` wrote.", show_default=False)],
) -> None:
    """Rebuild report.html and the CSV files of a run from its results.json, and print the table."""
    results = load_results(run)
    folder = run if run.is_dir() else run.parent
    console = Console()
    console.print(console_table(results))
    for sentence in verdict(results):
        console.print(f"• {sentence}", markup=False, highlight=False)
    written = write_csvs(results, folder)
    page = write_report(results, folder)
    console.print(
        f"\nWrote {len(written)} CSV files and {page}", markup=False, highlight=False, soft_wrap=True
    )
