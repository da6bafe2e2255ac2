"""Notes by standard input: JSON objects, plain text where each line is a note, or all of it as one note."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from sympress.errors import InputError
from sympress.notes.intake import NOT_UTF8, NOTE_LIMIT, TOO_LONG, Intake, Note
from sympress.notes.jsonl import BOM, byte_lines, object_notes
from sympress.notes.tables.encoding import Utf8Stream, is_cp1252, some_not_utf8
from sympress.notes.tables.options import TableOptions

_LIMIT_BYTES = 4 * NOTE_LIMIT  # UTF-8 takes at most four bytes a character
_HERE = Path("standard input")


def standard_input() -> IO[bytes]:
    """The bytes of standard input.

    Raises:
        InputError: it is a terminal, where nobody is likely to type notes.
    """
    if sys.stdin.isatty():
        raise InputError("standard input is a terminal; pipe notes into it, for example  echo TEXT | …")
    return sys.stdin.buffer


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
        first = recoded.readline(_LIMIT_BYTES + 1)
        if not first:
            raise InputError("standard input is empty; pipe notes into it, one a line")
    joined = _Chained(first, recoded)
    if first.removeprefix(BOM).lstrip().startswith(b"{"):
        plain = False
        yield from object_notes(joined, options, intake, _HERE)
        return
    _check_plain(options, "standard input is plain text, a note a line")
    for raw, _ in byte_lines(joined):
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
    raw = recoded.read(_LIMIT_BYTES + 1)
    yield _plain("1", raw if len(raw) <= _LIMIT_BYTES else None, intake)


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


class _Chained:
    """A line that was read already, then the rest of its stream."""

    def __init__(self, first: bytes, rest: IO[bytes]) -> None:
        self._first, self._rest = first, rest

    def readline(self, size: int = -1, /) -> bytes:
        line, self._first = self._first, b""
        return line or self._rest.readline(size)
