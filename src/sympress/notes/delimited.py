"""Reading CSV and TSV, one record at a time: NOTEEVENTS, MTSamples and any table with a column of text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOTE_LIMIT, Intake, Note
from sympress.notes.layout import layout_of, note_of
from sympress.notes.streams import open_text, stream_errors

_DELIMITERS = ",\t;|"


def delimited_notes(
    path: Path, text_column: str | None, delimiter: str, intake: Intake, *, errors: str = "strict"
) -> Iterator[Note]:
    """Yield the notes of a CSV or TSV file (possibly gzip) in constant memory.

    `errors` is what becomes of bytes that are not UTF-8, as `bytes.decode` takes it.

    Rows with another number of fields than the header are dropped and counted; blank lines are no rows.

    Raises:
        InputError: the text column is missing, or the file is truncated, damaged, not UTF-8 or has a
            quote that is not closed.
    """
    with open_text(path, intake.meter) as stream, stream_errors(path, stream, intake.counts):
        stream.reconfigure(errors=errors)
        rows = records(stream, delimiter, path)
        layout = layout_of(header_of(rows, path), text_column, path)
        for fields in rows:
            intake.row()
            if len(fields) != layout.width:
                intake.counts.drop(MALFORMED)
            elif (note := note_of(fields, layout, intake, path)) is not None:
                yield note


def records(stream: TextIOWrapper, delimiter: str, path: Path | str) -> Iterator[list[str]]:
    """Yield the fields of each record of `stream`, skipping blank lines.

    Quoting is RFC 4180, strictly. A record whose quotes do not add up may have swallowed those after it,
    and where the next one starts is a guess, so it stops the reading: two notes must never become one.

    Raises:
        InputError: with the line at which the faulty record starts.
    """
    csv.field_size_limit(max(csv.field_size_limit(), NOTE_LIMIT))
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"{path}: {_quoting_problem(str(error), start, reader.line_num)}") from error


def _quoting_problem(message: str, start: int, line: int) -> str:
    """Say what the csv module met (its messages never quote the file)."""
    if "unexpected end of data" in message:
        return (
            f"the record that starts at line {start} has a quoted field that is never closed; close its quote"
        )
    if "field larger" in message:
        return (
            f"the record that starts at line {start} has a field above {NOTE_LIMIT:,} characters, "
            "most likely a quote that is never closed; close it"
        )
    return (
        f"the record that starts at line {start} breaks the rules of quoting at line {line}; "
        "write quotes inside a quoted field twice"
    )


def header_of(rows: Iterator[list[str]], path: Path | str) -> list[str]:
    """Take the header off `rows`.

    Raises:
        InputError: there is none.
    """
    header = next(rows, None)
    if header is None:
        raise InputError(f"{path}: holds blank lines only; give a table with a header and one row a note")
    return header


def delimiter_of(head: str) -> str:
    """Return the delimiter that cuts the first line of `head` into the most fields, else the comma."""
    first = next((line for line in head.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda delimiter: (_width(first, delimiter), delimiter == ","))


def _width(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter), []))
