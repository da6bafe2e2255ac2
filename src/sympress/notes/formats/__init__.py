"""What a format of notes is made of: how it is told from the others, and how its notes are read.

A format is one file with a function that looks at what was found and returns a `Source`, or None where it is
something else; `notes.sources` lists them. Studies and extraction read through the same `Source.read`; what
differs between them, such as whether one bad row stops the reading, is their `Intake`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from sympress.notes.intake import Intake, Note
from sympress.notes.layout import TableOptions
from sympress.notes.streams import decoded_head, encoding_by_mark, unmarked_utf16

READABLE = (
    "give CSV or TSV (.gz), JSON lines (.gz), Parquet, VAERS (zip or folder), MTSamples, or a folder of .txt"
)
#: Control characters that a short text may have.
_FEW = 8

#: Yields the note of each row, or None for one that became none; by then it is counted.
Reader = Callable[[TableOptions, Intake], Iterator[Note | None]]


@dataclass(frozen=True)
class Source:
    """What a path was recognised as.

    Attributes:
        kind: the name of its format.
        name: a short name for tables and reports.
        root: the file or folder.
        files: the files on disk, in reading order.
        read: reads the notes.
        remarks: what a user must know of what it is, one line each.
    """

    kind: str
    name: str
    root: Path
    files: tuple[Path, ...]
    read: Reader = field(repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of all files as they are stored."""
        return sum(found.st_size for found in self.stats())

    def stats(self) -> list[os.stat_result]:
        """What the system says of each of the files that are there: one may be a dangling link."""
        found = []
        for path in self.files:
            with suppress(OSError):
                found.append(path.stat())
        return found


def longer_names(files: Sequence[Path], called: Callable[[Path, int], str]) -> dict[Path, str]:
    """Names for those of `files` that would be called alike; the others keep the name that they have.

    Args:
        files: distinct ones.
        called: what a file is called at the level 0, 1, …: each name says more of its path, the last all.
    """
    names: dict[str, list[Path]] = {}
    for file in files:
        names.setdefault(called(file, 0), []).append(file)
    alike = [group for group in names.values() if len(group) > 1]
    taken = {name for name, group in names.items() if len(group) == 1}
    longer: dict[Path, str] = {}
    for group in alike:
        for level in range(1, 2 * max(len(absolute(file).parts) for file in group) + 2):
            found = {called(file, level): file for file in group}
            if len(found) == len(group) and taken.isdisjoint(found):
                break
        taken.update(found)
        longer |= {file: name for name, file in found.items()}
    return longer


def absolute(path: Path) -> Path:
    """`path` from the root on, without `..`; links stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100  it takes `..` out, and follows no link


@dataclass(frozen=True)
class Found:
    """A file that is to be recognised.

    Attributes:
        path: of the file.
        head: its first bytes, unpacked.
        options: what the user says of it.
    """

    path: Path
    head: bytes
    options: TableOptions

    @cached_property
    def text(self) -> str | None:
        """Its start as text; None where it is no text in a known encoding."""
        return None if self.problem else decoded_head(self.head, self.options.encoding)

    @cached_property
    def problem(self) -> str | None:
        """Why it is no text in a known encoding, and what to do about it."""
        if self.options.encoding is not None or encoding_by_mark(self.head):
            return None
        if (found := unmarked_utf16(self.head)) is not None:
            return f"UTF-16 without its mark; add --encoding {found}, or convert the file"
        control = sum(byte < 0x20 and byte not in b"\t\n\v\f\r\x1a\x1b" for byte in self.head)
        most = max(len(self.head) // 50, min(len(self.head) // 8, _FEW))
        return f"a binary file; {READABLE}" if control > most else None

    @property
    def suffix(self) -> str:
        """The last suffix of its name that does not say how it is packed."""
        suffixes = [suffix.lower() for suffix in self.path.suffixes if suffix.lower() != ".gz"]
        return suffixes[-1] if suffixes else ""

    @property
    def is_note(self) -> bool:
        """Whether a single .txt file is one note: no column of it is named."""
        return self.path.suffix.lower() == ".txt" and not self.options.given(encoding=False)

    def source(self, kind: str, read: Reader) -> Source:
        """This file, as what it was recognised as."""
        return Source(kind, self.path.name, self.path, (self.path,), read)
