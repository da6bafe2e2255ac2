"""What a note's findings are where a model of whole notes and rules answer together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sympress.labels.mentions import Reason
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.artifact import write_checksums, write_extractor
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import (
    FoundMention,
    FoundSymptom,
    NoteResult,
    findings_of,
    in_original,
    reason_in_words,
)

NOTE = "c/o fever and chills, denies cough. Rash on both arms."


@pytest.fixture
def both(tiny_artifact: Path, tmp_path: Path) -> Extractor:
    """A model of three symptoms that affirms fever and headache of any note, and rules."""
    folder = tmp_path / "both"
    folder.mkdir()
    for name in ("tokenizer.json", "model.onnx"):
        (folder / name).write_bytes((tiny_artifact / name).read_bytes())
    fixed = {"task": "present", "symptoms": ["fever", "cough", "headache"], "max_tokens": 64, "pad_id": 0}
    rules = {"lexicon": "clinical", "rules": True, "codes": {"headache": ["OWN:1"]}}
    write_extractor(folder, Settings.model_validate({**fixed, **rules, "thresholds": [0.0, 1.0, 0.0]}))
    write_checksums(folder)
    return Extractor.load(folder)


def test_what_a_span_calls_present_is_affirmed_with_the_probability_that_the_model_gives(both: Extractor):
    [result] = both([NOTE])
    probability = dict(zip(both.symptoms, both.model.predict([NOTE])[0].tolist(), strict=True))
    spans = {
        NOTE[one.start : one.end]: (one.symptom, one.assertion, one.score, one.source)
        for one in result.mentions
    }
    assert spans == {
        "fever": ("fever", "present", pytest.approx(probability["fever"]), "both"),
        "chills": ("chills", "present", None, "rules"),
        "cough": ("cough", "absent", None, "rules"),
        "Rash": ("rash", "present", None, "rules"),
    }
    # headache is affirmed by the model, but no words name it; what has no probability comes last
    assert [(one.symptom, one.probability, one.source, one.span) for one in result.symptoms] == [
        ("fever", pytest.approx(probability["fever"]), "both", (4, 9)),
        ("chills", None, "rules", (14, 20)),
        ("rash", None, "rules", (36, 40)),
    ]
    codes = {one.symptom: one.code for one in result.symptoms}
    assert codes["chills"] is not None
    assert both.code_of("headache") == "OWN:1"


@pytest.mark.parametrize("note", ["seen in clinic", "denies fever", "mother has a fever"])
def test_a_model_affirms_nothing_that_no_words_call_present(both: Extractor, note: str):
    assert both([note])[0].symptoms == ()


def test_a_model_without_rules_answers_for_the_whole_note_and_points_at_no_words(both: Extractor):
    alone = Extractor(both.settings.model_copy(update={"rules": False}), both.runtime, both.folder, 1)
    [result] = alone(["denies fever"])
    assert result.mentions == ()
    assert {(one.symptom, one.source, one.span) for one in result.symptoms} == {
        ("fever", "model", None),
        ("headache", "model", None),
    }


def test_findings_are_the_spans_and_what_no_span_accounts_for():
    result = NoteResult(
        (FoundSymptom("fever", "HP:1", 0.9), FoundSymptom("cough", None, 0.8)),
        (
            FoundMention(0, 5, "fever", "HP:1", "present", 0.9),
            FoundMention(9, 14, "cough", None, "absent", None, "rules", Reason("cue", "no", 6, 8)),
        ),
    )
    found = [
        (one.symptom, one.assertion, one.probability, one.span, one.source, one.reason and one.reason.kind)
        for one in findings_of(result)
    ]
    assert found == [
        ("fever", "present", 0.9, (0, 5), "rules", None),
        ("cough", "absent", None, (9, 14), "rules", "cue"),
        ("cough", "present", 0.8, None, "model", None),
    ]
    assert json.dumps(found)  # plain values
    assert findings_of(NoteResult(())) == []


@pytest.mark.parametrize(
    ("decides", "affirmed"), [("rules", ["fever", "chills", "rash"]), ("model", ["chills", "rash"])]
)
def test_who_decides_on_a_mention_that_the_model_doubts_is_recorded(
    both: Extractor, decides: str, affirmed: list[str]
):
    changes = {"thresholds": [1.0, 1.0, 1.0], "decides": {"fever": decides}}
    doubting = Extractor(both.settings.model_copy(update=changes), both.runtime, both.folder, 1)
    [result] = doubting([NOTE])
    assert [one.symptom for one in result.symptoms] == affirmed
    [fever] = [one for one in result.mentions if one.symptom == "fever"]
    assert (fever.assertion, fever.source) == ("present", "rules")
    assert 0 < (fever.score or 0) < 1


def test_a_result_on_a_view_is_moved_to_the_note_as_it_was_given():
    result = NoteResult(
        (FoundSymptom("cough", None, None, "rules", (9, 14)),),
        (FoundMention(9, 14, "cough", None, "absent", None, "rules", Reason("cue", "no", 6, 8)),),
        windows=2,
    )
    moved = in_original(result, lambda start, end: (start + 3, end + 3), "html")
    assert (moved.markup, moved.windows, moved.symptoms[0].span) == ("html", 2, (12, 17))
    [mention] = moved.mentions
    assert (mention.start, mention.end, mention.reason) == (12, 17, Reason("cue", "no", 9, 11))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (Reason("cue", "denies", 0, 6), '"denies" at 0-6'),
        (Reason("section", "family history", 40, 54), 'section "family history" at 40-54'),
        (Reason("mark", "(-)", 6, 9), 'mark "(-)" at 6-9'),
        (Reason("word", "afebrile", 0, 8), 'the word itself, "afebrile" at 0-8'),
        (Reason("value", "temp 101.5 f", 0, 12), 'value "temp 101.5 f" at 0-12'),
        (Reason("model"), "the model"),
    ],
)
def test_a_reason_is_said_in_words(reason: Reason, said: str):
    assert reason_in_words(reason) == said
