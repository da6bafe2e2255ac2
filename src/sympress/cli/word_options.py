"""The options by which a command takes the user's own words, the same in each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sympress.labels.own_words import OwnWords

LexiconOption = Annotated[
    str | None,
    typer.Option("--lexicon", help="Names of symptoms: clinical, paper, or your TSV or TOML file."),
]
CuesOption = Annotated[
    Path | None, typer.Option("--cues", help="Your cues of negation and the like, a TOML file.")
]
SectionsOption = Annotated[
    Path | None, typer.Option("--sections", help="Your section headings, a TOML file.")
]


def read_words(lexicon: str | None, cues: Path | None, sections: Path | None) -> OwnWords:
    """Read what the options name, before anything else is done.

    Raises:
        InputError: a file cannot be read or has mistakes; the message names all of all files.
    """
    from sympress.labels.lexicon import extended_by
    from sympress.labels.own_words import OURS, read_own_words

    if not (lexicon or cues or sections):
        return OURS
    words = read_own_words(lexicon, cues, sections)
    if words.lexicon is not None and extended_by(lexicon or "") == "":
        typer.echo(
            f"{lexicon}: takes the place of our lexicon, and only its symptoms are found; write  extends = "
            '"clinical"  to add them to ours, or  extends = "none"  if that is meant',
            err=True,
        )
    return words
