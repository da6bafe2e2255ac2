"""Every place that notes come from, as one stream of items in a fixed order."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sympress.deploy.extract.items import EveryNote, Item, ItemCounts
from sympress.deploy.extract.lines import line_notes, standard_input, whole_note
from sympress.errors import InputError
from sympress.notes.formats import Source
from sympress.notes.intake import Note, Progress
from sympress.notes.layout import row_name
from sympress.notes.sources import recognise
from sympress.notes.tables.options import RECOGNISED, TableOptions

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
        from sympress.deploy.extract.databases import query_notes

        yield from _items(query_notes(notes.query.sql, notes.query.url, notes.table, intake), counts)
    elif notes.stdin:
        read = whole_note if notes.whole else line_notes
        yield from _items(read(standard_input(), notes.table, intake), counts)
    several = len(notes.sources) > 1
    for source in notes.sources:
        before = counts.rows
        for item in _items(source.read(notes.table, intake), counts):
            yield _renamed(item, source, counts.rows, before) if several else item


def _items(notes: Iterator[Note | None], counts: ItemCounts) -> Iterator[Item]:
    """Yield the notes, and where rows became none the failures, in their order."""
    for note in notes:
        yield from counts.drain()
        if note is not None:
            yield note
    yield from counts.drain()


def _renamed(item: Item, source: Source, row: int, before: int) -> Item:
    """`item`, with a name of its own where its id is only the number of its row."""
    if item.note_id != row_name(row):
        return item
    name = f"{source.root.name}:{row - before}"
    return item._replace(note_id=name) if isinstance(item, Note) else dataclasses.replace(item, note_id=name)
