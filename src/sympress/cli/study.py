"""`sympress study`: a protocol, the strategies and seeds, one results file and one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sympress.cli.options import settings_options, study_config
from sympress.config import MeasurementConfig, StudyConfig
from sympress.progress import Reporter


@settings_options()
def study(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; the same command continues it.")
    ],
    track: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Also write to MLflow: `file` for RUN/mlruns, a folder, a database, a server.",
            rich_help_panel=MeasurementConfig.panel,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with the same keys; flags win.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, label and split, say the counts, train nothing.")
    ] = False,
    **settings: Any,
) -> None:
    """Run the study: notes in, the table of strategies out.

    Kill it at any time; the same command goes on where it stopped.
    """
    chosen = study_config(settings, config)
    if dry_run:
        describe(chosen)
        return
    start(chosen, output, track)


def start(settings: StudyConfig, output: Path, track: str | None = None) -> None:
    """Run the study with progress, then print its table, where it lies and what to do next."""
    from sympress.extras import require_training

    require_training()
    from sympress.report.tables import console_table, verdict
    from sympress.study.run import run_study
    from sympress.study.track import require_mlflow, track_results

    if track is not None:
        require_mlflow()  # before anything is trained
    results = run_study(settings, output, command=command_line(), reporter=Reporter())
    if track is not None:
        track_results(results, output, track)
    console = Console()
    console.print(console_table(results))
    for sentence in verdict(results):
        console.print(f"- {sentence}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"\nwrote {output / 'results.json'} and {output / 'report.html'}", highlight=False, markup=False
    )
    console.print(f"next: open {output / 'report.html'}", highlight=False, markup=False)


def describe(settings: StudyConfig) -> None:
    """Print the counts of reading, labelling and splitting."""
    from sympress.study.prepare import prepare
    from sympress.study.span_data import prepare_spans

    settings = settings.resolved()
    with Reporter() as reporter:
        found = (prepare_spans if settings.task == "mentions" else prepare)(settings, reporter)
    description = found.description
    console = Console()
    for title, counts in (("read", description.reading), ("labelled", description.labelling)):
        for name, count in counts.items():
            console.print(f"{title}: {name}: {count:,}", highlight=False, markup=False)
    split = description.split
    console.print(
        f"split by {split.rule}: {split.train:,} training, {split.validation:,} validation, "
        f"{split.test:,} test; {split.exact_duplicates:,} exact, {split.near_duplicates:,} near duplicates",
        highlight=False,
        markup=False,
    )


def command_line() -> str:
    """The command as it was typed, without the folders of this machine's program."""
    arguments = [part if part.startswith("-") else _shorten(part) for part in sys.argv[1:]]
    return shlex.join(["sympress", *arguments])


def _shorten(argument: str) -> str:
    path = Path(argument)
    return path.name if path.is_absolute() else argument
