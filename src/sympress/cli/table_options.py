"""The options that say what is what in a table of notes, the same for every command that reads one."""

from __future__ import annotations

from typing import Annotated

import typer

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
