"""The form of an answer by `Accept`: FHIR and OMOP as extraction writes them; findings are counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from serving import running

from sympress.errors import InputError
from sympress.labels.own_words import OURS
from sympress.runtime.artifact import RULES_FOLDER
from sympress.serve.config import ServeConfig
from sympress.serve.forms import parse_request, shape_of
from sympress.serve.metrics import SYMPTOMS_MOST, Metrics
from sympress.serve.models import load_model
from sympress.serve.render import Question, Refusal

FHIR, OMOP = "application/fhir+json", "application/x-omop+json"
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.mark.parametrize(
    ("accept", "shape"),
    [
        ("", "notes"),
        ("*/*", "notes"),
        ("text/html", "notes"),
        ("application/fhir+json; fhirVersion=4.0", "fhir"),
        ("Application/FHIR+NDJSON", "fhir"),
        ("application/json;q=0.5, application/x-omop+json;q=0.8", "omop"),
        ("application/json, application/fhir+json", "notes"),
        ("application/fhir+json;q=0", "notes"),
        ("application/fhir+json;q=nan, application/x-omop+json;q=٣", "notes"),
    ],
)
def test_the_best_liked_form_is_chosen(accept: str, shape: str):
    assert shape_of(accept) == shape


@pytest.mark.parametrize(
    "time", [1_700_000_000, "1700000000", "-1700000000", "", "soon", None, True, ["2024"]]
)
def test_a_time_is_written_out_and_no_number(time: Any):
    body = json.dumps({"text": "fever", "time": time}).encode()
    if time is None:
        assert parse_request(body, 1).time is None
        return
    with pytest.raises(Refusal, match="time: input should be a valid datetime"):
        parse_request(body, 1)


def test_one_note_is_a_bundle_of_valid_fhir():
    bundles = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs fhir.resources")
    note = {"id": "n1", "text": "fever, denies cough", "patient_id": "p1", "time": "2024-05-06T07:08:09Z"}
    with running() as service, service.client(headers={"Accept": FHIR}) as client:
        answer = client.post("/v1/extract", json=note)
        empty = client.post("/v1/extract", json={"text": "well"}).json()
        failed = client.post("/v1/extract", json={"text": "too strange"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, FHIR)
    bundles.Bundle.model_validate(answer.json())
    kinds = [one["resource"]["resourceType"] for one in answer.json()["entry"]]
    assert kinds == ["Observation", "Observation", "Condition", "Condition"]
    first = answer.json()["entry"][0]["resource"]
    assert (first["subject"], first["effectiveDateTime"]) == (
        {"reference": "Patient/p1"},
        "2024-05-06T07:08:09+00:00",
    )
    bundles.Bundle.model_validate(empty)
    assert "entry" not in empty
    assert (failed.status_code, failed.json()["resourceType"]) == (422, "OperationOutcome")


def test_several_notes_are_a_batch_in_their_order():
    bundles = pytest.importorskip("fhir.resources.R4B.bundle", reason="needs fhir.resources")
    notes = {"notes": [{"id": "1", "text": "fever"}, {"id": "2", "text": "too strange"}]}
    with running() as service, service.client(headers={"Accept": FHIR}) as client:
        answer = client.post("/v1/extract", json=notes).json()
        lines = client.post("/v1/extract", content=b'{"text":"fever"}\n{}', headers=NDJSON)
    bundles.Bundle.model_validate(answer)
    assert [one["response"]["status"] for one in answer["entry"]] == ["200", "422"]
    assert lines.headers["content-type"] == "application/fhir+ndjson"
    assert [json.loads(line)["resourceType"] for line in lines.text.splitlines()] == [
        "Bundle",
        "OperationOutcome",
    ]


def test_omop_is_rows_with_ids_that_go_on():
    notes = [{"id": "7", "text": "fever, denies cough"}, {"id": "8", "text": "too strange"}]
    with running() as service, service.client(headers={"Accept": OMOP}) as client:
        answer = client.post("/v1/extract", json={"notes": [*notes, {"id": "9", "text": "chills"}]})
        body = "\n".join(json.dumps(note) for note in [*notes, {"id": "9", "text": "chills"}])
        lines = client.post("/v1/extract", content=body.encode(), headers=NDJSON)
        refused = client.post("/v1/extract", json={"notes": [{"id": "n1", "text": ""}]})
    rows = answer.json()["note_nlp"]
    assert answer.headers["content-type"] == OMOP
    assert [(row["note_nlp_id"], row["note_id"], row["lexical_variant"]) for row in rows] == [
        (1, 7, "fever"),
        (2, 7, "cough"),
        (3, 9, "chills"),
    ]
    assert [row["term_exists"] for row in rows] == ["Y", "N", "Y"]
    assert answer.json()["failures"] == [{"note_id": "8", "reason": "the model failed (ValueError)"}]
    found = [json.loads(line) for line in lines.text.splitlines()]
    assert [row.get("note_nlp_id") for row in found] == [1, 2, None, 3]
    assert refused.json()["error"]["message"].startswith("notes.0.id: its id is no integer of 32 bits")


def test_the_concepts_of_a_map_are_those_of_the_answer(tmp_path: Path):
    path = tmp_path / "concepts.csv"
    path.write_text("symptom,concept_id\nfever,437663\n", encoding="utf-8")
    model = load_model("rules", RULES_FOLDER, OURS, ServeConfig(concepts=path))
    [answer] = model.extract([Question("c/o fever", "omop", "5")])
    assert json.loads(answer.body)["note_nlp_concept_id"] == 437663
    assert json.loads(answer.body)["nlp_system"] == "sympress rules"
    model.close()
    path.write_text("symptom,concept_id\nnone,1\n", encoding="utf-8")
    with pytest.raises(InputError, match="concepts"):
        load_model("rules", RULES_FOLDER, OURS, ServeConfig(concepts=path))


def test_findings_are_counted_by_symptom_and_assertion():
    with running() as service, service.client() as client:
        client.post("/v1/extract", json={"text": "fever fever, denies cough"})
        metrics = client.get("/metrics").text
    counted = 'sympress_findings_total{assertion="%s",model="words",symptom="%s"} %s'
    assert counted % ("present", "fever", 2.0) in metrics
    assert counted % ("absent", "cough", 1.0) in metrics


def test_a_lexicon_of_thousands_makes_no_thousands_of_series():
    metrics = Metrics()
    found: list[Any] = [(f"s{at}", "present", 1) for at in range(SYMPTOMS_MOST + 100)]
    metrics.count_findings("m", [*found, (None, "absent", 2), ("s0", "absent", 1)])
    lines = [line for line in metrics.render()[0].decode().splitlines() if "findings_total{" in line]
    assert len(lines) == SYMPTOMS_MOST + 3
    assert 'sympress_findings_total{assertion="present",model="m",symptom="other"} 100.0' in lines
    assert 'sympress_findings_total{assertion="absent",model="m",symptom="unnamed"} 2.0' in lines
