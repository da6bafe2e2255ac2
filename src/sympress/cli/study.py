"""`sympress study`, `sympress demo`, `sympress tune`: protocols, strategies and seeds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from sympress.cli.options import DeviceOption, settings_options, study_config
from sympress.config import MeasurementConfig, StudyConfig, make_config
from sympress.progress import Reporter

if TYPE_CHECKING:
    from sympress.pipeline.tune import Tuned


# `sympress study`: a protocol, the strategies and seeds, one results file and one report.


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
    device: DeviceOption = "auto",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Read, label and split; say the counts, what is unread, and what a run takes."
        ),
    ] = False,
    **settings: Any,
) -> None:
    """Run the study: notes in, the table of strategies out.

    Kill it at any time; the same command goes on where it stopped.
    """
    chosen = study_config(settings, config)
    if dry_run:
        describe(chosen, device)
        return
    start(chosen, output, track, device=device)


def start(settings: StudyConfig, output: Path, track: str | None = None, *, device: str = "auto") -> None:
    """Run the study with progress, then print its table, where it lies and what to do next."""
    from sympress.errors import require_training

    require_training()
    from sympress.report.verdict import console_table, verdict
    from sympress.studies.run import run_study
    from sympress.studies.track import require_mlflow, track_results
    from sympress.training.epochs import on_device

    if track is not None:
        require_mlflow()  # before anything is trained
    with on_device(device):
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


def describe(settings: StudyConfig, device: str = "auto") -> None:
    """Print the counts of reading, labelling and splitting, and what a run would not read, take and store."""
    from sympress.evaluation.drift import summary_of
    from sympress.studies.preview import Notes, preview
    from sympress.studies.tasks import study_of
    from sympress.training.epochs import on_device

    settings = settings.resolved()
    with on_device(device), Reporter() as reporter:
        data = study_of(settings.task).prepare(settings, reporter)
        description = data.description
        notes = Notes(data.frame["text"], data.split, description.symptoms, data.lexicon)
        expected = preview(settings, notes, reporter)
    console = Console()
    for title, counts in (("read", description.reading), ("labelled", description.labelling)):
        for name, count in counts.items():
            console.print(f"{title}: {name}: {count:,}", highlight=False, markup=False, soft_wrap=True)
    split = description.split
    console.print(
        f"split by {split.rule}: {split.train:,} training, {split.validation:,} validation, "
        f"{split.test:,} test; {split.exact_duplicates:,} exact, {split.near_duplicates:,} near duplicates"
        + (f"; {split.left_out:,} older training notes left out" if split.left_out else ""),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    for symptom, rates in summary_of(description.drift) if description.drift is not None else []:
        told = ", ".join(f"{name} {rate:.2%}" for name, rate in rates.items())
        console.print(f"rate of {symptom}: {told}", highlight=False, markup=False, soft_wrap=True)
    for line in (*(f"note: {warning}" for warning in getattr(data, "warnings", ())), *expected):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def command_line() -> str:
    """The command as it was typed, without the folders of this machine's program."""
    arguments = [part if part.startswith("-") else _shorten(part) for part in sys.argv[1:]]
    return shlex.join(["sympress", *arguments])


def _shorten(argument: str) -> str:
    path = Path(argument)
    return path.name if path.is_absolute() else argument


# `sympress demo`: the whole study on embedded notes and the packaged encoder, in minutes.


_FULL = {"synthetic_notes": 1600, "epochs": 2, "max_tokens": 96, "text_window": 300}
_SMALLEST = {
    "synthetic_notes": 500,
    "epochs": 1,
    "max_tokens": 64,
    "text_window": 250,
    "resamples": 200,
    "baseline_longer": False,
}


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; the same command continues it.")
    ] = Path("runs/demo"),
    smallest: Annotated[
        bool, typer.Option("--smallest", help="Fewer notes and one epoch: shows that it runs.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Run the five strategies and the two reference rows on synthetic notes with the packaged MiniLM.

    No data and no network needed. The notes are synthetic: the numbers show the method, not a hospital.
    """
    sizes = _SMALLEST if smallest else _FULL
    if smallest and output == Path("runs/demo"):
        output = Path("runs/demo-smallest")
    config = make_config(sizes | {"protocol": "paper", "encoder": "bundled", "published_variants": False})
    start(config, output, device=device)


# `sympress tune`: search the settings of a strategy on validation notes.


_SETTINGS = (
    *("notes", "protocol", "task", "top_k", "text_column", "fraction", "split", "encoder", "epochs"),
)
#: Trials in the console's table.
_SHOWN = 5


@settings_options(_SETTINGS, panel="As in sympress study; --config takes the rest")
def tune(  # noqa: PLR0917  one option a setting; typer passes them by name
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; the same command continues it.")],
    strategy: Annotated[
        str, typer.Option(help="baseline, distillation, lowrank, pruning-masked or pruning.")
    ] = "baseline",
    trials: Annotated[int, typer.Option(help="How many, those that end early included.")] = 20,
    search: Annotated[
        str | None,
        typer.Option(
            help="Settings to search, with commas; else all of learning_rate, weight_decay and the "
            "strategy's own (temperature, alpha, rank, masked_share)."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the proposals and of each training.")] = 0,
    device: DeviceOption = "auto",
    config: Annotated[Path | None, typer.Option(help="TOML of a study; flags win.")] = None,
    **settings: Any,
) -> None:
    """Find the settings with which a strategy scores best on validation notes; test notes choose nothing.

    The first trial has the settings as they are. Kill it at any time; the same command goes on.
    """
    chosen = study_config(settings, config)
    from sympress.errors import require_training

    require_training()
    from sympress.pipeline.tune import Search, run_tuning
    from sympress.training.epochs import on_device

    wanted = tuple(name.strip().replace("-", "_") for name in (search or "").split(",") if name.strip())
    with on_device(device):
        tuned = run_tuning(chosen, Search(strategy, trials, wanted, seed), output, reporter=Reporter())
    _say(tuned)


def _say(tuned: Tuned) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    names = list(tuned.trials[tuned.best]["settings"])
    finished = [trial for trial in tuned.trials if trial["value"] is not None]
    table = Table("trial", f"validation {tuned.score}", *names)
    for trial in sorted(finished, key=lambda one: -one["value"])[:_SHOWN]:
        values = [f"{trial['settings'][name]:.4g}" for name in names]
        table.add_row(str(trial["number"]), f"{trial['value']:.4f}", *values)
    console.print(table)
    early = len(tuned.trials) - len(finished)
    first = tuned.trials[0]["value"]
    console.print(f"{len(tuned.trials)} trials, {early} of them ended early", end="")
    console.print("" if first is None else f"; the settings as they were score {first:.4f} (trial 0)")
    for name, share in tuned.importance.items():
        console.print(f"{name} explains {share:.0%} of the differences")
    console.print(f"wrote {tuned.folder / 'tune.json'} and {tuned.folder / 'best.toml'}")
    console.print(f"next: sympress study --config {tuned.folder / 'best.toml'} -o RUN")
