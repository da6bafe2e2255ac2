"""Opening files that may be compressed, in any encoding, as UTF-8."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from sympress.errors import InputError
from sympress.notes.intake import CHANGED, NO_FILE, NOTE_LIMIT, TOO_LONG, Meter, ReadingCounts

# Bytes of any encoding as UTF-8, so that everything after reads one encoding only.


UTF8 = "utf-8"
#: What Windows writes in Western languages when it doesn't write Unicode.
CP1252 = "cp1252"

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: How `surrogateescape` marks a byte that is not in the encoding.
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
#: Those of them that cp1252 does not have.
_UNDEFINED = re.compile("[\udc81\udc8d\udc8f\udc90\udc9d]")
_CHUNK_BYTES = 1 << 16
_CHARACTER_BYTES = 4  # of the longest character in UTF-8
_NULS_OF_TEXT = 8  # so many may stand in a short text that is not UTF-16


def encoding_by_mark(head: bytes) -> str | None:
    """The encoding that a byte order mark names: UTF-16 or UTF-32; None without one of these."""
    return next((name for mark, name in _BOMS if head.startswith(mark)), None)


def unmarked_utf16(head: bytes) -> str | None:
    """`utf-16-le` or `utf-16-be` where bytes without a mark are that, by the zeros in every other place.

    Read as UTF-8 it would be text with a NUL behind each letter, in which nothing is found. It is known where
    an eighth of its characters are Latin, or spaces and line ends.
    """
    if len(head) < _CHARACTER_BYTES or encoding_by_mark(head) is not None:
        return None
    first, second = head[::2].count(0), head[1::2].count(0)
    more, fewer = max(first, second), min(first, second)
    if more * 16 < len(head) or fewer * 20 > more or (more < _NULS_OF_TEXT and more * 3 < len(head)):
        return None
    return "utf-16-le" if second > first else "utf-16-be"


def decoded_head(head: bytes, encoding: str | None) -> str:
    """The first bytes of a file as text, good enough to tell what the file is."""
    name = encoding or encoding_by_mark(head)
    if name is None:
        return head.decode("latin-1").removeprefix("\xef\xbb\xbf")
    text = codecs.getincrementaldecoder(name)("replace").decode(head)
    return text.removeprefix("\ufeff")


def decode_file(raw: bytes, encoding: str | None) -> tuple[str, bool]:
    """Decode one whole file, and say whether it had to be taken for cp1252.

    Args:
        raw: all of its bytes.
        encoding: what the user says it is; None: by its mark, else UTF-8, else cp1252.

    Raises:
        UnicodeDecodeError: it is none of these.
    """
    name = encoding or encoding_by_mark(raw)
    if name is not None:
        return raw.decode(name).removeprefix("\ufeff"), False
    try:
        return raw.decode("utf-8-sig"), False
    except UnicodeDecodeError:
        if not is_cp1252(io.BytesIO(raw)):
            raise
    return raw.decode(CP1252), True


def read_as_cp1252(folder: object) -> str:
    """The remark on a folder that has files in cp1252."""
    return (
        f"{folder}: files that are not UTF-8 are read as cp1252 (Western Windows); "
        "name any other encoding with --encoding"
    )


def some_not_utf8(path: object) -> str:
    """The remark on a file with rows that are not UTF-8."""
    return (
        f"{path}: some rows are not UTF-8 and are refused; "
        "name the encoding of the file with --encoding, for example cp1252"
    )


def is_cp1252(stream: IO[bytes]) -> bool:
    """Say whether bytes that are not UTF-8 are cp1252: more of them break UTF-8 than belong to it.

    A file in UTF-8 with some damaged bytes stays what it is; so does one with bytes that cp1252 does not
    have, or with as many control characters as text never has.
    """
    decoder = codecs.getincrementaldecoder(UTF8)("surrogateescape")
    right = wrong = control = size = 0
    try:
        chunk = stream.read(_CHUNK_BYTES)
        while chunk or decoder.getstate()[0]:
            text = decoder.decode(chunk, not chunk)
            size += len(chunk)
            control += sum(chunk.count(byte) for byte in b"\0\1\2\3\4\5\6\7\x08\x0e\x0f")
            if not text.isascii():
                if _UNDEFINED.search(text):
                    return False
                escaped = len(ESCAPED_BYTE.findall(text))
                wrong += escaped
                right += sum(not character.isascii() for character in text) - escaped
            chunk = stream.read(_CHUNK_BYTES)
    except (EOFError, OSError, zlib.error, gzip.BadGzipFile):
        pass  # the reader meets the same damage and says where
    return wrong > right and control * 50 <= size


class Utf8Stream(io.RawIOBase):
    """The bytes of `stream`, transcoded to UTF-8; those that its encoding does not have stay as they are.

    Where no encoding is given, bytes pass as they are unless a mark says UTF-16. With `guess`, the first
    byte that is not UTF-8, if only ASCII came before it, has the whole file judged: from there on it may
    be cp1252, and then all of it is.
    """

    def __init__(
        self,
        stream: IO[bytes],
        encoding: str | None,
        *,
        guess: Callable[[bytes], bool] | None = None,
        where: object = "",
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        super().__init__()
        self._stream, self._guess, self._where, self._say = stream, guess, where, say
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogateescape") if encoding else None
        self._open = encoding is None and guess is not None  # only ASCII so far
        self._ready = b""
        self._passed = self._taken = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def tell(self) -> int:
        """Bytes handed out so far."""
        return self._passed

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # any writable buffer
        """Fill `buffer` with the next bytes."""
        while not self._ready:
            read = getattr(self._stream, "read1", self._stream.read)
            chunk = read(_CHUNK_BYTES)
            self._ready = self._transcoded(chunk)
            if not chunk:
                break
        part, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(part)] = part
        self._passed += len(part)
        return len(part)

    def _transcoded(self, chunk: bytes) -> bytes:
        if self._taken == 0:
            self._open_by(chunk)
        self._taken += len(chunk)
        if self._decoder is None and self._open and not chunk.isascii():
            chunk = self._judge(chunk)
        return chunk if self._decoder is None else self._decode(self._decoder, chunk)

    def _open_by(self, head: bytes) -> None:
        """Look for a byte order mark, of UTF-8 too."""
        if self._encoding is None and (found := unmarked_utf16(head)) is not None:
            raise InputError(
                f"{self._where}: UTF-16 without its mark; add --encoding {found}, or convert the text"
            )
        if self._decoder is None and (name := encoding_by_mark(head)):
            self._encoding, self._decoder = name, codecs.getincrementaldecoder(name)("strict")
        self._open = self._open and not head.startswith(codecs.BOM_UTF8)

    def _judge(self, chunk: bytes) -> bytes:
        """Settle the encoding by the first byte that is not ASCII; the chunk may grow by a few bytes."""
        self._open = False
        at = next(place for place, byte in enumerate(chunk) if byte >= 0x80)
        if len(chunk) - at < _CHARACTER_BYTES:
            more = self._stream.read(_CHARACTER_BYTES)
            chunk, self._taken = chunk + more, self._taken + len(more)
        starts = (chunk[at : at + size] for size in range(2, _CHARACTER_BYTES + 1))
        if self._guess is not None and not any(map(_is_character, starts)) and self._guess(chunk):
            self._say(
                f"{self._where}: not UTF-8, so it is read as cp1252 (Western Windows); "
                "name any other encoding with --encoding"
            )
            self._encoding, self._decoder = CP1252, codecs.getincrementaldecoder(CP1252)("surrogateescape")
        return chunk

    def _decode(self, decoder: codecs.IncrementalDecoder, chunk: bytes) -> bytes:
        try:
            return decoder.decode(chunk, not chunk).encode(UTF8, "surrogateescape")
        except UnicodeError:
            place = self._taken - len(chunk)
        # Outside the handler: a UnicodeDecodeError carries the bytes of the note.
        raise InputError(
            f"{self._where}: not {self._encoding} from about byte {place:,} on; "
            "name its encoding with --encoding, or mend the file"
        )


def text_or_bytes(value: bytes | None, *, keep: bool = True) -> str | bytes | None:
    """What bytes are as UTF-8; if they are none, with `keep` the same bytes, else wrong ones written out."""
    if value is None:
        return None
    try:
        return value.decode(UTF8)
    except UnicodeDecodeError:
        return value if keep else value.decode(UTF8, "backslashreplace")


def _is_character(raw: bytes) -> bool:
    try:
        return len(raw.decode(UTF8)) == 1
    except UnicodeDecodeError:
        return False


# Opening files that may be compressed, and saying in one line what is wrong with their bytes.


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
        unchanged = Unchanged(path)
        raw = path.read_bytes() if found.st_size else b""
        return raw if unchanged.holds() else CHANGED
    except OSError as error:
        return f"cannot be read ({error.strerror or type(error).__name__})"


class Unchanged:
    """Compares a file with what it was: one that is cut or grows while it is read would look complete.

    Pipes, devices and what the system says nothing about are taken as they come.
    """

    def __init__(self, path: Path, opened: IO[bytes] | None = None) -> None:
        """`opened` is the file that is read, where it is open; another may have taken its name since."""
        self._path = path
        self._before = self._now(None if opened is None else opened.fileno())

    def _now(self, file: int | None = None) -> tuple[int, ...] | None:
        try:
            found = self._path.stat() if file is None else os.fstat(file)
        except OSError:
            return None
        return (found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else None

    def holds(self) -> bool:
        """Whether it is as it was."""
        now = self._now()
        return now is None or self._before is None or now == self._before

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Refuse what was read meanwhile if the file is not as it was, also where that looks like damage.

        Raises:
            InputError: it is not.
        """
        damage = None
        try:
            yield
        except InputError as error:
            damage = error
        if not self.holds():
            raise InputError(
                f"{self._path}: changed while it was read, so notes may be missing or cut; "
                "repeat the command once nothing writes to it"
            ) from damage
        if damage is not None:
            raise damage


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

    Raises:
        InputError: it cannot be opened, or changed until it was closed.
    """

    def judge(_: bytes) -> bool:
        with file_errors(path), path.open("rb") as again:
            return is_cp1252(_unzipped(again))

    with file_errors(path):
        opened = path.open("rb")
    with opened as raw:
        unchanged = Unchanged(path, raw)
        meter.open(raw)
        stream = Utf8Stream(_unzipped(raw), encoding, guess=judge if guess else None, where=path, say=say)
        buffered = io.BufferedReader(stream, _BUFFER_BYTES)
        decoded = io.TextIOWrapper(buffered, encoding="utf-8-sig", newline="")
        with decoded as text, unchanged.checked():
            yield text
        meter.close(os.fstat(raw.fileno()).st_size)


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
        InputError: the member is encrypted, declares an absurd size, or is packed in an unknown way; or the
            zip changed until it was closed.
    """
    with file_errors(path):
        opened = path.open("rb")
    with opened as raw, zipfile.ZipFile(raw) as archive:
        unchanged = Unchanged(path, raw)
        information = archive.getinfo(member)
        _check_member(path, information)
        try:
            stream = archive.open(information)
        except (NotImplementedError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path}: {member} cannot be unpacked; unzip it with another tool first"
            ) from error
        meter.open(raw)
        with io.TextIOWrapper(stream, encoding=encoding, newline="") as text, unchanged.checked():
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
