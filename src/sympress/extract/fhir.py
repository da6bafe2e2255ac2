"""FHIR R4: a Bundle for each note, an Observation for each finding, at most one Condition for each symptom.

Source: HL7 FHIR R4 (4.0.1), resources Bundle, Observation and Condition. A program is no clinician:
Observations are `preliminary`, and no Condition is `confirmed`. A Condition says what the note as a whole
says of the patient: see `_CONDITIONS`.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from sympress.extract.concepts import Vocabulary
from sympress.labels.mentions import Assertion
from sympress.notes.intake import Note
from sympress.runtime.note_result import Finding, NoteResult, findings_of

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


def fhir_bundles(
    note: Note, result: NoteResult, serial: int, system: str, vocabulary: Vocabulary
) -> list[dict[str, Any]]:
    """The Bundle of a note, or nothing where nothing was found; see `fhir_bundle`."""
    bundle = fhir_bundle(note, result, serial, system, vocabulary)
    return [bundle] if "entry" in bundle else []


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
    for field, kind, value in (
        ("subject", "Patient", note.patient_id),
        ("encounter", "Encounter", note.encounter_id),
    ):
        if not _text(value):
            continue
        if _FHIR_ID.fullmatch(value or ""):
            about[field] = {"reference": f"{kind}/{value}"}
        else:
            about[field] = {"type": kind, "identifier": _identifier(kind.lower(), value)}
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
