"""`sympress pack`: what is shipped runs as before, is smaller, and can have rules beside its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.runtime.artifact import (
    BOX_FOLDER,
    RULES_FOLDER,
    artifact_folder,
    check_files,
    read_extractor,
    write_checksums,
    write_extractor,
)
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import pack, with_rules

NOTE = "Pyrexia of 39 and chills, no cough."


@pytest.fixture
def whole(tiny_artifact: Path, tmp_path: Path) -> Path:
    """An artifact as `study` leaves it, with the coded names of symptoms."""
    folder = tmp_path / "whole"
    shutil.copytree(tiny_artifact, folder)
    named = {"symptoms": ["Pyrexia", "Rash", "Drug ineffective"], "codes": {"Pyrexia": ["HP:0001945"]}}
    write_extractor(folder, read_extractor(folder).model_copy(update=named))
    (folder / "model.safetensors").write_bytes(b"weights for training")
    (folder / "README.md").write_text("# card\n", encoding="utf-8")
    (folder / "provenance.json").write_text("{}", encoding="utf-8")
    write_checksums(folder)
    return folder


def test_a_packed_artifact_answers_as_before_without_what_training_needs(whole: Path, tmp_path: Path):
    size = pack(whole, tmp_path / "packed")
    kept = {
        "README.md",
        "checksums.json",
        "extractor.json",
        "model.onnx",
        "provenance.json",
        "tokenizer.json",
    }
    assert {path.name for path in (tmp_path / "packed").iterdir()} == kept
    assert size == sum(path.stat().st_size for path in (tmp_path / "packed").iterdir())
    assert Extractor.load(tmp_path / "packed")(NOTE) == Extractor.load(whole)(NOTE)
    assert (tmp_path / "packed" / "README.md").read_text(encoding="utf-8") == "# card\n"


def test_rules_beside_the_model_take_its_probabilities_and_the_card_says_so(whole: Path, tmp_path: Path):
    packed = tmp_path / "packed"
    pack(whole, packed, rules=True)
    check_files(packed)
    extractor = Extractor.load(packed)
    assert extractor.symptoms == ["fever", "rash", "Drug ineffective"]
    result = extractor(NOTE)
    [before] = Extractor.load(whole).model.predict([NOTE]).tolist()
    spans = {NOTE[one.start : one.end]: (one.assertion, one.score) for one in result.mentions}
    assert spans["Pyrexia"] == ("present", pytest.approx(before[0]))
    assert spans["cough"] == ("absent", None)
    assert extractor.code_of("fever") == "HP:0001945"
    card = (packed / "README.md").read_text(encoding="utf-8")
    assert "Pyrexia is `fever`, Rash is `rash`; the others as above." in card


def test_two_symptoms_of_one_name_in_the_lexicon_keep_their_own():
    fixed = {"task": "present", "max_tokens": 16, "pad_id": 0}
    given = Settings.model_validate({**fixed, "symptoms": ["Pyrexia", "Body temperature increased", "Rash"]})
    named = with_rules(given)
    assert named.symptoms == ["Pyrexia", "Body temperature increased", "rash"]
    assert (named.rules, named.lexicon) == (True, "clinical")


def test_what_cannot_be_packed_is_said_and_leaves_nothing_behind(whole: Path, tmp_path: Path):
    packed = tmp_path / "packed"
    with pytest.raises(InputError, match=r"bytes packed, more than the 10 asked for; press it further$"):
        pack(whole, packed, most_bytes=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["whole"]
    with pytest.raises(InputError, match="is the artifact itself"):
        pack(whole, whole, force=True)
    pack(whole, packed)
    with pytest.raises(InputError, match="exists already"):
        pack(whole, packed)
    pack(whole, packed, force=True, rules=True)
    assert read_extractor(packed).rules
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="exists already"):
        pack(whole, tmp_path / "other", force=True)  # no artifact: not ours to remove
    (whole / "tokenizer.json").write_text("changed", encoding="utf-8")
    with pytest.raises(InputError, match="changed since it was written"):
        pack(whole, tmp_path / "next")


def test_the_model_in_the_box_is_small_whole_and_documented():
    check_files(BOX_FOLDER)
    assert sum(path.stat().st_size for path in BOX_FOLDER.iterdir()) <= 1_000_000
    record = json.loads((BOX_FOLDER / "provenance.json").read_text(encoding="utf-8"))
    assert record["strategy"] == "micro"
    card = (BOX_FOLDER / "README.md").read_text(encoding="utf-8")
    assert "**Not validated for clinical use.**" in card
    assert "Apache" in card or "apache" in card
    result = Extractor.load(BOX_FOLDER)("c/o fever and chills, denies cough")
    assert [(one.symptom, one.assertion) for one in result.mentions] == [
        ("fever", "present"),
        ("chills", "present"),
        ("cough", "absent"),
    ]
    assert {one.symptom for one in result.symptoms} == {"fever", "chills"}


def test_folders_that_come_with_sympress_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert artifact_folder(None) == BOX_FOLDER
    assert artifact_folder(Path("rules")) == RULES_FOLDER
    assert artifact_folder(tmp_path) == tmp_path
    assert artifact_folder(Path("nowhere")) == Path("nowhere")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules").mkdir()
    assert artifact_folder(Path("rules")) == Path("rules")


def test_codes_of_what_the_model_does_not_answer_for_are_kept():
    fixed = {"task": "present", "max_tokens": 16, "pad_id": 0}
    codes = {"Pyrexia": ["HP:0001945"], "Syncope": ["HP:0001279"]}
    given = Settings.model_validate({**fixed, "symptoms": ["Pyrexia"], "codes": codes})
    assert with_rules(given).codes == {"fever": ["HP:0001945"], "Syncope": ["HP:0001279"]}
