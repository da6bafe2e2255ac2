"""`sympress data NAME`: where the data of the study can be had, and whether a folder holds it."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sympress.errors import InputError
from sympress.notes.open_data import (
    OPEN_DATA,
    Checked,
    check_mimic,
    check_mtsamples,
    check_vaers,
    checked,
)


def data(
    name: Annotated[
        Literal["vaers", "mtsamples", "maccrobat", "mimic"],
        typer.Argument(help="vaers, mtsamples, maccrobat or mimic.", show_default=False),
    ],
    *,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Check the files in this folder: what is there, whole, and how much."
        ),
    ] = None,
) -> None:
    """Say where a data set of the study can be had and which files it needs; --check a folder of them.

    No row of a file is printed. Exit code 2: a file is missing or damaged.
    """
    if check is None:
        described = OPEN_DATA[name]
        files = [f"  {file}" for file in described.files]
        told = [described.title, described.holds, "", described.obtained, "", "Files:", *files, ""]
        typer.echo("\n".join(told))
        typer.echo(f"next: sympress data {name} --check FOLDER")
        return
    if not check.is_dir():
        raise InputError(f"{check}: no such folder; give the one that holds the files of {name}")
    found = _CHECKS[name](check)
    width = max(len(one.file) for one in found)
    for one in found:
        typer.echo(f"{'ok ' if one.is_good else 'BAD'}  {one.file.ljust(width)}  {one.told}")
    bad = sum(not one.is_good for one in found)
    if bad:
        raise InputError(
            f"{check}: {bad} of {len(found)} files missing or damaged; `sympress data {name}` says where "
            "they can be had"
        )


def check_maccrobat(folder: Path) -> list[Checked]:
    """Say how many reports and symptoms the folder holds."""
    return [checked(folder.name, partial(_annotated, folder))]


def _annotated(folder: Path) -> str:
    from sympress.labels.gold import read_gold

    gold = read_gold(folder, "brat")
    labels = Counter(span.label for document in gold.documents for span in document.spans)
    if not labels["Sign_symptom"]:
        raise InputError(f"{folder}: no span is called Sign_symptom; is this MACCROBAT?")
    marked = f"{sum(labels.values()):,} spans, {labels['Sign_symptom']:,} of them Sign_symptom"
    return f"{len(gold.documents):,} reports, {marked}"


_CHECKS = {
    "vaers": check_vaers,
    "mtsamples": check_mtsamples,
    "maccrobat": check_maccrobat,
    "mimic": check_mimic,
}
