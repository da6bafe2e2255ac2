"""The objects of a JSON export: one a line, or all in one list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sympress.errors import InputError
from sympress.files import refuse_pipe
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.lines import read_exactly, read_lines
from sympress.notes.streams import file_errors

Row = dict[str, Any]


def read_rows(path: Path, row: str) -> Iterator[tuple[str, Row]]:
    """Yield each object of a file with the place that a message names, e.g. `x.jsonl, line 2`.

    Args:
        path: JSON lines, or one list of objects, or one object.
        row: what a list holds, e.g. `task`: the place is then `x.json, task 2`.

    Raises:
        InputError: not JSON, or anything but objects.
    """
    for where, value in _values(path, row):
        if not isinstance(value, dict):
            raise InputError(f"{where}: not a JSON object; each {row} is one")
        yield where, value


def _values(path: Path, row: str) -> Iterator[tuple[str, Any]]:
    whole = parse(text := read_exactly(path))
    if isinstance(whole, list):
        yield from ((f"{path}, {row} {number}", value) for number, value in enumerate(whole, start=1))
    elif text.lstrip().startswith("["):
        raise InputError(f"{path}: not valid JSON, perhaps cut off; export the file again")
    elif isinstance(whole, dict) and "\n" in text.strip():
        yield f"{path}, {row} 1", whole
    else:
        lines = enumerate(read_lines(path), start=1)
        yield from ((f"{path}, line {number}", parse(line)) for number, line in lines if line.strip())


def first_row(path: Path) -> Row | None:
    """Return the first object of a file that holds JSON lines or a list of objects; None if there is none."""
    refuse_pipe(path)
    with file_errors(path):
        text = path.read_bytes().decode("utf-8", "replace").lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(text.removeprefix("[").lstrip())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse(text: str) -> Any:
    """Return the value of a JSON text; None for what is none, also for halves of surrogate pairs."""
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def whole_numbers(start: object, end: object) -> tuple[int, int] | None:
    """Return two offsets; None where one is no whole number, which `true` is not."""
    if isinstance(start, int) and isinstance(end, int) and bool not in (type(start), type(end)):
        return start, end
    return None


def check_id(note_id: str, where: str, seen: dict[str, str]) -> None:
    """Refuse a note that is there twice, and remember where it stands."""
    first = seen.setdefault(note_id, where)
    if first != where:
        raise InputError(
            f"{where}: note {note_id!r} already stands in {first.rpartition(', ')[2]}; keep one, for example "
            "that of one annotator"
        )


def check_relation(kind: object, where: str) -> None:
    """Refuse a relation that denies or hedges one of its ends: which one, the formats do not say."""
    if isinstance(kind, str) and load_attributes().names_assertion(kind):
        raise InputError(
            f"{where}: the relation {kind!r} says what one of its ends asserts, which is not read; make it a "
            "label or an attribute of that span"
        )
