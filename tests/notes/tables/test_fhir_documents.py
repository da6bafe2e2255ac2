"""Notes in FHIR documents, one a line, as bulk exports write them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sympress.errors import InputError
from sympress.extract.sources import ItemCounts, find_notes, stream_items
from sympress.notes.read import read_notes


def attachment(text: str, kind: str = "text/plain") -> dict[str, Any]:
    return {"attachment": {"contentType": kind, "data": base64.b64encode(text.encode()).decode()}}


def document(**more: object) -> dict[str, object]:
    return {
        "resourceType": "DocumentReference",
        "id": "d1",
        "type": {"coding": [{"code": "34117-2", "display": "History and physical note"}]},
        "subject": {"reference": "Patient/p1"},
        "date": "2024-01-31T20:00:00-05:00",
        "content": [attachment("<p>fever</p>", "text/html"), attachment("No fever, é.")],
        "context": {"encounter": [{"reference": "https://h.example/Encounter/e1/_history/2"}]},
        **more,
    }


def write(path: Path, *resources: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in resources))
    return path


def test_a_document_reference_is_a_note(tmp_path: Path) -> None:
    other = {"id": "d2", "content": [{"attachment": {"url": "Binary/1", "contentType": "text/plain"}}]}
    path = write(tmp_path / "d.ndjson", document(), document(**other), {"resourceType": "Patient", "id": "p"})
    notes = read_notes(path)
    columns = ("note_id", "patient_id", "encounter_id", "category", "text")
    assert notes.frame.select(columns).rows() == [
        ("d1", "p1", "e1", "History and physical note", "No fever, é.")
    ]
    assert str(notes.frame["time"][0]) == "2024-02-01 01:00:00", "frames hold UTC"
    assert notes.counts.dropped == {"without text": 2}


def test_a_diagnostic_report_is_a_note(tmp_path: Path) -> None:
    report = {
        "resourceType": "DiagnosticReport",
        "id": "r1",
        "code": {"text": "CT head"},
        "subject": {"identifier": {"value": "MRN 7"}},
        "encounter": {"reference": "Encounter/e2"},
        "effectiveDateTime": "2024-01-31",
        "presentedForm": [attachment("Headache.")["attachment"]],
    }
    frame = read_notes(write(tmp_path / "r.ndjson", report)).frame
    assert frame.row(0)[:3] == ("r1", "MRN 7", "e2")
    assert frame["category"].to_list() + frame["text"].to_list() == ["CT head", "Headache."]


@pytest.mark.parametrize(
    "state",
    [
        {"status": "entered-in-error"},
        {"status": "superseded"},
        {"docStatus": "entered-in-error"},
        {"status": "cancelled", "resourceType": "DiagnosticReport"},
    ],
)
def test_a_withdrawn_document_is_retracted(tmp_path: Path, state: dict[str, str]) -> None:
    current = document(id="d2", status="current", docStatus={"coding": [{"code": "final"}]})
    path = write(tmp_path / "d.ndjson", document(**state), current)
    counts = ItemCounts()
    items = list(stream_items(find_notes([str(path)]), counts))
    assert [item.note_id for item in items] == ["d2"]
    assert (counts.rows, counts.retracted) == (2, 1)
    assert read_notes(path).counts.dropped == {"retracted by the source": 1}


def test_a_withdrawn_document_with_plain_text_is_retracted_too(tmp_path: Path) -> None:
    flat = {"resourceType": "DocumentReference", "id": "d", "text": "fever"}
    notes = read_notes(write(tmp_path / "d.ndjson", {**flat, "status": "entered-in-error"}, flat))
    assert notes.counts.dropped == {"retracted by the source": 1}


@pytest.mark.parametrize("kind", ["Bundle", "Patient", "Composition"])
def test_other_resources_are_one_line(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "x.ndjson", {"resourceType": kind, "id": "x"})
    with pytest.raises(InputError, match=f"FHIR resources of type {kind}, which hold no note") as caught:
        read_notes(path)
    assert "\n" not in str(caught.value)


def test_an_object_over_several_lines_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_text(json.dumps({"resourceType": "Bundle"}, indent=2))
    with pytest.raises(InputError, match=r"a JSON object over several lines; write one a line"):
        read_notes(path)
