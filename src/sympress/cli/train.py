"""`sympress train`: fine-tune an encoder on labelled notes, without a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sympress.cli.given_notes import GoldLabels, ValidationOption, read_labelled
from sympress.cli.study import command_line
from sympress.cli.table_options import TextColumn


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
        Literal["topic", "present", "mentions"] | None,
        typer.Option(
            help="One symptom a note, any number, or spans; without, mentions where spans are marked, else "
            "present.",
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
) -> None:
    """Fine-tune an encoder on labelled notes.

    Kill it at any time; the same command goes on where it stopped.
    """
    from sympress.extras import require_training

    require_training()
    from sympress.progress import Reporter
    from sympress.study.fit import fit, plan_fit, settings_of

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
    fit(plan, output, command=command_line(), reporter=Reporter())
    typer.echo(f"wrote {output}")
    typer.echo(f"next: sympress compress {output} --recipe pocket --gold {gold} -o {output}-pocket")
