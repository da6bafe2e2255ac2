"""`sympress train` and `sympress adapt`: a model from labelled notes, and an encoder made at home in them."""

from __future__ import annotations

import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from sympress.cli.options import DeviceOption, GoldLabels, TextColumn, ValidationOption, read_labelled
from sympress.cli.study import command_line
from sympress.notes.read import read_notes
from sympress.progress import Reporter

if TYPE_CHECKING:
    from sympress.training.adapt import AdaptLog


# `sympress train`: fine-tune an encoder on labelled notes, without a study.


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

    Kill it at any time; the same command goes on where it stopped.
    """
    from sympress.errors import require_training

    require_training()
    from sympress.pipeline.fit import fit, plan_fit, settings_of
    from sympress.progress import Reporter
    from sympress.training.epochs import check_device, on_device

    check_device(device)
    labelled = read_labelled(gold, notes, labels=gold_labels, text_column=text_column)
    judged = None
    if validation is not None:
        judged = read_labelled(validation, notes, labels=gold_labels, text_column=text_column)
    task = task or ("mentions" if labelled.spans else "present")
    given = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "max_tokens": max_tokens,
    }
    plan = plan_fit(labelled, judged, settings_of(task, encoder, given), seed=seed)
    with on_device(device):
        fit(plan, output, command=command_line(), reporter=Reporter())
    typer.echo(f"wrote {output}")
    typer.echo(f"next: sympress compress {output} --recipe pocket --gold {gold} -o {output}-pocket")


# `sympress adapt`: train an encoder on one's own notes before it learns the task.


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
    seed: Annotated[int, typer.Option(help="Of masks, order and held-out notes.")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Adapt an encoder to your notes, without labels, and say whether that helped.

    Kill it at any time; the same command goes on where it stopped.
    """
    from sympress.errors import require_training

    require_training()
    from sympress.training.adapt import AdaptSettings, check_choices
    from sympress.training.adapt import adapt as adapt_to
    from sympress.training.epochs import on_device

    settings = AdaptSettings(
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, seed=seed, max_tokens=max_tokens
    )
    check_choices(settings, split, validation_from)
    with on_device(device), Reporter() as reporter:
        read = read_notes(notes, text_column=text_column, fraction=fraction)
        for line in read.counts.remarks:
            reporter.say(line)
        log = adapt_to(
            read.frame,
            output,
            encoder=encoder,
            split=split,
            validation_from=validation_from,
            settings=settings,
            reporter=reporter,
        )
    _say(log, notes, encoder, output)


def _say(log: AdaptLog, notes: Path, encoder: str, output: Path) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
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
