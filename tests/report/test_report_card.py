from __future__ import annotations

import json

import pytest
import yaml

from sympress.report.card import model_card, write_cards
from sympress.results import CalibrationQuality, Estimate


def metadata(card):
    return yaml.safe_load(card.split("---")[1])


def test_the_metadata_are_what_hugging_face_reads(results):
    found = metadata(model_card(results, results.strategies[2]))
    assert found["license"] == "apache-2.0"
    assert found["base_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert found["pipeline_tag"] == "text-classification"
    assert found["model-index"][0]["results"][0]["metrics"][0] == {"type": "f1", "value": 0.92}


def test_an_encoder_that_is_not_known_keeps_its_own_licence(results):
    other = results.model_copy(update={"config": {"encoder": "some/encoder"}})
    card = model_card(other, results.strategies[2])
    assert metadata(card)["license"] == "other"
    assert metadata(card)["base_model"] == "some/encoder"
    assert "some/encoder; its licence applies to these weights" in card
    local = results.model_copy(update={"config": {"encoder": "my folder"}})
    assert "base_model" not in metadata(model_card(local, results.strategies[2]))


def test_the_card_says_what_the_results_say(results):
    card = model_card(results, results.strategies[4])
    for expected in (
        "**Not validated for clinical use.**",
        "| fever | 40 | 0.900 [0.880, 0.920] |",
        "Macro F1 to the uncompressed baseline on the same notes: −0.050 [−0.070, −0.030].",
        "20,000,000 bytes; 20.00 ms a note",
        "Leak check: 13 test notes have a note of the same patient, and 3 a copy, in training.",
        "Not measured in this run: do not take a probability at its word.",
        "TRIPOD+AI",
        "sympress demo",
    ):
        assert expected in card, expected


def test_calibration_and_silver_labels_are_said(results, make_quality):
    one = Estimate(value=0.04)
    quality = make_quality(0.9, calibration=CalibrationQuality(ece=one, ece_width=one, brier=one))
    data = results.data.model_copy(update={"labels": "silver: a rule"})
    row = results.strategies[1].model_copy(update={"quality": quality})
    card = model_card(results.model_copy(update={"data": data}), row)
    assert "Expected calibration error (bins of equal mass) 0.040, Brier score 0.040." in card
    assert "Labels are silver: a rule made them, nobody read the notes." in card


def test_evidence_is_quoted_and_replaces_the_warning(results, tmp_path):
    folder = tmp_path / "artifacts" / "baseline-seed0"
    folder.mkdir(parents=True)
    (folder / "extractor.json").write_text("{}")
    assert write_cards(results, tmp_path, "Trial X,\n<b>500</b> notes") == [folder / "README.md"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Not validated for clinical use" not in card
    assert "as supplied by the user and not checked by sympress" in card
    assert "> \\<b\\>500\\</b\\> notes" in card


@pytest.mark.parametrize(
    "attack", ["<script>x</script>", "=cmd|' /C calc'!A0", '"\n---\nlicense: mit', "a\u202eb"]
)
def test_hostile_names_are_text_in_the_card(results, attack):
    row = results.strategies[1].model_copy(update={"name": attack, "notes": [attack], "recipe": attack})
    data = results.data.model_copy(update={"name": attack, "labels": attack, "reading": {attack: 1}})
    config = {"encoder": attack, "command": attack}
    card = model_card(results.model_copy(update={"data": data, "config": config, "warnings": [attack]}), row)
    head, body = card.split("\n---\n", 1)
    assert json.loads(json.dumps(yaml.safe_load(head)))["license"] == "other"
    assert "<script>" not in body.replace("\\<script", "").replace("    <script>", "")
    assert "\u202e" not in card
    assert "\n---\n" not in body
