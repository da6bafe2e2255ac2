"""Reading CSV and TSV, one record at a time: NOTEEVENTS, MTSamples and any table with a column of text."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.formats import Found, Source
from sympress.notes.intake import MALFORMED, NOT_UTF8, NOTE_LIMIT, TOO_LONG, Intake, Meter, Note
from sympress.notes.layout import EVIDENCE_ROWS, Rows, TableOptions
from sympress.notes.streams import ESCAPED_BYTE, open_text, some_not_utf8, stream_errors

#: Longest record in characters, and most fields: what is longer is no row but a quote that is never closed,
#: or a file that would fill the memory. A note between `NOTE_LIMIT` and this is left out, not the file.
RECORD_LIMIT = 2 * NOTE_LIMIT
FIELDS_MOST = 1_000_000
#: Most columns of a header.
COLUMNS_MOST = 10_000

_SKIPPED_AT_ONCE = 2**20
_DELIMITERS = ",\t;|"
#: With which DOS ends a file.
_END_OF_FILE = "\x1a"
#: The line with which Excel names the delimiter, before the header.
_NAMES_DELIMITER = re.compile(r"\"?sep=(.?)\"?(?:\r?\n|\r|$)", re.IGNORECASE)


def recognise(found: Found) -> Source | None:
    """Any text, as a table."""
    if found.text is None:
        return None
    return found.source("delimited", partial(delimited_notes, found.path, delimiter_of(found.text)))


def delimited_notes(
    path: Path, delimiter: str, options: TableOptions, intake: Intake
) -> Iterator[Note | None]:
    """Yield the notes of a CSV or TSV file (possibly gzip) in constant memory.

    Rows with another number of fields than the header are dropped and counted, and so are those above
    `RECORD_LIMIT`; blank lines are no rows.

    Raises:
        InputError: a column is missing, or the file is truncated, damaged or has a quote that is not closed;
            of a strict intake, also where it is not in its encoding.
    """
    say = intake.counts.remark

    def skip(before: list[str]) -> None:
        intake.row()
        intake.counts.drop(TOO_LONG, rows.id_of(before))

    rows = Rows(options, intake, path, partial(_values, path, delimiter, options))
    with (
        open_text(path, intake.meter, options.encoding, guess=True, say=say) as stream,
        stream_errors(path, stream, intake.counts),
    ):
        stream.reconfigure(errors="strict" if intake.strict else "surrogateescape")
        lines = records(stream, delimiter, path, skip)
        layout = rows.columns(header_of(lines, path))
        for fields in lines:
            intake.row()
            if len(fields) != layout.width:
                intake.counts.drop(MALFORMED)
                yield None
            else:
                yield _in_encoding(rows.note(fields), path, intake)


def _in_encoding(note: Note | None, path: Path, intake: Intake) -> Note | None:
    """The note, or None with the reason counted if it holds bytes that are not in the encoding."""
    if note is None or note.text.isascii() or not ESCAPED_BYTE.search(note.text):
        return note
    intake.counts.remark(some_not_utf8(path))
    intake.counts.kept -= 1
    intake.counts.drop(NOT_UTF8, note.note_id)
    return None


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


def records(
    stream: TextIOWrapper,
    delimiter: str,
    path: Path | str,
    skip: Callable[[list[str]], None] | None = None,
) -> Iterator[list[str]]:
    """Yield the fields of each record of `stream`, skipping blank lines; none is read beyond its limits.

    Quoting is RFC 4180, strictly. A record whose quotes do not add up may have swallowed those after it,
    and where the next one starts is a guess, so it stops the reading: two notes must never become one.

    Args:
        stream: opened with its line ends as they are.
        delimiter: between fields.
        path: for messages.
        skip: told the whole fields at the start of a row above the limits that has no quote, and so ends
            with its line; None to refuse such a row too, as a header always is.

    Raises:
        InputError: with the line at which the faulty record starts.
    """
    csv.field_size_limit(max(csv.field_size_limit(), RECORD_LIMIT))
    lines = _Lines(stream, delimiter)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start, seen = 1, False
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}: {_quoting_problem(str(error), start, lines.read)}") from error
        except _AboveLimitError:
            if skip is None or not seen or not lines.skip():
                raise InputError(
                    f"{path}: the record that starts at line {start} is longer than {RECORD_LIMIT:,} "
                    f"characters or has more than {FIELDS_MOST:,} fields, most likely a quote that is never "
                    "closed; close it"
                ) from None
            skip(lines.line.split(delimiter)[:-1])
            fields = []
        if fields is None:
            return
        if fields and fields != [_END_OF_FILE]:
            seen = True
            yield fields
        start = lines.begin()


class _AboveLimitError(Exception):
    """A record is above the limits."""


class _Lines:
    """The lines of a stream, none of them read beyond what is left of its record.

    Attributes:
        line: the last one, or its beginning.
        read: how many there were.
    """

    def __init__(self, stream: TextIOWrapper, delimiter: str) -> None:
        self._readline, self._delimiter = stream.readline, delimiter
        self.line, self.read = "", 0
        self._characters = self._fields = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._readline(RECORD_LIMIT + 1 - self._characters)
        if not line:
            raise StopIteration
        self.line = line
        self.read += 1
        self._characters += len(line)
        self._fields += line.count(self._delimiter)
        if self._characters > RECORD_LIMIT or self._fields > FIELDS_MOST:
            raise _AboveLimitError
        return line

    def begin(self) -> int:
        """Begin a record; the number of its first line."""
        self._characters = self._fields = 0
        return self.read + 1

    def skip(self) -> bool:
        """Read to the end of a line above the limits; False if it may not be all of its record."""
        part = self.line
        alone = len(part) == self._characters
        while part and '"' not in part and alone:
            if part.endswith(("\n", "\r")):
                return True
            part = self._readline(_SKIPPED_AT_ONCE)
        return alone and not part


def _quoting_problem(message: str, start: int, line: int) -> str:
    """Say what the csv module met (its messages never quote the file)."""
    if "unexpected end of data" in message:
        return (
            f"the record that starts at line {start} has a quoted field that is never closed; close its quote"
        )
    return (
        f"the record that starts at line {start} breaks the rules of quoting at line {line}; "
        "write quotes inside a quoted field twice"
    )


def header_of(rows: Iterator[list[str]], path: Path | str) -> list[str]:
    """Take the header off `rows`.

    Raises:
        InputError: there is none, or it has more than `COLUMNS_MOST` columns.
    """
    header = next(rows, None)
    if header and _NAMES_DELIMITER.fullmatch(header[0]) and not any(header[1:]):
        header = next(rows, None)  # a line of Excel, see `delimiter_of`
    if header is None:
        raise InputError(f"{path}: holds blank lines only; give a table with a header and one row a note")
    if len(header) > COLUMNS_MOST:
        raise InputError(f"{path}: its header has more than {COLUMNS_MOST:,} columns; leave out some")
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
