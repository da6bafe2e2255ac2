"""Reading Parquet within a limit of memory: declared sizes first, then rows in small portions."""

from __future__ import annotations

import dataclasses
import mmap
import os
import struct
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sympress.errors import InputError
from sympress.notes.formats import Found, Source
from sympress.notes.formats.delimited import COLUMNS_MOST
from sympress.notes.intake import MALFORMED, NOTE_BYTES, TOO_LONG, Intake, Note
from sympress.notes.layout import EVIDENCE_ROWS, Rows, TableOptions
from sympress.notes.streams import Unchanged, text_or_bytes

if TYPE_CHECKING:
    import polars as pl
    from polars.datatypes import DataTypeClass


# The sizes that a Parquet file declares, checked before polars takes memory for them.
#
# Polars ends the process where a size is absurd.
#
# Source: Apache Parquet format 2.11 (`parquet.thrift`) and the compact protocol of Apache Thrift. A
# structure is read as a dictionary by the numbers of its fields.


#: Largest page that is unpacked. Writers aim at 1 MB; of notes that are all as long as the longest of
#: MIMIC-III pyarrow makes 56 MB.
PAGE_BYTES = 256 * 2**20
#: Largest footer.
FOOTER_BYTES = 16 * 2**20

_MAGIC = b"PAR1"
_DEEPEST = 16
_STRUCT, _LIST, _SET = 12, 9, 10
#: Converted types, the logical type of text, and how one begins that is BSON: field 13, a structure.
_UTF8, _BSON, _STRING, _BSON_HEADER = 0, 20, 1, 13 << 4 | _STRUCT


def check_sizes(path: Path, columns: Collection[str] = ()) -> None:
    """Check what the footer of `path` says of its columns, and of `columns` every page.

    Raises:
        InputError: a size or place is not within the file, counts do not agree, or a page or the footer is
            larger than the limits.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            _check(path, raw, columns)
    except _DAMAGE:
        raise InputError(f"{path} is damaged: not a readable Parquet file; copy it again") from None


class _DamagedError(Exception):
    """What the file says of itself cannot be."""


#: What reading a footer raises that is none.
_DAMAGE = (
    _DamagedError,
    ValueError,
    OSError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    struct.error,
)


def _check(path: Path, raw: mmap.mmap, columns: Collection[str]) -> None:
    end = len(raw) - 8
    size = int.from_bytes(raw[end : end + 4], "little")
    _require(end > 0 and raw[end + 4 :] == _MAGIC and raw[:4] == _MAGIC and size <= end - 4)
    if size > FOOTER_BYTES:
        raise InputError(f"{path}: a footer of more than {FOOTER_BYTES:,} bytes; write fewer row groups")
    footer, _ = _Compact(raw[end - size : end]).fields(0)
    groups = footer.get(4, [])
    _require(sum(_count(group[3]) for group in groups) == _count(footer[3]))
    for group in groups:
        for chunk in group[1]:
            described = chunk[3]
            start = min(_count(described[at]) for at in (9, 11) if at in described)
            stop = start + _count(described[7])
            _require(4 <= start <= stop <= end - size and _count(described[5]) >= 0)
            if bytes(described[3][0]).decode() in columns:
                _check_pages(path, raw, start, stop, described[5])


def _check_pages(path: Path, raw: mmap.mmap, start: int, stop: int, values: int) -> None:
    reader = _Compact(raw)
    while start < stop:
        page, start = reader.fields(start)
        size = _count(page[2])
        if size > PAGE_BYTES:
            raise InputError(
                f"{path}: a page unpacks to {size:,} bytes, more than {PAGE_BYTES:,}; write smaller pages"
            )
        _require(7 not in page or _count(page[7][1]) <= size)
        values -= sum(_count(page[header][1]) for header in (5, 8) if header in page)
        start += _count(page[3])
    _require(start == stop and values == 0)


def _with_bytes_for_text(path: Path) -> mmap.mmap:
    """The Parquet file as it would be if its columns of text were columns of bytes, which are not checked.

    Three bytes of the footer say so, in memory that only this process sees: the converted type UTF8 and the
    logical type STRING become BSON, and the key of Arrow's own schema is spoilt.
    """
    with path.open("rb") as file:
        raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    end = len(raw) - 8
    start = end - int.from_bytes(raw[end : end + 4], "little")
    footer, _ = _Compact(raw[start:end]).fields(0)
    for element in footer[2]:
        if element.get(6) == _UTF8:
            raw[start + element.at[6]] = _BSON << 1  # as a zigzag
        if _STRING in element.get(10, {}):
            raw[start + element.at[10]] = _BSON_HEADER
    for pair in footer.get(5, []):
        if pair[1] == b"ARROW:schema":
            raw[start + pair.at[1] + 1] = ord("-")
    return raw


def _require(agrees: bool) -> None:
    if not agrees:
        raise _DamagedError


def _count(value: int) -> int:
    _require(0 <= value < 2**62)
    return value


class _Fields(dict[int, Any]):
    """A structure by the numbers of its fields; `at` is where the value of each begins."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, int] = {}


class _Compact:
    """Reads Thrift's compact protocol."""

    def __init__(self, raw: bytes | mmap.mmap) -> None:
        self._raw = raw

    def fields(self, at: int, depth: int = 0) -> tuple[_Fields, int]:
        """The structure at `at`, and where it ends."""
        found = _Fields()
        field = 0
        _require(depth < _DEEPEST)
        while header := self._raw[at]:
            at += 1
            field += header >> 4
            if not header >> 4:
                field, at = self._zigzag(at)
            kind = header & 15
            found.at[field] = at
            found[field], at = (kind == 1, at) if kind in {1, 2} else self._value(kind, at, depth)
        return found, at + 1

    def _value(self, kind: int, at: int, depth: int) -> tuple[Any, int]:
        if kind in {1, 2, 3}:
            return self._raw[at], at + 1
        if kind in {4, 5, 6}:
            return self._zigzag(at)
        if kind == 7:
            return None, at + 8
        if kind == 8:
            size, at = self._varint(at)
            _require(at + size <= len(self._raw))
            return self._raw[at : at + size], at + size
        if kind in {_LIST, _SET}:
            return self._values(at, depth)
        if kind == _STRUCT:
            return self.fields(at, depth + 1)
        raise _DamagedError

    def _values(self, at: int, depth: int) -> tuple[list[Any], int]:
        size, kind = self._raw[at] >> 4, self._raw[at] & 15
        at += 1
        if size == 15:
            size, at = self._varint(at)
        _require(size <= len(self._raw) - at and depth < _DEEPEST)
        found = []
        for _ in range(size):
            value, at = self._value(kind, at, depth + 1)
            found.append(value)
        return found, at

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._raw[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                return value, at
            _require(shift < 70)

    def _zigzag(self, at: int) -> tuple[int, int]:
        value, at = self._varint(at)
        return value >> 1 ^ -(value & 1), at


# Reading Parquet: rows in small portions, whose size in memory is known before they are made.


#: Rows of the first slice; the bytes that it has tell how large the next can be.
_FIRST_ROWS = 100
#: Bytes of text that a slice aims at, and most bytes of values that are Python's at the same time. A
#: dictionary can hold one long text for many rows, which are small until then.
_SLICE_BYTES = 32 * 2**20
#: Most bytes of all columns of a row but the text.
_OTHER_BYTES = 2**20
_EPOCH = date(1970, 1, 1)
_ERROR_OUTPUT = 2


def recognise(found: Found) -> Source | None:
    """The file as Parquet, by its first bytes."""
    if not found.head.startswith(b"PAR1"):
        return None
    return found.source("parquet", partial(parquet_notes, found.path))


def parquet_notes(path: Path, options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the notes of a Parquet file, read in slices of only the columns that are needed.

    Rows with a text that is too long, or with other values of more than a megabyte, are dropped and counted.

    Raises:
        InputError: a column is missing or the text is none, or the file is damaged.
    """
    import polars as pl  # late, here and below: it takes a quarter of a second

    unchanged = Unchanged(path)
    check_sizes(path)
    with _damage_told(f"{path} is damaged: not a readable Parquet file; copy it again"):
        table = pl.scan_parquet(path, glob=False)  # a name may hold * or [
        schema = table.collect_schema()
        total = int(table.select(pl.len()).collect().item())
    if len(schema) > COLUMNS_MOST:
        raise InputError(f"{path}: more than {COLUMNS_MOST:,} columns; leave out some")

    def evidence(name: str) -> pl.Series:
        with _damage_told(f"{path} is damaged: cannot be read; copy it again"):
            return table.select(name).head(EVIDENCE_ROWS).collect()[name]

    named = dataclasses.replace(options, header=True)
    reading = Rows(named, intake, path, evidence)
    names = list(schema)
    layout = reading.columns(names)
    text = names[layout.text]
    if schema[text] not in (pl.String, pl.Categorical, pl.Enum):
        raise InputError(
            f"{path}: column {text!r} holds {schema[text]}, not text; choose another --text-column"
        )
    needed = [name for at, name in enumerate(names) if at in layout.positions]
    reading.columns(needed)
    check_sizes(path, needed)
    size, start, count = path.stat().st_size, 0, min(_FIRST_ROWS, intake.slice_rows)
    while start < total:
        with unchanged.checked():
            measured = _slice(table.select(needed), text, start, count, path=path, intake=intake)
        yield from _notes(measured, reading, intake)
        end = min(start + count, total)
        # Columns of a slice lie all over the file: its share of the rows stands for its bytes.
        intake.meter.close(size * end // total - size * start // total)
        bytes_a_row = max(1, int(measured.bytes.sum()) // max(1, measured.rows.height))
        start, count = end, max(1, min(intake.slice_rows, 4 * count, _SLICE_BYTES // bytes_a_row))


def _slice(
    table: pl.LazyFrame, text: str, start: int, count: int, *, path: Path, intake: Intake
) -> _Measured:
    """The rows from `start` on; where some of their text is no UTF-8, that is bytes, or refused if strict."""
    import polars as pl

    try:
        with _damage_told(f"{path} is damaged: cannot be read beyond row {start}; copy it again"):
            rows = table.with_columns(pl.col(text).cast(pl.String)).slice(start, count).collect()
            return _measured(rows, text)
    except InputError as damage:
        schema = table.collect_schema()
        texts = [name for name, kind in schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
        try:
            raw = _with_bytes_for_text(path)  # kept until all that may point into it is copied
        except _DAMAGE:
            raise damage from None
        with _damage_told(str(damage)):
            bare = pl.scan_parquet(cast("bytes", raw)).select(texts).slice(start, count).collect()
            # What is no text, by its own type: Arrow's schema knows the zone of a time.
            rest = table.select(pl.exclude(texts)).slice(start, count).collect()
            measured = _measured(pl.concat([rest, bare], how="horizontal").select(schema.names()), text)
        if intake.strict:
            raise InputError(
                f"{path}: text that is not UTF-8 within {measured.rows.height:,} rows after row {start}; "
                "write the file again with text in UTF-8"
            ) from damage
        intake.counts.remark(
            f"{path}: some text is not UTF-8 and refused; write the file again with text in UTF-8"
        )
        rows = measured.rows
        decoded = [
            pl.Series(name, [text_or_bytes(value, keep=name == text) for value in rows[name]], pl.Object)
            for name in texts
        ]
        return dataclasses.replace(measured, rows=rows.with_columns(decoded))


@contextmanager
def _damage_told(message: str) -> Iterator[None]:
    """Turn what polars raises into `message`.

    Rust writes why it panics to the error output, past Python, and may quote the file: what is written there
    meanwhile is shown only if there is no damage.
    """
    import polars as pl

    damage = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)  # it panics on some files
    caught = False
    with os.fdopen(os.dup(_ERROR_OUTPUT), "wb") as output, tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), _ERROR_OUTPUT)
        try:
            yield
        except damage as error:
            caught = True
            raise InputError(message) from error
        finally:
            os.dup2(output.fileno(), _ERROR_OUTPUT)
            if not caught:
                held.seek(0)
                output.write(held.read())


@dataclasses.dataclass(frozen=True)
class _Measured:
    """Rows, what is too large in them left out, with the bytes of each and why it becomes no note."""

    rows: pl.DataFrame
    bytes: pl.Series
    fault: pl.Series


def _measured(rows: pl.DataFrame, text: str) -> _Measured:
    import polars as pl

    sizes = {name: _bytes_of(pl.col(name), kind).fill_null(0) for name, kind in rows.schema.items()}
    others = [size for name, size in sizes.items() if name != text]
    long = sizes[text] > NOTE_BYTES
    wide = (pl.sum_horizontal(others) if others else pl.lit(0)) > _OTHER_BYTES
    fault = pl.when(wide).then(pl.lit(MALFORMED)).when(long).then(pl.lit(TOO_LONG))
    found = rows.select(bytes=pl.sum_horizontal(*sizes.values()), fault=fault)
    if found["fault"].null_count() < found.height:
        kept = [pl.when(~(long | wide) if name == text else ~wide).then(name).alias(name) for name in sizes]
        rows = rows.select(kept)
        found = found.with_columns(pl.when(pl.col("fault").is_null()).then("bytes").otherwise(_OTHER_BYTES))
    return _Measured(rows, found["bytes"], found["fault"])


def _bytes_of(column: pl.Expr, kind: pl.DataType | DataTypeClass) -> pl.Expr:
    """About how many bytes each value of `column` takes, without making any."""
    import polars as pl

    if isinstance(kind, (pl.Categorical, pl.Enum)):
        return column.cast(pl.String).str.len_bytes().cast(pl.Int64)
    if kind == pl.String:
        return column.str.len_bytes().cast(pl.Int64)
    if kind == pl.Binary:
        return column.bin.size().cast(pl.Int64)
    if isinstance(kind, pl.Array):
        column, kind = column.arr.to_list(), pl.List(kind.inner)
    if isinstance(kind, pl.List):
        inside = _bytes_of(pl.element(), kind.inner).fill_null(0) + 8
        return column.list.eval(inside).list.sum().cast(pl.Int64)
    if isinstance(kind, pl.Struct):
        fields = (_bytes_of(column.struct.field(one.name), one.dtype).fill_null(0) for one in kind.fields)
        return pl.sum_horizontal(pl.lit(0, pl.Int64), *fields)
    return pl.lit(8, pl.Int64)


def _notes(measured: _Measured, reading: Rows, intake: Intake) -> Iterator[Note | None]:
    rows = _in_calendar(measured.rows)
    at_once = max(1, min(512, _SLICE_BYTES // max(1, *measured.bytes)))
    for values, fault in zip(rows.iter_rows(buffer_size=at_once), measured.fault, strict=True):
        intake.row()
        if fault is not None:
            intake.counts.drop(fault, reading.id_of(values))
            yield None
        else:
            yield reading.note(values)


def _in_calendar(rows: pl.DataFrame) -> pl.DataFrame:
    """`rows`, with what lies beyond Python's calendar as text that is no date: one of these stops Polars."""
    import polars as pl

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
    import polars as pl

    if isinstance(kind, pl.Date):
        return (date.min - _EPOCH).days, (date.max - _EPOCH).days
    a_day = 86_400 * {"ms": 10**3, "us": 10**6, "ns": 10**9}[kind.time_unit]
    if isinstance(kind, pl.Duration):
        return max(timedelta.min.days * a_day, -(2**63)), min(timedelta.max.days * a_day, 2**63 - 1)
    edge = 0 if kind.time_zone in (None, "UTC") else 1  # a zone moves a time by less than a day
    first, last = (date.min - _EPOCH).days + edge, (date.max - _EPOCH).days - edge
    return max(first * a_day, -(2**63)), min((last + 1) * a_day, 2**63) - 1
