"""Reading and writing the lines of annotation files: UTF-8, exactly as they are, all or nothing."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sympress.errors import InputError
from sympress.files import atomic_path, refuse_pipe
from sympress.notes.streams import GZIP_MAGIC, file_errors

_BYTE_ORDER_MARK = "\ufeff"


def read_exactly(path: Path) -> str:
    """Return the characters of a UTF-8 file, line ends as they are.

    Raises:
        InputError: the file cannot be read, is compressed, is not UTF-8 (with the line), or begins with a
            byte order mark, which some tools count as a character and others do not.
    """
    refuse_pipe(path)
    with file_errors(path):
        raw = path.read_bytes()
    if raw.startswith(GZIP_MAGIC):
        raise InputError(f"{path}: compressed; unpack it first, for example  gunzip {path.name}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
    else:
        if text.startswith(_BYTE_ORDER_MARK):
            raise InputError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
        return text
    # Outside the handler: a UnicodeDecodeError carries the bytes of the note.
    raise InputError(
        f"{path}, line {line}: not UTF-8; convert the file, for example  iconv -f WINDOWS-1252 -t UTF-8"
    )


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without their ends, which are LF or CR LF and nothing else.

    Raises:
        InputError: as `read_exactly`.
    """
    lines = read_exactly(path).replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write `lines`, each ended by LF, as UTF-8: all of them or none."""
    with atomic_path(path) as temporary:
        temporary.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
