"""`sympress study`, `demo`, `tune`, `train`, `adapt`: commands that train."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from sympress.cli.options import (
    DeviceOption,
    GoldLabels,
    TextColumn,
    ValidationOption,
    names_in,
    plain_console,
    read_labelled,
    settings_options,
    study_config,
)
from sympress.config import MeasurementConfig, StudyConfig, make_config
from sympress.notes.read import read_notes
from sympress.progress import Reporter

if TYPE_CHECKING:
    from sympress.pipeline.tune import Tuned
    from sympress.training.adapt import AdaptLog


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

    If it is interrupted, repeat the command to resume it.
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
    from sympress.report.advice import advise
    from sympress.report.verdict import console_table, verdict
    from sympress.studies.run import require_mlflow, run_study, track_results
    from sympress.training.epochs import on_device

    if track is not None:
        require_mlflow()  # before anything is trained
    with on_device(device):
        results = run_study(settings, output, command=command_line(), reporter=Reporter())
    if track is not None:
        track_results(results, output, track)
    console = plain_console()
    console.print(console_table(results, console.width), soft_wrap=False)
    for sentence in (advise(results).headline, *verdict(results)):
        console.print(f"- {sentence}")
    console.print(f"\nwrote {output / 'results.json'} and {output / 'report.html'}")
    console.print(f"next: open {output / 'report.html'}")


def describe(settings: StudyConfig, device: str = "auto") -> None:
    """Print the counts of reading, labelling and splitting, and what a run would not read, take and store."""
    from sympress.evaluation.drift import summary_of
    from sympress.studies.preview import Notes, preview
    from sympress.studies.rows import study_of
    from sympress.training.epochs import on_device

    settings = settings.resolved()
    with on_device(device), Reporter() as reporter:
        data = study_of(settings.task).prepare(settings, reporter)
        description = data.description
        notes = Notes(data.frame["text"], data.split, description.symptoms, data.lexicon)
        expected = preview(settings, notes, reporter)
    console = plain_console()
    for title, counts in (("read", description.reading), ("labelled", description.labelling)):
        for name, count in counts.items():
            console.print(f"{title}: {name}: {count:,}")
    split = description.split
    console.print(
        f"split by {split.rule}: {split.train:,} training, {split.validation:,} validation, "
        f"{split.test:,} test; {split.exact_duplicates:,} exact, {split.near_duplicates:,} near duplicates"
        + (f"; {split.left_out:,} older training notes left out" if split.left_out else "")
    )
    for symptom, rates in summary_of(description.drift) if description.drift is not None else []:
        told = ", ".join(f"{name} {rate:.2%}" for name, rate in rates.items())
        console.print(f"rate of {symptom}: {told}")
    for line in (*(f"note: {warning}" for warning in getattr(data, "warnings", ())), *expected):
        console.print(line)


def command_line() -> str:
    """The command as it was typed, without the folders of this machine's program."""
    arguments = [Path(part).name if Path(part).is_absolute() else part for part in sys.argv[1:]]
    return shlex.join(["sympress", *arguments])


#: Mentions with what the note asserts of them, which synthetic notes hold by construction.
_DEMO = {
    "protocol": "clinical",
    "task": "mentions",
    "labels": "gold",
    "encoder": "bundled",
    "strategies": ("baseline",),
    "recipes": (
        "quantized = vocab(keep=0.4) > quantize(int8)",
        "student = vocab(keep=0.4) > distill(layers=2, choose=first, epochs=1, rate=0.0003) > quantize(int8)",
    ),
    "baseline_longer": False,
    "learning_rate": 1e-4,
    "keep_weights": False,
}
_FULL = {"synthetic_notes": 600, "epochs": 1, "max_tokens": 64}
_SMALLEST = {"synthetic_notes": 200, "epochs": 1, "max_tokens": 64, "resamples": 200}


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; the same command continues it.")
    ] = Path("runs/demo"),
    smallest: Annotated[bool, typer.Option("--smallest", help="Fewer notes: shows that it runs.")] = False,
    device: DeviceOption = "auto",
) -> None:
    """Find mentions and what is asserted of them on synthetic notes: train the packaged MiniLM, compress it.

    No data and no network needed. The notes are synthetic: the numbers show the method, not a hospital.
    """
    from sympress.errors import require_training

    require_training("demo")
    sizes = _SMALLEST if smallest else _FULL
    if smallest and output == Path("runs/demo"):
        output = Path("runs/demo-smallest")
    config = make_config(_DEMO | sizes)
    start(config, output, device=device)


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

    The first trial has the settings as they are. If it is interrupted, repeat the command to resume it.
    """
    chosen = study_config(settings, config)
    from sympress.errors import require_optuna, require_training

    require_training()
    require_optuna()
    from sympress.pipeline.tune import Search, run_tuning
    from sympress.training.epochs import on_device

    wanted = tuple(name.replace("-", "_") for name in names_in(search))
    with on_device(device):
        tuned = run_tuning(chosen, Search(strategy, trials, wanted, seed), output, reporter=Reporter())
    _say_tuned(tuned)


def _say_tuned(tuned: Tuned) -> None:
    console = plain_console()
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


def train(
    *,
    gold: Annotated[
        Path,
        typer.Option(
            help="Labelled notes: brat or i2b2 folder, JSONL, doccano, Label Studio, CoNLL, PubTator, NegEx, "
            "VAERS; or rows with note_id, text and symptoms, what `sympress label` writes too.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    notes: Annotated[Path | None, typer.Option(help="The notes, where the gold has no text.")] = None,
    validation: ValidationOption = None,
    encoder: Annotated[str, typer.Option(help="bundled, a folder, or a Hugging Face id.")] = "bundled",
    task: Annotated[
        str | None,
        typer.Option(
            help="topic (one symptom a note), present (any number) or mentions (spans); without, mentions "
            "where spans are marked, else present.",
            show_default=False,
        ),
    ] = None,
    gold_labels: GoldLabels = None,
    text_column: TextColumn = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the notes.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Notes, or windows, a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the encoder.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=8, help="Longest input in word pieces.")] = None,
    seed: Annotated[int, typer.Option(help="Of the head and the order.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Fine-tune an encoder on labelled notes.

    If it is interrupted, repeat the command to resume it.
    """
    from sympress.errors import require_training

    require_training()
    from sympress.pipeline.fit import fit, plan_fit, settings_of
    from sympress.training.epochs import check_device, on_device

    check_device(device)
    labelled = read_labelled(gold, notes, labels=gold_labels, text_column=text_column)
    judged = None
    if validation is not None:
        judged = read_labelled(validation, notes, labels=gold_labels, text_column=text_column)
    task = task or ("mentions" if labelled.spans else "present")
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    settings = settings_of(task, encoder, given | {"max_tokens": max_tokens})
    plan = plan_fit(labelled, judged, settings, seed=seed)
    with on_device(device):
        fit(plan, output, command=command_line(), reporter=Reporter())
    typer.echo(f"wrote {output}")
    typer.echo(f"next: sympress compress {output} --recipe pocket --gold {gold} -o {output}-pocket")


def adapt(
    notes: Annotated[Path, typer.Option(help="Notes: a file, an archive or a folder.")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="Encoder folder to write.")],
    encoder: Annotated[str, typer.Option(help="bundled, a folder, or a Hugging Face id.")] = "bundled",
    split: Annotated[
        str, typer.Option(help="Leave out what a study split so would judge: patient, time, or none.")
    ] = "patient",
    validation_from: Annotated[
        datetime | None, typer.Option(help="First day that is left out (split time).")
    ] = None,
    fraction: Annotated[float, typer.Option(help="Share of patients to read.")] = 1.0,
    text_column: Annotated[str | None, typer.Option(help="Name of the text column.")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the notes.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Notes a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="The largest one.")] = 5e-5,
    max_tokens: Annotated[int, typer.Option(min=8, help="Longest input in word pieces.")] = 256,
    layers: Annotated[
        int | None,
        typer.Option(min=1, help="Layers that stay, of a smaller encoder; the whole one teaches it."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of masks, order and held-out notes.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Adapt an encoder to your notes, without labels, and say whether that helped.

    If it is interrupted, repeat the command to resume it.
    """
    from sympress.errors import require_training

    require_training()
    from sympress.training.adapt import AdaptSettings, open_adaptable
    from sympress.training.adapt import adapt as adapt_to
    from sympress.training.epochs import on_device

    settings = AdaptSettings(
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        max_tokens=max_tokens,
        layers=layers,
    )
    loaded = open_adaptable(encoder, output, settings, split, validation_from)
    with on_device(device), Reporter() as reporter:
        read = read_notes(notes, text_column=text_column, fraction=fraction)
        for line in read.counts.remarks:
            reporter.say(line)
        log = adapt_to(
            read.frame,
            output,
            encoder=loaded,
            split=split,
            validation_from=validation_from,
            settings=settings,
            reporter=reporter,
        )
    _say_adapted(log, notes, encoder, output)


def _say_adapted(log: AdaptLog, notes: Path, encoder: str, output: Path) -> None:
    console = plain_console()
    console.print(f"learnt from {log.notes:,} notes, {log.held_out:,} held out", end="")
    console.print(f"; {log.truncated:,} cut at the limit, {log.empty:,} without words left out")
    if log.fresh_head:
        console.print("the checkpoint has no masked-language head: a fresh one was trained first")
    console.print(f"held-out loss before: {log.before:.4f}")
    for number, epoch in enumerate(log.epochs, 1):
        console.print(f"held-out loss after epoch {number}: {epoch['loss']:.4f}")
    console.print(log.verdict())
    console.print(f"wrote {output}")
    better = str(output) if log.helped else encoder
    console.print(
        f"next: sympress study --notes {shlex.quote(str(notes))} --encoder {shlex.quote(better)} -o RUN"
    )
    if log.helped:
        console.print(
            f"whether that finds more symptoms, a study with --encoder {shlex.quote(encoder)} tells"
        )
