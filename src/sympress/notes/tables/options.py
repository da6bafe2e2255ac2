"""What a user says of a table, where it can't tell by itself."""

from __future__ import annotations

import codecs
import encodings.aliases
from dataclasses import dataclass

from sympress.errors import InputError, nearest
from sympress.notes.tables.dates import check_format

#: The fields of a note that a column can be named for, and the option that names it.
COLUMN_OPTIONS = {
    "text": "--text-column",
    "note_id": "--id-column",
    "patient_id": "--patient-column",
    "encounter_id": "--encounter-column",
    "time": "--time-column",
    "category": "--category-column",
}


@dataclass(frozen=True)
class TableOptions:
    """Columns by name, the form of dates, and the encoding; None: to be recognised.

    Attributes:
        text: column with the text of the notes; so are the next five for the rest of a note.
        date_format: a format of `strptime`, or a word of `dates.WORDS`.
        encoding: of the file, by a name that Python knows.
        header: the columns have names for certain, as those of Parquet and of queries do.

    Raises:
        InputError: the date format or the encoding is none.
    """

    text: str | None = None
    note_id: str | None = None
    patient_id: str | None = None
    encounter_id: str | None = None
    time: str | None = None
    category: str | None = None
    date_format: str | None = None
    encoding: str | None = None
    header: bool = False

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read."""
        check_format(self.date_format)
        _check_encoding(self.encoding)

    def column(self, field: str) -> str | None:
        """The name that the user gave for a field of `COLUMN_OPTIONS`."""
        name: str | None = getattr(self, field)
        return name

    def given(self, *, encoding: bool = True) -> list[str]:
        """The options that were given, as a user writes them."""
        found = [option for field, option in COLUMN_OPTIONS.items() if self.column(field) is not None]
        found += ["--date-format"] if self.date_format is not None else []
        return found + (["--encoding"] if encoding and self.encoding is not None else [])


def _check_encoding(name: str | None) -> None:
    if name is None:
        return
    try:
        codecs.getincrementaldecoder(name)("strict")
        known = "a,1\n".encode(name).decode(name) == "a,1\n"
    except (LookupError, ValueError, TypeError, AttributeError):
        known = False
    if not known:
        names = {alias.replace("_", "-") for alias in encodings.aliases.aliases} | {"utf-8", "cp1252"}
        close = nearest(name.lower().replace("_", "-"), sorted(names))
        raise InputError(f"--encoding {name}: no text encoding{close}; write for example cp1252 or utf-16")


#: The user says nothing: everything is recognised.
RECOGNISED = TableOptions()
