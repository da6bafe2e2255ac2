"""JSON objects as rows of a table: their keys are its columns, and may differ from object to object."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sympress.errors import InputError
from sympress.notes.intake import MALFORMED, Intake, Note
from sympress.notes.layout import EVIDENCE_ROWS, Rows, row_name
from sympress.notes.tables.documents import fields_of_document
from sympress.notes.tables.options import COLUMN_OPTIONS, TableOptions

#: Most commas and opening brackets in a line, and most keys of its object: few bytes can stand for values
#: that fill the memory.
PARTS_MOST = 2_000_000
KEYS_MOST = 10_000

_HEAD_OBJECTS = 100


def read_object(line: str) -> dict[str, object] | None:
    """Return the JSON object of `line`; None where it is none, or one that no note is."""
    if len(line) > PARTS_MOST and sum(map(line.count, ",[{")) > PARTS_MOST:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and len(value) <= KEYS_MOST else None


class ObjectRows:
    """Makes notes of JSON objects; the first one decides which key is the text.

    Args:
        options: what the user says of them.
        intake: decides which of them become notes, and counts them.
        path: of the file, for messages.
        lines: its lines from the start, for what the first objects tell of the others.
    """

    def __init__(
        self,
        options: TableOptions,
        intake: Intake,
        path: Path,
        lines: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self._lines, self._path = lines, path
        self._options, self._intake = dataclasses.replace(options, header=True), intake
        self._rows = Rows(self._options, intake, path, self._evidence)
        self._names: list[str] = []
        self._text: str | None = None

    def note(self, fields: dict[str, object]) -> Note | None:
        """Return the note of one object, or None with the reason counted.

        A later object with two keys of one name is malformed.

        Raises:
            InputError: the first object has no key for the text, or no object at the start of the file has
                one that the user named.
        """
        first = self._text is None
        try:
            values = self._values(fields)
        except InputError:
            if first:
                raise
            self._intake.counts.drop(MALFORMED)
            return None
        return self._rows.note(values)

    def id_of(self, fields: dict[str, object]) -> str:
        """The id of an object that cannot become a note, or what a row without one is called."""
        with suppress(InputError):
            return self._rows.id_of(self._values(fields)) or row_name(self._intake.counts.rows)
        return row_name(self._intake.counts.rows)

    def _values(self, fields: dict[str, object]) -> list[object]:
        fields = fields_of_document(fields, self._path, first=self._text is None)
        if self._text is not None:
            fields.setdefault(self._text, None)
        if list(fields) != self._names:
            self._columns(list(fields))
        return list(fields.values())

    def _columns(self, names: list[str]) -> None:
        named = [name for field in COLUMN_OPTIONS if (name := self._options.column(field)) is not None]
        absent = [name for name in named if name not in names]
        if self._text is None:
            layout = self._rows.columns(names, self._other_keys(names) if absent else ())
            self._text = names[layout.text]
            self._rows.options = dataclasses.replace(self._options, text=self._text)
        else:
            self._rows.columns(names, absent)
        self._names = names

    def _other_keys(self, names: list[str]) -> list[str]:
        """Keys of the first objects that are not among `names`."""
        found = (key for fields in islice(self._objects(), _HEAD_OBJECTS) for key in fields)
        return [key for key in dict.fromkeys(found) if key not in names]

    def _evidence(self, name: str) -> Iterable[object]:
        return (fields.get(name) for fields in islice(self._objects(), EVIDENCE_ROWS))

    def _objects(self) -> Iterator[dict[str, object]]:
        for line in self._lines():
            value = read_object(line)
            if value is not None:
                try:
                    yield fields_of_document(value, self._path, first=False)
                except InputError:
                    continue
