"""Which column of a table is what, and one row of it as a note."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.notes.intake import MALFORMED, NOT_UTF8, RETRACTED, WITHOUT_TEXT, Intake, Note
from sympress.notes.tables.dates import Unread, common_order, read_time
from sympress.notes.tables.names import ALSO_VALUES, KNOWN, MORE_TEXT, NAMES, TEXT, plain
from sympress.notes.tables.options import COLUMN_OPTIONS, RECOGNISED, TableOptions

#: Rows at the start of a table that may tell the order of day and month in its dates.
EVIDENCE_ROWS = 10_000

_NAME_CHARACTERS = 40
_COLUMNS_SHOWN = 40
_OTHERS_SHOWN = 3
#: The fields of which one column is read, the surest, where several are known; which one is said.
_CHOSEN = ("note_id", "patient_id", "encounter_id")
_FIELDS = {"note_id": "ids", "patient_id": "patients", "encounter_id": "encounters", "time": "times"}
_NAMES_KEPT = 100_000  # of the columns of a table where they change
_FLOAT_ID = re.compile(r"(\d+)\.0+")
#: Half a surrogate pair, which UTF-8 cannot hold, or how one is written; with the backslashes before it.
_HALF_PAIR = re.compile("(\\\\*)(?:([\ud800-\udfff])|(ud[89a-f][0-9a-f]{2}))")
#: How exports write that a cell holds nothing.
_NULLS = {"", "NULL", "null", "None", "NaN", "nan", "NaT", "<NA>", "\\N"}


@dataclass(frozen=True)
class Layout:
    """Positions of a note's fields among the `width` columns of a table; -1 where it has none.

    `others` are columns that are known for a field of `_CHOSEN` too, by less sure names.
    """

    width: int
    text: int
    note_id: int
    patient_id: int
    encounter_id: int
    times: tuple[int, ...]
    category: int
    sex: int
    age: int
    codes: int
    retracted: int
    others: Mapping[str, tuple[int, ...]]

    @property
    def positions(self) -> set[int]:
        """All of them."""
        single = (self.text, self.note_id, self.patient_id, self.encounter_id, self.category)
        return {*single, *self.times, self.sex, self.age, self.codes, self.retracted} - {-1}


def layout_of(
    names: Sequence[str], options: TableOptions, path: Path, optional: Sequence[str] = ()
) -> Layout:
    """Find the fields of a note among the column `names` of the table `path`.

    A column that the user names is that field and no other; the others are found by their usual names.
    `optional` are columns that rows may lack, as the objects of JSON lines do.

    Raises:
        InputError: a named column or the text is missing or ambiguous, or two columns of one name are one
            field; the message names the columns there are.
    """
    named = {
        field: _named_position(names, options, field, name, path, optional)
        for field in COLUMN_OPTIONS
        if (name := options.column(field)) is not None
    }
    taken = set(named.values())
    text = named["text"] if "text" in named else _text_position(names, taken, path, options)
    taken.add(text)  # the text of a note is nothing else, whatever its name

    def known(field: str) -> list[int]:
        if field in named:
            return [named[field]] if named[field] >= 0 else []
        found = [at for at in _places(KNOWN[field], names) if at not in taken]
        spell = plain if {plain(names[at]) for at in found} & set(KNOWN[field]) else _behind_the_dot
        if len({spell(names[at]) for at in found}) < len(found):
            option = COLUMN_OPTIONS.get(field)
            choose = f"name one with {option} NAME, or rename" if option else "rename"
            raise InputError(
                f"{path}: columns of the same name hold the {_FIELDS.get(field, field)}; {choose} "
                f"all but one ({_columns(names, options)})"
            )
        return found

    def first(field: str) -> int:
        return next(iter(known(field)), -1)

    return Layout(
        width=len(names),
        text=text,
        note_id=first("note_id"),
        patient_id=first("patient_id"),
        encounter_id=first("encounter_id"),
        times=tuple(known("time")),
        category=first("category"),
        sex=first("sex"),
        age=first("age"),
        codes=first("codes"),
        retracted=first("retracted"),
        others={field: others for field in _CHOSEN if len(others := tuple(known(field)[1:]))},
    )


def _named_position(  # noqa: PLR0917  all of it is needed for the message
    names: Sequence[str],
    options: TableOptions,
    field: str,
    name: str,
    path: Path,
    optional: Sequence[str],
) -> int:
    """Where the column `name` is, which the user named for `field`; -1 if rows may lack it."""
    exact = [position for position, one in enumerate(names) if one == name]
    alike = [position for position, one in enumerate(names) if plain(one) == plain(name)]
    found = exact or alike
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{path}: {len(found)} columns are called {name!r}; rename all but one")
    if plain(name) in {plain(one) for one in optional}:
        return -1
    shown = [*dict.fromkeys((*names, *optional))]
    close = nearest(name, shown) if _is_header(shown, options) else ""
    what = {"text": "text", "note_id": "ids"}.get(field, field.replace("_id", ""))
    raise InputError(
        f"{path}: no column {name!r}{close}; "
        f"choose the {what} with {COLUMN_OPTIONS[field]} NAME ({_columns(shown, options)})"
    )


def _places(known: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where columns with the `known` names are, the surest name first.

    Where no name is known whole, what stands behind the dot is: a query may write `note.text`.
    """
    for spell in (plain, _behind_the_dot):
        spelled = [spell(name) for name in names]
        found = [at for one in known for at, name in enumerate(spelled) if name == one]
        if found:
            return found
    return []


def _behind_the_dot(name: str) -> str:
    return plain(name.rpartition(".")[2])


def _text_position(names: Sequence[str], taken: set[int], path: Path, options: TableOptions) -> int:
    found: list[int] = []
    for known in (TEXT, MORE_TEXT):
        found = found or [at for at in _places(known, names) if at not in taken]
    if len(found) == 1:
        return found[0]
    problem = (
        "several columns may hold the text" if found else "no column with a well-known name for the text"
    )
    raise InputError(f"{path}: {problem}; choose it with --text-column NAME ({_columns(names, options)})")


def _columns(names: Sequence[str], options: TableOptions = RECOGNISED) -> str:
    """Name the columns, unless the first row may be a note already: a note never enters an error."""
    if _is_header(names, options):
        shown = [name.strip() or "(unnamed)" for name in names[:_COLUMNS_SHOWN]]
        return "columns: " + ", ".join(shown) + (", …" if len(names) > _COLUMNS_SHOWN else "")
    return (
        f"its first row, {len(names)} fields, does not look like a header, so it is not shown: add one if it "
        "is none"
    )


def _is_header(names: Sequence[str], options: TableOptions) -> bool:
    """Whether `names` are names beyond doubt: of columns that say so, or with names that tables have.

    The first row of a table without a header looks like names too: `Smith,Anna,fever`. So one of them must
    be known, or named by the user, and no value that rows have as well, such as `Report`.
    """
    if not names or not all(_looks_like_a_name(name, len(names)) for name in names):
        return False
    if options.header:
        return True
    spelled = {plain(name) for name in names}
    asked = {plain(name) for field in COLUMN_OPTIONS if (name := options.column(field)) is not None}
    known = spelled & NAMES
    return bool(spelled & asked) or bool(known - ALSO_VALUES) or len(known) > 1


def _looks_like_a_name(name: str, columns: int) -> bool:
    """Say whether `name` is short, has few words (one, if it stands alone) and starts with a letter."""
    words = name.split()
    if not words:
        return columns > 1  # pandas writes its index without a name
    few = len(words) <= (3 if columns > 1 else 1) and len(name) <= _NAME_CHARACTERS
    return few and (name.strip()[0].isalpha() or name.strip()[0] in "_#")


class Rows:
    """Makes notes of the rows of one table; its columns are taken first, and may change on the way.

    Args:
        options: what the user says of the table.
        intake: decides which rows become notes, and counts them.
        path: of the table, for messages.
        evidence: the first values of a column, by its name, to tell the order of day and month; asked for
            once, when a date does not tell it by itself.
    """

    def __init__(
        self,
        options: TableOptions,
        intake: Intake,
        path: Path,
        evidence: Callable[[str], Iterable[object]] = lambda _: (),
    ) -> None:
        self.options = options
        self._intake, self._path, self._evidence = intake, path, evidence
        self._names: list[str] = []
        self._layout: Layout | None = None
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._kept = 0
        self._orders: dict[str, str | None] = {}
        self._named = False  # whether any row so far had a column for its id
        self._chosen = False  # whether it was said which of several known columns is read

    def columns(self, names: Sequence[str], optional: Sequence[str] = ()) -> Layout:
        """Take `names` as the columns of the rows that follow; says so where none of them holds ids.

        Raises:
            InputError: as `layout_of`.
        """
        self._names = list(names)
        self._layout = self._layouts.get(tuple(names))
        if self._layout is None:
            self._layout = layout_of(names, self.options, self._path, optional)
            self._kept += len(names)
            if self._kept <= _NAMES_KEPT:
                self._layouts[tuple(names)] = self._layout
        if self._layout.others and not self._chosen:
            self._chosen = True
            self._intake.counts.remark(self._choice(self._layout))
        if self._layout.note_id >= 0:
            self._named = True
        elif not self._named:
            self._intake.counts.remark(
                f"{self._path}: no column holds the ids of the notes, so rows are numbered: row-1, row-2, …; "
                f"name it with --id-column NAME ({_columns(names, self.options)})"
            )
            self._named = True
        return self._layout

    def _choice(self, layout: Layout) -> str:
        """Say which of several columns that are known for a field is read."""
        said = []
        for field, others in layout.others.items():
            more = " and ".join(repr(self._names[at]) for at in others[:_OTHERS_SHOWN])
            said.append(f"{self._names[getattr(layout, field)]!r} for the {_FIELDS[field]}, not {more}")
        options = ", ".join(COLUMN_OPTIONS[field] for field in layout.others)
        return f"{self._path}: read {'; '.join(said)}; choose another with {options}"

    def note(self, values: Sequence[object]) -> Note | None:
        """Return the note in one row, or None with the reason counted.

        Dates that cannot be read and ages that are no number become null. A row without an id is called
        after its number. A row that holds what cannot be a note's is malformed.
        """
        if self._layout is None:
            raise ValueError("columns() comes first")
        try:
            return self._note(values, self._layout)
        except (ValueError, OverflowError, TypeError, RecursionError):  # of a library that took a value
            self._intake.counts.drop(MALFORMED)
            return None

    def _note(self, values: Sequence[object], layout: Layout) -> Note | None:
        counts = self._intake.counts
        if layout.retracted >= 0 and _is_set(values[layout.retracted]):
            counts.drop(RETRACTED)
            return None
        own_id = _id(values, layout.note_id)
        text = values[layout.text]
        if isinstance(text, bytes):  # of a database
            try:
                text = text.decode(self.options.encoding or "utf-8")
            except UnicodeDecodeError:
                counts.drop(NOT_UTF8, own_id)
                return None
        if not isinstance(text, str):
            counts.drop(WITHOUT_TEXT if text is None else MALFORMED, own_id)
            return None
        note_id = own_id or row_name(counts.rows)
        patient_id = _id(values, layout.patient_id)
        if not self._intake.admits(note_id, patient_id, text, self._path):
            return None
        counts.unnamed += own_id is None and layout.note_id >= 0
        return Note(
            note_id=note_id,
            patient_id=patient_id,
            encounter_id=_id(values, layout.encounter_id),
            time=self._time(values, layout),
            category=_category(values, layout.category),
            sex=sex_of(values[layout.sex]) if layout.sex >= 0 else None,
            age=age_of(values[layout.age]) if layout.age >= 0 else None,
            text=text,
            codes=_codes(values, layout.codes),
        )

    def id_of(self, values: Sequence[object]) -> str | None:
        """The id in one row, which may have broken off, or None."""
        at = -1 if self._layout is None else self._layout.note_id
        return _id(values, at) if at < len(values) else None

    def _time(self, values: Sequence[object], layout: Layout) -> datetime | None:
        """The first time that can be read; one that cannot is counted, and said once."""
        problems: dict[Unread, str] = {}
        for at in layout.times:
            time = read_time(values[at], self.options.date_format, partial(self._order, at))
            if isinstance(time, datetime):
                return time
            problems.setdefault(time, self._names[at])
        counts = self._intake.counts
        if Unread.AMBIGUOUS in problems:
            counts.unread_dates += 1
            counts.ambiguous_dates += 1
            counts.remark(
                f"{self._path}: dates in column {problems[Unread.AMBIGUOUS]!r} may have the day or the month "
                "first, so these notes have no time; say which with --date-format mdy or dmy"
            )
        elif Unread.UNREADABLE in problems:
            counts.unread_dates += 1
            counts.remark(
                f"{self._path}: column {problems[Unread.UNREADABLE]!r} holds dates that cannot be read, so "
                "these notes have no time; name their form with --date-format, for example %d/%m/%Y"
            )
        return None

    def _order(self, at: int) -> str | None:
        """The order of day, month and year that the first rows of a column agree on."""
        name = self._names[at]
        if name not in self._orders:
            self._orders[name] = common_order(self._evidence(name))
        return self._orders[name]


def row_name(row: int) -> str:
    """What a row without an id is called, so that nobody takes its number for an id."""
    return f"row-{row}"


def encodable_id(text: str) -> str:
    r"""`text` as UTF-8 can hold it: half a surrogate pair is written as `\ud83d`; no two ids become one.

    Backslashes before it, and before what is written so already, are doubled.
    """
    return _HALF_PAIR.sub(_written_out, text) if "\\" in text or not text.isascii() else text


def _written_out(found: re.Match[str]) -> str:
    backslashes, half, written = found.groups()
    return 2 * backslashes + (written or f"\\u{ord(half):04x}")


def sex_of(value: object) -> str | None:
    """Return `M` or `F`, or None for unknown and anything else."""
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(str(value).strip().lower())


def age_of(value: object) -> float | None:
    """Return a finite age in years, or None if `value` is not one."""
    try:
        age = float(value) if isinstance(value, (str, int, float)) else float("nan")
    except (ValueError, OverflowError):
        return None
    return age if 0.0 <= age < float("inf") else None


def _id(values: Sequence[object], position: int) -> str | None:
    """Return an id as text, or None for an empty one.

    A whole number that pandas wrote as 167853.0 loses its fraction; 16 bytes are a UUID unless they are
    text, and other bytes that are none are written in hexadecimal.
    """
    value = values[position] if position >= 0 else None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    if isinstance(value, (bytes, bytearray, memoryview)):
        value = _id_in_bytes(bytes(value))
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))  # {"$oid": …} of MongoDB, {"reference": …} of FHIR
    text = str(value).strip() if value is not None else ""
    whole = _FLOAT_ID.fullmatch(text)
    text = whole[1] if whole else text
    return None if text in _NULLS else encodable_id(text)


def _id_in_bytes(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text:
        return text
    return str(uuid.UUID(bytes=raw)) if len(raw) == 16 else raw.hex()


def _category(values: Sequence[object], position: int) -> str | None:
    value = values[position] if position >= 0 else None
    if isinstance(value, list):
        value = ", ".join(str(part).strip() for part in value)
    return (str(value).strip() or None) if value is not None else None


def _codes(values: Sequence[object], position: int) -> list[str] | None:
    value = values[position] if position >= 0 else None
    return [str(code) for code in value] if isinstance(value, list) else None


def _is_set(value: object) -> bool:
    return str(value).strip() in {"1", "1.0"} or value is True
