"""`sympress data NAME`: where the data of the study can be had, and whether a folder holds it.

A check says of each file what it holds, in numbers; it never quotes a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from sympress.errors import InputError
from sympress.notes.formats.delimited import header_of, records
from sympress.notes.formats.vaers import vaers_notes, years_in_zip
from sympress.notes.intake import Intake, Meter, ReadingCounts
from sympress.notes.layout import RECOGNISED
from sympress.notes.read import MTSAMPLES, recognise, stream_notes
from sympress.notes.streams import file_errors, open_text


@dataclass(frozen=True)
class OpenData:
    """A data set that sympress can be measured on.

    Attributes:
        title: its official name.
        holds: what it is, and under which terms it is given.
        obtained: how it can be had, in words.
        files: what must lie in the folder.
    """

    title: str
    holds: str
    obtained: str
    files: tuple[str, ...]


#: Years of VAERS: trained on to 2003, thresholds by 2004, tested on 2005.
VAERS_YEARS = range(1990, 2006)
NOTEEVENTS = ("NOTEEVENTS.csv.gz", "NOTEEVENTS.csv")
_NOTEEVENTS_COLUMNS = ("ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CATEGORY", "ISERROR", "TEXT")

OPEN_DATA: dict[str, OpenData] = {
    "vaers": OpenData(
        "Vaccine Adverse Event Reporting System (VAERS), by CDC and FDA",
        "Reports of adverse events after vaccination, with symptoms that people coded; public domain.",
        "Open the VAERS website (vaers.hhs.gov), choose 'VAERS Data', then 'VAERS Data Sets', accept the "
        "guide, and download the zip file of each year. Leave the zip files as they are.",
        tuple(f"{year}VAERSData.zip" for year in VAERS_YEARS),
    ),
    "mtsamples": OpenData(
        "MTSamples, transcribed medical reports",
        "About 5,000 sample reports of many specialties, without labels; republished as CC0.",
        "The samples are on mtsamples.com. The table mtsamples.csv is published on Kaggle as 'Medical "
        "Transcriptions'. Any one of the files is enough.",
        tuple(MTSAMPLES),
    ),
    "maccrobat": OpenData(
        "MACCROBAT, annotated clinical case reports (Caufield et al.)",
        "Case reports with marked spans, in brat's format; CC BY 4.0.",
        "Search figshare for 'MACCROBAT' (item 9764942), download the archive and unpack it into one folder.",
        ("NAME.txt and NAME.ann of every report",),
    ),
    "mimic": OpenData(
        "MIMIC-III Clinical Database, table NOTEEVENTS",
        "Two million notes of a hospital, de-identified; for credentialed users under a data use agreement.",
        "On PhysioNet, complete the training that 'MIMIC-III Clinical Database' asks for, sign its agreement "
        "and download NOTEEVENTS.csv.gz. Either file is enough.",
        NOTEEVENTS,
    ),
}


@dataclass(frozen=True)
class Checked:
    """What a check found in one file.

    Attributes:
        file: its name.
        told: what it holds in numbers, or what is wrong with it.
        is_good: whether it can be used.
    """

    file: str
    told: str
    is_good: bool = True


def _checked(file: str, told: Callable[[], str]) -> Checked:
    """What `told` says of a file, or the mistake that it meets."""
    try:
        return Checked(file, told())
    except InputError as error:
        return Checked(file, str(error), is_good=False)


def _first(folder: Path, names: tuple[str, ...], told: Callable[[Path], str]) -> Checked:
    """What `told` says of the first of `names` that is in the folder."""
    there = next((name for name in names if (folder / name).is_file()), None)
    if there is None:
        return Checked(" or ".join(names), "missing", is_good=False)
    return _checked(there, partial(told, folder / there))


def _year(path: Path) -> str:
    years = list(years_in_zip(path).values())
    if len(years) != 1:
        raise InputError(f"{path}: holds {len(years)} years; give the zip of one year")
    counts = ReadingCounts()
    intake = Intake(counts, 1.0, Meter(None, None))
    coded = sum(bool(note and note.codes) for note in vaers_notes(years, RECOGNISED, intake))
    if not counts.kept:
        raise InputError(f"{path}: no report with text; download it again")
    return f"{counts.rows:,} rows, {counts.kept:,} reports with text, {coded:,} of them coded"


def _rows(file: Path) -> str:
    counts = ReadingCounts()
    kept = sum(len(frame) for frame in stream_notes(file, counts=counts))
    dropped = "".join(f", {count:,} {reason}" for reason, count in counts.dropped.items())
    return f"{recognise(file).kind}: {counts.rows:,} rows, {kept:,} notes{dropped}"


def _noteevents(file: Path) -> str:
    with file_errors(file), open_text(file, Meter(None, None)) as stream:
        header = [name.strip().upper() for name in header_of(records(stream, ",", file), file)]
    absent = [name for name in _NOTEEVENTS_COLUMNS if name not in header]
    if absent:
        raise InputError(f"{file}: no column {', '.join(absent)}; is this NOTEEVENTS of MIMIC-III?")
    return _rows(file)


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


def _annotated(folder: Path) -> str:
    from sympress.labels.gold import read_gold

    gold = read_gold(folder, "brat")
    labels = Counter(span.label for document in gold.documents for span in document.spans)
    if not labels["Sign_symptom"]:
        raise InputError(f"{folder}: no span is called Sign_symptom; is this MACCROBAT?")
    marked = f"{sum(labels.values()):,} spans, {labels['Sign_symptom']:,} of them Sign_symptom"
    return f"{len(gold.documents):,} reports, {marked}"


_CHECKS: dict[str, Callable[[Path], list[Checked]]] = {
    "vaers": lambda folder: [_first(folder, (name,), _year) for name in OPEN_DATA["vaers"].files],
    "mtsamples": lambda folder: [_first(folder, tuple(MTSAMPLES), _rows)],
    "maccrobat": lambda folder: [_checked(folder.name, partial(_annotated, folder))],
    "mimic": lambda folder: [_first(folder, NOTEEVENTS, _noteevents)],
}
