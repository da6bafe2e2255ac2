"""`sympress synth`: write synthetic notes to try everything else on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sympress.errors import InputError
from sympress.notes.synthesize.writer import NoteFormat, gold_path_of, write_notes


def synth(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .csv, .csv.gz, .jsonl, .jsonl.gz or .parquet."),
    ],
    n: Annotated[int, typer.Option("--notes", "-n", min=1, help="How many notes to write.")] = 20_000,
    note_format: Annotated[
        NoteFormat, typer.Option("--format", help="NOTEEVENTS as MIMIC-III has it, JSON lines, or Parquet.")
    ] = "noteevents",
    seed: Annotated[int, typer.Option("--seed", help="Another seed writes other notes.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Write synthetic clinical notes, and the same with every mention marked as `<stem>.gold.jsonl`.

    The first notes of a larger file equal those of a smaller one with the same seed.
    """
    for path in (output, gold_path_of(output)):
        if path.exists() and not force:
            raise InputError(f"{path}: exists already; name another file, or add --force to overwrite it")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("writing notes", total=n)
        written = write_notes(
            output,
            n,
            seed=seed,
            note_format=note_format,
            advance=lambda notes: progress.advance(task, notes),
        )
    console = Console(soft_wrap=True, highlight=False, markup=False)
    retracted = written.rows - written.notes
    console.print(
        f"{written.notes:,} notes"
        + (f" and {retracted:,} retracted copies" if retracted else "")
        + f" -> {written.path}"
    )
    console.print(f"{written.mentions:,} gold mentions -> {written.gold_path}, which --gold reads")
    console.print(f"next: sympress study --notes {shlex.quote(str(written.path))} -o RUN")
