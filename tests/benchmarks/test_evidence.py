"""The benchmark of the default answer: each policy is the rule that its name says."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.document_tables import evidence_table
from sympress.labels.mentions import Mention
from sympress.runtime.affirm import Belief, sourced
from sympress.runtime.artifact import BOX_FOLDER
from sympress.runtime.extractor import Extractor

FILE = Path(__file__).parents[2] / "benchmarks" / "evidence.py"


@pytest.fixture(scope="module")
def evidence() -> ModuleType:
    spec = importlib.util.spec_from_file_location("evidence", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["evidence"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def box() -> Extractor:
    return Extractor.load(BOX_FOLDER)


def test_each_policy_adds_one_rule(evidence: ModuleType, box: Extractor):
    text = "flu shot: redness. no rash. cough"
    mentions = [Mention(10, 17, "erythema"), Mention(22, 26, "rash", "absent"), Mention(28, 33, "cough")]
    beliefs = {name: Belief(0.1, affirms=False) for name in box.symptoms}
    for name in ("rash", "injection-site-redness", "Infection"):
        beliefs[name] = Belief(0.9, affirms=True)
    note = evidence.Read(text, sourced(mentions), frozenset({"cough"}), beliefs)
    words = {"erythema", "cough"}
    assert [policy(note) for policy in evidence.policies(box).values()] == [
        words | {"rash", "injection-site-redness", "Infection"},
        words | {"injection-site-redness", "Infection"},
        words,
        *[{"cough", "injection-site-redness"}] * 3,  # the redness has a more exact name
        words,
        {"cough"},
        {"rash", "injection-site-redness", "Infection"},
    ]


def test_answers_are_scored_over_the_given_symptoms_and_logits_are_kept(
    evidence: ModuleType, box: Extractor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    found = evidence.score({"all": [{"a", "b"}, {"c"}]}, [{"a"}, {"b", "c"}], ["a", "b"])["all"]
    assert (found["micro_f1"]["value"], found["precision"], found["recall"]) == (0.5, 0.5, 0.5)
    texts = ["fever and rash", "no cough"]
    first = evidence.read_all(box, texts, tmp_path)
    monkeypatch.setattr(box, "note_logits", None)  # not asked again
    assert evidence.read_all(box, texts, tmp_path) == first
    assert all(text.encode() not in path.read_bytes() for path in tmp_path.iterdir() for text in texts)


def test_the_table_has_a_line_for_each_policy():
    f1 = {"micro_f1": {"value": 0.5, "low": 0.4, "high": 0.6, "note": None}}
    measured = {
        "year": 2005,
        "reports": 3,
        "symptoms": ["a", "b"],
        "coded": {"words only": f1},
        "synthetic": {"words only": f1},
        "synthetic_notes": 5,
        "synthetic_symptoms": 4,
        "contradictions": {"MTSamples": {"words only": {"affirmed": 10, "denied_by_every_mention": 2}}},
        "default": {"MTSamples": {"notes": 7, "affirmed": 10, "without_a_present_mention": 0}},
    }
    lines = evidence_table(measured)
    f1_shown = r"0.500 \[0.400, 0.600\]"
    assert lines[2] == f"| words only | {f1_shown} | {f1_shown} | 2 of 10 |"
    assert "all 3 reports of 2005" in lines[-1]
