"""Notes by lines: JSON objects, or plain text where each line is a note."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from sympress.deploy.extract.items import NOT_UTF8, EveryNote, Failure, Item
from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOTE_LIMIT, Note
from sympress.notes.layout import layout_of, note_of

#: UTF-8 takes at most four bytes a character.
LINE_LIMIT_BYTES = 4 * NOTE_LIMIT
TOO_LONG = f"longer than {NOTE_LIMIT:,} characters"


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


def line_items(stream: IO[bytes], text_column: str | None, intake: EveryNote) -> Iterator[Item]:
    """Yield one item a line that is not blank, called after its number; JSON objects are seen as such."""
    first = b""
    while not first.strip():
        first = stream.readline(LINE_LIMIT_BYTES + 1)
        if not first:
            raise InputError("standard input is empty; pipe notes into it, one a line")
    joined = _Chained(first, stream)
    if first.removeprefix(_BOM).lstrip().startswith(b"{"):
        yield from json_items(joined, text_column, intake, _HERE)
        return
    for raw in _lines(joined):
        intake.row()
        yield from _plain(str(intake.counts.rows), raw, intake)


def whole_item(stream: IO[bytes], text_column: str | None, intake: EveryNote) -> Iterator[Item]:
    """Yield all of `stream` as one note, called `1`; `text_column` has no meaning here."""
    if text_column is not None:
        raise InputError("--text-column does not go with --whole, which reads plain text")
    intake.row()
    raw = stream.read(LINE_LIMIT_BYTES + 1)
    yield from _plain("1", raw if len(raw) <= LINE_LIMIT_BYTES else None, intake)


def _plain(note_id: str, raw: bytes | None, intake: EveryNote) -> Iterator[Item]:
    if raw is None:
        yield Failure(note_id, TOO_LONG)
        return
    try:
        text = raw.removeprefix(_BOM).decode("utf-8")
    except UnicodeDecodeError:
        yield Failure(note_id, NOT_UTF8)
        return
    if intake.admits(note_id, None, text, _HERE):
        yield Note(note_id, None, None, None, None, None, None, text.rstrip("\r\n"), None)
    yield from intake.counts.drain()


def json_items(stream: Lines, text_column: str | None, intake: EveryNote, path: Path) -> Iterator[Item]:
    """Yield one item a line that holds a JSON object; the first object decides which key is the text.

    Raises:
        InputError: no single key of the first object may hold the text.
    """
    names: list[str] = []
    text_key = text_column
    layout = None
    for raw in _lines(stream):
        intake.row()
        fields = raw if isinstance(raw, Failure) else _object(raw, intake)
        if isinstance(fields, Failure):
            yield fields
            continue
        if layout is not None:
            fields.setdefault(text_key or "", None)
        if layout is None or list(fields) != names:
            names = list(fields)
            layout = layout_of(names, text_key, path)
            text_key = names[layout.text]
        note = note_of(list(fields.values()), layout, intake, path)
        yield from intake.counts.drain()
        if note is not None:
            yield note


def _object(raw: bytes | None, intake: EveryNote) -> dict[str, object] | Failure:
    name = f"row-{intake.counts.rows}"
    if raw is None:
        return Failure(name, TOO_LONG)
    try:
        value = json.loads(raw.removeprefix(_BOM).decode("utf-8"))
    except UnicodeDecodeError:
        return Failure(name, NOT_UTF8)
    except (ValueError, RecursionError):
        return Failure(name, MALFORMED)
    return value if isinstance(value, dict) else Failure(name, MALFORMED)


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
