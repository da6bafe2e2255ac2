"""Opening files that may be compressed, and saying in one line what is wrong with their bytes."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from sympress.errors import InputError
from sympress.notes.counts import ReadingCounts
from sympress.notes.intake import NO_FILE, NOTE_LIMIT, TOO_LONG, Meter
from sympress.notes.tables.encoding import Utf8Stream, is_cp1252

GZIP_MAGIC = b"\x1f\x8b"

#: A zip member that declares more is refused: the largest VAERS table of any year is below 1 GiB.
MEMBER_LIMIT_BYTES = 8 * 2**30
#: So is one that is both large and shrunk this many times; text shrinks about 3 to 8 times.
MEMBER_LIMIT_RATIO = 200
_RATIO_MATTERS_FROM_BYTES = 64 * 2**20

_HEAD_BYTES = 65_536
_BUFFER_BYTES = 131_072


def head_of(path: Path) -> bytes:
    """Return up to the first 64 kB of `path`, uncompressed if it is gzip (told by its first bytes).

    A gzip stream that breaks off early yields what there is: its reader reports the damage with a row.

    Raises:
        InputError: the file cannot be opened, is a pipe or a device, which may never end, or its start cannot
            be unpacked.
    """
    with file_errors(path):
        found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise InputError(
            f"{path}: no file but a pipe or a device; give  -  and let it come by standard input"
        )
    if found.st_size == 0:
        return b""  # nor is a file of /proc read, which has no size and may wait for ever
    with file_errors(path), path.open("rb") as raw:
        if raw.read(2) != GZIP_MAGIC:
            raw.seek(0)
            return raw.read(_HEAD_BYTES)
        raw.seek(0)
        head = b""
        with gzip.open(raw) as stream:
            try:
                while len(head) < _HEAD_BYTES and (more := stream.read1(_HEAD_BYTES)):
                    head += more
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                # Otherwise the reader meets the same damage and can say after how many rows.
                if not head:
                    raise InputError(
                        f"{path} is damaged: a gzip stream without content; copy it again"
                    ) from error
        return head[:_HEAD_BYTES]


def bytes_of_note(path: Path, most: int) -> bytes | str:
    """All of a text file that is one note, or why there is none: no note of a folder stops the others."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return NO_FILE
        if found.st_size > most:
            return TOO_LONG
        return path.read_bytes() if found.st_size else b""
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__})"


@contextmanager
def open_text(
    path: Path,
    meter: Meter,
    encoding: str | None = None,
    *,
    guess: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[io.TextIOWrapper]:
    """Open `path` as text, through gzip if its first bytes say so, newlines left as they are.

    Args:
        path: the file.
        meter: follows the bytes that are read.
        encoding: of the file; None: UTF-8, or UTF-16 if it starts with the mark of that.
        guess: whether a file that is not UTF-8 may be cp1252; see `Utf8Stream`.
        say: told if it is.
    """

    def judge(_: bytes) -> bool:
        with file_errors(path), path.open("rb") as again:
            return is_cp1252(_unzipped(again))

    with file_errors(path):
        opened = path.open("rb")
    with opened as raw:
        meter.open(raw)
        stream = Utf8Stream(_unzipped(raw), encoding, guess=judge if guess else None, where=path, say=say)
        buffered = io.BufferedReader(stream, _BUFFER_BYTES)
        with io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="") as text:
            yield text
        meter.close(path.stat().st_size)


def first_lines(path: Path, encoding: str | None) -> Iterator[str]:
    """Yield the lines of `path` from its start, as far as it can be read."""
    try:
        with open_text(path, Meter(None, None), encoding) as stream:
            stream.reconfigure(errors="replace")
            while line := stream.readline(NOTE_LIMIT):
                yield line
    except (InputError, OSError, EOFError, zlib.error):
        return  # the reader meets the same damage and says where


def _unzipped(raw: IO[bytes]) -> IO[bytes]:
    gzipped = raw.read(2) == GZIP_MAGIC
    raw.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if gzipped else raw


@contextmanager
def open_member(path: Path, member: str, meter: Meter, encoding: str) -> Iterator[io.TextIOWrapper]:
    """Open one member of the zip `path` as text, read in place and never written to disk.

    Raises:
        InputError: the member is encrypted, declares an absurd size, or is packed in an unknown way.
    """
    with file_errors(path):
        opened = path.open("rb")
    with opened as raw, zipfile.ZipFile(raw) as archive:
        information = archive.getinfo(member)
        _check_member(path, information)
        try:
            stream = archive.open(information)
        except (NotImplementedError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: {member} cannot be unpacked; unzip it with another tool first"
            ) from error
        meter.open(raw)
        with io.TextIOWrapper(stream, encoding=encoding, newline="") as text:
            yield text
        meter.close(0)  # the archive holds more tables


def _check_member(path: Path, member: zipfile.ZipInfo) -> None:
    """Refuse what cannot or should not be unpacked; `zipfile` never reads beyond the declared size."""
    if member.flag_bits & 0x1:
        raise InputError(f"{path}: {member.filename} is encrypted; unzip it with its password first")
    ratio = member.file_size / max(member.compress_size, 1)
    if member.file_size > MEMBER_LIMIT_BYTES or (
        member.file_size > _RATIO_MATTERS_FROM_BYTES and ratio > MEMBER_LIMIT_RATIO
    ):
        raise InputError(
            f"{path}: {member.filename} would unpack to {member.file_size:,} bytes, "
            f"{ratio:,.0f} times its size; the limits are {MEMBER_LIMIT_BYTES:,} bytes and "
            f"{MEMBER_LIMIT_RATIO} times: unzip it if you trust it"
        )


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn what the operating system says about `path` into an InputError."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read ({reason})") from error


@contextmanager
def stream_errors(path: Path, stream: io.TextIOWrapper, counts: ReadingCounts) -> Iterator[None]:
    """Turn damage that is met while `stream` is read into an InputError that says after how many rows."""
    try:
        yield
    except UnicodeDecodeError as error:
        # The decoder was given `error.object`, which ends where the byte stream now stands.
        offset = cast("IO[bytes]", stream.buffer).tell() - len(error.object) + error.start
        # Not chained: a UnicodeDecodeError carries the bytes of the note.
        raise InputError(
            f"{path}: byte {offset} is not UTF-8 (after row {counts.rows}); "
            "name the encoding with --encoding, or convert it, for example  iconv -f MACINTOSH -t UTF-8"
        ) from None
    except EOFError as error:
        kind = "zip member" if zipfile.is_zipfile(path) else "gzip stream"
        raise InputError(
            f"{path} is truncated: the {kind} ends early after {counts.rows} rows; copy it again"
        ) from error
    except (gzip.BadGzipFile, zlib.error, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged: it cannot be decompressed beyond row {counts.rows}; copy it again"
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path}: cannot be read after row {counts.rows} ({reason})") from error
