"""`sympress label`, `sympress lexicon`, `sympress synth`: labels by rules, lexicons, synthetic notes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.progress import TextColumn as ProgressText
from rich.table import Table

from sympress.cli.options import (
    CuesOption,
    FewColumns,
    RayOption,
    SectionsOption,
    WordOptions,
    grouped_options,
    plain_console,
)
from sympress.errors import InputError, nearest
from sympress.files import atomic_path, refuse_to_overwrite
from sympress.labels.lexicon import Lexicon, extended_by, load_lexicon
from sympress.labels.lexicon_file import AmbiguousForm
from sympress.labels.mentions import LabelSet
from sympress.labels.note_labels import (
    Rule,
    check_labelling,
    check_rule,
    label_coded_present,
    label_coded_topic,
    merge_codes,
)
from sympress.labels.own_words import OwnWords, compare_lexicons, kind_of, lay_cues, read_own_words
from sympress.labels.sections import lay_sections
from sympress.labels.silver import (
    MentionFinder,
    Source,
    TopicFinder,
    find_each,
    find_present,
    find_topics,
    write_mentions,
)
from sympress.labels.task import task_of
from sympress.notes.intake import ReadingCounts
from sympress.notes.read import read_notes, recognise
from sympress.notes.synthesize.writer import NoteFormat, gold_path_of, write_notes

_SUFFIXES = (".jsonl", ".parquet", ".csv")


@grouped_options
def label(
    *,
    notes: Annotated[Path, typer.Argument(help="Notes: a file, an archive or a folder.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .jsonl, .parquet or .csv.")],
    task: Annotated[str, typer.Option(help="topic (one symptom a note), present or mentions.")] = "topic",
    labels: Annotated[
        str, typer.Option(help="lexicon (silver), coded (by people) or concepts (their codes as symptoms).")
    ] = "lexicon",
    own: WordOptions,
    top_k: Annotated[int, typer.Option(help="The K most frequent symptoms of the data.")] = 5,
    rule: Annotated[Rule, typer.Option(help="Which symptom of several is the topic.")] = "first",
    text_window: Annotated[int, typer.Option(min=0, help="Characters looked at; 0 for all.")] = 1000,
    balance: Annotated[bool, typer.Option(help="Cut every topic to the rarest.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of the balancing.")] = 42,
    fraction: Annotated[float, typer.Option(help="Share of patients to read.")] = 1.0,
    columns: FewColumns,
    ray: RayOption = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Label notes by a lexicon or by the codes that people gave them; no text is written."""
    _check_task(task, labels, output)
    by_people = labels in ("coded", "concepts")
    if ray is not None and by_people:
        raise InputError(f"--ray {ray}: coded labels are read, not made; leave out --ray")
    check_rule(rule)
    if output.suffix not in _SUFFIXES:
        raise InputError(f"{output}: the name must end in {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
    if output.exists() and not force:
        raise InputError(f"{output}: exists already; name another file, or add --force to overwrite it")
    table = columns.table()
    given = own.read("paper")
    _check_read(given, task, labels)
    refuse_to_overwrite([output], [file.stat() for file in recognise(notes, table).files])
    source = Source(notes, table, fraction, ray)
    words = given.lexicon or load_lexicon("paper")
    kind = task_of(task)
    if kind.finds_spans:
        _write_mentions(source, MentionFinder(words, given), output)
        return
    if by_people:
        read = read_notes(notes, table=table, fraction=fraction)
        counts = read.counts
        frame, merging = merge_codes(read.frame) if labels == "concepts" else (read.frame, {})
        if kind.labels == "one":
            made = label_coded_topic(frame, top_k=top_k, balance=balance, seed=seed)
        else:
            made = label_coded_present(frame, top_k=top_k)
        made = replace(made, counts=merging | made.counts)
    elif kind.labels == "several":
        made, counts = find_present(source, words, top_k, given)
    else:
        finder = TopicFinder(words, rule, text_window or None)
        made, counts = find_topics(source, finder, top_k=top_k, balance=balance, seed=seed)
    write_labels(made, output)
    _say(counts, made, notes, output)


def _check_task(task: str, labels: str, output: Path) -> None:
    """Refuse a task, or a task and labels, that there are no rules or codes for."""
    # The rules with assertion are called silver; `lexicon` is the same here, as it is the default.
    kind = task_of(task)
    check_labelling(task, "silver" if labels == "lexicon" and "lexicon" not in kind.sources else labels)
    if labels in ("gold", "mix"):
        raise InputError(
            f"sympress label makes no {labels} labels: people's spans are read by  "
            f"sympress study --labels {labels}"
        )
    if kind.finds_spans and output.suffix != ".jsonl":
        raise InputError(f"{output}: mentions are written as .jsonl; change the name")


def _check_read(own: OwnWords, task: str, labels: str) -> None:
    """Refuse cues and sections where nothing reads them."""
    unread = [name for name in own.named() if name != "lexicon"]
    by_people = labels in ("coded", "concepts")
    if unread and (by_people or task_of(task).labels == "one"):
        options = " and ".join(f"--{name}" for name in unread)
        what = "coded labels are read, not made" if by_people else "the rule of a topic reads none"
        raise InputError(f"{options}: {what}; leave out {options}, or make  --task mentions --labels silver")


def _write_mentions(source: Source, finder: MentionFinder, output: Path) -> None:
    """Stream the notes through the rules and say what was found."""
    with find_each(source, finder) as (notes, counts):
        found = write_mentions(notes, output)
    _print_steps(counts, found)
    plain_console().print(f"silver labels, lexicon {finder.lexicon.name!r} with assertion rules -> {output}")


def write_labels(labels: LabelSet, path: Path) -> None:
    """Write one row a note: `note_id`, `symptom` or `symptoms`, `provenance`; the suffix picks the format.

    In a CSV file several symptoms stand in one field, separated by `;`.
    """
    if task_of(labels.task).labels == "one":
        carried = pl.Series("symptom", [labels.symptoms[k] for k in labels.classes], dtype=pl.String())
    else:
        names = [[labels.symptoms[k] for k in row.nonzero()[0]] for row in labels.targets]
        carried = pl.Series("symptoms", names, dtype=pl.List(pl.String()))
        carried = carried.list.join(";") if path.suffix == ".csv" else carried
    ids = pl.Series("note_id", labels.note_ids, dtype=pl.String())
    table = pl.DataFrame([ids, carried]).with_columns(provenance=pl.lit(labels.provenance))
    with atomic_path(path) as temporary:
        if path.suffix == ".parquet":
            table.write_parquet(temporary)
        elif path.suffix == ".csv":
            table.write_csv(temporary)
        else:
            table.write_ndjson(temporary)


def _print_steps(counts: ReadingCounts, made: dict[str, int]) -> None:
    """Print the notes at every step, and on standard error what is to be known of how they were read."""
    for line in counts.remarks:
        sys.stderr.write(line + "\n")
    left_out = {"outside the sample": counts.sampled_out} if counts.sampled_out else {}
    _print_counts({"rows read": counts.rows} | left_out | counts.dropped | made, width=12)


def _say(counts: ReadingCounts, labels: LabelSet, notes: Path, output: Path) -> None:
    """Print the notes at every step, the file, and what to do with the notes next."""
    _print_steps(counts, labels.counts)
    console = plain_console()
    console.print(f"{labels.provenance} labels, {labels.rule}")
    console.print(f"{len(labels.note_ids):,} labelled notes -> {output}")
    one = task_of(labels.task).labels == "one"
    source = "lexicon" if one and labels.provenance == "silver" else labels.provenance
    options = f"--task {labels.task} --labels {source} --top-k {len(labels.symptoms)}"
    console.print(f"next: sympress study --notes {shlex.quote(str(notes))} {options} -o RUN")


lexicon = typer.Typer(no_args_is_help=True, help="Look into a lexicon, or check one of your own.")

_Source = Annotated[
    str, typer.Option("--lexicon", help="clinical, clinical+hpo, paper, or a TSV or TOML file.")
]


@lexicon.command("list")
def list_symptoms(*, lexicon: _Source = "clinical") -> None:
    """List the symptoms of a lexicon with the number of their forms and their codes."""
    words = load_lexicon(lexicon)
    table = Table("id", "name", "forms", "codes")
    for symptom in words.symptoms:
        count = len(symptom.forms) + len(symptom.ambiguous)
        table.add_row(symptom.id or "", symptom.name, f"{count:,}", " ".join(symptom.codes))
    Console().print(table)
    _say_counts(words)


@lexicon.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="A lexicon, .tsv or .toml, or a file of cues or sections.", show_default=False),
    ] = None,
    *,
    cues: CuesOption = None,
    sections: SectionsOption = None,
) -> None:
    """Check your own words: count what they add, or name every mistake and exit with 2."""
    kind = None if file is None else kind_of(file)
    named = {"lexicon": None, "cues": cues, "sections": sections}
    if kind is not None:
        if named[kind] is not None:
            raise InputError(f"{file}: a file of {kind}, as --{kind} names one; give one of the two")
        named[kind] = file
    if not any(named.values()):
        raise InputError("no file to check; name a lexicon, or give --cues FILE or --sections FILE")
    words = read_own_words(**named)
    console = plain_console()
    if words.lexicon is not None:
        _say_counts(words.lexicon)
        base = extended_by(named["lexicon"] or "")
        if base == "":
            console.print('takes the place of our lexicon; write  extends = "clinical"  to add to it')
        elif base is not None:
            _print_counts(compare_lexicons(load_lexicon(base), words.lexicon))
    if cues_text := words.texts.get("cues"):
        _print_counts(lay_cues(cues_text, str(named["cues"])).counts)
    if sections_text := words.texts.get("sections"):
        _print_counts(lay_sections(sections_text, str(named["sections"])).counts())
    for path in filter(None, named.values()):
        console.print(f"{path}: no mistake found")


@lexicon.command("show")
def show(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="Id of a symptom.", show_default=False)],
    *,
    lexicon: _Source = "clinical",
) -> None:
    """Show a symptom: its name, codes and every form."""
    words = load_lexicon(lexicon)
    by_id = {symptom.id or symptom.name: place for place, symptom in enumerate(words.symptoms)}
    if identifier not in by_id:
        raise InputError(
            f"no symptom {identifier!r} in lexicon {words.name!r}{nearest(identifier, by_id)}; "
            "see  sympress lexicon list"
        )
    place = by_id[identifier]
    symptom = words.symptoms[place]
    console = plain_console()
    versions = [f"{prefix} {version}" for prefix, version in words.ontologies.items()]
    console.print(f"{symptom.name}  [{identifier}]")
    console.print(
        f"codes: {' '.join(symptom.codes) or 'none'}" + (f"  ({', '.join(versions)})" if versions else "")
    )
    for entry in symptom.ambiguous:
        console.print(f"ambiguous: {_described(entry)}")
    together = [form for form, places in words.combined.items() if place in places]
    if together:
        console.print(f"with others: {', '.join(together)}")
    if symptom.denials:
        console.print(f"absent: {', '.join(symptom.denials)}")
    if symptom.misspellings:
        console.print(f"misspelled: {', '.join(symptom.misspellings)}")
    console.print(f"{len(symptom.forms):,} forms: {', '.join(symptom.forms)}")


def _described(entry: AmbiguousForm) -> str:
    """Return an ambiguous form with its conditions in words."""
    written = {
        "any": entry.form,
        "upper": f"{entry.form.upper()} in capitals",
        "plural": f"{entry.form[:-1].upper()}{entry.form[-1:]}, a small s behind capitals",
    }
    parts = [written[entry.case]]
    parts += [f"not before {', '.join(entry.not_before)}"] if entry.not_before else []
    parts += [f"not after {', '.join(entry.not_after)}"] if entry.not_after else []
    parts += [f"only before {', '.join(entry.only_before)}"] if entry.only_before else []
    parts += [f"only after {', '.join(entry.only_after)}"] if entry.only_after else []
    return "; ".join(parts) + (f" (also: {entry.also})" if entry.also else "")


def _say_counts(words: Lexicon) -> None:
    counts = {
        "symptoms": len(words.symptoms),
        "forms": sum(len(symptom.forms) for symptom in words.symptoms),
        "ambiguous forms": sum(len(symptom.ambiguous) for symptom in words.symptoms),
        "forms of several symptoms": len(words.combined),
        "forms of none": len(words.ignored),
        "misspellings": sum(len(symptom.misspellings) for symptom in words.symptoms),
        "forms that deny": sum(len(symptom.denials) for symptom in words.symptoms) + len(words.denials),
        "codes": sum(len(symptom.codes) for symptom in words.symptoms),
        "symptoms without a code": sum(not symptom.codes for symptom in words.symptoms),
    }
    _print_counts(counts)


def _print_counts(counts: Mapping[str, int], width: int = 8) -> None:
    console = plain_console()
    for what, count in counts.items():
        console.print(f"{count:>{width},}  {what}")


def synth(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File to write: .csv, .csv.gz, .jsonl, .jsonl.gz or .parquet."),
    ],
    n: Annotated[int, typer.Option("--notes", "-n", min=1, help="How many notes to write.")] = 20_000,
    note_format: Annotated[
        NoteFormat, typer.Option("--format", help="NOTEEVENTS as MIMIC-III has it, JSON lines, or Parquet.")
    ] = "noteevents",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed writes other notes.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")] = False,
) -> None:
    """Write synthetic clinical notes, and the same with every mention marked as `<stem>.gold.jsonl`.

    The first notes of a larger file equal those of a smaller one with the same seed.
    """
    for path in (output, gold_path_of(output)):
        if path.exists() and not force:
            raise InputError(f"{path}: exists already; name another file, or add --force to overwrite it")
    columns = (ProgressText("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("writing notes", total=n)
        written = write_notes(
            output,
            n,
            seed=seed,
            note_format=note_format,
            advance=lambda notes: progress.advance(task, notes),
        )
    console = plain_console()
    retracted = written.rows - written.notes
    console.print(
        f"{written.notes:,} notes"
        + (f" and {retracted:,} retracted copies" if retracted else "")
        + f" -> {written.path}"
    )
    console.print(f"{written.mentions:,} gold mentions -> {written.gold_path}, which --gold reads")
    console.print(f"next: sympress study --notes {shlex.quote(str(written.path))} -o RUN")
