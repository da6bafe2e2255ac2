"""Who decides is chosen on coded notes, and a choice that would harm general notes is not made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.runtime.artifact import (
    BOX_FOLDER,
    RULES_FOLDER,
    read_extractor,
    write_checksums,
    write_extractor,
)
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import LEAST_GENERAL, LabelledNotes, Signs, candidates, choose, coded_notes, pack

REDNESS = "Given flu shot in left arm. Redness and swelling, arm red and warm."


@pytest.fixture(scope="module")
def box() -> Extractor:
    return Extractor.load(BOX_FOLDER)


def labelled(extractor: Extractor, *notes: tuple[str, set[str]]) -> LabelledNotes:
    return coded_notes([text for text, _ in notes], [sorted(codes) for _, codes in notes], extractor.symptoms)


def test_codes_count_under_their_own_name_and_under_the_lexicons():
    symptoms = ["fever", "Infection", "rash"]
    found = coded_notes(["a", "b"], [["Pyrexia", "Infection", "Injury"], []], symptoms)
    assert found.truth.tolist() == [[True, True, False], [False, False, False]]


def test_evidence_names_symptoms_of_the_lexicon():
    ids = {symptom.id for symptom in load_lexicon("clinical").symptoms}
    for symptom, evidence in candidates().items():
        assert {symptom, *evidence.mentions} <= ids
        assert symptom not in evidence.mentions


def test_evidence_is_kept_where_it_gains_and_harms_no_general_note(box: Extractor):
    told = labelled(box, *[(REDNESS, {"injection-site-redness"})] * 4)
    harmless = choose(box, told, labelled(box, ("He has erythema of the throat.", set())))
    assert set(harmless.evidence) == {"injection-site-redness"}
    assert harmless.figures["symptoms"]["injection-site-redness"]["evidence"] == {
        "chosen": "evidence",
        "f1": {"rules": 0.0, "evidence": 1.0},
        "smaller_gain_of_two_halves": 1.0,
        "errors_on_general_notes": {"rules": 0, "evidence": 0},
        "right_on_general_notes": {"rules": 0, "evidence": 0},
    }
    assert choose(box, told, labelled(box, (REDNESS, set()))).evidence == {}


@pytest.mark.parametrize(
    ("affirmed", "coded", "chosen"),
    [
        (True, True, "model"),
        (False, True, "rules"),  # the general notes that say so would lose it
        (True, False, "rules"),  # no general note says so: nobody knows what would be lost
    ],
)
def test_a_model_may_refuse_mentions_where_that_gains_and_loses_nothing(
    box: Extractor, monkeypatch: pytest.MonkeyPatch, affirmed: bool, coded: bool, chosen: str
):
    at = box.symptoms.index("rash")

    def notes(truth: list[bool], affirms: list[bool]) -> tuple[LabelledNotes, Signs]:
        """Notes that all mention a rash."""
        made = np.zeros((4, len(truth), len(box.symptoms)), dtype=bool)
        made[0, :, at], made[1, :, at], made[2, :, at], made[3, :, at] = True, True, affirms, truth
        unsupported = np.zeros_like(made[0])
        signs = Signs(*made[:3], unsupported, dict.fromkeys(candidates(), unsupported))
        return LabelledNotes(["rash"] * len(truth), made[3]), signs

    told, signs = notes([True, True, False, False] * 2, [True, True, False, False] * 2)
    general, others = notes([coded] * LEAST_GENERAL, [affirmed] * LEAST_GENERAL)
    both = iter([signs, others])
    monkeypatch.setattr("sympress.runtime.pack.read_signs", lambda *_: next(both))
    choice = choose(box, told, general)
    assert choice.decides == {"rash": chosen}
    assert choice.figures["symptoms"]["rash"]["decides"]["f1"] == {"rules": 0.6667, "model": 1.0}


def test_rules_alone_have_nothing_to_choose():
    rules = Extractor.load(RULES_FOLDER)
    nothing = LabelledNotes([], np.zeros((0, 0), dtype=bool))
    with pytest.raises(
        InputError, match=r"only a model of the task present with rules has a choice to make$"
    ):
        choose(rules, nothing, nothing)


def test_packing_records_the_choice_and_its_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sympress.runtime.pack.GENERAL_NOTES", 20)
    (tmp_path / "2004VAERSDATA.csv").write_text(
        "VAERS_ID,RECVDATE,SEX,AGE_YRS,SYMPTOM_TEXT\n"
        + "".join(f'{at},01/02/2004,F,40,"{REDNESS} Report {at}."\n' for at in range(8)),
        encoding="latin-1",
    )
    (tmp_path / "2004VAERSSYMPTOMS.csv").write_text(
        "VAERS_ID,SYMPTOM1,SYMPTOM2,SYMPTOM3,SYMPTOM4,SYMPTOM5\n"
        + "".join(f"{at},Injection site erythema,,,,\n" for at in range(8)),
        encoding="latin-1",
    )
    made = tmp_path / "made"
    with pytest.raises(
        InputError, match=r"^--validation chooses between the model and the rules; add --rules$"
    ):
        pack(BOX_FOLDER, made, validation=tmp_path)
    pack(BOX_FOLDER, made, rules=True, validation=tmp_path)
    settings = read_extractor(made)
    assert set(settings.evidence) == {"injection-site-redness"}
    assert set(settings.decides.values()) == {"rules"}
    record = json.loads((made / "provenance.json").read_text(encoding="utf-8"))["decisions"]
    assert (record["validation_notes"], record["general_notes"]) == (8, 20)
    assert record["symptoms"]["injection-site-redness"]["evidence"]["chosen"] == "evidence"
    card = (made / "README.md").read_text(encoding="utf-8")
    assert card.count("## As packed") == 1
    assert "`injection-site-redness` (`erythema`)" in card
    [result] = Extractor.load(made)([REDNESS])
    [found] = [one for one in result.mentions if one.symptom == "injection-site-redness"]
    assert (found.source, found.reason and found.reason.kind, found.assertion) == ("both", "model", "present")
    assert "injection-site-redness" in {one.symptom for one in result.symptoms}


def test_a_packed_card_says_what_a_symptom_was_called(tmp_path: Path) -> None:
    coded = tmp_path / "coded"
    shutil.copytree(BOX_FOLDER, coded)
    settings = read_extractor(coded)
    names = ["Pyrexia" if name == "fever" else name for name in settings.symptoms]
    changed = {"symptoms": names, "rules": False, "evidence": {}, "decides": {}, "tagger": False}
    write_extractor(coded, settings.model_copy(update=changed))
    write_checksums(coded)
    pack(coded, tmp_path / "made", rules=True)
    assert read_extractor(tmp_path / "made").symptoms == settings.symptoms
    assert "Pyrexia is `fever`" in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
