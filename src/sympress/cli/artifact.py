"""`sympress import`, `sympress pack`, `sympress show`: artifacts made, shipped and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from sympress.cli.options import (
    CuesOption,
    GoldLabels,
    LexiconOption,
    SectionsOption,
    read_labelled,
    read_words,
)
from sympress.cli.study import command_line

# `sympress import CHECKPOINT`: a fine-tuned classifier of transformers becomes an artifact.


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
        str, typer.Option(help="Names the symptoms: clinical, clinical+hpo, paper, or a TSV or TOML file.")
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
    from sympress.errors import require_training

    require_training()
    from sympress.pipeline.import_model import ImportSettings
    from sympress.pipeline.import_model import import_model as make

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


# `sympress pack`: an artifact as it is shipped.


def pack(  # noqa: PLR0917  one option a setting; typer passes them by name
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact, or `box` or `rules`.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Rules find the mentions, and the model answers for what they name."),
    ] = False,
    tagger: Annotated[
        Path | None,
        typer.Option(
            help="Artifact of the task mentions, whose spans are mentions too; with --rules.",
            show_default=False,
        ),
    ] = None,
    lexicon: LexiconOption = None,
    cues: CuesOption = None,
    sections: SectionsOption = None,
    validation: Annotated[
        Path | None,
        typer.Option(
            help="Coded notes, none of them trained on: with --rules, who decides where model and rules "
            "disagree is chosen on them, symptom by symptom.",
            show_default=False,
        ),
    ] = None,
    most_mb: Annotated[
        float | None, typer.Option(min=0.001, help="Refuse to write more than this, in 10⁶ bytes.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an artifact that is there.")] = False,
) -> None:
    """Copy what an artifact needs to run, without its training weights; --rules lets rules answer too.

    With --lexicon, --cues or --sections the copy carries your own words and reads by them.
    """
    from sympress.runtime.artifact import artifact_digest, artifact_folder
    from sympress.runtime.pack import pack as pack_artifact

    limit = None if most_mb is None else round(most_mb * 1e6)
    words = read_words(lexicon, cues, sections)
    size = pack_artifact(
        artifact_folder(artifact),
        output,
        rules=rules,
        words=words,
        tagger=tagger,
        validation=validation,
        most_bytes=limit,
        force=force,
    )
    typer.echo(f"{size / 1e6:.2f} MB -> {output}")
    typer.echo(f"digest: {artifact_digest(output)}")
    typer.echo(f"next: sympress extract NOTES --model {output}")


# `sympress show`: what an artifact is, and the CPUs that its kernel is made for.


def show(
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact, or `box` or `rules`.", show_default=False)
    ],
) -> None:
    """Show what an artifact is: its task, digest, recipe and kernel, and the CPUs that this is made for."""
    from sympress.runtime.artifact import artifact_folder
    from sympress.runtime.pack import summarize

    for name, line in summarize(artifact_folder(artifact)).items():
        typer.echo(f"{name + ':':<10}{line}")
