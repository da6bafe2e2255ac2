"""Reading JSON lines: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Protocol, cast

from sympress.errors import InputError
from sympress.notes.formats import Found, Source
from sympress.notes.intake import MALFORMED, NOT_UTF8, NOTE_LIMIT, TOO_LONG, Intake, Note
from sympress.notes.streams import first_lines, open_text, stream_errors
from sympress.notes.tables.encoding import ESCAPED_BYTE, some_not_utf8
from sympress.notes.tables.objects import ObjectRows, read_object
from sympress.notes.tables.options import TableOptions

BOM = b"\xef\xbb\xbf"


class Lines(Protocol):
    """Anything that gives its bytes line by line."""

    def readline(self, size: int = -1, /) -> bytes:
        """The next line, or the next `size` bytes of it."""
        ...


def recognise(found: Found) -> Source | None:
    """The file as JSON lines, by its suffix or its first character.

    Raises:
        InputError: it is JSON of another form.
    """
    if found.text is None:
        return None
    start = found.text.lstrip()[:1]
    if found.suffix == ".json" and start == "[":
        raise InputError(
            f"{found.path}: one JSON array; write one JSON object a line (for example  jq -c '.[]')"
        )
    if start == "{" and found.text.split(maxsplit=1)[0] == "{" and found.text.lstrip()[1:2] in "\r\n":
        raise InputError(
            f"{found.path}: a JSON object over several lines; write one a line (for example  jq -c .)"
        )
    if found.suffix in {".jsonl", ".ndjson"} or start == "{":
        return found.source("jsonl", partial(jsonl_notes, found.path))
    return None


def jsonl_notes(path: Path, options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the notes of a file (possibly gzip) with one JSON object a line; blank lines are no rows.

    Raises:
        InputError: the text column is missing, or the file is truncated or damaged; of a strict intake, also
            where a line is not UTF-8 or too long for one object.
    """
    with (
        open_text(path, intake.meter, options.encoding) as stream,
        stream_errors(path, stream, intake.counts),
    ):
        lines = cast("IO[bytes]", stream.buffer)
        yield from object_notes(lines, options, intake, path, lambda: first_lines(path, options.encoding))


def object_notes(
    stream: Lines,
    options: TableOptions,
    intake: Intake,
    path: Path,
    head: Callable[[], Iterable[str]] = lambda: (),
) -> Iterator[Note | None]:
    """Yield the note of each line that holds a JSON object; the first object decides which key is the text.

    The objects may differ in all other ways. Lines that are no object are dropped and counted as malformed.
    `head` gives the lines from the start, where they can be read again.

    Raises:
        InputError: no single key of the first object may hold the text, or no key is named as a column is; or
            as `jsonl_notes`.
    """
    rows = ObjectRows(options, intake, path, head)
    for raw, start in byte_lines(stream):
        intake.row()
        if raw is None:
            row = intake.counts.rows
            intake.refuse(
                TOO_LONG,
                None,
                f"{path}: row {row} is longer than {NOTE_LIMIT:,} characters; write one JSON object a line",
            )
            yield None
            continue
        text = raw.removeprefix(BOM).decode("utf-8", "surrogateescape")
        fields = read_object(text)
        if not text.isascii() and (bad := ESCAPED_BYTE.search(text)):
            at = start + len(raw) - len(raw.removeprefix(BOM)) + len(text[: bad.start()].encode())
            intake.counts.remark(some_not_utf8(path))
            intake.refuse(
                NOT_UTF8,
                None if fields is None else rows.id_of(fields),
                f"{path}: byte {at} is not UTF-8 (after row {intake.counts.rows - 1}); "
                "name the encoding with --encoding, or convert it, for example  iconv -f MACINTOSH -t UTF-8",
            )
            yield None
        elif fields is None or (intake.strict and _has_half_a_pair(text, fields)):
            intake.counts.drop(MALFORMED)
            yield None
        else:
            yield rows.note(fields)


def _has_half_a_pair(line: str, fields: dict[str, object]) -> bool:
    """Whether an object holds half a surrogate pair, which is no text."""
    if "\\ud" not in line.lower():
        return False
    try:
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return True
    return False


def byte_lines(stream: Lines) -> Iterator[tuple[bytes | None, int]]:
    """The lines that are not blank, None for one that is too long for a note, and where each begins."""
    limit = 4 * NOTE_LIMIT  # UTF-8 takes at most four bytes a character
    position = 0
    while line := stream.readline(limit + 1):
        start, position = position, position + len(line)
        if len(line) <= limit:
            if line.strip():
                yield line, start
            continue
        while (more := stream.readline(limit)) and not more.endswith(b"\n"):
            position += len(more)
        position += len(more)
        yield None, start
