"""Options made from the configuration, and those that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast, get_args, get_type_hints

import typer
from pydantic import BaseModel

from sympress.config import (
    CompressionConfig,
    DataConfig,
    MeasurementConfig,
    StudyConfig,
    TrainingConfig,
    make_config,
    marks_of,
    read_config_file,
)
from sympress.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from sympress.evaluation.gold import Gold
    from sympress.labels.own_words import OwnWords
    from sympress.notes.layout import TableOptions


# Options of the command line that are made from the fields of the configuration.


_PARTS = (DataConfig, TrainingConfig, CompressionConfig, MeasurementConfig)
#: What typer reads; everything else is text, which the configuration checks, with a message of its own.
_READ_BY_TYPER = (bool, int, float, Path)

Command = TypeVar("Command", bound=Callable[..., Any])


def settings_options(
    names: Iterable[str] | None = None, *, panel: str | None = None, of: type[BaseModel] = StudyConfig
) -> Callable[[Command], Command]:
    """Return a decorator that replaces `**settings` of a command by options, behind what it requires.

    Args:
        names: of settings; all that have a flag by default.
        panel: of the help; by default that of the part of the configuration.
        of: the configuration.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
        at = sum(one.default is one.empty for one in own)
        chosen = [name for name in of.model_fields if marks_of(name, of).flag is not None]
        made = [_option(of, name, panel) for name in (chosen if names is None else names)]
        parameters = [one.replace(kind=one.KEYWORD_ONLY) for one in (*own[:at], *made, *own[at:])]
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
        return command

    return decorate


def _option(of: type[BaseModel], name: str, panel: str | None) -> inspect.Parameter:
    """The option of a setting; None where it is not given."""
    field = of.model_fields[name]
    held = {*get_args(field.annotation), field.annotation}
    flag = marks_of(name, of).flag or "--" + name.replace("_", "-")
    kind: Any = next((one for one in _READ_BY_TYPER if one in held), str)
    if field.default == () and marks_of(name, of).flag:  # one at a time; else with commas
        kind = list[str]
    elif kind is bool:
        flag = f"{flag}/--no-{flag.removeprefix('--')}"
    parts = _PARTS if of is StudyConfig else ()
    part = next((one for one in parts if name in one.model_fields), None)
    shown = panel or (part.panel if part is not None else None)
    default = None if field.default in (None, ()) or kind is bool else str(field.default)
    option = typer.Option(flag, help=field.description, rich_help_panel=shown, show_default=default or False)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def study_config(flags: dict[str, Any], file: Path | None) -> StudyConfig:
    """The study that the flags (None where not given) and the TOML file describe; flags win."""
    values = read_config_file(file) if file is not None else {}
    for name, value in flags.items():
        if name not in StudyConfig.model_fields or value is None or value == []:
            continue
        if StudyConfig.model_fields[name].default == ():
            parts = value.split(",") if isinstance(value, str) else value
            value = tuple(part.strip() for part in parts if part.strip())  # noqa: PLW2901
        values[name] = value
    return make_config(values)


# Options that several commands share, or that belong together, as one parameter.


def grouped_options(command: Command) -> Command:
    """Replace each parameter of `command` that is a dataclass by its fields, an option each.

    A field says its option as a parameter of a command does, by `Annotated`; the command gets the dataclass.
    """
    signature = inspect.signature(command, eval_str=True)
    own = signature.parameters.values()
    groups: dict[str, Any] = {one.name: one.annotation for one in own if is_dataclass(one.annotation)}
    parameters: list[inspect.Parameter] = []
    for one in own:
        if one.name in groups:
            parameters += _fields_as_options(groups[one.name])
        else:
            parameters.append(one.replace(kind=one.KEYWORD_ONLY))

    @wraps(command)
    def run(**given: Any) -> Any:
        made = {
            name: kind(**{field.name: given.pop(field.name) for field in fields(kind)})
            for name, kind in groups.items()
        }
        return command(**given, **made)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters} | {"return": None}
    return cast("Command", run)


def _fields_as_options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hints[one.name]
        )
        for one in fields(group)
    ]


# The options that say what is what in a table of notes, the same for every command that reads one.


_PANEL = "Tables"


def _column(what: str) -> object:
    return typer.Option(help=f"Column with {what}.", metavar="NAME", rich_help_panel=_PANEL)


TextColumn = Annotated[str | None, _column("the text of the notes")]
IdColumn = Annotated[str | None, _column("their ids")]
PatientColumn = Annotated[str | None, _column("the patient")]
EncounterColumn = Annotated[str | None, _column("the encounter")]
TimeColumn = Annotated[str | None, _column("the time")]
CategoryColumn = Annotated[str | None, _column("the category")]
DateFormat = Annotated[
    str | None,
    typer.Option(
        help="Form of the dates: mdy, dmy or ymd, excel, epoch, epoch-ms, or as %d/%m/%Y %H:%M.",
        metavar="FORM",
        rich_help_panel=_PANEL,
    ),
]
EncodingName = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Of the files, for example cp1252. Default: UTF-8; UTF-16 and cp1252 are recognised.",
        metavar="NAME",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True)
class FewColumns:
    """Columns of a table of notes, for a command that reads no more of them."""

    text_column: TextColumn = None
    id_column: IdColumn = None
    patient_column: PatientColumn = None
    encoding: EncodingName = None

    def table(self) -> TableOptions:
        """The same, as reading takes it.

        Raises:
            InputError: there is no such encoding.
        """
        from sympress.notes.layout import TableOptions

        return TableOptions(self.text_column, self.id_column, self.patient_column, encoding=self.encoding)


@dataclass(frozen=True)
class Columns:
    """Columns of a table of notes, the form of its dates, and the encoding of its file."""

    text_column: TextColumn = None
    id_column: IdColumn = None
    patient_column: PatientColumn = None
    encounter_column: EncounterColumn = None
    time_column: TimeColumn = None
    category_column: CategoryColumn = None
    date_format: DateFormat = None
    encoding: EncodingName = None

    def table(self) -> TableOptions:
        """The same, as reading takes it.

        Raises:
            InputError: there is no such form of dates, or no such encoding.
        """
        from sympress.notes.layout import TableOptions

        return TableOptions(*(getattr(self, field.name) for field in fields(self)))


# The options by which a command takes the user's own words, the same in each.


LexiconOption = Annotated[
    str | None,
    typer.Option(
        "--lexicon",
        help="Names of symptoms: clinical, clinical+hpo (with the Human Phenotype Ontology), paper, or "
        "your TSV or TOML file.",
    ),
]
CuesOption = Annotated[
    Path | None, typer.Option("--cues", help="Your cues of negation and the like, a TOML file.")
]
SectionsOption = Annotated[
    Path | None, typer.Option("--sections", help="Your section headings, a TOML file.")
]


@dataclass(frozen=True)
class WordOptions:
    """The files of the user's own words."""

    lexicon: LexiconOption = None
    cues: CuesOption = None
    sections: SectionsOption = None

    def read(self, otherwise: str | None = None) -> OwnWords:
        """Read them, before anything else is done; `otherwise` is the lexicon where none is named.

        Raises:
            InputError: a file cannot be read or has mistakes; the message names all of all files.
        """
        from sympress.labels.lexicon import extended_by
        from sympress.labels.own_words import OURS, read_own_words

        lexicon = self.lexicon or otherwise
        if not (lexicon or self.cues or self.sections):
            return OURS
        words = read_own_words(lexicon, self.cues, self.sections)
        if words.lexicon is not None and extended_by(lexicon or "") == "":
            typer.echo(
                f"{lexicon}: takes the place of our lexicon, and only its symptoms are found; write  extends "
                '= "clinical"  to add them to ours, or  extends = "none"  if that is meant',
                err=True,
            )
        return words


RayOption = Annotated[
    str | None,
    typer.Option(help="Run on the Ray cluster at this address; 'local' starts one here.", metavar="ADDRESS"),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="Where to train: auto (CUDA where there is one, else the CPU), cpu, cuda, or mps.",
        metavar="auto|cpu|cuda|mps",
    ),
]


# The options with which a command reads labelled notes, and how it reads them, before any model.


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


def plain_console() -> Console:
    """A console that prints lines as they are: neither coloured, nor cut or wrapped at its width."""
    from rich.console import Console

    return Console(highlight=False, markup=False, soft_wrap=True)


def names_in(listed: str | None) -> tuple[str, ...]:
    """The names that an option lists with commas; none where it is not given."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())


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
    from sympress.evaluation.gold import Vocabulary
    from sympress.evaluation.gold_files import GoldOptions, read_for
    from sympress.labels.lexicon import load_lexicon
    from sympress.notes.layout import TableOptions

    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give labelled notes")
    options = GoldOptions(labels=names_in(labels), table=TableOptions(text_column))
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
