"""Bundles as a FHIR R4 server takes them, read back with fhir.resources."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from test_extract import run

from sympress.extract.concepts import Coding, ConceptMap, Vocabulary
from sympress.extract.shapes import SHAPES, Header, fhir_bundle
from sympress.extract.workers import json_lines
from sympress.labels.lexicon import codes_by_symptom, load_lexicon
from sympress.labels.mentions import ASSERTIONS, Assertion, Reason
from sympress.notes.intake import Note
from sympress.runtime.note_result import FoundMention, FoundSymptom, NoteResult

NOTE = Note("n 1", "p1", "e/1", datetime(2150, 1, 2, 3), None, None, None, "fever, no cough", None)
CLINICAL = Vocabulary(codes_by_symptom(load_lexicon("clinical")))
HPO = "http://human-phenotype-ontology.org"
SYMP = "http://purl.obolibrary.org/obo/symp.owl"
EASTERN = timezone(timedelta(hours=-5))


def mention(symptom: str | None, assertion: Assertion, code: str | None = None, **more: Any) -> FoundMention:
    return FoundMention(0, 5, symptom, code, assertion, more.pop("score", None), **more)


def resources(
    *mentions: FoundMention, note: Note = NOTE, vocabulary: Vocabulary = CLINICAL, **result: Any
) -> list[dict[str, Any]]:
    """The resources of the Bundle of `mentions`, as a server reads them."""
    bundle = fhir_bundle(note, NoteResult(result.get("symptoms", ()), mentions), 0, "tiny", vocabulary)
    read = json.loads(json_lines([bundle]))
    Bundle.model_validate(read)
    assert all(entry["fullUrl"] == f"urn:uuid:{entry['resource']['id']}" for entry in read["entry"])
    return [entry["resource"] for entry in read["entry"]]


def conditions(*mentions: FoundMention, **more: Any) -> list[dict[str, Any]]:
    return [one for one in resources(*mentions, **more) if one["resourceType"] == "Condition"]


def status(condition: dict[str, Any]) -> tuple[str | None, str]:
    clinical = condition.get("clinicalStatus")
    [verification] = condition["verificationStatus"]["coding"]
    return clinical and clinical["coding"][0]["code"], verification["code"]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["present"], [("active", "unconfirmed")]),
        (["absent"], [(None, "refuted")]),
        (["historical"], [("inactive", "unconfirmed")]),
        (["possible"], [(None, "provisional")]),
        (["hypothetical"], []),
        (["family"], []),
        (["absent", "present", "family"], [("active", "unconfirmed")]),
        (["absent", "possible"], [(None, "provisional")]),
        (["absent", "historical"], [("inactive", "unconfirmed")]),
        (["hypothetical", "absent"], [(None, "refuted")]),
        (["family", "hypothetical"], []),
    ],
)
def test_only_what_the_note_affirms_is_an_active_condition(said: list[Assertion], expected: list[Any]):
    mentions = [mention("fever", one) for one in said]
    found = conditions(*mentions)
    assert [status(one) for one in found] == expected
    everything = resources(*mentions)
    assert len(everything) == len(said) + len(expected)
    evidence = {entry["id"]: entry["valueCodeableConcept"]["text"] for entry in everything[: len(said)]}
    for one in found:
        deciding = {
            evidence[each["reference"].removeprefix("urn:uuid:")] for each in one["evidence"][0]["detail"]
        }
        assert len(deciding) == 1


def test_every_mention_is_an_observation_that_says_what_the_note_asserts():
    found = resources(*(mention("fever", one) for one in ASSERTIONS))
    observations = [one for one in found if one["resourceType"] == "Observation"]
    assert [one["valueCodeableConcept"]["coding"][0]["code"] for one in observations] == list(ASSERTIONS)
    signs = {
        one["valueCodeableConcept"]["text"]: one["interpretation"][0]["coding"][0]["code"]
        for one in observations
        if "interpretation" in one
    }
    assert signs == {"present": "POS", "absent": "NEG", "possible": "IND"}
    assert [one["valueCodeableConcept"]["text"] for one in observations if "focus" in one] == ["family"]
    assert {one["status"] for one in observations} == {"preliminary"}


def test_a_coding_list_has_every_code_of_the_symptom_hpo_first_each_with_its_system():
    [observation, condition] = resources(mention("fever", "present", "HP:0001945"))
    assert (
        observation["code"]["coding"]
        == condition["code"]["coding"]
        == [
            {"system": HPO, "code": "HP:0001945"},
            {"system": SYMP, "code": "SYMP:0000613"},
        ]
    )


def test_no_symptom_of_the_lexicon_has_a_coding_without_a_system_or_another_symptoms_coding():
    owners: dict[tuple[str, str], str] = {}
    for symptom in CLINICAL.codes:
        [observation, _] = resources(mention(symptom, "absent"))
        for coding in observation["code"]["coding"]:
            assert coding["system"] in {HPO, SYMP}
            assert owners.setdefault((coding["system"], coding["code"]), symptom) == symptom


@pytest.mark.parametrize(
    ("code", "coding"),
    [
        ("SNOMED:49727002", {"system": "http://snomed.info/sct", "code": "49727002"}),
        ("UMLS:C0015967", {"system": "http://www.nlm.nih.gov/research/umls", "code": "C0015967"}),
        ("ICD10CM:R50.9", {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "R50.9"}),
        ("OWN:1", {"system": "urn:sympress:lexicon", "code": "OWN:1"}),
        ("R50.9", {"system": "urn:sympress:lexicon", "code": "R50.9"}),
    ],
)
def test_codes_of_other_lexica_have_a_system_too(code: str, coding: dict[str, str]):
    [observation] = resources(mention("x", "family", code), vocabulary=Vocabulary())
    assert observation["code"] == {"coding": [coding], "text": "x"}


def test_a_map_adds_its_codings_after_those_of_the_lexicon():
    concepts = ConceptMap({"fever": (Coding("http://snomed.info/sct", "386661006", "Fever"),)})
    vocabulary = Vocabulary(CLINICAL.codes, {"fever": "raised temperature"}, concepts)
    [observation, _] = resources(mention("fever", "absent"), vocabulary=vocabulary)
    assert observation["code"]["text"] == "raised temperature"
    assert observation["code"]["coding"][2:] == [
        {"system": "http://snomed.info/sct", "code": "386661006", "display": "Fever"}
    ]


@pytest.mark.parametrize(
    ("moment", "expected", "local"),
    [
        (datetime(2024, 1, 31, 20, tzinfo=EASTERN), "2024-01-31T20:00:00-05:00", None),
        (datetime(2024, 1, 31, 0, 0, tzinfo=EASTERN), "2024-01-31T00:00:00-05:00", None),
        (datetime(2024, 1, 31, 20, 15, 30, 250000, tzinfo=UTC), "2024-01-31T20:15:30.250000+00:00", None),
        (datetime(2024, 1, 31), "2024-01-31", None),
        (datetime(2024, 1, 31, 23, 59), "2024-01-31", "23:59:00"),
        (datetime(1880, 1, 1, 12, tzinfo=timezone(timedelta(hours=-4, minutes=-56, seconds=-2))),
         "1880-01-01T16:56:02+00:00", None),
        (None, None, None),
    ],
)  # fmt: skip
def test_date_time_and_zone_are_as_in_the_note(
    moment: datetime | None, expected: str | None, local: str | None
):
    for resource, field in zip(
        resources(mention("fever", "present"), note=NOTE._replace(time=moment)),
        ("effectiveDateTime", "recordedDate"),
        strict=True,
    ):
        assert resource.get(field) == expected
        beside = resource.get(f"_{field}")
        assert (beside and beside["extension"][0]["valueTime"]) == local


def test_ids_that_fhir_does_not_allow_are_identifiers_with_a_system():
    first, *_ = resources(mention("fever", "present"))
    assert first["subject"] == {"reference": "Patient/p1"}
    assert first["encounter"] == {
        "type": "Encounter",
        "identifier": {"system": "urn:sympress:encounter", "value": "e/1"},
    }
    [note] = first["derivedFrom"]
    assert note["identifier"] == {"system": "urn:sympress:note", "value": "n 1"}


@pytest.mark.parametrize("odd", ["\ud83d", "a\x00b", "  ", "é/ü", "x" * 300, "\n"])
def test_any_id_gives_a_valid_bundle(odd: str):
    note = NOTE._replace(note_id=odd, patient_id=odd, encounter_id=odd)
    found = resources(mention("fever", "present"), note=note)
    kinds = [one["resourceType"] for one in found]
    assert kinds == (["Observation", "Condition"] if odd.strip() else ["Observation"])
    other = resources(mention("fever", "present"), note=note._replace(note_id=odd + "1"))
    assert {one["id"] for one in found}.isdisjoint(one["id"] for one in other)


def test_source_reason_place_and_probability_are_extensions_without_words():
    reason = Reason("cue", "no sign of", 20, 30)
    [observation, _] = resources(mention("fever", "absent", score=0.51, source="both", reason=reason))
    said = {
        one["url"].rpartition(":")[2]: next(v for k, v in one.items() if k != "url")
        for one in observation["extension"]
    }
    assert said == {"source": "both", "probability": 0.51, "span": "0-5", "reason": "cue 20-30"}
    [plain, _] = resources(mention("fever", "absent"))
    assert [one["url"].rpartition(":")[2] for one in plain["extension"]] == ["source", "span"]


def test_without_a_patient_there_are_observations_only_and_without_findings_no_bundle():
    found = resources(mention("fever", "present"), note=NOTE._replace(patient_id=None))
    assert [one["resourceType"] for one in found] == ["Observation"]
    assert "subject" not in found[0]
    assert SHAPES["fhir"](NOTE, NoteResult(()), Header((), "x", "", CLINICAL), 0) == []


def test_a_symptom_of_the_whole_note_is_a_condition_and_a_span_that_nothing_names_is_none():
    found = resources(mention(None, "present"), symptoms=(FoundSymptom("fever", None, 0.9),))
    assert [one["resourceType"] for one in found] == ["Observation", "Observation", "Condition"]
    assert found[0]["code"] == {"text": "symptom outside the lexicon"}
    assert "urn:sympress:span" not in {one["url"] for one in found[1]["extension"]}


def test_a_job_writes_bundles_that_parse_and_a_denied_symptom_is_refuted(tmp_path: Path):
    source, output, concepts = tmp_path / "in.jsonl", tmp_path / "out.ndjson", tmp_path / "map.csv"
    rows = [
        {
            "note_id": "a",
            "patient_id": "p",
            "text": "Denies fever and shortness of breath. Cough for 3 days.",
        },
        {"note_id": "b", "patient_id": "p", "text": "seen in clinic"},
    ]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    concepts.write_text("symptom,system,code\nfever,SNOMED,386661006\n")
    run(source, "-m", "rules", "--format", "fhir", "-o", output, "-q", "--concepts", concepts)
    [bundle] = [json.loads(line) for line in output.read_text().splitlines()]
    Bundle.model_validate(bundle)
    found = [entry["resource"] for entry in bundle["entry"]]
    made = {one["code"]["text"]: status(one) for one in found if one["resourceType"] == "Condition"}
    assert made == {
        "fever": (None, "refuted"),
        "shortness of breath": (None, "refuted"),
        "cough": ("active", "unconfirmed"),
    }
    assert [one["code"] for one in found[0]["code"]["coding"]] == ["HP:0001945", "SYMP:0000613", "386661006"]
