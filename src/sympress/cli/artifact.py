"""`sympress import`, `pack`, `show`, `evaluate`: artifacts made, shipped, looked at and scored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sympress.cli.options import (
    Entities,
    FewColumns,
    GoldLabels,
    WordOptions,
    grouped_options,
    names_in,
    read_labelled,
)
from sympress.cli.study import command_line
from sympress.errors import InputError
from sympress.files import refuse_to_overwrite

if TYPE_CHECKING:
    from sympress.evaluation.evaluate import Evaluation
    from sympress.evaluation.gold_files import GoldOptions


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
    entity: Entities = None,
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


@grouped_options
def pack(
    *,
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
    own: WordOptions,
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
    words = own.read()
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


@dataclass(frozen=True)
class GoldReading:
    """What of the gold is looked at, and by what groups."""

    group_by: Annotated[
        str | None,
        typer.Option(help="Figures by sex, age, category or another column of the notes.", metavar="COLUMN"),
    ] = None
    gold_labels: GoldLabels = None
    ignore_attribute: Annotated[
        list[str] | None,
        typer.Option(help="An attribute of --gold that does not change what the words assert; repeatable."),
    ] = None

    def options(self, notes: Path | None, columns: FewColumns) -> GoldOptions:
        """The same, as reading takes it."""
        from sympress.evaluation.gold_files import GoldOptions

        ignored = tuple(self.ignore_attribute or ())
        return GoldOptions(notes, self.group_by, names_in(self.gold_labels), ignored, columns.table())


@grouped_options
def evaluate(
    *,
    artifact: Annotated[
        str | None,
        typer.Argument(
            help="Folder of an artifact, `box` or `rules`; or a fine-tuned classifier of transformers, by "
            "its folder or its id on the Hugging Face Hub. Default: the box.",
            show_default=False,
        ),
    ] = None,
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
    reading: GoldReading,
    own: WordOptions,
    columns: FewColumns,
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
    from sympress.evaluation.gold_files import read_for
    from sympress.progress import Reporter

    _check_outputs(output, errors, [gold, notes], force=force)
    options = reading.options(notes, columns)
    if not gold.exists():  # before the Hub is asked
        raise InputError(f"{gold}: no such file or folder; give notes that people annotated")
    extractor = load(artifact, lexicon=own.lexicon, cues=own.cues, sections=own.sections)
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
    _tell(done, output, errors)


def _tell(done: Evaluation, output: Path | None, errors: Path | None) -> None:
    """Print the figures, and write the files that were asked for."""
    from sympress.evaluation.records import lines_of
    from sympress.files import write_json

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
    """Refuse outputs that could not be written in the end, before anything is read."""
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
