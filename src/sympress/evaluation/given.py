"""Labelled notes as Python programs hold them: arrays, names, spans or tables; all become `Gold`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.evaluation.gold import Gold, gold_of_spans, gold_of_symptoms
from sympress.labels.mentions import ASSERTIONS, AnnotatedNote, Assertion, Mention

#: Columns of a table that hold labels, the surest first; what `sympress label` writes has the same names.
LABEL_COLUMNS = ("mentions", "symptoms", "symptom")
_FORMS = "an array of 0 and 1, names, or spans (start, end, name, assertion)"


def texts_of(notes: Any, what: str = "notes") -> list[str]:
    """The texts of notes: a list, a column, or a table (polars, pandas) with a column `text`.

    Raises:
        InputError: there is no such column, or a note is no text.
    """
    found = _column(notes, "text", what) if hasattr(notes, "columns") else notes
    if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
        raise InputError(f"{what}: a {type(found).__name__}; give a list of texts, or a table with 'text'")
    texts = list(found)
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"{what}: note {at} is {type(text).__name__}, not text; give str")
    return texts


def gold_of(
    notes: Any,
    labels: Any = None,
    *,
    symptoms: Sequence[str] = (),
    patients: Any = None,
    groups: Any = None,
    what: str = "notes",
) -> Gold:
    """Labelled notes as `Gold`.

    Args:
        notes: `Gold`, which is returned as it is; texts; or a table (polars, pandas) with the column `text`
            and, without `labels`, one of `mentions` (spans), `symptoms` (names, in a list or with `;` between
            them) or `symptom` (one name). Its columns `note_id` and `patient_id` are read where they are.
        labels: one entry a note: an array `(notes, K)` of 0 and 1, whose columns are `symptoms` or named in a
            table; an array `(notes,)` of places in `symptoms`; one name; names; or spans, each
            `(start, end, name)` or `(start, end, name, assertion)`, counted in characters.
        symptoms: names of the columns of an array.
        patients: `(notes,)` whose note each is; the unit that a bootstrap draws.
        groups: `(notes,)` what figures are told apart by.
        what: these notes are, for messages.

    Raises:
        InputError: labels are missing, of another number than the notes, or of another form.
    """
    if isinstance(notes, Gold):
        return notes
    texts = texts_of(notes, what)
    ids = _optional(notes, ("note_id",), what)
    ids = None if ids is None else list(map(str, ids))
    labels = _optional(notes, LABEL_COLUMNS, what) if labels is None else labels
    patients = _optional(notes, ("patient_id",), what) if patients is None else patients
    if labels is None:
        raise InputError(f"{what}: no labels; give {_FORMS}, or a column {', '.join(LABEL_COLUMNS)}")
    entries = _entries(labels, symptoms, what)
    if len(entries) != len(texts):
        raise InputError(f"{what}: {len(texts):,} texts and {len(entries):,} labels; give one a note")
    beside: dict[str, Any] = {"patients": _beside(patients), "groups": _beside(groups), "name": what}
    if not any(isinstance(one, Mention) for entry in entries for one in entry):
        return gold_of_symptoms(texts, cast("list[list[str]]", entries), note_ids=ids, **beside)
    return gold_of_spans(_annotated(texts, entries, ids, what), **beside)


def _annotated(
    texts: Sequence[str], entries: Sequence[list[str | Mention]], ids: list[str] | None, what: str
) -> list[AnnotatedNote]:
    for at, entry in enumerate(entries):
        if not all(isinstance(one, Mention) for one in entry):
            raise InputError(f"{what}: note {at} has names and others have spans; give one of the two")
    ids = ids or [str(number) for number in range(1, len(texts) + 1)]
    rows = zip(ids, texts, cast("list[list[Mention]]", entries), strict=True)
    return [
        AnnotatedNote(note_id, text, tuple(sorted(found, key=lambda one: (one.start, one.end))))
        for note_id, text, found in rows
    ]


def pair_of(given: Any, *, symptoms: Sequence[str] = (), what: str = "notes") -> Gold:
    """`gold_of` what a caller gave as one argument: `(texts, labels)`, a table with labels, or `Gold`.

    Raises:
        InputError: as `gold_of`.
    """
    if isinstance(given, tuple):
        if len(given) != 2:
            raise InputError(f"{what}: {len(given)} values; give (texts, labels)")
        return gold_of(given[0], given[1], symptoms=symptoms, what=what)
    return gold_of(given, symptoms=symptoms, what=what)


def _beside(values: Any) -> list[str | None] | None:
    """A name a note; what is missing in a table is None."""
    if values is None:
        return None
    return [None if _missing(one) else str(one) for one in _listed(values)]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _listed(values: Any) -> list[Any]:
    to_list = getattr(values, "to_list", None) or getattr(values, "tolist", None)
    return list(values) if to_list is None else list(to_list())


def _column(table: Any, name: str, what: str) -> list[Any]:
    columns = list(map(str, table.columns))
    if name not in columns:
        raise InputError(f"{what}: no column {name!r}{nearest(name, columns)}; rename the one that it is")
    return _listed(table[name])


def _optional(notes: Any, names: Sequence[str], what: str) -> list[Any] | None:
    """The first of these columns that a table has; None where it has none, or is no table."""
    columns = list(map(str, getattr(notes, "columns", ())))
    found = next((name for name in names if name in columns), None)
    return None if found is None else _column(notes, found, what)


def _entries(labels: Any, symptoms: Sequence[str], what: str) -> list[list[str | Mention]]:
    """Of each note its names, or its spans."""
    if hasattr(labels, "columns"):
        return _of_array(np.asarray(labels), [str(name) for name in labels.columns], what)
    listed = _listed(labels)
    array = _as_numbers(listed)
    if array is not None:
        return _of_array(array, symptoms, what)
    return [_entry(one, f"{what}: note {at}") for at, one in enumerate(listed)]


def _as_numbers(listed: list[Any]) -> NDArray[Any] | None:
    """`listed` as an array, if it holds a number a note or a row of numbers a note; else None."""
    first = next((one for one in listed if not _missing(one)), None)
    inner = first
    if isinstance(first, Sequence | np.ndarray) and not isinstance(first, str) and len(first):
        inner = first[0]
    if not isinstance(inner, int | float | np.number | np.bool_):
        return None
    try:
        array = np.asarray(listed)
    except ValueError:  # rows of several lengths
        return None
    return array if array.dtype.kind in "biuf" else None


def _of_array(array: NDArray[Any], symptoms: Sequence[str], what: str) -> list[list[str | Mention]]:
    if not symptoms:
        raise InputError(f"{what}: an array of labels without names; name its columns with symptoms=[…]")
    if array.dtype.kind not in "biuf" or array.ndim not in (1, 2):
        raise InputError(f"{what}: labels {array.shape} are no array of numbers; give {_FORMS}")
    if array.ndim == 2:
        if array.shape[1] != len(symptoms):
            raise InputError(
                f"{what}: an array of {array.shape[1]} columns, {len(symptoms)} symptoms: give one each"
            )
        if not np.isin(array, (0, 1)).all():
            raise InputError(f"{what}: an array of labels holds 0 and 1 only; apply thresholds first")
        return [[symptoms[column] for column in np.flatnonzero(row).tolist()] for row in array]
    if array.size and not (np.isin(array, np.arange(len(symptoms)))).all():
        raise InputError(f"{what}: places of labels are whole numbers from 0 to {len(symptoms) - 1}")
    return [[symptoms[int(place)]] for place in array]


def _entry(value: Any, where: str) -> list[str | Mention]:
    if _missing(value):
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(";") if name.strip()]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{where}: labels are {type(value).__name__}; give {_FORMS}")
    return [one if isinstance(one, str | Mention) else _span(one, where) for one in value]


def _span(value: Any, where: str) -> Mention:
    if isinstance(value, Mapping):
        value = [value.get(key) for key in ("start", "end", "symptom")] + [
            value.get("assertion") or "present"
        ]
    parts = list(value) if isinstance(value, Sequence) else []
    if len(parts) not in (3, 4) or not all(_whole(one) for one in parts[:2]):
        raise InputError(f"{where}: a span is no (start, end, name) or (start, end, name, assertion)")
    name = parts[2]
    if name is not None and not isinstance(name, str):
        raise InputError(f"{where}: a span's name is {type(name).__name__}; give text, or None")
    assertion = parts[3] if len(parts) == 4 else "present"
    if assertion not in get_args(Assertion):
        raise InputError(
            f"{where}: unknown assertion {str(assertion)[:40]!r}{nearest(str(assertion), ASSERTIONS)}; use "
            f"{', '.join(ASSERTIONS)}"
        )
    return Mention(int(parts[0]), int(parts[1]), name, cast("Assertion", assertion))


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
