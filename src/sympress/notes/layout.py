"""Which column of a table is what, and how a row becomes a note."""

from __future__ import annotations

import codecs
import encodings.aliases
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.notes.dates import Unread, check_format, common_order, read_time
from sympress.notes.intake import MALFORMED, NOT_UTF8, RETRACTED, WITHOUT_TEXT, Intake, Note

# The names under which electronic health records, research databases and registries keep a note's fields.
#
# Names are compared by their letters and digits alone: `NoteID`, `note id` and `NOTE_ID` are one name. Each
# list has the surest name first. Sources: Epic Clarity and Caboodle, Cerner Millennium, the VA's Corporate
# Data Warehouse, MIMIC-III, MIMIC-IV-Note, eICU, OMOP, PCORnet, i2b2, CLIF, Synthea, VAERS, FAERS.


#: Where the text is. Of these a table must have one only.
TEXT_NAMES = """
    text note_text transcription note notes report report_text clinical_note narrative document content
    symptom_text
"""

#: Where the text may be in a table with none of `TEXT_NAMES`.
MORE_TEXT_NAMES = """
    clinical_notes clinical_text document_text doc_text note_content note_contents note_body note_value body
    full_text free_text raw_text plain_text report_content document_content observation_blob blob_contents
    result_text progress_note
"""

#: The rest of a note. Of `time`, each is tried in turn until one holds a date.
KNOWN_NAMES = {
    "note_id": """
        note_id row_id document_id doc_id report_id sample_id
        note_identifier note_key note_uid note_uuid note_guid note_sid note_ien
        tiu_document_sid tiu_document_ien report_text_sid hno_note_id hno_id note_csn_id
        clinical_note_id clinical_note_key clinical_document_id document_reference_id
        clinical_event_id note_event_id event_id ce_blob_result_id note_version_id
        document_sid document_key document_uid document_uuid document_guid document_identifier
        doc_key doc_uid doc_guid report_key report_uid report_identifier rad_report_id radiology_report_id
        note_number note_num note_no document_number document_no doc_number doc_no report_number report_no
        accession_number accession_id accession accession_no text_id narrative_id transcription_id
        vaers_id primary_id isr case_id case_number record_id uid uuid guid _id id
    """,
    "patient_id": """
        patient_id subject_id person_id pat_id mrn patient_mrn pat_mrn_id pat_mrn mrn_id medical_record_number
        med_rec_no med_rec_num mr_number mr_no mrn_number patient_sid patient_icn patient_ien scr_ssn
        patient_durable_key patient_key patient_epic_id patid patient_num patient_number patient_no pat_num
        pt_id ptid pt_no unique_pid empi empi_id epi_mrn emp_i eid_mrn subj_id usubj_id usubjid
        subject_identifier participant_id member_id bene_id patient_identifier patient_uid patient_uuid
        patient_guid person_source_value patient_source_value person_key person_uid deid_pat_id
        study_subject_id nhs_number hospital_number pid icn patient subject person
    """,
    "encounter_id": """
        encounter_id hadm_id visit_id visit_occurrence_id pat_enc_csn_id pat_enc_csn csn csn_id encounter_csn
        encounter_csn_id encounter_epic_csn enc_csn_id contact_serial_number encntr_id enc_id encounter_num
        encounter_number encounter_no encounter_key encounter_identifier encounter_uid encounter_guid
        visit_sid visit_ien visit_num visit_number visit_no visit_key inpatient_sid hospitalization_id
        hospitalisation_id admission_id adm_id hospital_admission_id hosp_admission_id stay_id icustay_id
        icu_stay_id patient_unit_stay_id patient_health_system_stay_id hsp_account_id hsp_account
        hospital_account_id har fin fin_nbr fin_number account_number acct_num account_num
        patient_account_number episode_id visit_detail_id encounter visit
    """,
    "time": """
        time chart_time chart_date note_datetime note_date timestamp datetime
        note_time note_timestamp note_dttm note_dt note_date_time reference_date_time reference_datetime
        service_datetime service_date_time service_instant date_of_service date_of_servic_dttm
        date_of_service_dttm service_dttm service_date dos serv_date note_service_date
        note_date_of_service spec_note_time_dttm note_written_date note_created_date note_created_datetime
        date_of_note date_created datetime_created date_written date_entered date_recorded date_signed
        date_performed note_creation_date note_entry_date create_instant_dttm creation_instant
        created_datetime created_date_time creation_datetime creation_date_time created_date
        create_date creation_date
        created_at created_on create_dttm created entry_date_time entry_datetime entry_date entry_dttm
        enter_dttm ent_instant_local_dttm authored_on authored_date authored_datetime author_date
        effective_date_time effective_datetime effective_date issued event_datetime event_date_time
        event_end_dt_tm event_end_dttm event_start_dt_tm event_date event_dttm event_dt performed_dt_tm
        performed_dttm observation_datetime observation_date observation_time document_datetime
        document_date_time document_date document_dttm document_time doc_date report_datetime
        report_date_time report_date report_dttm report_time exam_datetime exam_date exam_dttm study_date
        study_datetime result_datetime result_date result_dttm result_time recorded_datetime recorded_date
        recorded_at record_date record_datetime transcription_date dictated_date dictation_date
        visit_datetime visit_date encounter_datetime encounter_date contact_dttm contact_date
        start_datetime start_date_time start_date start_dttm date_time date_and_time signature_date_time
        signature_datetime signed_datetime signed_date sign_date note_file_time_dttm file_time store_time
        store_date recv_date received_date date_received rept_date dttm ts date
    """,
    "category": """
        category note_type medical_specialty specialties note_type_name note_type_desc note_type_description
        note_type_display note_category note_kind document_type document_type_name document_type_desc
        doc_type report_type note_class note_class_name tiu_standard_title tiu_document_definition
        ip_note_type_name ip_note_type ip_note_type_c document_category doc_category document_class
        report_category event_title_text standard_title note_title document_title specialty note_subtype
        note_type_concept_id note_class_concept_id
    """,
    "sex": "sex gender patient_sex patient_gender sex_code gender_code",
    "age": "age age_yrs age_years patient_age age_in_years",
    "codes": "codes",
    "retracted": "iserror is_error",
}


def plain(name: str) -> str:
    """`name` by its letters and digits, without case: `Note-ID` and `NOTE_ID` are both `noteid`."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def _listed(names: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(plain(name) for name in names.split()))


TEXT, MORE_TEXT = _listed(TEXT_NAMES), _listed(MORE_TEXT_NAMES)
KNOWN: dict[str, tuple[str, ...]] = {field: _listed(names) for field, names in KNOWN_NAMES.items()}

#: Every name of the above.
NAMES = frozenset((*TEXT, *MORE_TEXT, *(name for names in KNOWN.values() for name in names)))
#: Those that rows also hold as values, in a column of categories say: they are no sign of a header alone.
ALSO_VALUES = frozenset(
    _listed(
        """
        note notes report reports narrative document content body transcription clinical_note clinical_notes
        progress_note patient subject person visit encounter specialty issued created fin har dos
        """
    )
)


# What a user says of a table, where it can't tell by itself.


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


# Which column of a table is what, and one row of it as a note.


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

    found = {field: known(field) for field in KNOWN}
    times = tuple(found.pop("time"))
    others = {field: tuple(found[field][1:]) for field in _CHOSEN if found[field][1:]}
    first = {field: next(iter(places), -1) for field, places in found.items()}
    return Layout(width=len(names), text=text, times=times, others=others, **first)


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


@dataclass(frozen=True)
class Fault:
    """Stands for the text of a note that its format cannot give, and says why; never what it holds."""

    reason: str


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
        own_id = _id(values, layout.note_id)
        if layout.retracted >= 0 and _is_set(values[layout.retracted]):
            counts.drop(RETRACTED, own_id)
            return None
        text = values[layout.text]
        if isinstance(text, bytes):  # of a database
            try:
                text = text.decode(self.options.encoding or "utf-8")
            except UnicodeDecodeError:
                counts.drop(NOT_UTF8, own_id)
                return None
        if isinstance(text, Fault):
            counts.drop(text.reason, own_id)
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
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return (str(value).strip() or None) if value is not None else None


def _codes(values: Sequence[object], position: int) -> list[str] | None:
    value = values[position] if position >= 0 else None
    return [str(code) for code in value] if isinstance(value, list) else None


def _is_set(value: object) -> bool:
    return str(value).strip() in {"1", "1.0"} or value is True
