"""Reading VAERS: reports of adverse events after vaccination, with symptoms coded by people.

A year is two tables, as downloaded in `2005VAERSData.zip` or unzipped: `2005VAERSDATA.csv` (one row a
report) and `2005VAERSSYMPTOMS.csv` (MedDRA preferred terms, five to a row, several rows to a report).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.notes.formats import Found, Source
from sympress.notes.formats.delimited import header_of, records
from sympress.notes.intake import MALFORMED, Intake, Note, keep_patient
from sympress.notes.layout import COLUMN_OPTIONS, TableOptions, age_of, sex_of
from sympress.notes.streams import file_errors, open_member, open_text, stream_errors

_DATA = re.compile(r"(.*)VAERSDATA\.csv(?:\.gz)?", re.IGNORECASE)
_SYMPTOMS = re.compile(r"(.*)VAERSSYMPTOMS\.csv(?:\.gz)?", re.IGNORECASE)
_ARCHIVE = re.compile(r".*VAERS.*DATA.*\.zip", re.IGNORECASE)

_TERMS = tuple(f"SYMPTOM{number}" for number in range(1, 6))
_NEEDED = ("VAERS_ID", "RECVDATE", "SEX", "AGE_YRS")


@dataclass(frozen=True)
class Table:
    """A CSV on disk, or inside the zip `path` under the name `member`."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.path}:{self.member}" if self.member else str(self.path)


@dataclass(frozen=True)
class Year:
    """The two tables that belong together; `symptoms` is None where a lone DATA file was given."""

    data: Table
    symptoms: Table | None

    @property
    def files(self) -> set[Path]:
        """The files on disk that hold the tables."""
        return {self.data.path} | ({self.symptoms.path} if self.symptoms else set())


def recognise(found: Found) -> Source | None:
    """A zip with the tables, or a lone table of reports.

    Raises:
        InputError: a zip is damaged or holds other things, or the table is that of the codes.
    """
    if found.head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _source(found.path, list(years_in_zip(found.path).values()))
    first = next(iter((found.text or "").lstrip().splitlines()), "")
    header = {name.strip().strip('"').upper() for name in first.split(",")}
    if found.is_note or "VAERS_ID" not in header:
        return None
    if "SYMPTOM_TEXT" in header:
        return _source(found.path, [year_of_file(found.path)])
    if "SYMPTOM1" in header:
        raise InputError(
            f"{found.path}: the coded symptoms of VAERS without the reports; give the …VAERSDATA.csv"
        )
    return None


def recognise_folder(folder: Path) -> Source | None:
    """A folder with the tables, zipped or not."""
    years = years_in_folder(folder)
    return _source(folder, years) if years else None


def _source(path: Path, years: list[Year]) -> Source:
    files = tuple(sorted({file for year in years for file in year.files}))
    return Source("vaers", "vaers", path, files, partial(vaers_notes, years))


def years_in_folder(folder: Path) -> list[Year]:
    """Return the VAERS years of `folder`, zipped or not, sorted by name; none if it is another folder.

    Raises:
        InputError: a SYMPTOMS table is missing, a zip is damaged, or a year is there twice.
    """
    with file_errors(folder):
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    loose = {path.name: Table(path) for path in paths}
    found = _pair(loose, str(folder)) if any(_DATA.fullmatch(name) for name in loose) else {}
    for path in paths:
        if not _ARCHIVE.fullmatch(path.name):
            continue
        for name, year in years_in_zip(path).items():
            if name in found:
                raise InputError(
                    f"{folder}: {found[name].data} and {year.data} are the same year; keep one of them"
                )
            found[name] = year
    return [found[name] for name in sorted(found)]


def years_in_zip(path: Path) -> dict[str, Year]:
    """Return the VAERS years inside one zip by their prefix, such as `2005`.

    Raises:
        InputError: the zip is damaged or holds no VAERS tables.
    """
    try:
        with file_errors(path), zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path}: a damaged zip; download it again") from error
    members = {name.rsplit("/", 1)[-1]: Table(path, name) for name in names}
    if not any(_DATA.fullmatch(name) for name in members):
        raise InputError(
            f"{path}: a zip without a …VAERSDATA.csv inside; "
            "unzip it (or save a workbook as CSV) and give the file"
        )
    return _pair(members, str(path))


def year_of_file(path: Path) -> Year:
    """Return the year of a lone DATA file, with the SYMPTOMS file beside it if there is one."""
    name = _DATA.fullmatch(path.name)
    if name is None:
        return Year(Table(path), None)
    beside = _symptoms({other.name: Table(other) for other in sorted(path.parent.iterdir())})
    return Year(Table(path), beside.get(name.group(1).lower()))


def _symptoms(tables: dict[str, Table]) -> dict[str, Table]:
    """The SYMPTOMS tables among `tables` by their prefix, such as `2005`."""
    found = ((_SYMPTOMS.fullmatch(name), table) for name, table in tables.items())
    return {match.group(1).lower(): table for match, table in found if match}


def _pair(tables: dict[str, Table], where: str) -> dict[str, Year]:
    """Put each DATA table together with its SYMPTOMS table."""
    symptoms = _symptoms(tables)
    years: dict[str, Year] = {}
    for name, table in tables.items():
        match = _DATA.fullmatch(name)
        if match is None:
            continue
        prefix = match.group(1).lower()
        if prefix not in symptoms:
            raise InputError(
                f"{where}: {match.group(1)}VAERSSYMPTOMS.csv is missing beside {name}; "
                "download the year again"
            )
        if prefix in years:
            raise InputError(f"{where}: {years[prefix].data} and {table} are the same year; keep one of them")
        years[prefix] = Year(table, symptoms[prefix])
    return years


def vaers_notes(years: list[Year], options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the reports of `years` with their coded symptoms, distinct and in the order of the file.

    Raises:
        InputError: a table lacks a column, is damaged or breaks the rules of quoting, or `options` name what
            these tables have fixed.
    """
    fixed = [option for option in options.given() if option != COLUMN_OPTIONS["text"]]
    if fixed:
        raise InputError(
            f"{years[0].data}: VAERS tables have fixed columns, dates and encoding; leave out {fixed[0]}"
        )
    for path, together in groupby(years, key=lambda year: year.data.path):
        for year in together:
            codes = _read_codes(year.symptoms, intake) if year.symptoms and intake.wants_codes else None
            yield from _reports(year.data, codes, options.text, intake)
        if path.suffix.lower() == ".zip":
            intake.meter.close(path.stat().st_size)


def _reports(
    table: Table, codes: dict[str, list[str]] | None, text_column: str | None, intake: Intake
) -> Iterator[Note | None]:
    """Yield the notes of one DATA table; without `codes`, none of them has any."""
    with _opened(table, intake) as (header, rows):
        id_at, time_at, sex_at, age_at = (_position(header, name, table) for name in _NEEDED)
        text_at = _position(header, (text_column or "SYMPTOM_TEXT").strip().upper(), table)
        for fields in rows:
            intake.row()
            report = fields[id_at].strip() if len(fields) == len(header) else ""
            if not report:
                intake.counts.drop(MALFORMED)
                yield None
                continue
            text = _repaired(fields[text_at])
            if not intake.admits(report, report, text, table.path):
                yield None
            else:
                yield Note(
                    note_id=report,
                    patient_id=report,
                    encounter_id=None,
                    time=_received(fields[time_at]),
                    category=None,
                    sex=sex_of(fields[sex_at]),
                    age=age_of(fields[age_at]),
                    text=text,
                    codes=None if codes is None else codes.get(report, []),
                )


def _read_codes(table: Table, intake: Intake) -> dict[str, list[str]]:
    """Return the distinct terms of every report that the sample can hold.

    Raises:
        InputError: a row has another number of fields than the header: codes are labels, and a report
            whose codes are lost would look like one without symptoms.
    """
    codes: dict[str, list[str]] = {}
    with _opened(table, intake) as (header, rows):
        id_at = _position(header, "VAERS_ID", table)
        terms_at = [_position(header, name, table) for name in _TERMS]
        for number, fields in enumerate(rows, start=1):
            if len(fields) != len(header):
                raise InputError(
                    f"{table}: row {number} has {len(fields)} fields, the header {len(header)}; "
                    "download it again"
                )
            report = fields[id_at].strip()
            if not keep_patient(report, intake.fraction):
                continue
            terms = codes.setdefault(report, [])
            for position in terms_at:
                term = _repaired(fields[position]).strip()
                if term and term not in terms:
                    terms.append(term)
    return codes


@contextmanager
def _opened(table: Table, intake: Intake) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """The header of a table, in capitals, and its rows."""
    with (
        open_text(table.path, intake.meter, "latin-1")
        if table.member is None
        else open_member(table.path, table.member, intake.meter, "latin-1") as stream,
        stream_errors(table.path, stream, intake.counts),
    ):
        rows = records(stream, ",", str(table))
        names = header_of(rows, str(table))
        yield [_repaired(name).lstrip("\ufeff").strip().upper() for name in names], rows


def _repaired(field: str) -> str:
    """Return a field that was decoded as Latin-1 as UTF-8 if its bytes are valid UTF-8.

    The tables are Latin-1 as distributed; copies converted to UTF-8 exist. Latin-1 prose that happens to
    be valid UTF-8 does not occur in practice.
    """
    if field.isascii():
        return field
    try:
        return field.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return field


def _position(header: list[str], name: str, table: Table) -> int:
    if name not in header:
        raise InputError(f"{table}: no column {name!r}{nearest(name, header)}; is this a VAERS table?")
    return header.index(name)


def _received(value: str) -> datetime | None:
    """Return a mm/dd/yyyy date, or None if it is not one."""
    try:
        month, day, year = (int(part) for part in value.split("/"))
        return datetime(year, month, day)
    except ValueError:
        return None
