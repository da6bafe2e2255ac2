"""`sympress import CHECKPOINT`: a fine-tuned classifier of transformers becomes an artifact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sympress.cli.given_notes import GoldLabels, read_labelled
from sympress.cli.study import command_line


def import_model(  # noqa: PLR0917  one option a setting; typer passes them by name
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="A folder as the Trainer of transformers saves it, or an id of the Hugging Face Hub.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    lexicon: Annotated[
        str, typer.Option(help="Names the symptoms: clinical, paper, or a TSV or TOML file.")
    ] = "clinical",
    labels_per_note: Annotated[
        Literal["one", "several"] | None,
        typer.Option(
            help="Of a classifier of notes, where its problem_type does not say.", show_default=False
        ),
    ] = None,
    entity: Annotated[
        list[str] | None,
        typer.Option(help="Of a tagger: an entity that is a symptom, `problem` of B-problem. Repeatable."),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Word pieces a window; as many as the model takes if not given.")
    ] = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Labelled notes that choose thresholds and calibration, or a tagger's bias towards spans, "
            "as `evaluate --gold` reads them; without, thresholds are 0.5.",
            show_default=False,
        ),
    ] = None,
    gold_labels: GoldLabels = None,
) -> None:
    """Make an artifact of a fine-tuned classifier, of notes or of tokens, with the same logits."""
    from sympress.extras import require_training

    require_training()
    from sympress.study.import_model import ImportSettings
    from sympress.study.import_model import import_model as make

    settings = ImportSettings(
        lexicon=lexicon, labels_per_note=labels_per_note, entities=tuple(entity or ()), max_tokens=max_tokens
    )
    judged = None
    if validation is not None:  # before the Hub is asked
        judged = read_labelled(validation, labels=gold_labels, lexicon=lexicon)
    record = make(checkpoint, output, settings, validation=judged, command=command_line())
    for remark in record["remarks"]:
        typer.echo(f"- {remark}")
    typer.echo(f"thresholds: {record['thresholds']}")
    typer.echo(f"largest difference to the checkpoint's logits: {record['import_max_difference']:.1e}")
    typer.echo(f"wrote {output}")
    typer.echo(f"next: sympress extract NOTES --model {output}")
