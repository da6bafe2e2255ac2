"""Reading CSV and TSV, one record at a time: NOTEEVENTS, MTSamples and any table with a column of text."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterator
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOTE_LIMIT, Intake, Meter, Note
from sympress.notes.layout import EVIDENCE_ROWS, Rows
from sympress.notes.streams import open_text, stream_errors
from sympress.notes.tables.options import TableOptions

_DELIMITERS = ",\t;|"
#: With which DOS ends a file.
_END_OF_FILE = "\x1a"
#: The line with which Excel names the delimiter, before the header.
_NAMES_DELIMITER = re.compile(r"\"?sep=(.?)\"?(?:\r?\n|\r|$)", re.IGNORECASE)


def delimited_notes(
    path: Path, options: TableOptions, delimiter: str, intake: Intake, *, errors: str = "strict"
) -> Iterator[Note]:
    """Yield the notes of a CSV or TSV file (possibly gzip) in constant memory.

    `errors` is what becomes of bytes that are not in the encoding, as `bytes.decode` takes it.

    Rows with another number of fields than the header are dropped and counted; blank lines are no rows.

    Raises:
        InputError: a column is missing, or the file is truncated, damaged, not in its encoding or has a
            quote that is not closed.
    """
    say = intake.counts.remark
    rows = Rows(options, intake, path, partial(_values, path, delimiter, options))
    with (
        open_text(path, intake.meter, options.encoding, guess=True, say=say) as stream,
        stream_errors(path, stream, intake.counts),
    ):
        stream.reconfigure(errors=errors)
        lines = records(stream, delimiter, path)
        layout = rows.columns(header_of(lines, path))
        for fields in lines:
            intake.row()
            if len(fields) != layout.width:
                intake.counts.drop(MALFORMED)
            elif (note := rows.note(fields)) is not None:
                yield note


def _values(path: Path, delimiter: str, options: TableOptions, name: str) -> Iterator[str]:
    """The values of the column `name` in the first rows of a file."""
    with open_text(path, Meter(None, None), options.encoding) as stream:
        stream.reconfigure(errors="replace")
        lines = records(stream, delimiter, path)
        try:
            header = header_of(lines, path)
            at = header.index(name)
            yield from (fields[at] for fields in islice(lines, EVIDENCE_ROWS) if len(fields) == len(header))
        except (InputError, OSError, EOFError, zlib.error):
            return  # the reader meets the same damage and says where


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
            if fields and fields != [_END_OF_FILE]:
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
    if header and _NAMES_DELIMITER.fullmatch(header[0]) and not any(header[1:]):
        header = next(rows, None)  # a line of Excel, see `delimiter_of`
    if header is None:
        raise InputError(f"{path}: holds blank lines only; give a table with a header and one row a note")
    return header


def delimiter_of(head: str) -> str:
    """Return the delimiter that cuts the first line of `head` into the most fields, else the comma.

    A first line `sep=;`, which Excel understands, names it.
    """
    named = _NAMES_DELIMITER.match(head)
    if named is not None and named[1]:
        return named[1]
    first = next((line for line in head.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda delimiter: (_width(first, delimiter), delimiter == ","))


def _width(line: str, delimiter: str) -> int:
    return len(next(csv.reader([line], delimiter=delimiter), []))
