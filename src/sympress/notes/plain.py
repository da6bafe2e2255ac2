"""Reading JSON lines and folders of text files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, NOTE_LIMIT, TOO_LONG, Intake, Note
from sympress.notes.layout import encodable_id
from sympress.notes.streams import bytes_of_note, first_lines, open_text, stream_errors
from sympress.notes.tables.encoding import decode_file, encoding_by_mark, read_as_cp1252, unmarked_utf16
from sympress.notes.tables.objects import ObjectRows, read_object
from sympress.notes.tables.options import TableOptions


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
    value = read_object(line)
    if value is None or "\\ud" not in line.lower():
        return value
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def folder_notes(
    folder: Path, files: tuple[Path, ...], options: TableOptions, intake: Intake
) -> Iterator[Note]:
    """Yield one note a text file; its id is the path within `folder` without the suffix.

    What is called a text file and cannot be read, such as a dangling link or a pipe, is counted.

    Raises:
        InputError: a file is not UTF-8, or is too large for one note.
    """
    for path in files:
        intake.row()
        note_id = encodable_id(path.relative_to(folder).with_suffix("").as_posix())
        raw = bytes_of_note(path, NOTE_LIMIT)
        if raw == TOO_LONG:
            raise InputError(
                f"{path}: above {NOTE_LIMIT:,} bytes, too large for one note; split it into notes"
            )
        if isinstance(raw, str):
            intake.counts.drop(raw, note_id)
            continue
        text = _text_of(path, raw, options.encoding, intake)
        intake.meter.close(len(raw))
        if intake.admits(note_id, None, text, path):
            yield Note(note_id, None, None, None, None, None, None, text, None)


def _text_of(path: Path, raw: bytes, encoding: str | None, intake: Intake) -> str:
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
