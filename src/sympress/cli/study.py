"""`sympress study`: a protocol, the strategies and seeds, one results file and one report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from sympress.config import StudyConfig, make_config, read_config_file
from sympress.progress import Reporter

_DATA = "Notes and labels"
_TRAIN = "Training"
_PRESS = "Compression"
_MEASURE = "Measurement"


def study(  # noqa: PLR0917  one option a setting; typer passes them by name
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Run folder; the same command continues it.")
    ],
    notes: Annotated[
        Path | None,
        typer.Option(
            help="NOTEEVENTS.csv(.gz), VAERS zips, MTSamples, Parquet, JSONL, CSV or a folder of .txt; "
            "synthetic notes when left out.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    protocol: Annotated[str | None, typer.Option(help="paper, or clinical: without its flaws.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="topic (one symptom a note), present (all that a note affirms) or mentions (spans and what "
            "the note asserts of each).",
            rich_help_panel=_DATA,
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="coded (by people), gold (spans people marked), silver (rules with assertion), mix, lexicon "
            "(the rule of a topic), or auto: the best there is.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    gold: Annotated[
        Path | None,
        typer.Option(
            help="Annotated notes: brat or i2b2 folder, JSONL, doccano, Label Studio, CoNLL, PubTator or "
            "NegEx; without --notes they are the notes.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    gold_labels: Annotated[
        str | None,
        typer.Option(help="Labels of --gold that are symptoms, with commas.", rich_help_panel=_DATA),
    ] = None,
    ignore_attribute: Annotated[
        list[str] | None,
        typer.Option(
            help="An attribute of --gold that does not change what the words assert; repeatable.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    mix: Annotated[
        str | None,
        typer.Option(help="Sources of --labels mix and weights: gold=1,silver=0.3.", rich_help_panel=_DATA),
    ] = None,
    lexicon: Annotated[
        str | None, typer.Option(help="clinical, paper, or a TSV or TOML file.", rich_help_panel=_DATA)
    ] = None,
    rule: Annotated[str | None, typer.Option(help="first, earliest or most.", rich_help_panel=_DATA)] = None,
    top_k: Annotated[
        int | None, typer.Option(help="The K most frequent symptoms of the data.", rich_help_panel=_DATA)
    ] = None,
    text_window: Annotated[
        int | None, typer.Option(help="Characters of a note that are seen; 0 for all.", rich_help_panel=_DATA)
    ] = None,
    balance: Annotated[
        bool | None,
        typer.Option("--balance/--no-balance", help="Cut every topic to the rarest.", rich_help_panel=_DATA),
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="Name of the text column.", rich_help_panel=_DATA)
    ] = None,
    fraction: Annotated[
        float | None,
        typer.Option(help="Share of patients to read; a larger one contains it.", rich_help_panel=_DATA),
    ] = None,
    split: Annotated[str | None, typer.Option(help="random, patient or time.", rich_help_panel=_DATA)] = None,
    validation_from: Annotated[
        str | None, typer.Option(help="First day of validation (YYYY-MM-DD).", rich_help_panel=_DATA)
    ] = None,
    test_from: Annotated[
        str | None, typer.Option(help="First day of the test set (YYYY-MM-DD).", rich_help_panel=_DATA)
    ] = None,
    synthetic_notes: Annotated[
        int | None, typer.Option(help="How many synthetic notes.", rich_help_panel=_DATA)
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="bundled (MiniLM), a folder, or a Hugging Face id; Bio_ClinicalBERT for your own notes.",
            rich_help_panel=_TRAIN,
        ),
    ] = None,
    case: Annotated[
        str | None, typer.Option(help="Upper case: auto, keep or lower.", rich_help_panel=_TRAIN)
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the notes.", rich_help_panel=_TRAIN)] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds.", rich_help_panel=_TRAIN)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Notes a step.", rich_help_panel=_TRAIN)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the baseline.", rich_help_panel=_TRAIN)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Longest input in word pieces.", rich_help_panel=_TRAIN)
    ] = None,
    pooling: Annotated[
        str | None, typer.Option(help="cls, mean, maximum or label.", rich_help_panel=_TRAIN)
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(help="Names with commas; else the protocol's.", rich_help_panel=_PRESS),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            help="A recipe to run on the baseline: safe, balanced, pocket, micro, a TOML file, or "
            "'NAME = vocab(keep=0.35) > distill(layers=3) > quantize(int8)'. Repeatable.",
            rich_help_panel=_PRESS,
        ),
    ] = None,
    transfer_fraction: Annotated[
        float | None,
        typer.Option(
            help="Also teach students with the further notes of this share of patients, unlabelled.",
            rich_help_panel=_PRESS,
        ),
    ] = None,
    student_layers: Annotated[
        int | None, typer.Option(help="Layers of the student.", rich_help_panel=_PRESS)
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of distillation.", rich_help_panel=_PRESS)
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Teacher against labels, 0 to 1.", rich_help_panel=_PRESS)
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of factorized layers.", rich_help_panel=_PRESS)] = None,
    masked_share: Annotated[
        float | None, typer.Option(help="Share of masked weights.", rich_help_panel=_PRESS)
    ] = None,
    keep_heads: Annotated[
        float | None, typer.Option(help="Share of heads kept.", rich_help_panel=_PRESS)
    ] = None,
    keep_neurons: Annotated[
        float | None, typer.Option(help="Share of neurons kept.", rich_help_panel=_PRESS)
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Cores that the timed runtime may use.", rich_help_panel=_MEASURE)
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(help="Bootstrap resamples.", rich_help_panel=_MEASURE)
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Also write to MLflow: `file` for RUN/mlruns, a folder, a database, a server.",
            rich_help_panel=_MEASURE,
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with the same keys; flags win.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, label and split, say the counts, train nothing.")
    ] = False,
) -> None:
    """Run the study: notes in, the table of strategies out.

    Kill it at any time; the same command goes on where it stopped.
    """
    del notes, protocol, task, labels, lexicon, rule, top_k, text_window, balance, text_column, fraction
    del split, validation_from, test_from, synthetic_notes, encoder, case, epochs, seeds, batch_size
    del (
        learning_rate,
        max_tokens,
        pooling,
        strategies,
        recipe,
        transfer_fraction,
        student_layers,
        temperature,
        alpha,
        rank,
    )
    del gold, gold_labels, ignore_attribute, mix, masked_share, keep_heads, keep_neurons, threads, resamples
    settings = study_config(context.params, config)
    if dry_run:
        describe(settings)
        return
    start(settings, output, track)


def study_config(flags: dict[str, Any], file: Path | None) -> StudyConfig:
    """The study that the flags (None where not given) and the TOML file describe; flags win."""
    values = read_config_file(file) if file is not None else {}
    given = {
        name: value for name, value in flags.items() if value is not None and name in StudyConfig.model_fields
    }
    if flags.get("ignore_attribute"):
        given["ignore_attributes"] = tuple(flags["ignore_attribute"])
    if flags.get("recipe"):
        given["recipes"] = tuple(flags["recipe"])
    for name in ("strategies", "gold_labels"):
        if isinstance(given.get(name), str):
            given[name] = tuple(part.strip() for part in given[name].split(",") if part.strip())
    return make_config(values | given)


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
