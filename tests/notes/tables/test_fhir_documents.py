"""Notes in FHIR documents, one a line, as bulk exports write them."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sympress.errors import InputError
from sympress.extract.sources import Failure, ItemCounts, find_notes, stream_items
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


def coded(raw: bytes, charset: str = "") -> dict[str, Any]:
    kind = "text/plain" + (f"; charset={charset}" if charset else "")
    return {"attachment": {"contentType": kind, "data": base64.b64encode(raw).decode()}}


def data(text: str) -> dict[str, Any]:
    return {"attachment": {"contentType": "text/plain", "data": text}}


@pytest.mark.parametrize(
    ("attached", "reason"),
    [
        (data("V2VsbC4=IEZldmVyLg=="), "attachment.data is not base64"),  # padding inside
        (data("RmV2ZXI"), "attachment.data is not base64"),  # without its padding
        (data("Rm\u00e9V2ZXI="), "attachment.data is not base64"),
        (data("MzkgwrBDID4-IGZldmVyID8_"), "attachment.data is base64url, not base64"),
        (coded(b"fever-" * 40_000, "punycode"), "in a charset that is not read"),
        (coded(b"fever", "unicode_escape"), "in a charset that is not read"),
        (coded(b"fever", "nonesuch.at-all"), "in a charset that is not read"),
        (coded(b"fi\xe8vre", "us-ascii"), "not in the charset that it names"),
        (coded(b"\x81\xff\xfe\x00\x81"), "not UTF-8"),
    ],
)
def test_an_attachment_that_cannot_be_read_fails_alone(
    tmp_path: Path, attached: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "d.ndjson", document(content=[attached]), document(id="d2"))
    items = list(stream_items(find_notes([str(path)]), ItemCounts()))
    assert items[0] == Failure("d1", reason)
    assert items[1].note_id == "d2"


@pytest.mark.parametrize(
    ("attached", "text"),
    [
        (data("RmV2\n  ZXIu\r\n\tIE5v\n"), "Fever. No"),
        (data("RmV2ZXIuIA==\n"), "Fever. "),
        (coded("fièvre".encode("latin-1"), '"ISO-8859-1"'), "fièvre"),
        (coded("fièvre €".encode("cp1252"), "windows-1252"), "fièvre €"),
        (coded("fièvre".encode("utf-16"), "UTF-16"), "fièvre"),
        (coded("fièvre".encode(), "utf8"), "fièvre"),
        (coded(b"fever", "us-ascii"), "fever"),
    ],
)
def test_base64_and_charsets_that_are_read(tmp_path: Path, attached: dict[str, Any], text: str) -> None:
    frame = read_notes(write(tmp_path / "d.ndjson", document(content=[attached]))).frame
    assert frame["text"].to_list() == [text]


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
