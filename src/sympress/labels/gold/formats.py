"""What a format of annotated notes is: how it is called, told from the others, and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sympress.labels.gold.documents import GoldSet


def _never(_path: Path) -> bool:
    return False


def _never_file(_path: Path, _head: str) -> bool:
    return False


@dataclass(frozen=True)
class GoldFormat:
    """A format of annotated notes.

    Attributes:
        name: as `read_gold` takes it.
        place: how a message names what to give, e.g. `NegEx (.tsv)`.
        read: reads a file or folder.
        is_folder: whether a folder holds it.
        is_file: whether a file holds it, by its path and the beginning of its text, line ends LF.
    """

    name: str
    place: str
    read: Callable[[Path], GoldSet]
    is_folder: Callable[[Path], bool] = _never
    is_file: Callable[[Path, str], bool] = _never_file


def first_line(head: str) -> str:
    """Return the first line of `head` that is not blank; empty if there is none."""
    return next((line for line in head.split("\n") if line.strip()), "")


def holds_file(folder: Path, *suffixes: str) -> bool:
    """Say whether a file with one of `suffixes` lies anywhere below `folder`."""
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*.*"))
