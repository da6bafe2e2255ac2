"""`sympress pack`: what is shipped runs as before, is smaller, and can have rules beside its model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.labels.task import TASKS, Task
from sympress.runtime.artifact import (
    BOX_FOLDER,
    RULES_FOLDER,
    artifact_digest,
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
    assert sum(path.stat().st_size for path in BOX_FOLDER.rglob("*")) <= 4_000_000
    record = json.loads((BOX_FOLDER / "provenance.json").read_text(encoding="utf-8"))
    assert record["strategy"] == "small"
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


@pytest.fixture
def with_tagger(whole: Path, tiny_tagger: Path, tmp_path: Path) -> Path:
    pack(whole, tmp_path / "carrying", rules=True, tagger=tiny_tagger)
    return tmp_path / "carrying"


def test_spans_of_a_carried_tagger_are_mentions_whose_assertion_the_rules_read(
    with_tagger: Path, whole: Path, tiny_tagger: Path, tmp_path: Path
):
    pack(whole, tmp_path / "plain", rules=True)
    note = "Pyrexia of 39 and chills, no cough, no glabellar frown."
    [plain], [both] = (Extractor.load(one)([note]) for one in (tmp_path / "plain", with_tagger))
    spans = {(one.start, one.end) for one in Extractor.load(tiny_tagger)(note).mentions}
    by_model = [one for one in both.mentions if one.source == "model"]
    untouched = [
        one
        for one in plain.mentions
        if not any(one.start < last and first < one.end for first, last in spans)
    ]
    assert spans
    assert {(one.start, one.end) for one in by_model} <= spans
    assert [one for one in both.mentions if one.source == "rules"] == untouched
    denied = note.index("no cough")
    assert {one.assertion for one in both.mentions if one.start > denied} == {"absent"}


def test_every_file_of_a_carried_tagger_is_checked_and_travels(with_tagger: Path, tmp_path: Path):
    again = tmp_path / "again"
    pack(with_tagger, again)
    assert artifact_digest(again) == artifact_digest(with_tagger)
    (again / "tagger" / "model.onnx").write_bytes(b"changed")
    with pytest.raises(InputError, match="changed since it was written"):
        Extractor.load(again)
    (again / "tagger" / "model.onnx").unlink()
    with pytest.raises(InputError, match=r"tagger/model\.onnx is missing"):
        Extractor.load(again)


def test_a_tagger_whose_spans_are_told_no_assertion_is_not_carried(
    whole: Path, tiny_tagger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(TASKS, "severity", Task("severity", "spans", ("gold",), ("mild", "severe")))
    tagger = tmp_path / "tagger"
    shutil.copytree(tiny_tagger, tagger)
    told = {"task": "severity", "tags": ["O", "B-mild", "I-mild", "B-severe", "I-severe"]}
    write_extractor(tagger, read_extractor(tagger).model_copy(update=told))
    write_checksums(tagger)
    with pytest.raises(InputError, match="of the task severity, tells no assertions; give one of mentions"):
        pack(whole, tmp_path / "no", rules=True, tagger=tagger)
    with pytest.raises(InputError, match="the task severity tells mild, severe; leave out --rules"):
        pack(tagger, tmp_path / "no", rules=True)
    assert not (tmp_path / "no").exists()


def test_a_tagger_is_carried_beside_rules_and_a_model_of_whole_notes_only(
    whole: Path, tiny_tagger: Path, tmp_path: Path
):
    for source, tagger, rules, said in [
        (whole, tiny_tagger, False, "add --rules"),
        (whole, whole, True, "finds no spans"),
        (tiny_tagger, tiny_tagger, True, "finds spans itself"),
    ]:
        with pytest.raises(InputError, match=said):
            pack(source, tmp_path / "no", rules=rules, tagger=tagger)
        assert not (tmp_path / "no").exists()
