"""Bytes of any encoding as UTF-8, so that everything after reads one encoding only."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable
from typing import Protocol

from sympress.errors import InputError

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


class Bytes(Protocol):
    """Anything that gives its bytes."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, `size` at most."""
        ...


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


def is_cp1252(stream: Bytes) -> bool:
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
        stream: Bytes,
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


def _is_character(raw: bytes) -> bool:
    try:
        return len(raw.decode(UTF8)) == 1
    except UnicodeDecodeError:
        return False
