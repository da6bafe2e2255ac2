"""`sympress label`: write which symptom, or which symptoms, each note carries."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from rich.console import Console

from sympress.cli.table_options import EncodingName, IdColumn, PatientColumn, TextColumn
from sympress.cli.word_options import CuesOption, LexiconOption, SectionsOption, read_words
from sympress.errors import InputError
from sympress.files import atomic_path, refuse_to_overwrite
from sympress.labels.coded import check_labelling, label_coded_present, label_coded_topic
from sympress.labels.find import MentionFinder, Source, TopicFinder, find_each, find_present, find_topics
from sympress.labels.labelset import LabelSet
from sympress.labels.lexicon import load_lexicon
from sympress.labels.own_words import OwnWords
from sympress.labels.silver import write_mentions
from sympress.labels.topic import Rule, check_rule
from sympress.notes.read import read_notes
from sympress.notes.schema import ReadingCounts
from sympress.notes.sources import recognise
from sympress.notes.tables.options import TableOptions

_SUFFIXES = (".jsonl", ".parquet", ".csv")


def label(
    notes: Annotated[Path, typer.Argument(help="Notes: a file, an archive or a folder.", show_default=False)],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write: .jsonl, .parquet or .csv.")],
    task: Annotated[str, typer.Option(help="topic (one symptom a note), present or mentions.")] = "topic",
    labels: Annotated[str, typer.Option(help="lexicon (silver), or coded: by people.")] = "lexicon",
    lexicon: LexiconOption = None,
    cues: CuesOption = None,
    sections: SectionsOption = None,
    top_k: Annotated[int, typer.Option(help="The K most frequent symptoms of the data.")] = 5,
    rule: Annotated[Rule, typer.Option(help="Which symptom of several is the topic.")] = "first",
    text_window: Annotated[int, typer.Option(min=0, help="Characters looked at; 0 for all.")] = 1000,
    balance: Annotated[bool, typer.Option(help="Cut every topic to the rarest.")] = True,
    seed: Annotated[int, typer.Option(help="Of the balancing.")] = 42,
    fraction: Annotated[float, typer.Option(help="Share of patients to read.")] = 1.0,
    text_column: TextColumn = None,
    id_column: IdColumn = None,
    patient_column: PatientColumn = None,
    encoding: EncodingName = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Run on the Ray cluster at this address; 'local' starts one here.", metavar="ADDRESS"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Label notes by a lexicon or by the codes that people gave them; no text is written."""
    _check_task(task, labels, output)
    if ray is not None and labels == "coded":
        raise InputError(f"--ray {ray}: coded labels are read, not made; leave out --ray")
    check_rule(rule)
    if output.suffix not in _SUFFIXES:
        raise InputError(f"{output}: the name must end in {', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}")
    if output.exists() and not force:
        raise InputError(f"{output}: exists already; name another file, or add --force to overwrite it")
    table = TableOptions(text_column, id_column, patient_column, encoding=encoding)
    own = read_words(lexicon or "paper", cues, sections)
    _check_read(own, task, labels)
    refuse_to_overwrite([output], [file.stat() for file in recognise(notes, table).files])
    source = Source(notes, table, fraction, ray)
    words = own.lexicon or load_lexicon("paper")
    if task == "mentions":
        _write_mentions(source, MentionFinder(words, own), output)
        return
    if labels == "coded":
        read = read_notes(notes, table=table, fraction=fraction)
        counts = read.counts
        made = (
            label_coded_topic(read.frame, top_k=top_k, balance=balance, seed=seed)
            if task == "topic"
            else label_coded_present(read.frame, top_k=top_k)
        )
    elif task == "present":
        made, counts = find_present(source, words, top_k, own)
    else:
        finder = TopicFinder(words, rule, text_window or None)
        made, counts = find_topics(source, finder, top_k=top_k, balance=balance, seed=seed)
    write_labels(made, output)
    _say(counts, made, notes, output)


def _check_task(task: str, labels: str, output: Path) -> None:
    """Refuse a task, or a task and labels, that there are no rules or codes for."""
    # The rules with assertion are called silver; `lexicon` is the same here, as it is the default.
    check_labelling(task, "silver" if labels == "lexicon" and task in ("present", "mentions") else labels)
    if labels in ("gold", "mix"):
        raise InputError(
            f"sympress label makes no {labels} labels: people's spans are read by  "
            f"sympress study --labels {labels}"
        )
    if task == "mentions" and output.suffix != ".jsonl":
        raise InputError(f"{output}: mentions are written as .jsonl; change the name")


def _check_read(own: OwnWords, task: str, labels: str) -> None:
    """Refuse cues and sections where nothing reads them."""
    unread = [name for name in own.named() if name != "lexicon"]
    if unread and (labels == "coded" or task == "topic"):
        options = " and ".join(f"--{name}" for name in unread)
        what = "coded labels are read, not made" if labels == "coded" else "the rule of a topic reads none"
        raise InputError(f"{options}: {what}; leave out {options}, or make  --task mentions --labels silver")


def _write_mentions(source: Source, finder: MentionFinder, output: Path) -> None:
    """Stream the notes through the rules and say what was found."""
    with find_each(source, finder) as (notes, counts):
        found = write_mentions(notes, output)
    _remark(counts)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    left_out = {"outside the sample": counts.sampled_out} if counts.sampled_out else {}
    for step, count in ({"rows read": counts.rows} | left_out | counts.dropped | found).items():
        console.print(f"{count:>12,}  {step}")
    console.print(f"silver labels, lexicon {finder.lexicon.name!r} with assertion rules -> {output}")


def write_labels(labels: LabelSet, path: Path) -> None:
    """Write one row a note: `note_id`, `symptom` or `symptoms`, `provenance`; the suffix picks the format.

    In a CSV file several symptoms stand in one field, separated by `;`.
    """
    if labels.task == "topic":
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


def _remark(counts: ReadingCounts) -> None:
    """Say on standard error what is to be known of how the notes were read."""
    for line in counts.remarks:
        sys.stderr.write(line + "\n")


def _say(counts: ReadingCounts, labels: LabelSet, notes: Path, output: Path) -> None:
    """Print the notes at every step, the file, and what to do with the notes next."""
    _remark(counts)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    left_out = {"outside the sample": counts.sampled_out} if counts.sampled_out else {}
    steps = {"rows read": counts.rows} | left_out | counts.dropped | labels.counts
    for step, count in steps.items():
        console.print(f"{count:>12,}  {step}")
    console.print(f"{labels.provenance} labels, {labels.rule}")
    console.print(f"{len(labels.note_ids):,} labelled notes -> {output}")
    source = "lexicon" if labels.task == "topic" and labels.provenance == "silver" else labels.provenance
    options = f"--task {labels.task} --labels {source} --top-k {len(labels.symptoms)}"
    console.print(f"next: sympress study --notes {shlex.quote(str(notes))} {options} -o RUN")
