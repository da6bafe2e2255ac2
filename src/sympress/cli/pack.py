"""`sympress pack`: an artifact as it is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sympress.cli.word_options import CuesOption, LexiconOption, SectionsOption, read_words


def pack(  # noqa: PLR0917  one option a setting; typer passes them by name
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an artifact, or `box` or `rules`.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.", show_default=False)],
    rules: Annotated[
        bool,
        typer.Option("--rules", help="Rules find the mentions, and the model answers for what they name."),
    ] = False,
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
    from sympress.deploy.bundled import artifact_folder
    from sympress.deploy.checksums import artifact_digest
    from sympress.deploy.pack import pack as pack_artifact

    limit = None if most_mb is None else round(most_mb * 1e6)
    words = read_words(lexicon, cues, sections)
    size = pack_artifact(
        artifact_folder(artifact),
        output,
        rules=rules,
        words=words,
        validation=validation,
        most_bytes=limit,
        force=force,
    )
    typer.echo(f"{size / 1e6:.2f} MB -> {output}")
    typer.echo(f"digest: {artifact_digest(output)}")
    typer.echo(f"next: sympress extract NOTES --model {output}")
