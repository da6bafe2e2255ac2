"""The options with which a command reads labelled notes, and how it reads them, before any model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sympress.errors import InputError

if TYPE_CHECKING:
    from sympress.evaluation.gold import Gold

ValidationOption = Annotated[
    Path | None,
    typer.Option(
        help="Labelled notes that choose epochs and thresholds, in a format of --gold; without, a fifth of "
        "the patients is held out.",
        show_default=False,
    ),
]
GoldLabels = Annotated[
    str | None, typer.Option(help="Labels of --gold that are symptoms, with commas.", show_default=False)
]
LabelsPerNote = Annotated[
    str | None,
    typer.Option(
        help="Of a classifier of notes: one or several, where its problem_type does not say.",
        metavar="one|several",
        show_default=False,
    ),
]
Entities = Annotated[
    list[str] | None,
    typer.Option(help="Of a tagger: an entity that is a symptom, `problem` of B-problem. Repeatable."),
]


def read_labelled(
    path: Path,
    notes: Path | None = None,
    *,
    labels: str | None = None,
    text_column: str | None = None,
    lexicon: str = "clinical",
) -> Gold:
    """Labelled notes from a file or folder; words that people marked are named by the lexicon.

    Args:
        path: gold in any format that `sympress evaluate --gold` reads.
        notes: the notes, where the gold has no text.
        labels: of spans that are symptoms, with commas; None for those whose name says so.
        text_column: of the notes.
        lexicon: names the symptom of marked words.

    Raises:
        InputError: gold or notes cannot be read, or do not belong together.
    """
    from sympress.evaluation.read import GoldOptions, read_for
    from sympress.evaluation.vocabulary import Vocabulary
    from sympress.labels.lexicon import load_lexicon
    from sympress.notes.tables.options import TableOptions

    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give labelled notes")
    named = tuple(name.strip() for name in (labels or "").split(",") if name.strip())
    options = GoldOptions(labels=named, table=TableOptions(text_column))
    vocabulary = Vocabulary.of_lexicon(load_lexicon(lexicon))
    try:
        return read_for(path, vocabulary, options)  # most gold holds its texts
    except InputError:
        if notes is None:
            raise
    return read_for(path, vocabulary, replace(options, notes=notes))


def read_texts(path: Path | None, text_column: str | None = None) -> tuple[str, ...]:
    """The texts of notes that nobody labelled; none without a path.

    Raises:
        InputError: they cannot be read.
    """
    from sympress.notes.read import read_notes

    if path is None:
        return ()
    return tuple(read_notes(path, text_column=text_column).frame["text"].to_list())
