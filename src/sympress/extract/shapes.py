"""The rows that a note's result becomes: sympress' own, flat for CSV, OMOP's NOTE_NLP, or FHIR."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sympress.errors import InputError, nearest
from sympress.extract.concepts import Vocabulary
from sympress.labels.mentions import Assertion
from sympress.labels.task import affirms
from sympress.notes.intake import Note
from sympress.runtime.note_result import Finding, NoteResult, finding_fields, findings_of

if TYPE_CHECKING:
    from sympress.extract.sources import Item  # which needs polars, and the service does not

_ASSERTIONS = "urn:sympress:assertion"
_PROBABILITY = "urn:sympress:probability"
_SPAN = "urn:sympress:span"
_SOURCE = "urn:sympress:source"
_REASON = "urn:sympress:reason"
_LOCAL_TIME = "urn:sympress:local-time"
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_INTERPRETATION = "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation"
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
#: Characters that a FHIR string must not hold: controls but tab and line ends, and half a surrogate pair.
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
_OFFSET_MOST = timedelta(hours=14)

#: `clinicalStatus` and `verificationStatus` of a Condition; of these assertions the first that a mention of
#: the symptom has decides. A possible or a denied one has no clinicalStatus: `active` and `inactive` would
#: both claim that it is or was there. (R4 asks for a clinicalStatus, con-3, only of problem list items.) What
#: is feared or somebody else's makes no Condition of the patient.
_CONDITIONS: dict[Assertion, tuple[str | None, str]] = {
    "present": ("active", "unconfirmed"),
    "possible": (None, "provisional"),
    "historical": ("inactive", "unconfirmed"),
    "absent": (None, "refuted"),
}
#: `Observation.interpretation`, where HL7 has a code for it.
_INTERPRETATIONS: dict[Assertion, tuple[str, str]] = {
    "present": ("POS", "Positive"),
    "absent": ("NEG", "Negative"),
    "possible": ("IND", "Indeterminate"),
}


def fhir_bundle(
    note: Note, result: NoteResult, serial: int, system: str, vocabulary: Vocabulary
) -> dict[str, Any]:
    """The Bundle of a note; without entries where nothing was found.

    A Condition needs a patient: a note without patient_id gives Observations only. Ids of entries follow
    from the note's id and place alone, so the same job writes the same bytes.
    """
    findings = findings_of(result)
    observations = [
        {
            "resourceType": "Observation",
            "id": _entry_id(note, serial, f"observation-{at}"),
            **_observed(note, finding, system, vocabulary),
        }
        for at, finding in enumerate(findings)
    ]
    conditions = _conditions(note, findings, observations, serial) if _text(note.patient_id) else []
    entries = [
        {"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in observations + conditions
    ]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": _identifier("note", note.note_id),
        **({"entry": entries} if entries else {}),  # FHIR has no empty lists
    }


def _observed(note: Note, finding: Finding, system: str, vocabulary: Vocabulary) -> dict[str, Any]:
    """What an Observation holds beside its id; `focus` says of what is somebody else's that it is."""
    assertion = finding.assertion
    sign = _INTERPRETATIONS.get(assertion)
    value = {"coding": [{"system": _ASSERTIONS, "code": assertion}], "text": assertion}
    return {
        "extension": _extensions(finding),
        "status": "preliminary",
        "code": _concept(finding, vocabulary),
        **_about(note),
        **({"focus": [{"display": "someone other than the patient"}]} if assertion == "family" else {}),
        **_moment("effectiveDateTime", note.time),
        "valueCodeableConcept": value,
        **({"interpretation": [_coded(_INTERPRETATION, *sign)]} if sign else {}),
        "device": {"display": _text(system)},
        "derivedFrom": [{"type": "DocumentReference", "identifier": _identifier("note", note.note_id)}],
    }


def _extensions(finding: Finding) -> list[dict[str, Any]]:
    """Source, probability, place and reason; a reason by its kind and place, never by the note's words."""
    found: list[dict[str, Any]] = [{"url": _SOURCE, "valueCode": finding.source}]
    if finding.probability is not None:
        found.append({"url": _PROBABILITY, "valueDecimal": round(finding.probability, 6)})
    if finding.span is not None:
        found.append({"url": _SPAN, "valueString": f"{finding.span[0]}-{finding.span[1]}"})
    reason = finding.reason
    if reason is not None:
        place = "" if reason.start is None else f" {reason.start}-{reason.end}"
        found.append({"url": _REASON, "valueString": f"{reason.kind}{place}"})
    return found


def _conditions(
    note: Note, findings: Sequence[Finding], observations: Sequence[dict[str, Any]], serial: int
) -> list[dict[str, Any]]:
    """One Condition for each symptom that the patient has, may have, had or has not.

    Its evidence is the Observations with the assertion that decides.
    """
    evidence: dict[str, dict[Assertion, list[dict[str, Any]]]] = {}
    for finding, observation in zip(findings, observations, strict=True):
        if finding.symptom is not None and finding.assertion in _CONDITIONS:
            said = evidence.setdefault(finding.symptom, {})
            said.setdefault(finding.assertion, []).append(observation)
    made = []
    for at, said in enumerate(evidence.values()):
        assertion = next(one for one in _CONDITIONS if one in said)
        clinical, verification = _CONDITIONS[assertion]
        found = said[assertion]
        made.append(
            {
                "resourceType": "Condition",
                "id": _entry_id(note, serial, f"condition-{at}"),
                **({"clinicalStatus": _coded(_CLINICAL, clinical)} if clinical else {}),
                "verificationStatus": _coded(_VERIFICATION, verification),
                "code": found[0]["code"],
                **_about(note),
                **_moment("recordedDate", note.time),
                "evidence": [{"detail": [{"reference": f"urn:uuid:{entry['id']}"} for entry in found]}],
            }
        )
    return made


def _coded(system: str, code: str, display: str | None = None) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, **({"display": display} if display else {})}]}


def _about(note: Note) -> dict[str, Any]:
    """References to the patient and the encounter, by identifier where the id is none that FHIR allows."""
    about: dict[str, Any] = {}
    for role, kind, value in (
        ("subject", "Patient", note.patient_id),
        ("encounter", "Encounter", note.encounter_id),
    ):
        if not _text(value):
            continue
        if _FHIR_ID.fullmatch(value or ""):
            about[role] = {"reference": f"{kind}/{value}"}
        else:
            about[role] = {"type": kind, "identifier": _identifier(kind.lower(), value)}
    return about


def _identifier(of: str, value: str | None) -> dict[str, str]:
    return {"system": f"urn:sympress:{of}", "value": _text(value) or "unknown"}


def _text(value: str | None) -> str:
    """`value` as FHIR allows it; empty where nothing is left to read."""
    return _NOT_TEXT.sub("\ufffd", value or "").strip()


def _moment(field: str, moment: datetime | None) -> dict[str, Any]:
    """`field` with date, time and zone as in the note.

    A dateTime with a time must have a zone. Where the note has none, the field holds the date, and an
    extension beside it the time of day; midnight without a zone is how a date alone is read.
    """
    if moment is None:
        return {}
    offset = moment.utcoffset()
    if offset is not None:
        if (
            offset.seconds % 60 or abs(offset) > _OFFSET_MOST
        ):  # of local mean time, say: FHIR has no such zone
            try:
                moment = moment.astimezone(UTC)
            except OverflowError:  # UTC lies beyond the calendar
                return {field: moment.date().isoformat()}
        return {field: moment.isoformat()}
    day = {field: moment.date().isoformat()}
    if moment.time() == time.min:
        return day
    local = {"url": _LOCAL_TIME, "valueTime": moment.time().isoformat()}
    return {**day, f"_{field}": {"extension": [local]}}


def _concept(finding: Finding, vocabulary: Vocabulary) -> dict[str, Any]:
    concept: dict[str, Any] = {}
    codings = vocabulary.codings(finding.symptom, finding.code)
    if codings:
        concept["coding"] = [
            {name: value for name, value in one._asdict().items() if value is not None} for one in codings
        ]
    name = vocabulary.name(finding.symptom)
    return {**concept, "text": _text(name) or "symptom outside the lexicon"}


def _entry_id(note: Note, serial: int, part: str) -> str:
    """A UUID of version 5 that follows from the note and `part`; any id has one, half surrogate pairs too."""
    name = f"urn:sympress:{serial}:{note.note_id}:{part}".encode("utf-8", "surrogatepass")
    digest = hashlib.sha1(uuid.NAMESPACE_URL.bytes + name, usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest[:16], version=5))


# Rows in the shape of the table NOTE_NLP of the OMOP Common Data Model 5.4.
#
# Source: OHDSI, "OMOP CDM v5.4", table NOTE_NLP: its DDL and the conventions of its fields. Concept ids
# come from the user's map; where it has none, the row holds 0, which OMOP reads as "no matching concept".
# The code of the lexicon stands in `term_modifiers`.


OMOP_COLUMNS = (
    "note_nlp_id",
    "note_id",
    "section_concept_id",
    "snippet",
    "offset",
    "lexical_variant",
    "note_nlp_concept_id",
    "note_nlp_source_concept_id",
    "nlp_system",
    "nlp_date",
    "nlp_datetime",
    "term_exists",
    "term_temporal",
    "term_modifiers",
)
#: Columns that the CDM declares `integer`: 32 bits.
OMOP_INTEGERS = frozenset(name for name in OMOP_COLUMNS if name.endswith("_id"))
#: The largest value of an `integer`.
INTEGER_MOST = 2**31 - 1
#: Of `snippet`, `lexical_variant` and `nlp_system`, which are `varchar(250)`: CSV may put a `'` before them.
_TEXT_MOST = 249
#: `term_exists` is Y only for what the patient has, or had; `term_temporal` tells the two apart.
_TEMPORAL = {"present": "Present", "historical": "Past"}
#: What a loader of CSV or a database trips over; each becomes one space, so that a row is one line.
_NO_TEXT = re.compile(r"[\s\x00-\x1f\x7f]")
#: An integer as nothing else is written: `007` and a full-width `7` would become the 7 of another note.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,9}")


def omop_rows(
    note: Note,
    result: NoteResult,
    system: str,
    began: str,
    *,
    vocabulary: Vocabulary,
    snippet: int = 0,
) -> list[dict[str, Any]]:
    """One row a mention, and one a symptom that is affirmed for the note as a whole.

    `lexical_variant` holds the words of the span as the note has them, line ends as spaces. The CDM wants
    it filled: a symptom without words has its name there, and no `offset`. `note_nlp_id` is 0 until
    `numbered`.

    Args:
        note: with an integer as id; see `id_fault`.
        result: of `note`.
        system: what answered.
        began: date and time of the job, ISO 8601 in UTC, without a zone.
        vocabulary: names, codes and concepts of the symptoms.
        snippet: characters of the note to each side of a mention; 0 for no snippet.
    """
    fixed: dict[str, Any] = {
        "note_nlp_id": 0,
        "note_id": int(note.note_id),
        "section_concept_id": 0,
        "nlp_system": _line(system),
        "nlp_date": began[: len("2026-01-31")],
        "nlp_datetime": began,
    }
    found = [{**fixed, **_fields(note.text, one, vocabulary, snippet)} for one in findings_of(result)]
    return [{name: row[name] for name in OMOP_COLUMNS} for row in found]


def _fields(text: str, one: Finding, vocabulary: Vocabulary, snippet: int) -> dict[str, Any]:
    words = (vocabulary.name(one.symptom) or "") if one.span is None else text[slice(*one.span)]
    around = None
    if one.span is not None and snippet:
        around = _line(text[max(0, one.span[0] - snippet) : one.span[1] + snippet])
    return {
        "snippet": around,
        "offset": None if one.span is None else str(one.span[0]),
        "lexical_variant": _line(words),
        "note_nlp_concept_id": vocabulary.concept_id(one.symptom),
        "note_nlp_source_concept_id": vocabulary.source_concept_id(one.symptom),
        "term_exists": "Y" if affirms(one.assertion) or one.assertion == "historical" else "N",
        "term_temporal": _TEMPORAL.get(one.assertion),
        "term_modifiers": _modifiers(one),
    }


def _modifiers(one: Finding) -> str:
    """Assertion, source, and what else is known, as `name=value` with commas between."""
    modifiers = [f"assertion={one.assertion}", f"source={one.source}"]
    if one.reason is not None:
        modifiers.append(f"reason={one.reason.kind}")
    if one.probability is not None:
        modifiers.append(f"probability={one.probability:.6f}")
    return ",".join([*modifiers, *([f"code={one.code}"] if one.code else [])])


def _line(text: str) -> str:
    return _NO_TEXT.sub(" ", text[:_TEXT_MOST])


def id_fault(note_id: str) -> str | None:
    """Why `note_id` cannot stand in NOTE_NLP, where it is an `integer`; None if it can."""
    if _INTEGER.fullmatch(note_id) and abs(int(note_id)) <= INTEGER_MOST:
        return None
    most = f"up to {INTEGER_MOST:,}, no leading zeros"
    return f"its id is no integer of 32 bits, which note_id of NOTE_NLP is ({most})"


def refuse_names(items: Iterator[Item]) -> Iterator[Item]:
    """Pass `items` on, unless the first note shows that its source has no ids that NOTE_NLP can hold.

    Raises:
        InputError: the first note has such an id. A later one is a failure of that note.
    """
    seen = False
    for item in items:
        if not seen and isinstance(item, Note):
            seen = True
            if id_fault(item.note_id) is not None:
                raise InputError(
                    f"note {item.note_id[:40]!r}: note_id of NOTE_NLP is an integer of 32 bits; give the "
                    "notes the note_id that they have in the table NOTE, or use --format notes"
                )
        yield item


def numbered(rows: bytes, before: int, *, csv: bool) -> bytes:
    """`rows`, one a line, whose `note_nlp_id` goes on after the `before` rows that the job has written.

    Raises:
        InputError: the ids no longer fit into an `integer`.
    """
    lines = rows.split(b"\n")[:-1]
    if before + len(lines) > INTEGER_MOST:
        raise InputError(
            f"more than {INTEGER_MOST:,} rows: note_nlp_id of NOTE_NLP is an integer of 32 bits; extract the "
            "notes in several jobs"
        )
    name = b"" if csv else b'{"note_nlp_id":'
    rest = len(name) + 1  # the 0 that stands there
    return b"".join(
        b"%b%d%b\n" % (name, number, line[rest:]) for number, line in enumerate(lines, start=before + 1)
    )


# The rows that a note's result becomes: sympress' own, flat for CSV, OMOP or FHIR.


Shape = Literal["notes", "findings", "omop", "fhir"]
Row = dict[str, Any]

#: What can be carried from a note beside its id.
COLUMNS = ("patient_id", "encounter_id", "time", "category")


@dataclass(frozen=True)
class Header:
    """What every row of a job shares.

    Attributes:
        columns: fields of the note that are carried along, of `COLUMNS`.
        system: the artifact that answered, for OMOP and FHIR.
        began: when the job began, ISO 8601 in UTC without a zone.
        vocabulary: names, codes and concepts of the symptoms, for OMOP and FHIR.
        snippet: characters to each side of a mention that OMOP's snippets hold; 0 for none.
    """

    columns: tuple[str, ...]
    system: str
    began: str
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    snippet: int = 0


def read_columns(value: str | None) -> tuple[str, ...]:
    """Return the columns of a comma-separated list; all of `COLUMNS` for None.

    Raises:
        InputError: a name is unknown.
    """
    if value is None:
        return COLUMNS
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        if name not in (*COLUMNS, "note_id"):
            known = ", ".join(COLUMNS)
            raise InputError(f"--columns: no column {name!r}{nearest(name, COLUMNS)}; choose from {known}")
    return tuple(name for name in COLUMNS if name in names)


def carried(note: Note, header: Header) -> Row:
    """The id of `note` and the columns that go with it; times as ISO 8601."""
    row: Row = {"note_id": note.note_id}
    for name in header.columns:
        value = getattr(note, name)
        row[name] = value.isoformat(timespec="seconds") if name == "time" and value is not None else value
    return row


def note_rows(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    """One row a note, with lists of what was found."""
    found = result.to_dict()
    del found["failure"]  # a note without an answer has no row
    return [{**carried(note, header), **found}]


#: The columns of a finding after those of its note.
FINDING_COLUMNS = (
    "symptom",
    "code",
    "assertion",
    "probability",
    "start",
    "end",
    "source",
    "reason",
    "truncated",
    "markup",
)


def finding_rows(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    """One row a mention, and one a symptom of the whole note that no mention calls present.

    A note without a finding has one row all the same, so that it can be told from one never read.
    """
    base = carried(note, header) | dict.fromkeys(FINDING_COLUMNS)
    rows = [finding_fields(one) for one in findings_of(result)]
    whole = {"truncated": result.truncated, "markup": result.markup}
    return [{**base, **row, **whole} for row in rows or [{}]]


def _omop(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:  # noqa: ARG001
    return omop_rows(
        note, result, header.system, header.began, vocabulary=header.vocabulary, snippet=header.snippet
    )


def _fhir(note: Note, result: NoteResult, header: Header, serial: int) -> list[Row]:
    bundle = fhir_bundle(note, result, serial, header.system, header.vocabulary)
    return [bundle] if "entry" in bundle else []


#: How each shape is made of a note, its result, what all rows share, and the serial number of the note.
SHAPES: dict[Shape, Callable[[Note, NoteResult, Header, int], list[Row]]] = {
    "notes": note_rows,
    "findings": finding_rows,
    "omop": _omop,
    "fhir": _fhir,
}
