"""Every place that notes come from, as one stream of items in a fixed order."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from sympress.deploy.extract.items import EveryNote, Failure, Item, ItemCounts
from sympress.deploy.extract.lines import json_items, line_items, standard_input, whole_item
from sympress.errors import InputError
from sympress.notes.delimited import delimited_notes
from sympress.notes.intake import NOT_UTF8, NOTE_LIMIT, Note, Progress
from sympress.notes.layout import encodable_id, row_name
from sympress.notes.sources import Source, recognise
from sympress.notes.streams import bytes_of_note, first_lines, open_text, stream_errors
from sympress.notes.tables.encoding import (
    ESCAPED_BYTE,
    decode_file,
    read_as_cp1252,
    some_not_utf8,
    unmarked_utf16,
)
from sympress.notes.tables.options import RECOGNISED, TableOptions
from sympress.notes.vaers import vaers_notes

STANDARD_INPUT = "-"
_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz")


@dataclass(frozen=True)
class Query:
    """Notes that a database selects: `sql` at the SQLAlchemy `url`."""

    sql: str
    url: str = field(repr=False)  # it may hold a password


@dataclass(frozen=True)
class Notes:
    """Where the notes of a job come from.

    Attributes:
        sources: recognised files and folders, in the order in which they are read.
        query: a database instead of files.
        stdin: standard input instead of files.
        whole: standard input is one note, not one a line.
        table: what the user says of tables: columns, the form of dates, the encoding.
    """

    sources: tuple[Source, ...] = ()
    query: Query | None = None
    stdin: bool = False
    whole: bool = False
    table: TableOptions = RECOGNISED

    @property
    def size_bytes(self) -> int | None:
        """Bytes of all files as stored; None where that is unknown."""
        return sum(source.size_bytes for source in self.sources) if self.sources else None

    def names(self) -> list[str]:
        """What is read, without secrets, to tell this job from another."""
        if self.query:
            return [self.query.sql, _without_secrets(self.query.url)]
        return [STANDARD_INPUT] if self.stdin else [str(source.root) for source in self.sources]


def _without_secrets(url: str) -> str:
    """A URL without user, password and arguments, any of which may be secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def find_notes(
    given: Sequence[str],
    *,
    sql: str | None = None,
    url: str | None = None,
    table: TableOptions = RECOGNISED,
    whole: bool = False,
) -> Notes:
    """Return what `given` names: files, folders, globs, or `-`; or the query `sql` at `url`.

    Raises:
        InputError: nothing is there, it cannot be read as notes, or two kinds of source are mixed.
    """
    if sql or url:
        if not (sql and url) or given:
            raise InputError(
                "--sql and --url (or --url-file, or SYMPRESS_URL) belong together, and replace NOTES; "
                "give both and no NOTES"
            )
        return Notes(query=Query(sql, url), table=table)
    if not given:
        raise InputError("no notes: name files, folders or globs, '-' for standard input, or --sql and --url")
    if STANDARD_INPUT in given:
        if len(given) > 1:
            raise InputError("'-' is standard input; give it alone")
        return Notes(stdin=True, whole=whole, table=table)
    if whole:
        raise InputError("--whole is for standard input: a text file always is one note")
    sources = tuple(source for name in given for source in _sources_of(name, table))
    if all(source.kind == "folder" for source in sources) and table.given(encoding=False):
        raise InputError(
            f"{given[0]}: text files have no columns; leave out {table.given(encoding=False)[0]}"
        )
    if table.encoding is not None and all(source.kind == "parquet" for source in sources):
        raise InputError(f"{given[0]}: the text of Parquet is UTF-8; leave out --encoding")
    return Notes(sources, table=table)


def _sources_of(name: str, table: TableOptions) -> list[Source]:
    path = Path(name)
    if path.exists():
        return _in_place(path, table)
    found = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207  any root
    if glob.has_magic(name) and not found:
        raise InputError(f"{name}: no file matches this pattern")
    return [source for match in found or [name] for source in _in_place(Path(match), table)]


def _in_place(path: Path, table: TableOptions) -> list[Source]:
    """A file or folder of notes, or every table in a folder, sorted by name."""
    try:
        return [recognise(path, table)]
    except InputError:
        tables = sorted(at for at in path.iterdir() if _is_table(at)) if path.is_dir() else []
        if not tables:
            raise
        return [recognise(found, table) for found in tables]


def _is_table(path: Path) -> bool:
    """Whether `path` is called a table; what is none, such as a pipe, is refused when it is read."""
    return not path.is_dir() and not path.name.startswith(".") and path.name.lower().endswith(_TABLES)


def stream_items(notes: Notes, counts: ItemCounts, progress: Progress | None = None) -> Iterator[Item]:
    """Yield every note and every failure of `notes`, always in the same order; `counts` is filled meanwhile.

    Rows without an id are numbered; where several files are read their name stands before the number.

    Raises:
        InputError: a source is damaged as a whole: what follows in it cannot be told apart.
    """
    intake = EveryNote(counts, progress, notes.size_bytes)
    if notes.query:
        from sympress.deploy.extract.databases import query_items

        yield from query_items(notes.query.sql, notes.query.url, notes.table, intake)
    elif notes.stdin:
        stream = standard_input()
        kind = whole_item if notes.whole else line_items
        yield from kind(stream, notes.table, intake)
    several = len(notes.sources) > 1
    for source in notes.sources:
        before = counts.rows
        for item in _source_items(source, notes.table, intake):
            yield _renamed(item, source, counts.rows, before) if several else item


def _renamed(item: Item, source: Source, row: int, before: int) -> Item:
    """`item`, with a name of its own where its id is only the number of its row."""
    if item.note_id != row_name(row):
        return item
    name = f"{source.root.name}:{row - before}"
    return item._replace(note_id=name) if isinstance(item, Note) else dataclasses.replace(item, note_id=name)


def _source_items(source: Source, table: TableOptions, intake: EveryNote) -> Iterator[Item]:
    if source.kind == "folder":
        yield from _folder_items(source, table, intake)
        return
    if source.kind == "jsonl":
        (file,) = source.files
        with (
            open_text(file, intake.meter, table.encoding) as stream,
            stream_errors(file, stream, intake.counts),
        ):
            lines = cast("IO[bytes]", stream.buffer)
            yield from json_items(lines, table, intake, file, lambda: first_lines(file, table.encoding))
        return
    for note in _table_notes(source, table, intake):
        yield from intake.counts.drain()
        if not note.text.isascii() and ESCAPED_BYTE.search(note.text):
            intake.counts.remark(some_not_utf8(source.root))
            yield Failure(note.note_id, NOT_UTF8)
        else:
            yield note
    yield from intake.counts.drain()


def _table_notes(source: Source, table: TableOptions, intake: EveryNote) -> Iterator[Note]:
    if source.kind == "vaers":
        years = [dataclasses.replace(year, symptoms=None) for year in source.years]
        return vaers_notes(years, table, 1.0, intake)
    (file,) = source.files
    if source.kind == "delimited":
        return delimited_notes(file, table, source.delimiter, intake, errors="surrogateescape")
    from sympress.notes.parquet import parquet_notes  # late: polars takes a quarter of a second

    return parquet_notes(file, table, intake, slice_rows=1_000)


def _folder_items(source: Source, table: TableOptions, intake: EveryNote) -> Iterator[Item]:
    """One item a text file; its id is the path within the folder without the suffix."""
    for path in source.files:
        intake.row()
        note_id = encodable_id(path.relative_to(source.root).with_suffix("").as_posix())
        raw = bytes_of_note(path, 4 * NOTE_LIMIT)
        if isinstance(raw, str):
            yield Failure(note_id, raw)
            continue
        intake.meter.close(len(raw))
        if table.encoding is None and (found := unmarked_utf16(raw)) is not None:
            yield Failure(note_id, f"{found} without its mark")
            continue
        try:
            text, guessed = decode_file(raw, table.encoding)
        except UnicodeDecodeError:
            yield Failure(note_id, NOT_UTF8)
            continue
        if guessed:
            intake.counts.remark(read_as_cp1252(source.root))
        if intake.admits(note_id, None, text, path):
            yield Note(note_id, None, None, None, None, None, None, text, None)
        yield from intake.counts.drain()
