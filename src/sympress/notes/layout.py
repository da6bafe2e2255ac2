"""Which column of a table is what, and one row of it as a note."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.notes.intake import MALFORMED, RETRACTED, WITHOUT_TEXT, Intake, Note

#: Column names, lower-cased, under which a note's text is commonly found.
TEXT_NAMES = frozenset(
    [
        "text",
        "note_text",
        "transcription",
        "note",
        "notes",
        "report",
        "report_text",
        "clinical_note",
        "narrative",
        "document",
        "content",
        "symptom_text",
    ]
)

#: Column names, lower-cased, for the rest of a note, the surest first. Of `time`, each is tried in turn.
KNOWN_NAMES: dict[str, tuple[str, ...]] = {
    "note_id": ("note_id", "row_id", "document_id", "doc_id", "report_id", "sample_id", "id"),
    "patient_id": ("patient_id", "subject_id", "person_id"),
    "encounter_id": ("encounter_id", "hadm_id", "visit_id", "visit_occurrence_id"),
    "time": ("time", "charttime", "chartdate", "note_datetime", "note_date", "timestamp", "datetime", "date"),
    "category": ("category", "note_type", "medical_specialty", "specialties"),
    "sex": ("sex", "gender"),
    "age": ("age", "age_yrs", "age_years"),
    "codes": ("codes",),
    "retracted": ("iserror",),
}

_NAME_CHARACTERS = 40
_FLOAT_ID = re.compile(r"\d+\.0")


@dataclass(frozen=True)
class Layout:
    """Positions of a note's fields among the `width` columns of a table; -1 where it has none."""

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


def layout_of(names: Sequence[str], text_column: str | None, path: Path) -> Layout:
    """Find the fields of a note among the column `names` of the table `path`.

    Raises:
        InputError: the text column is missing or ambiguous; the message names the columns there are.
    """
    text = _text_position(names, text_column, path)
    lowered = [name.strip().lower() for name in names]
    lowered[text] = ""  # the text of a note is nothing else, whatever its name

    def first(field: str) -> int:
        return next((lowered.index(name) for name in KNOWN_NAMES[field] if name in lowered), -1)

    return Layout(
        width=len(names),
        text=text,
        note_id=first("note_id"),
        patient_id=first("patient_id"),
        encounter_id=first("encounter_id"),
        times=tuple(lowered.index(name) for name in KNOWN_NAMES["time"] if name in lowered),
        category=first("category"),
        sex=first("sex"),
        age=first("age"),
        codes=first("codes"),
        retracted=first("retracted"),
    )


def _text_position(names: Sequence[str], text_column: str | None, path: Path) -> int:
    lowered = [name.strip().lower() for name in names]
    if text_column is None:
        found = [position for position, name in enumerate(lowered) if name in TEXT_NAMES]
        if len(found) == 1:
            return found[0]
        problem = (
            "several columns may hold the text" if found else "no column with a well-known name for the text"
        )
        raise InputError(f"{path}: {problem}; choose it with --text-column NAME ({_columns(names)})")
    exact = [position for position, name in enumerate(names) if name == text_column]
    alike = [position for position, name in enumerate(lowered) if name == text_column.strip().lower()]
    found = exact or alike
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{path}: {len(found)} columns are called {text_column!r}; rename all but one")
    shown = names if _is_header(names) else ()
    raise InputError(
        f"{path}: no column {text_column!r}{nearest(text_column, shown)}; "
        f"choose the text with --text-column NAME ({_columns(names)})"
    )


def _columns(names: Sequence[str]) -> str:
    """Name the columns, unless the first row may be a note already: a note never enters an error."""
    if _is_header(names):
        return "columns: " + ", ".join(name.strip() or "(unnamed)" for name in names)
    return f"its first row, {len(names)} fields, does not look like a header: add one"


def _is_header(names: Sequence[str]) -> bool:
    return bool(names) and all(_looks_like_a_name(name, len(names)) for name in names)


def _looks_like_a_name(name: str, columns: int) -> bool:
    """Say whether `name` is short, has few words (one, if it stands alone) and starts with a letter."""
    words = name.split()
    if not words:
        return columns > 1  # pandas writes its index without a name
    few = len(words) <= (3 if columns > 1 else 1) and len(name) <= _NAME_CHARACTERS
    return few and (name.strip()[0].isalpha() or name.strip()[0] in "_#")


def note_of(values: Sequence[object], layout: Layout, intake: Intake, path: Path) -> Note | None:
    """Return the note in one row of `layout.width` values, or None with the reason counted.

    Dates that are not ISO 8601 and ages that are no number become null. A row without an id is called
    after its number.
    """
    if layout.retracted >= 0 and _is_set(values[layout.retracted]):
        intake.counts.drop(RETRACTED)
        return None
    text = values[layout.text]
    if text is None:
        intake.counts.drop(WITHOUT_TEXT)
        return None
    if not isinstance(text, str):
        intake.counts.drop(MALFORMED)
        return None
    note_id = _id(values, layout.note_id)
    if note_id is None:
        note_id = str(intake.counts.rows) if layout.note_id < 0 else f"row-{intake.counts.rows}"
    patient_id = _id(values, layout.patient_id)
    if not intake.admits(note_id, patient_id, text, path):
        return None
    return Note(
        note_id=note_id,
        patient_id=patient_id,
        encounter_id=_id(values, layout.encounter_id),
        time=next((time for at in layout.times if (time := time_of(values[at])) is not None), None),
        category=_category(values, layout.category),
        sex=sex_of(values[layout.sex]) if layout.sex >= 0 else None,
        age=age_of(values[layout.age]) if layout.age >= 0 else None,
        text=text,
        codes=_codes(values, layout.codes),
    )


def time_of(value: object) -> datetime | None:
    """Return an ISO 8601 date or time (without zone, UTC if it has one), or None if it is not one."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    return datetime(value.year, value.month, value.day) if isinstance(value, date) else None


def sex_of(value: object) -> str | None:
    """Return `M` or `F`, or None for unknown and anything else."""
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(str(value).strip().lower())


def age_of(value: object) -> float | None:
    """Return a finite age in years, or None if `value` is not one."""
    try:
        age = float(value) if isinstance(value, (str, int, float)) else float("nan")
    except ValueError:
        return None
    return age if 0.0 <= age < float("inf") else None


def _id(values: Sequence[object], position: int) -> str | None:
    """Return an id as text; a whole number that pandas wrote as 167853.0 loses its fraction."""
    value = values[position] if position >= 0 else None
    if value is None:
        return None
    text = str(value).strip()
    return (text[:-2] if _FLOAT_ID.fullmatch(text) else text) or None


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
