"""Notes by lines: JSON objects, or plain text where each line is a note."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from sympress.deploy.extract.items import EveryNote, Failure, Item
from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOT_UTF8, NOTE_LIMIT, TOO_LONG, Note
from sympress.notes.layout import row_name
from sympress.notes.tables.encoding import ESCAPED_BYTE, Utf8Stream, is_cp1252, some_not_utf8
from sympress.notes.tables.objects import ObjectRows, read_object
from sympress.notes.tables.options import TableOptions

#: UTF-8 takes at most four bytes a character.
LINE_LIMIT_BYTES = 4 * NOTE_LIMIT


class Lines(Protocol):
    """Anything that gives its bytes line by line."""

    def readline(self, size: int = -1, /) -> bytes:
        """The next line, or the next `size` bytes of it."""
        ...


_HERE = Path("standard input")
_BOM = b"\xef\xbb\xbf"


def standard_input() -> IO[bytes]:
    """The bytes of standard input.

    Raises:
        InputError: it is a terminal, where nobody is likely to type notes.
    """
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal; pipe notes into it, for example  echo TEXT | …")
    return sys.stdin.buffer


def line_items(stream: IO[bytes], options: TableOptions, intake: EveryNote) -> Iterator[Item]:
    """Yield one item a line that is not blank, called after its number; JSON objects are seen as such.

    Raises:
        InputError: there is no line, or a column is named where the lines are plain text.
    """
    plain = True

    def guess(chunk: bytes) -> bool:  # JSON is UTF-8
        return plain and not chunk.lstrip().startswith(b"{") and is_cp1252(io.BytesIO(chunk))

    recoded = _utf8(stream, options, intake, guess)
    first = b""
    while not first.strip():
        first = recoded.readline(LINE_LIMIT_BYTES + 1)
        if not first:
            raise InputError("standard input is empty; pipe notes into it, one a line")
    joined = _Chained(first, recoded)
    if first.removeprefix(_BOM).lstrip().startswith(b"{"):
        plain = False
        yield from json_items(joined, options, intake, _HERE)
        return
    _check_plain(options, "standard input is plain text, a note a line")
    for raw in _lines(joined):
        intake.row()
        yield from _plain(str(intake.counts.rows), raw, intake)


def whole_item(stream: IO[bytes], options: TableOptions, intake: EveryNote) -> Iterator[Item]:
    """Yield all of `stream` as one note, called `1`.

    Raises:
        InputError: a column is named; plain text has none.
    """
    _check_plain(options, "--whole reads plain text")
    intake.row()
    recoded = _utf8(stream, options, intake, lambda chunk: is_cp1252(io.BytesIO(chunk)))
    raw = recoded.read(LINE_LIMIT_BYTES + 1)
    yield from _plain("1", raw if len(raw) <= LINE_LIMIT_BYTES else None, intake)


def _utf8(
    stream: IO[bytes], options: TableOptions, intake: EveryNote, guess: Callable[[bytes], bool]
) -> io.BufferedReader:
    say = intake.counts.remark
    return io.BufferedReader(Utf8Stream(stream, options.encoding, guess=guess, where=_HERE, say=say))


def _check_plain(options: TableOptions, what: str) -> None:
    given = options.given(encoding=False)
    if given:
        raise InputError(f"{what}, which has no columns; leave out {given[0]}, or give JSON objects")


def _plain(note_id: str, raw: bytes | None, intake: EveryNote) -> Iterator[Item]:
    if raw is None:
        yield Failure(note_id, TOO_LONG)
        return
    try:
        text = raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError:
        intake.counts.remark(some_not_utf8(_HERE))
        yield Failure(note_id, NOT_UTF8)
        return
    if intake.admits(note_id, None, text, _HERE):
        yield Note(note_id, None, None, None, None, None, None, text.rstrip("\r\n"), None)
    yield from intake.counts.drain()


def json_items(
    stream: Lines,
    options: TableOptions,
    intake: EveryNote,
    path: Path,
    head: Callable[[], Iterable[str]] = lambda: (),
) -> Iterator[Item]:
    """Yield one item a line that holds a JSON object; the first object decides which key is the text.

    `head` gives the lines from the start, where they can be read again.

    Raises:
        InputError: no single key of the first object may hold the text, or no key is named as a column is.
    """
    rows = ObjectRows(options, intake, path, head)
    for raw in _lines(stream):
        intake.row()
        fields = _object(raw, rows, intake, path)
        if isinstance(fields, Failure):
            yield fields
            continue
        note = rows.note(fields)
        yield from intake.counts.drain()
        if note is not None:
            yield note


def _object(
    raw: bytes | None, rows: ObjectRows, intake: EveryNote, path: Path
) -> dict[str, object] | Failure:
    name = row_name(intake.counts.rows)
    if raw is None:
        return Failure(name, TOO_LONG)
    text = raw.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    value = read_object(text)
    if not text.isascii() and ESCAPED_BYTE.search(text):
        intake.counts.remark(some_not_utf8(path))
        return Failure(name if value is None else rows.id_of(value), NOT_UTF8)
    return Failure(name, MALFORMED) if value is None else value


def _lines(stream: Lines) -> Iterator[bytes | None]:
    """Yield the lines that are not blank, None for one that is too long to be kept."""
    while line := stream.readline(LINE_LIMIT_BYTES + 1):
        if len(line) <= LINE_LIMIT_BYTES or line.endswith(b"\n"):
            if line.strip():
                yield line
            continue
        while (more := stream.readline(LINE_LIMIT_BYTES)) and not more.endswith(b"\n"):
            pass
        yield None


class _Chained:
    """A line that was read already, then the rest of its stream."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def readline(self, size: int = -1, /) -> bytes:
        line, self._first = self._first, b""
        return line or self._rest.readline(size)
