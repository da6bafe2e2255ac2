"""The sizes that a Parquet file declares, checked before polars takes memory for them.

Polars ends the process where a size is absurd.

Source: Apache Parquet format 2.11 (`parquet.thrift`) and the
compact protocol of Apache Thrift. A structure is read as a dictionary by the numbers of its fields.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

from sympress.errors import InputError

#: Largest page that is unpacked. Writers aim at 1 MB; of notes that are all as long as the longest of
#: MIMIC-III pyarrow makes 56 MB.
PAGE_BYTES = 256 * 2**20
#: Largest footer.
FOOTER_BYTES = 16 * 2**20

_MAGIC = b"PAR1"
_DEEPEST = 16
_STRUCT, _LIST, _SET = 12, 9, 10


def check_sizes(path: Path, columns: Collection[str] = ()) -> None:
    """Check what the footer of `path` says of its columns, and of `columns` every page.

    Raises:
        InputError: a size or place is not within the file, counts do not agree, or a page or the footer is
            larger than the limits.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
            _check(path, raw, columns)
    except (
        _DamagedError,
        ValueError,
        OSError,
        IndexError,
        KeyError,
        TypeError,
        AttributeError,
        struct.error,
    ):
        raise InputError(f"{path} is damaged: not a readable Parquet file; copy it again") from None


class _DamagedError(Exception):
    """What the file says of itself cannot be."""


def _check(path: Path, raw: mmap.mmap, columns: Collection[str]) -> None:
    end = len(raw) - 8
    size = int.from_bytes(raw[end : end + 4], "little")
    _require(end > 0 and raw[end + 4 :] == _MAGIC and raw[:4] == _MAGIC and size <= end - 4)
    if size > FOOTER_BYTES:
        raise InputError(f"{path}: a footer of more than {FOOTER_BYTES:,} bytes; write fewer row groups")
    footer, _ = _Compact(raw[end - size : end]).fields(0)
    groups = footer.get(4, [])
    _require(sum(_count(group[3]) for group in groups) == _count(footer[3]))
    for group in groups:
        for chunk in group[1]:
            described = chunk[3]
            start = min(_count(described[at]) for at in (9, 11) if at in described)
            stop = start + _count(described[7])
            _require(4 <= start <= stop <= end - size and _count(described[5]) >= 0)
            if bytes(described[3][0]).decode() in columns:
                _check_pages(path, raw, start, stop, described[5])


def _check_pages(path: Path, raw: mmap.mmap, start: int, stop: int, values: int) -> None:
    reader = _Compact(raw)
    while start < stop:
        page, start = reader.fields(start)
        size = _count(page[2])
        if size > PAGE_BYTES:
            raise InputError(
                f"{path}: a page unpacks to {size:,} bytes, more than {PAGE_BYTES:,}; write smaller pages"
            )
        _require(7 not in page or _count(page[7][1]) <= size)
        values -= sum(_count(page[header][1]) for header in (5, 8) if header in page)
        start += _count(page[3])
    _require(start == stop and values == 0)


def _require(agrees: bool) -> None:
    if not agrees:
        raise _DamagedError


def _count(value: int) -> int:
    _require(0 <= value < 2**62)
    return value


class _Compact:
    """Reads Thrift's compact protocol."""

    def __init__(self, raw: bytes | mmap.mmap) -> None:
        self._raw = raw

    def fields(self, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
        """The structure at `at`, and where it ends."""
        found: dict[int, Any] = {}
        field = 0
        _require(depth < _DEEPEST)
        while header := self._raw[at]:
            at += 1
            field += header >> 4
            if not header >> 4:
                field, at = self._zigzag(at)
            kind = header & 15
            found[field], at = (kind == 1, at) if kind in {1, 2} else self._value(kind, at, depth)
        return found, at + 1

    def _value(self, kind: int, at: int, depth: int) -> tuple[Any, int]:
        if kind in {1, 2, 3}:
            return self._raw[at], at + 1
        if kind in {4, 5, 6}:
            return self._zigzag(at)
        if kind == 7:
            return None, at + 8
        if kind == 8:
            size, at = self._varint(at)
            _require(at + size <= len(self._raw))
            return self._raw[at : at + size], at + size
        if kind in {_LIST, _SET}:
            return self._values(at, depth)
        if kind == _STRUCT:
            return self.fields(at, depth + 1)
        raise _DamagedError

    def _values(self, at: int, depth: int) -> tuple[list[Any], int]:
        size, kind = self._raw[at] >> 4, self._raw[at] & 15
        at += 1
        if size == 15:
            size, at = self._varint(at)
        _require(size <= len(self._raw) - at and depth < _DEEPEST)
        found = []
        for _ in range(size):
            value, at = self._value(kind, at, depth + 1)
            found.append(value)
        return found, at

    def _varint(self, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = self._raw[at]
            value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
            if byte < 128:
                return value, at
            _require(shift < 70)

    def _zigzag(self, at: int) -> tuple[int, int]:
        value, at = self._varint(at)
        return value >> 1 ^ -(value & 1), at
