"""Gold in memory, in every form that programs have it, and which symptom of an artifact a name is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.labels.gold.mentions import form_key, ids_by_form
from sympress.labels.lexicon import Lexicon, load_lexicon, vaers_to_clinical
from sympress.labels.linking import SpanLinker
from sympress.labels.matching import fold
from sympress.labels.mentions import AnnotatedNote, Assertion, Mention
from sympress.labels.silver import affirmed_symptoms
from sympress.labels.task import span_classes
from sympress.runtime.extractor import Extractor
from sympress.runtime.linker import load_names

# Gold in memory: notes with the spans that people marked in them, or with the symptoms of the whole note.


@dataclass(frozen=True, slots=True)
class GoldNote:
    """A note and what people say of it.

    Attributes:
        note_id: its id.
        text: its text; offsets count its characters.
        affirmed: names of the symptoms that the note affirms.
        mentions: the spans that people marked, by start; empty where `Gold.spans` is false.
        patient_id: whose note it is; None where nobody says.
        group: what the note counts to when figures are told apart; None for no group.
    """

    note_id: str
    text: str
    affirmed: frozenset[str]
    mentions: tuple[Mention, ...] = ()
    patient_id: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Gold:
    """Annotated notes, ready to judge an artifact.

    Attributes:
        notes: at least one.
        name: a short name for tables.
        form: what it was read from, e.g. `brat`.
        spans: people marked spans; otherwise they said of whole notes what these affirm.
        asserted: somebody said what spans assert; otherwise all count as present, unjudged.
        group_by: what `GoldNote.group` is; None without groups.
        remarks: what a reader of the figures must know, a line each.
    """

    notes: tuple[GoldNote, ...]
    name: str = "gold"
    form: str = "memory"
    spans: bool = True
    asserted: bool = True
    group_by: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def patients(self) -> list[str | None] | None:
        """Patient of each note, `(notes,)`; None where no note names one."""
        found = [note.patient_id for note in self.notes]
        return found if any(one is not None for one in found) else None


def gold_of_spans(
    notes: Iterable[AnnotatedNote],
    *,
    patients: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
    asserted: bool = True,
    name: str = "gold",
) -> Gold:
    """Return gold of notes whose mentions people marked.

    Args:
        notes: annotated notes; a symptom is named as the artifact or its lexicon names it, or None.
        patients: `(notes,)` whose note each is.
        groups: `(notes,)` what figures are told apart by.
        asserted: whether the mentions say what the notes assert of them.
        name: a short name for tables.

    Raises:
        InputError: no notes, an id twice, a span outside its text, or other lengths.
    """
    held = [GoldNote(one.note_id, one.text, affirmed_symptoms(one.mentions), one.mentions) for one in notes]
    gold = Gold(tuple(held), name, asserted=asserted)
    return checked(_beside(gold, patients, groups))


def gold_of_symptoms(
    texts: Sequence[str],
    symptoms: Sequence[Iterable[str]],
    *,
    note_ids: Sequence[str] | None = None,
    patients: Sequence[str | None] | None = None,
    groups: Sequence[str | None] | None = None,
    name: str = "gold",
) -> Gold:
    """Return gold of whole notes: `(notes,)` texts, and the names of the symptoms that each affirms.

    The other arguments are those of `gold_of_spans`; without `note_ids` notes are called after their number.

    Raises:
        InputError: no notes, an id twice, or other lengths.
    """
    ids = [str(number) for number in range(1, len(texts) + 1)] if note_ids is None else list(note_ids)
    if not len(texts) == len(symptoms) == len(ids):
        raise InputError(
            f"{len(texts)} texts, {len(symptoms)} lists of symptoms, {len(ids)} ids: give one of each a note"
        )
    rows = zip(ids, texts, symptoms, strict=True)
    held = tuple(GoldNote(note_id, text, frozenset(named)) for note_id, text, named in rows)
    return checked(_beside(Gold(held, name, spans=False, asserted=False), patients, groups))


def _beside(gold: Gold, patients: Sequence[str | None] | None, groups: Sequence[str | None] | None) -> Gold:
    """`gold` with the patient and the group of each note."""
    notes = gold.notes
    for what, values in (("patients", patients), ("groups", groups)):
        if values is not None and len(values) != len(notes):
            raise InputError(f"{len(values)} {what}, {len(notes)} notes: give one of each a note")
    if patients is not None:
        notes = tuple(replace(one, patient_id=value) for one, value in zip(notes, patients, strict=True))
    if groups is not None:
        notes = tuple(replace(one, group=value) for one, value in zip(notes, groups, strict=True))
    return replace(gold, notes=notes, group_by=None if groups is None else "group")


def checked(gold: Gold) -> Gold:
    """Return `gold` once it is known to fit its notes.

    Raises:
        InputError: no notes, an id twice, or a span outside its text.
    """
    if not gold.notes:
        raise InputError(f"{gold.name}: no annotated note; give notes that people annotated")
    seen: set[str] = set()
    for note in gold.notes:
        if note.note_id in seen:
            raise InputError(f"{gold.name}: note {note.note_id!r} is there twice; keep one of them")
        seen.add(note.note_id)
        for one in note.mentions:
            if not 0 <= one.start < one.end <= len(note.text):
                raise InputError(
                    f"{gold.name}: note {note.note_id!r}: offsets {one.start} {one.end} mark nothing of its "
                    f"{len(note.text)} characters; give the notes as they were annotated"
                )
    return gold


# Which symptom of an artifact a name in the gold standard is.


@dataclass(frozen=True)
class Vocabulary:
    """What an artifact can answer, and the names that people may use for it.

    Attributes:
        known: every symptom that the artifact can answer with.
        lexicon: names the symptom of marked words; the artifact's, else the clinical one.
        by_name: symptom by its id, name, form or code, folded.
        link: the symptom of the lexicon that marked words name.
    """

    known: frozenset[str]
    lexicon: Lexicon
    by_name: Mapping[str, str]
    link: Callable[[str], str | None]

    @classmethod
    def of(cls, extractor: Extractor) -> Vocabulary:
        """Return the vocabulary of an artifact."""
        held = extractor.words.lexicon
        names = load_names(extractor.settings, held)
        lexicon = held or load_lexicon("clinical")
        found: dict[str, str] = {}
        for symptom in names:
            found.setdefault(fold(symptom.strip()), symptom)
        for symptom, name in names.items():
            found.setdefault(fold(name), symptom)
            found.setdefault(fold(vaers_to_clinical(symptom) or symptom), symptom)
        for symptom, codes in extractor.settings.codes.items():
            for code in codes if symptom in names else ():
                found.setdefault(fold(code), symptom)
        for form, symptom in ids_by_form(lexicon).items():
            if (one := found.get(fold(symptom))) is not None:
                found.setdefault(fold(form), one)
        return cls(frozenset(names), lexicon, found, SpanLinker.of(lexicon))

    @classmethod
    def of_lexicon(cls, lexicon: Lexicon) -> Vocabulary:
        """Return what names symptoms before there is an artifact: the lexicon those of marked words."""
        return cls(frozenset(), lexicon, {}, SpanLinker.of(lexicon))

    def symptom(self, name: str) -> str | None:
        """The artifact's symptom that people call `name`; None for one that it doesn't know."""
        if name in self.known:
            return name
        tried = (name, vaers_to_clinical(name) or "", form_key(name))
        return next((self.by_name[fold(one)] for one in tried if fold(one) in self.by_name), None)

    def name(self, given: str) -> str:
        """The artifact's symptom that people call `given`, or `given` itself."""
        return self.symptom(given) or given

    def named(self, mention: Mention) -> Mention:
        """`mention` with the artifact's own name of its symptom."""
        return mention if mention.symptom is None else replace(mention, symptom=self.name(mention.symptom))

    def symptom_of_words(self, words: str) -> str | None:
        """The symptom that marked words name by the lexicon: an id of the artifact's where it has it."""
        linked = self.link(words)
        return None if linked is None else self.name(linked)


# Labelled notes as Python programs hold them: arrays, names, spans or tables; all become `Gold`.


#: Columns of a table that hold labels, the surest first; what `sympress label` writes has the same names.
LABEL_COLUMNS = ("mentions", "symptoms", "symptom")
#: What a span that is a mapping calls its symptom, the surest first.
_NAMES_OF_SPANS = ("symptom", "label", "name")
_FORMS = "an array of 0 and 1, names, or spans (start, end, name, assertion)"
#: What pandas, which need not be installed, calls a missing value.
_MISSING_OF_PANDAS = ("NAType", "NaTType")


def texts_of(notes: Any, what: str = "notes") -> list[str]:
    """The texts of notes: a list, a column, or a table (polars, pandas) with a column `text`.

    Raises:
        InputError: there is no such column, or a note is no text.
    """
    _be_collected(notes, what)
    found = _column(notes, "text", what) if hasattr(notes, "columns") else notes
    if not _is_list(found):
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
            table; an array `(notes,)` of places in `symptoms`, or of 0 and 1 where there is one symptom; one
            name; names; or spans, each `(start, end, name)` or `(start, end, name, assertion)`, counted in
            characters.
        symptoms: names of the columns of an array. White space around names is no part of them.
        patients: `(notes,)` whose note each is, the unit that a bootstrap draws; what is missing (None, NaN,
            NaT, NA) is nobody's.
        groups: `(notes,)` what figures are told apart by; what is missing is in no group.
        what: these notes are, for messages.

    Raises:
        InputError: labels are missing, of another number than the notes, or of another form; a name is empty,
            or two columns have the same one.
    """
    if isinstance(notes, Gold):
        return notes
    texts, symptoms = texts_of(notes, what), names_of(symptoms, f"{what}: symptoms")
    ids = _ids(_optional(notes, ("note_id",), what), what)
    labels = _optional(notes, LABEL_COLUMNS, what) if labels is None else labels
    patients = _optional(notes, ("patient_id",), what) if patients is None else patients
    if labels is None:
        raise InputError(f"{what}: no labels; give {_FORMS}, or a column {', '.join(LABEL_COLUMNS)}")
    entries = _entries(labels, symptoms, what)
    if len(entries) != len(texts):
        raise InputError(f"{what}: {len(texts):,} texts and {len(entries):,} labels; give one a note")
    beside: dict[str, Any] = {
        "patients": _beside_texts(patients, f"{what}: patients (whose note each is)"),
        "groups": _beside_texts(groups, f"{what}: groups (what figures are told apart by)"),
        "name": what,
    }
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


def names_of(symptoms: Iterable[Any], what: str = "symptoms") -> tuple[str, ...]:
    """Names of symptoms, without the white space around them.

    Raises:
        InputError: one is no text or empty, or is there twice; or they are no list.
    """
    if not _is_list(symptoms):
        raise InputError(f"{what}: a {type(symptoms).__name__}; give a list of names")
    names = tuple(_name(one, f"{what}: {at}") for at, one in enumerate(symptoms))
    if len(set(names)) < len(names):
        twice = next(name for at, name in enumerate(names) if name in names[:at])
        raise InputError(f"{what}: {twice[:60]!r} is there twice; keep one")
    return names


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: a name is {type(value).__name__}; give text")
    if not (name := value.strip()):
        raise InputError(f"{where}: a name is empty; leave it out")
    return name


def _ids(values: list[Any] | None, what: str) -> list[str] | None:
    for at, one in enumerate(values or ()):
        if _missing(one):
            raise InputError(f"{what}: note {at} has no note_id; give each one, or leave the column out")
    return None if values is None else list(map(str, values))


def _beside_texts(values: Any, where: str) -> list[str | None] | None:
    """A name a note; what is missing in a list or a column is None."""
    if values is None:
        return None
    if hasattr(values, "columns") or not _is_list(values):
        raise InputError(f"{where} are {type(values).__name__}; give a list or a column, one name per note")
    listed = _listed(values)
    for at, one in enumerate(listed):
        if isinstance(one, Iterable) and not isinstance(one, str | bytes):
            raise InputError(f"{where}: note {at} has {type(one).__name__}; give one name per note")
    return [None if _missing(one) or not str(one).strip() else str(one) for one in listed]


def _missing(value: Any) -> bool:
    """Whether a cell of a table is empty, however its library says so."""
    if isinstance(value, float | np.floating | Decimal):
        return math.isnan(value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return value is None or type(value).__name__ in _MISSING_OF_PANDAS


def _is_list(values: Any) -> bool:
    """Whether `values` hold something a note, in order."""
    single = isinstance(values, str | bytes | Mapping | set | frozenset) or getattr(values, "ndim", 1) == 0
    return isinstance(values, Iterable) and not single


def _listed(values: Any) -> list[Any]:
    to_list = getattr(values, "to_list", None) or getattr(values, "tolist", None)
    return list(values) if to_list is None else list(to_list())


def _be_collected(table: Any, what: str) -> None:
    if isinstance(table, pl.LazyFrame):
        raise InputError(f"{what}: a LazyFrame, which has no rows yet; give its .collect()")


def _column(table: Any, name: str, what: str) -> list[Any]:
    columns = list(map(str, table.columns))
    if name not in columns:
        raise InputError(f"{what}: no column {name!r}{nearest(name, columns)}; rename the one that it is")
    if columns.count(name) > 1:
        raise InputError(f"{what}: {columns.count(name)} columns {name!r}; keep one")
    return _listed(table[name])


def _optional(notes: Any, names: Sequence[str], what: str) -> list[Any] | None:
    """The first of these columns that a table has; None where it has none, or is no table."""
    columns = list(map(str, getattr(notes, "columns", ())))
    found = next((name for name in names if name in columns), None)
    return None if found is None else _column(notes, found, what)


def _entries(labels: Any, symptoms: Sequence[str], what: str) -> list[list[str | Mention]]:
    """Of each note its names, or its spans."""
    _be_collected(labels, what)
    if hasattr(labels, "columns"):
        return _of_array(np.asarray(labels), names_of(map(str, labels.columns), f"{what}: columns"), what)
    if not _is_list(labels):
        raise InputError(f"{what}: labels are {type(labels).__name__}; give {_FORMS}, one entry a note")
    listed = _listed(labels)
    array = _as_array(listed)
    if array is not None:
        return _of_array(array, symptoms, what)
    return [_entry(one, f"{what}: note {at}") for at, one in enumerate(listed)]


def _as_array(listed: list[Any]) -> NDArray[Any] | None:
    """`listed` as an array, if it holds a number a note or a row of numbers a note; else None."""
    rows = (one if isinstance(one, list | tuple | np.ndarray) else (one,) for one in listed)
    first = next((cell for row in rows for cell in row if not _missing(cell)), None)
    if not isinstance(first, int | float | np.number | np.bool_):
        return None
    try:
        array = np.asarray(listed)
    except ValueError:  # rows of several lengths
        return None
    if array.ndim == 1 and array.dtype.kind in "iuf":  # which numpy makes of True, too
        array = np.fromiter(listed, dtype=object, count=len(listed))
    return array if array.dtype.kind in "biufO" else None


def _of_array(array: NDArray[Any], symptoms: Sequence[str], what: str) -> list[list[str | Mention]]:
    if not symptoms:
        raise InputError(f"{what}: an array of labels without names; name its columns with symptoms=[…]")
    if array.dtype.kind not in "biufO" or array.ndim not in (1, 2):
        raise InputError(f"{what}: labels {array.shape} are no array of numbers; give {_FORMS}")
    if array.ndim == 2 and array.shape[1] != len(symptoms):
        raise InputError(
            f"{what}: an array of {array.shape[1]} columns, {len(symptoms)} symptoms: give one each"
        )
    told = _numbers(array, symptoms, what)
    if told.ndim == 1 and len(symptoms) == 1:
        told = told[:, None]
    if told.ndim == 2:
        if not np.isin(told, (0, 1)).all():
            raise InputError(f"{what}: an array of labels holds 0 and 1 only; apply thresholds first")
        return [[symptoms[column] for column in np.flatnonzero(row).tolist()] for row in told]
    if any(isinstance(one, bool | np.bool_) for one in array):
        raise InputError(
            f"{what}: one True or False a note, {len(symptoms)} symptoms; give an array of "
            f"{len(symptoms)} columns, or names"
        )
    if told.size and not (np.isin(told, np.arange(len(symptoms)))).all():
        raise InputError(f"{what}: places of labels are whole numbers from 0 to {len(symptoms) - 1}")
    return [[symptoms[int(place)]] for place in told]


def _numbers(array: NDArray[Any], symptoms: Sequence[str], what: str) -> NDArray[Any]:
    """The cells of labels as numbers.

    Raises:
        InputError: one is missing, or no number.
    """
    if array.dtype.kind in "biu":
        return array
    if array.dtype.kind == "f" and not np.isnan(array).any():
        return array
    for place, cell in np.ndenumerate(array):
        where = f"{what}: note {place[0]}" + (f", column {symptoms[place[1]]!r}" if array.ndim == 2 else "")
        if _missing(cell):
            raise InputError(f"{where}: no label; give 0 or 1, or leave the note out")
        if not isinstance(cell, int | float | np.number | np.bool_):
            raise InputError(f"{where}: a label is {type(cell).__name__}, no number; give {_FORMS}")
    return array.astype(float)


def _entry(value: Any, where: str) -> list[str | Mention]:
    if _missing(value):
        raise InputError(f"{where}: no labels; give [] for a note that has none, or leave the note out")
    if isinstance(value, str):
        return [name.strip() for name in value.split(";") if name.strip()]
    if isinstance(value, Mapping) or not isinstance(value, Iterable):
        raise InputError(f"{where}: labels are {type(value).__name__}; give {_FORMS}")
    return [_name_or_span(one, where) for one in value]


def _name_or_span(value: Any, where: str) -> str | Mention:
    if isinstance(value, str) or _missing(value):
        return _name(value, where)
    return value if isinstance(value, Mention) else _span(value, where)


def _span(value: Any, where: str) -> Mention:
    if isinstance(value, Mapping):
        named = next((key for key in _NAMES_OF_SPANS if key in value), None)
        if named is None:
            raise InputError(f"{where}: a span without a name; give it as {' or '.join(_NAMES_OF_SPANS)}")
        value = [value.get(key) for key in ("start", "end", named, "assertion")]
    parts = list(value) if isinstance(value, Sequence) else []
    if len(parts) not in (3, 4) or not all(_whole(one) for one in parts[:2]):
        raise InputError(f"{where}: a span is no (start, end, name) or (start, end, name, assertion)")
    start, end, name, assertion = (*parts, None)[:4]
    return Mention(
        int(start),
        int(end),
        None if _missing(name) else _name(name, where),
        "present" if _missing(assertion) else checked_class(assertion, where),
    )


def checked_class(told: Any, where: str) -> Assertion:
    """What a span is told to be: an assertion, or a class of another task that finds spans.

    Raises:
        InputError: no task knows it.
    """
    if told not in (known := span_classes()):
        shown = f"{str(told)[:40]!r}{nearest(str(told), known)}"
        raise InputError(f"{where}: unknown assertion {shown}; use {', '.join(known)}")
    return cast("Assertion", told)


def _whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
