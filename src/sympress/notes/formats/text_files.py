"""Reading text files, each of which is a note."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.formats import Found, Source, absolute, longer_names
from sympress.notes.intake import NOT_UTF8, NOTE_BYTES, TOO_LONG, Intake, Note
from sympress.notes.layout import TableOptions, encodable_id
from sympress.notes.streams import (
    bytes_of_note,
    decode_file,
    encoding_by_mark,
    read_as_cp1252,
    unmarked_utf16,
)


def recognise(found: Found) -> Source | None:
    """A single .txt file, of which no column is named."""
    if found.text is None or not found.is_note:
        return None
    return _source(found.path.name, found.path.parent, (found.path,))


def folder_source(folder: Path, texts: tuple[Path, ...]) -> Source:
    """The text files of a folder."""
    return _source(folder.resolve().name, folder, texts)


def _source(name: str, folder: Path, files: tuple[Path, ...]) -> Source:
    names = longer_names(files, partial(_called, folder))
    return Source("folder", name, folder, files, partial(text_notes, folder, files, names))


def with_distinct_names(sources: Sequence[Source]) -> list[Source]:
    """The text files of several folders that are read together, and no two notes of them called alike."""
    folders = {file: source.root for source in sources for file in source.files}
    names = longer_names(list(folders), lambda file, level: _called(folders[file], file, level))
    return [
        dataclasses.replace(source, read=partial(text_notes, source.root, source.files, names))
        for source in sources
    ]


def _called(folder: Path, file: Path, level: int) -> str:
    """The path of `file` in `folder` without its suffix, with it, then with the folder's name, and so on."""
    inside = file.relative_to(folder)
    if level > 1:
        inside = Path(*absolute(folder).parts[-(level // 2) :], inside)
    return (inside if level % 2 else inside.with_suffix("")).as_posix()


def text_notes(
    folder: Path, files: tuple[Path, ...], names: Mapping[Path, str], options: TableOptions, intake: Intake
) -> Iterator[Note | None]:
    """Yield one note a text file; its id is the path within `folder` without the suffix, or that of `names`.

    What is called a text file and cannot be read, such as a dangling link or a pipe, is counted.

    Raises:
        InputError: of a strict intake, where a file is no text, or too large.
    """
    for path in files:
        intake.row()
        note_id = encodable_id(names.get(path) or _called(folder, path, 0))
        text = _text_of(path, note_id, folder, options.encoding, intake)
        admitted = text is not None and intake.admits(note_id, None, text, path)
        yield Note(note_id, None, None, None, None, None, None, text or "", None) if admitted else None


def _text_of(path: Path, note_id: str, folder: Path, encoding: str | None, intake: Intake) -> str | None:
    """The text of a file, or None with the reason counted."""
    raw = bytes_of_note(path, NOTE_BYTES)
    if raw == TOO_LONG:
        message = f"above {NOTE_BYTES:,} bytes, too large for one note; split it into notes"
        intake.refuse(TOO_LONG, note_id, f"{path}: {message}")
        return None
    if isinstance(raw, str):
        intake.counts.drop(raw, note_id)
        return None
    intake.meter.close(len(raw))
    if encoding is None and (found := unmarked_utf16(raw)) is not None:
        message = f"UTF-16 without its mark; add --encoding {found}, or convert the file"
        intake.refuse(f"{found} without its mark", note_id, f"{path}: {message}")
        return None
    if intake.strict and b"\0" in raw and encoding is None and encoding_by_mark(raw) is None:
        raise InputError(f"{path}: a binary file, not a note; move it out of the folder")
    try:
        text, guessed = decode_file(raw, encoding)
    except UnicodeDecodeError as error:
        offset = len(raw) - len(error.object) + error.start  # the codec may have cut off a byte order mark
    else:
        if guessed:
            intake.counts.remark(read_as_cp1252(folder))
        return text
    # Outside the handler: a UnicodeDecodeError carries the bytes of the note.
    intake.refuse(
        NOT_UTF8,
        note_id,
        f"{path}: byte {offset} is not {encoding or 'UTF-8'}; name the encoding with --encoding, or convert "
        "the file, for example  iconv -f MACINTOSH -t UTF-8",
    )
    return None
