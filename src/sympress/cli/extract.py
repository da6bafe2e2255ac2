"""`sympress extract` and `sympress serve`: an artifact answers notes, from files or over HTTP."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sympress.cli.options import Columns, RayOption, WordOptions, grouped_options, settings_options
from sympress.errors import InputError, SympressError, nearest, require_serving
from sympress.files import refuse_to_overwrite
from sympress.runtime.artifact import BOX_FOLDER
from sympress.serve.config import ServeConfig, read_settings

if TYPE_CHECKING:
    from sympress.extract.concepts import ConceptMap
    from sympress.extract.job import Encoding, Job, Summary, Table
    from sympress.extract.shapes import Shape
    from sympress.extract.workers import Answered, Chunk
    from sympress.labels.own_words import OwnWords


_STANDARD_OUTPUT = "-"
_SUFFIXES: dict[str, Encoding] = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
_FORMATS = ("notes", "omop", "fhir", "table")


@dataclass(frozen=True)
class Wanted:
    """Which notes are looked at."""

    category: Annotated[
        list[str] | None, typer.Option("--category", help="Only notes of this category; may be repeated.")
    ] = None
    since: Annotated[str | None, typer.Option(help="Only notes from this date on, as 2026-01-31.")] = None
    until: Annotated[str | None, typer.Option(help="Only notes up to this date.")] = None


@dataclass(frozen=True)
class Elsewhere:
    """Notes that lie in no file: those that a database selects, or one on standard input."""

    sql: Annotated[str | None, typer.Option(help="Query that selects the notes; give --url too.")] = None
    url: Annotated[
        str | None, typer.Option(help="Database as SQLAlchemy writes it: duckdb:///FILE, sqlite:///FILE, …")
    ] = None
    url_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the URL of the database; or set SYMPRESS_URL: neither shows a password.",
            metavar="FILE",
        ),
    ] = None
    whole: Annotated[bool, typer.Option("--whole", help="Standard input is one note, not one a line.")] = (
        False
    )


@dataclass(frozen=True)
class RowOptions:
    """What rows hold beside what was found, and how much of it a note may have."""

    concepts: Annotated[
        Path | None,
        typer.Option(
            help="CSV or TSV that maps symptoms to codes of yours, for FHIR and OMOP: symptom, system, code, "
            "display, concept_id, source_concept_id.",
            metavar="FILE",
        ),
    ] = None
    snippet: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,  # so that most mentions and their words fit OMOP's column of 250
            help="Characters of the note to each side of a mention in OMOP's snippet; 0: none.",
        ),
    ] = 0
    most_mentions: Annotated[
        int | None,
        typer.Option(min=1, help="A note with more mentions fails. Default: 10,000.", show_default=False),
    ] = None


@grouped_options
def extract(
    *,
    notes: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders or globs of notes, or - for standard input.", metavar="NOTES"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", "-m", help="Artifact to run, or `rules`. Default: the model that comes with sympress."
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option(
            help="Refuse every other artifact than this one: sha256:…, as `sympress pack` prints it.",
            metavar="DIGEST",
        ),
    ] = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="File to write: .parquet, .jsonl or .csv; - prints.")
    ] = _STANDARD_OUTPUT,
    output_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="notes: sympress' own rows; omop: NOTE_NLP; fhir: R4 bundles (.jsonl or .ndjson); table: to "
            "read on a terminal. Default: notes, or table on a terminal.",
        ),
    ] = None,
    own: WordOptions,
    table: Columns,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to carry to the output, of patient_id,encounter_id,time,category."),
    ] = None,
    wanted: Wanted,
    elsewhere: Elsewhere,
    rows: RowOptions,
    workers: Annotated[
        int,
        typer.Option("--workers", "-j", min=0, max=1024, help="Cores to use; 0: all.", show_default=False),
    ] = 0,
    ray: RayOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite a file that exists; begin an unfinished job anew.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="With --format table: who found each line, and what decided it."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no summary.")] = False,
) -> None:
    """Find symptoms in notes, on all cores; repeat an interrupted command to resume it."""
    from sympress.extract.job import Job, Table
    from sympress.extract.shapes import read_columns
    from sympress.extract.sources import find_notes, read_wanted
    from sympress.extract.workers import usable_cores
    from sympress.notes.formats.databases import read_url
    from sympress.runtime.artifact import artifact_folder
    from sympress.runtime.extractor import MENTIONS_MOST

    if explain and not (output == _STANDARD_OUTPUT and _is_table(output_format)):
        raise InputError("--explain is for --format table; the other formats always hold source and reason")
    shape, written = _choose_format(output, output_format)
    layout = table.table()
    words = own.read()
    folder, pinned = artifact_folder(model), _pinned(model, digest)
    url = read_url(elsewhere.url, elsewhere.url_file, wanted=elsewhere.sql is not None)
    job = Job(
        notes=find_notes(notes or [], sql=elsewhere.sql, url=url, table=layout, whole=elsewhere.whole),
        wanted=read_wanted(wanted.category or [], wanted.since, wanted.until),
        artifact=folder,
        shape=shape,
        encoding=written,
        columns=read_columns(columns),
        workers=workers or usable_cores(),
        ray=ray,
        words=words,
        digest=pinned,
        concepts=_read_concepts(rows.concepts, shape, folder, words),
        snippet=_checked_snippet(rows.snippet, shape),
        most_mentions=rows.most_mentions or MENTIONS_MOST,
    )
    if output == _STANDARD_OUTPUT:
        _to_stream(job, Table(explain=explain) if _is_table(output_format) else None, quiet=quiet)
        return
    given = (rows.concepts, elsewhere.url_file, own.lexicon, own.cues, own.sections)
    read = [Path(path) for path in given if path is not None]
    refuse_to_overwrite([Path(output)], [path.stat() for path in read if path.exists()])
    _to_file(job, Path(output), force=force, quiet=quiet)


def _pinned(model: Path | None, digest: str | None) -> str | None:
    """The digest that the artifact must have, which it has."""
    from sympress.runtime.artifact import artifact_folder, check_files, parse_digest

    if digest is None:
        return None
    pinned = parse_digest(digest)
    check_files(artifact_folder(model), pinned)
    return pinned


def _read_concepts(path: Path | None, shape: Shape, folder: Path, words: OwnWords) -> ConceptMap:
    from sympress.extract.concepts import ConceptMap, read_concepts
    from sympress.runtime.extractor import Extractor

    if path is None:
        return ConceptMap()
    if shape not in {"omop", "fhir"}:
        raise InputError(
            "--concepts goes with --format omop or fhir; other rows hold the lexicon's code only"
        )
    return read_concepts(path, Extractor.load(folder, words=words))


def _checked_snippet(snippet: int, shape: Shape) -> int:
    if snippet and shape != "omop":
        raise InputError("--snippet goes with --format omop; other rows hold no words of a note")
    return snippet


def _is_table(output_format: str | None) -> bool:
    return output_format == "table" or (output_format is None and sys.stdout.isatty())


def _choose_format(output: str, asked: str | None) -> tuple[Shape, Encoding]:
    """Rows and encoding that `--output` and `--format` ask for."""
    if asked is not None and asked not in _FORMATS:
        raise InputError(
            f"--format {asked}: unknown{nearest(asked, _FORMATS)}; choose from {', '.join(_FORMATS)}"
        )
    shape: Shape = "omop" if asked == "omop" else "fhir" if asked == "fhir" else "notes"
    if output == _STANDARD_OUTPUT:
        return shape, "jsonl"
    encoding = _SUFFIXES.get(Path(output).suffix.lower())
    if encoding is None:
        raise InputError(f"{output}: the name must end in {', '.join(_SUFFIXES)}; or give - to print")
    if asked == "table":
        raise InputError("--format table prints; leave out --output")
    if shape == "fhir" and encoding != "jsonl":
        raise InputError(f"{output}: FHIR bundles are JSON; let the name end in .ndjson or .jsonl")
    return "findings" if shape == "notes" and encoding == "csv" else shape, encoding


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _to_file(job: Job, output: Path, *, force: bool, quiet: bool) -> None:
    from sympress.extract.job import Pace, run_to_file

    pace = Pace(quiet=quiet)
    try:
        summary = run_to_file(job, output, force=force, say=_say, pace=pace)
    finally:
        pace.end()
    if not quiet:
        _report(summary)
        _say(f"{summary.findings:,} findings -> {output}")
    _check_answered(summary)


def _to_stream(job: Job, table: Table | None, *, quiet: bool) -> None:
    from sympress.extract.job import Pace, run_to_stream

    def write(chunk: Chunk, answered: Answered) -> None:
        sys.stdout.buffer.write(table.lines(chunk, answered) if table else answered.data)
        sys.stdout.buffer.flush()

    pace = Pace(quiet=quiet or sys.stdout.isatty())
    summary = run_to_stream(job, write, _say, pace)
    pace.end()
    if not quiet:
        _report(summary)
    _check_answered(summary)


def _fates(summary: Summary) -> str:
    """What became of the rows without an answer."""
    fates = {
        "failed": summary.failed,
        "retracted by the source": summary.retracted,
        "left out by the filters": summary.filtered,
        "left out because their date is missing or unreadable": summary.undated,
    }
    return "; ".join(f"{count:,} {fate}" for fate, count in fates.items() if count)


def _report(summary: Summary) -> None:
    """Say what became of every row."""
    done = summary.notes + summary.failed - summary.resumed
    rate = f", {done / summary.seconds:,.0f} a second" if summary.seconds > 0 and not summary.resumed else ""
    shown = _fates(summary)
    if summary.truncated:
        shown += f"; {summary.truncated:,} read in part, being longer than the model reads"
    shown = f"; {shown.removeprefix('; ')}" if shown else ""
    _say(f"{summary.rows:,} rows, {summary.notes:,} notes answered in {summary.seconds:.1f} s{rate}{shown}")
    if summary.unnamed:
        _say(f"{summary.unnamed:,} rows without an id are called after their number")
    if summary.unread_dates:
        either = summary.ambiguous_dates
        which = f", {either:,} of them because day or month may come first" if either else ""
        _say(f"{summary.unread_dates:,} notes have a date that was not read{which}; see --date-format")
    for markup, count in sorted(summary.markup.items()):
        _say(f"{count:,} {'note was' if count == 1 else 'notes were'} {markup.upper()}, read as text")
    if summary.errors is not None:
        _say(f"why notes failed -> {summary.errors}")


def _check_answered(summary: Summary) -> None:
    """End with exit code 1 where there were rows and not one note was answered."""
    if summary.rows and not summary.notes:
        raise SympressError(f"not one note of {summary.rows:,} rows was answered: {_fates(summary)}")


@settings_options(of=ServeConfig)
def serve(
    config: Annotated[
        Path | None, typer.Option(help="TOML file with settings: the names of the flags, with _ for -.")
    ] = None,
    **flags: Any,
) -> None:
    """Serve artifacts on this machine: POST /v1/extract, and a page at /.

    Each flag is also an environment variable, SYMPRESS_SERVE_PORT for --port, and a key of the file --config.
    Flags win, then the environment.

    SIGHUP loads every artifact and your own words again, SIGTERM stops when every request that was taken is
    answered.
    """
    require_serving()
    from sympress.serve.auth import read_keys
    from sympress.serve.models import parse_digests, parse_models
    from sympress.serve.server import serve as run_service

    settings = read_settings(flags, config)
    folders = parse_models(settings.model) if settings.model else {"box": BOX_FOLDER}
    own = WordOptions(settings.lexicon, settings.cues, settings.sections)
    digests = parse_digests(settings.digest, list(folders))
    run_service(settings, folders, read_keys(settings.api_key_file), own.read, digests)
