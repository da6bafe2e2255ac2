"""`sympress lexicon`: look into a lexicon, and check one of your own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from sympress.cli.word_options import CuesOption, SectionsOption
from sympress.errors import InputError, nearest
from sympress.labels.assertion.cue_files import lay_cues
from sympress.labels.lexicon import AmbiguousForm, Lexicon, extended_by, load_lexicon
from sympress.labels.own_words import compare_lexicons, kind_of, read_own_words
from sympress.labels.section_files import lay_sections

lexicon = typer.Typer(no_args_is_help=True, help="Look into a lexicon, or check one of your own.")

_Source = Annotated[str, typer.Option("--lexicon", help="clinical, paper, or a TSV or TOML file.")]


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
    console = Console(soft_wrap=True, highlight=False, markup=False)
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
    console = Console(soft_wrap=True, highlight=False, markup=False)
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


def _print_counts(counts: Mapping[str, int]) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for what, count in counts.items():
        console.print(f"{count:>8,}  {what}")
