"""Every place that notes come from, as one stream of wanted items in a fixed order."""

from __future__ import annotations

import dataclasses
import glob
import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import IO, Literal

from sympress.errors import InputError
from sympress.notes.formats import Source, absolute, longer_names
from sympress.notes.formats.jsonl import BOM, byte_lines, object_notes
from sympress.notes.formats.text_files import with_distinct_names
from sympress.notes.intake import (
    NOT_UTF8,
    NOTE_BYTES,
    RETRACTED,
    TOO_LONG,
    Intake,
    Meter,
    Note,
    Progress,
    ReadingCounts,
)
from sympress.notes.layout import RECOGNISED, TableOptions, row_name
from sympress.notes.read import recognise_all
from sympress.notes.streams import Utf8Stream, is_cp1252, some_not_utf8

# What a source yields: notes, and rows that cannot become one, in the order of the source.


@dataclass(frozen=True, slots=True)
class Failure:
    """A note or row without an answer: its id and the reason, never its text."""

    note_id: str
    reason: str


#: One row of the source, as extraction sees it.
Item = Note | Failure


@dataclass
class ItemCounts(ReadingCounts):
    """Counts of the rows, and the failures that readers met since they were last asked for.

    `rows` = notes and failures yielded + retracted rows + those that a filter left out.

    Attributes:
        filtered: notes of other categories or times than the wanted ones.
        undated: notes that a filter by time left out because their time is missing or unreadable.
    """

    pending: list[Failure] = field(default_factory=list)
    filtered: int = 0
    undated: int = 0

    @property
    def retracted(self) -> int:
        """Rows that the source itself marks as errors."""
        return self.dropped.get(RETRACTED, 0)

    def drop(self, reason: str, note_id: str | None = None) -> None:
        """Count a row that becomes no note; unless the source retracted it, it is a failure."""
        super().drop(reason, note_id)
        if reason != RETRACTED:
            self.pending.append(Failure(note_id or row_name(self.rows), reason))

    def drain(self) -> list[Failure]:
        """The failures since the last call."""
        found, self.pending = self.pending, []
        return found


class EveryNote(Intake):
    """Takes every row with text. It keeps no ids, so that memory does not grow with the notes."""

    counts: ItemCounts
    strict = False
    wants_codes = False
    slice_rows = 1_000

    def __init__(self, counts: ItemCounts, progress: Progress | None, size_bytes: int | None) -> None:
        super().__init__(counts, 1.0, Meter(progress, size_bytes))

    def admits(self, note_id: str, patient_id: str | None, text: str | None, path: object) -> bool:  # noqa: ARG002
        """Say whether a well-formed row has text, not too much of it, and count what becomes of it."""
        if self._unfit(note_id, text):
            return False
        self.counts.kept += 1
        return True


# Which notes of a source are wanted: by category and by date.


Fate = Literal["wanted", "filtered", "undated"]


@dataclass(frozen=True)
class Wanted:
    """Categories, compared without case, and times, both ends included; empty means every note.

    A note without a category or time is left out where one is asked for.
    """

    categories: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None

    def fate(self, note: Note) -> Fate:
        """Say whether `note` is wanted, and if not, whether only its missing time is why."""
        if self.categories and (note.category or "").strip().casefold() not in self.categories:
            return "filtered"
        if self.since is None and self.until is None:
            return "wanted"
        if note.time is None:
            return "undated"
        late = self.until is not None and _after(note.time, self.until)
        early = self.since is not None and _after(self.since, note.time)
        return "filtered" if late or early else "wanted"


def _after(one: datetime, other: datetime) -> bool:
    """Say whether `one` is later: by their zones if both have one, else by the clock of each."""
    if one.tzinfo is None or other.tzinfo is None:
        return one.replace(tzinfo=None) > other.replace(tzinfo=None)
    return one > other


def read_wanted(categories: Iterable[str], since: str | None, until: str | None) -> Wanted:
    """Return the filter that the options spell; a date as `until` includes all of that day.

    Raises:
        InputError: a date is not ISO 8601, or no time can lie between the two.
    """
    first, last = _time(since, "--since"), _time(until, "--until")
    if last is not None and until is not None and len(until.strip()) <= len("2026-01-01"):
        last = datetime.combine(last, time.max)
    if first and last and _after(first, last):
        raise InputError(f"--since {since} lies after --until {until}; no note can be between them")
    return Wanted(frozenset(name.strip().casefold() for name in categories), first, last)


def _time(value: str | None, option: str) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError:
        raise InputError(f"{option} {value}: no date; write it as 2026-01-31") from None


def keep_wanted(items: Iterable[Item], wanted: Wanted, counts: ItemCounts) -> Iterator[Item]:
    """Yield failures and the notes that are wanted; the others are counted as filtered or undated."""
    for item in items:
        fate = "wanted" if isinstance(item, Failure) else wanted.fate(item)
        if fate == "wanted":
            yield item
        elif fate == "undated":
            counts.undated += 1
        else:
            counts.filtered += 1


# Notes by standard input: JSON objects, plain text where each line is a note, or all of it as one note.


_HERE = Path("standard input")


def line_notes(stream: IO[bytes], options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the note of each line that is not blank, called after its number; JSON objects are seen as such.

    Raises:
        InputError: there is no line, or a column is named where the lines are plain text.
    """
    plain = True

    def guess(chunk: bytes) -> bool:  # JSON is UTF-8
        return plain and not chunk.lstrip().startswith(b"{") and is_cp1252(io.BytesIO(chunk))

    recoded = _utf8(stream, options, intake, guess)
    first = b""
    while not first.strip():
        first = recoded.readline(NOTE_BYTES + 1)
        if not first:
            raise InputError("standard input is empty; pipe notes into it, one a line")
    if first.removeprefix(BOM).lstrip().startswith(b"{"):
        plain = False
        yield from object_notes(recoded, options, intake, _HERE, first=first)
        return
    _check_plain(options, "standard input is plain text, a note a line")
    for raw, _ in byte_lines(recoded, first):
        intake.row()
        yield _plain(str(intake.counts.rows), raw, intake)


def whole_note(stream: IO[bytes], options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield all of `stream` as one note, called `1`.

    Raises:
        InputError: a column is named; plain text has none.
    """
    _check_plain(options, "--whole reads plain text")
    intake.row()
    recoded = _utf8(stream, options, intake, lambda chunk: is_cp1252(io.BytesIO(chunk)))
    raw = recoded.read(NOTE_BYTES + 1)
    yield _plain("1", raw if len(raw) <= NOTE_BYTES else None, intake)


def _utf8(
    stream: IO[bytes], options: TableOptions, intake: Intake, guess: Callable[[bytes], bool]
) -> io.BufferedReader:
    say = intake.counts.remark
    return io.BufferedReader(Utf8Stream(stream, options.encoding, guess=guess, where=_HERE, say=say))


def _check_plain(options: TableOptions, what: str) -> None:
    given = options.given(encoding=False)
    if given:
        raise InputError(f"{what}, which has no columns; leave out {given[0]}, or give JSON objects")


def _plain(note_id: str, raw: bytes | None, intake: Intake) -> Note | None:
    if raw is None:
        intake.counts.drop(TOO_LONG, note_id)
        return None
    try:
        text = raw.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError:
        intake.counts.remark(some_not_utf8(_HERE))
        intake.counts.drop(NOT_UTF8, note_id)
        return None
    if not intake.admits(note_id, None, text, _HERE):
        return None
    return Note(note_id, None, None, None, None, None, None, text.rstrip("\r\n"), None)


# Every place that notes come from, as one stream of items in a fixed order.


STANDARD_INPUT = "-"


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
    sources = _distinct([source for name in given for source in _sources_of(name, table)])
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
        return recognise_all(path, table)
    found = sorted(glob.glob(name, recursive=True)) if glob.has_magic(name) else []  # noqa: PTH207  any root
    if glob.has_magic(name) and not found:
        raise InputError(f"{name}: no file matches this pattern")
    return [source for match in found or [name] for source in recognise_all(Path(match), table)]


def _distinct(sources: list[Source]) -> tuple[Source, ...]:
    """`sources`, whose text files are called differently; refused if notes would be read twice."""
    if len(sources) == 1:
        return tuple(sources)
    seen: dict[str, tuple[Source, Path]] = {}
    for source in sources:
        for file in source.files:
            other, before = seen.setdefault(os.path.realpath(file), (source, file))
            if other is not source:
                alike = "" if before == file else f" (it is the same file as {before})"
                raise InputError(f"{file}: given twice{alike}; name it once")
    texts = iter(with_distinct_names([source for source in sources if source.kind == "folder"]))
    return tuple(next(texts) if source.kind == "folder" else source for source in sources)


def stream_items(notes: Notes, counts: ItemCounts, progress: Progress | None = None) -> Iterator[Item]:
    """Yield every note and every failure of `notes`, always in the same order; `counts` is filled meanwhile.

    Rows without an id are numbered; where several files are read their name stands before the number, with as
    much of the path as tells it from the others.

    Raises:
        InputError: a source is damaged as a whole: what follows in it cannot be told apart.
    """
    intake = EveryNote(counts, progress, notes.size_bytes)
    if notes.query:
        from sympress.notes.formats.databases import query_notes

        yield from _items(query_notes(notes.query.sql, notes.query.url, notes.table, intake), counts)
    elif notes.stdin:
        if sys.stdin.isatty():  # where nobody is likely to type notes
            raise InputError("standard input is a terminal; pipe notes into it, for example  echo TEXT | …")
        read = whole_note if notes.whole else line_notes
        yield from _items(read(sys.stdin.buffer, notes.table, intake), counts)
    several = len(notes.sources) > 1
    roots = [source.root for source in notes.sources if source.kind != "folder"]
    names = longer_names(roots, _called)
    for source in notes.sources:
        before, root = counts.rows, source.root
        for line in source.remarks:
            counts.remark(line)
        for item in _items(source.read(notes.table, intake), counts):
            yield _renamed(item, names.get(root) or root.name, counts.rows, before) if several else item


def _items(notes: Iterator[Note | None], counts: ItemCounts) -> Iterator[Item]:
    """Yield the notes, and where rows became none the failures, in their order."""
    for note in notes:
        yield from counts.drain()
        if note is not None:
            yield note
    yield from counts.drain()


def _called(path: Path, level: int) -> str:
    """The name of `path`, with that of its folder before it, and so on."""
    return Path(*absolute(path).parts[-1 - level :]).as_posix()


def _renamed(item: Item, source: str, row: int, before: int) -> Item:
    """`item`, with a name of its own where its id is only the number of its row."""
    if item.note_id != row_name(row):
        return item
    name = f"{source}:{row - before}"
    return item._replace(note_id=name) if isinstance(item, Note) else dataclasses.replace(item, note_id=name)
