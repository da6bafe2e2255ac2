"""Reading JSON lines, Parquet and folders of text files."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import polars as pl

from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOTE_LIMIT, Intake, Note
from sympress.notes.layout import EVIDENCE_ROWS, Rows
from sympress.notes.streams import file_errors, first_lines, open_text, stream_errors
from sympress.notes.tables.encoding import decode_file, encoding_by_mark, read_as_cp1252, unmarked_utf16
from sympress.notes.tables.objects import ObjectRows
from sympress.notes.tables.options import TableOptions

_SLICE_ROWS = 10_000
_EPOCH = date(1970, 1, 1)


def jsonl_notes(path: Path, options: TableOptions, intake: Intake) -> Iterator[Note]:
    """Yield the notes of a file (possibly gzip) with one JSON object a line; blank lines are no rows.

    The first object decides which column is the text; the objects may differ in all other ways. Lines that
    are no object are dropped and counted as malformed.

    Raises:
        InputError: the text column is missing, or the file is truncated, damaged or not UTF-8.
    """
    rows = ObjectRows(options, intake, path, lambda: first_lines(path, options.encoding))
    with (
        open_text(path, intake.meter, options.encoding) as stream,
        stream_errors(path, stream, intake.counts),
    ):
        while line := stream.readline(NOTE_LIMIT):
            if line.isspace():
                continue
            intake.row()
            if len(line) == NOTE_LIMIT:
                raise InputError(
                    f"{path}: row {intake.counts.rows} is longer than {NOTE_LIMIT:,} characters; "
                    "write one JSON object a line"
                )
            fields = _object(line)
            if fields is None:
                intake.counts.drop(MALFORMED)
            elif (note := rows.note(fields)) is not None:
                yield note


def _object(line: str) -> dict[str, object] | None:
    """Return the JSON object of `line`, or None; half a surrogate pair is no text, so no object either."""
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parquet_notes(
    path: Path, options: TableOptions, intake: Intake, *, slice_rows: int = _SLICE_ROWS
) -> Iterator[Note]:
    """Yield the notes of a Parquet file, read in slices of only the columns that are needed.

    Raises:
        InputError: a column is missing or the text is none, or the file is damaged.
    """
    try:
        table = pl.scan_parquet(path)
        schema = table.collect_schema()
        total = int(table.select(pl.len()).collect().item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path} is damaged: not a readable Parquet file; copy it again") from error
    named = dataclasses.replace(options, header=True)
    reading = Rows(named, intake, path, lambda name: table.select(name).head(EVIDENCE_ROWS).collect()[name])
    names = list(schema)
    layout = reading.columns(names)
    text = names[layout.text]
    if schema[text] not in (pl.String, pl.Categorical, pl.Enum):
        raise InputError(
            f"{path}: column {text!r} holds {schema[text]}, not text; choose another --text-column"
        )
    needed = [name for at, name in enumerate(names) if at in layout.positions]
    reading.columns(needed)
    size = path.stat().st_size
    for start in range(0, total, slice_rows):
        try:
            rows = (
                table.select(needed)
                .with_columns(pl.col(text).cast(pl.String))
                .slice(start, slice_rows)
                .collect()
            )
        except (pl.exceptions.PolarsError, OSError) as error:
            raise InputError(
                f"{path} is damaged: cannot be read beyond row {start}; copy it again"
            ) from error
        for values in _in_calendar(rows).iter_rows():
            intake.row()
            if (note := reading.note(values)) is not None:
                yield note
        # Columns of a slice lie all over the file: its share of the rows stands for its bytes.
        intake.meter.close(size * min(start + slice_rows, total) // total - size * start // total)


def _in_calendar(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, with what lies beyond Python's calendar as text that is no date: one of these stops Polars."""
    for column in rows.iter_columns():
        kind = column.dtype
        if not isinstance(kind, (pl.Date, pl.Datetime, pl.Duration)):
            continue
        numbers = column.to_physical().cast(pl.Int64)
        first, last = _bounds(kind)
        beyond = (numbers < first) | (numbers > last)
        if beyond.any():
            inside = column.set(beyond, None).to_list()
            mixed = [
                f"beyond the calendar: {number}" if out else value
                for value, number, out in zip(inside, numbers, beyond, strict=True)
            ]
            rows = rows.with_columns(pl.Series(column.name, mixed, dtype=pl.Object))
    return rows


def _bounds(kind: pl.Date | pl.Datetime | pl.Duration) -> tuple[int, int]:
    """The first and the last number of a time that Python can hold, in the unit of its column."""
    if isinstance(kind, pl.Date):
        return (date.min - _EPOCH).days, (date.max - _EPOCH).days
    a_day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[kind.time_unit]
    if isinstance(kind, pl.Duration):
        return max(timedelta.min.days * a_day, -(2**63)), min(timedelta.max.days * a_day, 2**63 - 1)
    edge = 0 if kind.time_zone in (None, "UTC") else 1  # a zone moves a time by less than a day
    first, last = (date.min - _EPOCH).days + edge, (date.max - _EPOCH).days - edge
    return max(first * a_day, -(2**63)), min((last + 1) * a_day, 2**63) - 1


def folder_notes(
    folder: Path, files: tuple[Path, ...], options: TableOptions, intake: Intake
) -> Iterator[Note]:
    """Yield one note a text file; its id is the path within `folder` without the suffix.

    Raises:
        InputError: a file cannot be read, is not UTF-8, or is too large for one note.
    """
    for path in files:
        intake.row()
        note_id = path.relative_to(folder).with_suffix("").as_posix()
        text = _text_of(path, options.encoding, intake)
        intake.meter.close(path.stat().st_size)
        if intake.admits(note_id, None, text, path):
            yield Note(note_id, None, None, None, None, None, None, text, None)


def _text_of(path: Path, encoding: str | None, intake: Intake) -> str:
    with file_errors(path):
        size = path.stat().st_size
        raw = (path.read_bytes() if size else b"") if size <= NOTE_LIMIT else None
    if raw is None:
        raise InputError(f"{path}: above {NOTE_LIMIT:,} bytes, too large for one note; split it into notes")
    if encoding is None and (found := unmarked_utf16(raw)) is not None:
        raise InputError(f"{path}: UTF-16 without its mark; add --encoding {found}, or convert the file")
    if b"\0" in raw and encoding is None and encoding_by_mark(raw) is None:
        raise InputError(f"{path}: a binary file, not a note; move it out of the folder")
    try:
        text, guessed = decode_file(raw, encoding)
        if guessed:
            intake.counts.remark(read_as_cp1252(path.parent))
        return text
    except UnicodeDecodeError as error:
        offset = len(raw) - len(error.object) + error.start  # the codec may have cut off a byte order mark
    # Outside the handler: a UnicodeDecodeError carries the bytes of the note.
    raise InputError(
        f"{path}: byte {offset} is not {encoding or 'UTF-8'}; name the encoding with --encoding, or convert "
        "the file, for example  iconv -f MACINTOSH -t UTF-8"
    )
