"""What a note's findings are where a model of whole notes and rules answer together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sympress.deploy.artifact import Extractor as Settings
from sympress.deploy.artifact import write_extractor
from sympress.deploy.extractor import Extractor, FoundMention, FoundSymptom, NoteResult
from sympress.deploy.findings import findings_of

NOTE = "c/o fever and chills, denies cough. Rash on both arms."


@pytest.fixture
def both(tiny_artifact: Path, tmp_path: Path) -> Extractor:
    """A model of three symptoms that affirms fever and pain, and rules."""
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("tokenizer.json", "model.onnx"):
        (folder / name).write_bytes((tiny_artifact / name).read_bytes())
    fixed = {"task": "present", "symptoms": ["fever", "cough", "headache"], "max_tokens": 64, "pad_id": 0}
    rules = {"lexicon": "clinical", "rules": True, "codes": {"headache": ["OWN:1"]}}
    write_extractor(folder, Settings.model_validate({**fixed, **rules, "thresholds": [0.0, 1.0, 0.0]}))
    return Extractor.load(folder)


def test_rules_give_the_spans_and_a_note_affirms_what_either_affirms(both: Extractor):
    [result] = both([NOTE])
    probability = dict(zip(both.symptoms, both.model.predict([NOTE])[0].tolist(), strict=True))
    spans = {NOTE[one.start : one.end]: (one.symptom, one.assertion, one.score) for one in result.mentions}
    assert spans == {
        "fever": ("fever", "present", pytest.approx(probability["fever"])),
        "chills": ("chills", "present", 1.0),
        "cough": ("cough", "absent", 1.0),
        "Rash": ("rash", "present", 1.0),
    }
    # fever and headache by the model, with its probability; then what only the rules affirm
    assert {one.symptom for one in result.symptoms[:2]} == {"fever", "headache"}
    assert [one.symptom for one in result.symptoms[2:]] == ["chills", "rash"]
    codes = {one.symptom: one.code for one in result.symptoms}
    assert codes["headache"] == "OWN:1"
    assert codes["chills"] is not None


def test_a_note_without_forms_has_the_answer_of_the_model_alone(both: Extractor):
    [result] = both(["seen in clinic"])
    assert result.mentions == ()
    assert {one.symptom for one in result.symptoms} == {"fever", "headache"}


def test_findings_are_the_spans_and_what_no_span_accounts_for():
    result = NoteResult(
        (FoundSymptom("fever", "HP:1", 0.9), FoundSymptom("cough", None, 0.8)),
        (
            FoundMention(0, 5, "fever", "HP:1", "present", 0.9),
            FoundMention(9, 14, "cough", None, "absent", 1.0),
        ),
    )
    found = [(one.symptom, one.assertion, one.probability, one.span) for one in findings_of(result)]
    assert found == [
        ("fever", "present", 0.9, (0, 5)),
        ("cough", "absent", 1.0, (9, 14)),
        ("cough", "present", 0.8, None),
    ]
    assert json.dumps(found)  # plain values
    assert findings_of(NoteResult(())) == []


def test_what_a_span_calls_present_is_affirmed_also_where_the_model_does_not(both: Extractor):
    settings = both.settings.model_copy(update={"thresholds": [1.0, 1.0, 1.0]})
    doubting = Extractor(settings, both.runtime, both.folder, 1)
    [result] = doubting([NOTE])
    assert [one.symptom for one in result.symptoms] == ["chills", "fever", "rash"]
    assert {one.score for one in result.mentions} == {1.0}
