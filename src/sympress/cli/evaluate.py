"""`sympress evaluate`: how good an artifact is on your own gold notes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sympress.cli.options import (
    CuesOption,
    EncodingName,
    IdColumn,
    LexiconOption,
    PatientColumn,
    SectionsOption,
    TextColumn,
)
from sympress.errors import InputError
from sympress.files import refuse_to_overwrite


def evaluate(
    artifact: Annotated[
        str | None,
        typer.Argument(
            help="Folder of an artifact, `box` or `rules`; or a fine-tuned classifier of transformers, by "
            "its folder or its id on the Hugging Face Hub. Default: the box.",
            show_default=False,
        ),
    ] = None,
    *,
    gold: Annotated[
        Path,
        typer.Option(
            help="What people annotated: brat or i2b2 folder, JSONL, doccano, Label Studio, CoNLL, PubTator, "
            "NegEx, VAERS; or what label and extract write, OMOP's NOTE_NLP too.",
            show_default=False,
        ),
    ],
    notes: Annotated[
        Path | None,
        typer.Option(help="The notes, where the gold has no text, or no patients and columns."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write all figures to: .json.")
    ] = None,
    errors: Annotated[
        Path | None,
        typer.Option(help="Page of what was missed and made up: .html. It holds words of the notes."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Another artifact, on the same notes: differences with intervals, paired tests, and both "
            "timed in turn.",
            show_default=False,
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Figures by sex, age, category or another column of the notes.", metavar="COLUMN"),
    ] = None,
    gold_labels: Annotated[
        str | None, typer.Option(help="Labels of --gold that are symptoms, with commas.")
    ] = None,
    ignore_attribute: Annotated[
        list[str] | None,
        typer.Option(help="An attribute of --gold that does not change what the words assert; repeatable."),
    ] = None,
    lexicon: LexiconOption = None,
    cues: CuesOption = None,
    sections: SectionsOption = None,
    text_column: TextColumn = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    encoding: EncodingName = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Of the bootstrap; 0: no intervals.")
    ] = 1000,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Score an artifact on notes that people annotated: spans, symptoms, assertion, with 95 % intervals."""
    from sympress.api import load
    from sympress.evaluation.evaluate import evaluate as evaluate_artifact
    from sympress.evaluation.gold import Vocabulary
    from sympress.evaluation.gold_files import GoldOptions, read_for
    from sympress.evaluation.records import lines_of
    from sympress.files import write_json
    from sympress.notes.layout import TableOptions
    from sympress.progress import Reporter

    _check_outputs(output, errors, [gold, notes], force=force)
    options = GoldOptions(
        notes,
        group_by,
        tuple(name.strip() for name in (gold_labels or "").split(",") if name.strip()),
        tuple(ignore_attribute or ()),
        TableOptions(text_column, id_column, patient_column, encoding=encoding),
    )
    if not gold.exists():  # before the Hub is asked
        raise InputError(f"{gold}: no such file or folder; give notes that people annotated")
    extractor = load(artifact, lexicon=lexicon, cues=cues, sections=sections)
    judged_by = read_for(gold, Vocabulary.of(extractor), options)
    with Reporter(quiet=quiet) as reporter:
        done = evaluate_artifact(
            extractor,
            judged_by,
            against=None if against is None else load(against),
            seed=seed,
            resamples=resamples,
            step=reporter.step,
            say=reporter.say,
        )
    for line in lines_of(done.results):
        typer.echo(line)
    if output is not None:
        write_json(output, done.to_dict())
        typer.echo(f"all figures -> {output}", err=True)
    if errors is not None:
        from sympress.evaluation.errors_page import write_errors

        count = write_errors(done, errors)
        typer.echo(f"{count:,} errors, with words of the notes -> {errors}", err=True)


def _check_outputs(output: Path | None, errors: Path | None, read: list[Path | None], *, force: bool) -> None:
    """Refuse outputs that could not be written in the end, before anything is read.

    Raises:
        InputError: another ending, a file that exists, or one of those that are read.
        MissingExtraError: the page of errors needs what is not installed.
    """
    for path, suffix, option in ((output, ".json", "--output"), (errors, ".html", "--errors")):
        if path is None:
            continue
        if path.suffix != suffix:
            raise InputError(f"{option} {path}: the name must end in {suffix}")
        if path.exists() and not force:
            raise InputError(f"{path}: exists already; name another file, or add --force to overwrite it")
    given = [path for path in read if path is not None and path.exists()]
    refuse_to_overwrite([one for one in (output, errors) if one is not None], [path.stat() for path in given])
    if errors is not None:
        from sympress.evaluation.errors_page import check_renderer

        check_renderer()
