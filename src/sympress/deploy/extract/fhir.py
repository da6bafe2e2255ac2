"""FHIR R4: a Bundle a note, with an Observation a finding and a Condition a symptom that is affirmed.

Source: HL7 FHIR R4 (4.0.1), resources Bundle, Observation and Condition. A program is no clinician:
Observations are `preliminary`, Conditions `unconfirmed`.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from sympress.deploy.extractor import NoteResult
from sympress.deploy.findings import Finding, findings_of
from sympress.notes.intake import Note

#: Code systems of the prefixes that codes carry, such as `SNOMED:386661006`.
_SYSTEMS = {
    "SNOMED": "http://snomed.info/sct",
    "SNOMEDCT": "http://snomed.info/sct",
    "SCTID": "http://snomed.info/sct",
    "HP": "http://human-phenotype-ontology.org",
    "UMLS": "http://www.nlm.nih.gov/research/umls",
    "ICD10": "http://hl7.org/fhir/sid/icd-10",
    "ICD10CM": "http://hl7.org/fhir/sid/icd-10-cm",
    "MEDDRA": "https://www.meddra.org",
}
_ASSERTIONS = "urn:sympress:assertion"
_PROBABILITY = "urn:sympress:probability"
_SPAN = "urn:sympress:span"
_CLINICAL = "http://terminology.hl7.org/CodeSystem/condition-clinical"
_VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def fhir_bundles(note: Note, result: NoteResult, serial: int, system: str) -> list[dict[str, Any]]:
    """The Bundle of a note, or nothing where nothing was found.

    A Condition needs a patient: a note without patient_id gives Observations only. Ids of entries follow
    from the note's id and place alone, so the same job writes the same bytes.
    """
    observations = [
        _observation(note, finding, serial, at, system) for at, finding in enumerate(findings_of(result))
    ]
    if not observations:
        return []
    conditions = _conditions(note, observations, serial) if note.patient_id else []
    entries = [
        {"fullUrl": f"urn:uuid:{entry['id']}", "resource": entry} for entry in observations + conditions
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "collection",
        "identifier": {"system": "urn:sympress:note", "value": note.note_id},
        "entry": entries,
    }
    return [bundle]


def _observation(
    note: Note,
    finding: Finding,
    serial: int,
    at: int,
    system: str,
) -> dict[str, Any]:
    assertion = str(finding.assertion)
    extensions: list[dict[str, Any]] = []
    if finding.probability is not None:
        extensions.append({"url": _PROBABILITY, "valueDecimal": round(finding.probability, 6)})
    if finding.span is not None:
        extensions.append({"url": _SPAN, "valueString": f"{finding.span[0]}-{finding.span[1]}"})
    return {
        "resourceType": "Observation",
        "id": _entry_id(note, serial, f"observation-{at}"),
        "extension": extensions,
        "status": "preliminary",
        "code": _concept(finding.symptom, finding.code),
        **_about(note),
        **({"effectiveDateTime": note.time.date().isoformat()} if note.time else {}),
        "valueCodeableConcept": {"coding": [{"system": _ASSERTIONS, "code": assertion}], "text": assertion},
        "device": {"display": system},
        "derivedFrom": [{"identifier": {"value": note.note_id}, "type": "DocumentReference"}],
    }


def _conditions(note: Note, observations: list[dict[str, Any]], serial: int) -> list[dict[str, Any]]:
    """One Condition for each symptom that an Observation calls present, with those as its evidence."""
    evidence: dict[str, list[dict[str, Any]]] = {}
    for observation in observations:
        if observation["valueCodeableConcept"]["text"] == "present":
            evidence.setdefault(observation["code"]["text"], []).append(observation)
    return [
        {
            "resourceType": "Condition",
            "id": _entry_id(note, serial, f"condition-{at}"),
            "clinicalStatus": {"coding": [{"system": _CLINICAL, "code": "active"}]},
            "verificationStatus": {"coding": [{"system": _VERIFICATION, "code": "unconfirmed"}]},
            "code": found[0]["code"],
            **_about(note),
            **({"recordedDate": note.time.date().isoformat()} if note.time else {}),
            "evidence": [{"detail": [{"reference": f"urn:uuid:{entry['id']}"} for entry in found]}],
        }
        for at, found in enumerate(evidence.values())
    ]


def _about(note: Note) -> dict[str, Any]:
    """References to the patient and the encounter, by identifier where the id is none that FHIR allows."""
    about: dict[str, Any] = {}
    for field, kind, value in (
        ("subject", "Patient", note.patient_id),
        ("encounter", "Encounter", note.encounter_id),
    ):
        if value is not None:
            valid = _FHIR_ID.fullmatch(value)
            about[field] = {"reference": f"{kind}/{value}"} if valid else {"identifier": {"value": value}}
    return about


def _concept(symptom: str | None, code: str | None) -> dict[str, Any]:
    concept: dict[str, Any] = {"text": symptom or "symptom outside the lexicon"}
    if code is None:
        return concept
    prefix, separator, value = code.partition(":")
    known = _SYSTEMS.get(prefix.upper()) if separator else None
    # A code of HPO is written with its prefix, HP:0001945.
    value = code if prefix.upper() == "HP" else value
    concept["coding"] = [{"system": known, "code": value} if known else {"code": code}]
    return concept


def _entry_id(note: Note, serial: int, part: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:sympress:{serial}:{note.note_id}:{part}"))
