"""A user's lexicon, cues and sections: what they change, how they travel, where they are refused."""

from __future__ import annotations

import json
import pickle
import shutil
from functools import partial
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.extract.job import Job
from sympress.extract.shapes import COLUMNS, Header
from sympress.extract.sources import find_notes, read_wanted
from sympress.extract.workers import LoadArtifact, Order, answer_chunk, cut_chunks
from sympress.labels.own_words import OwnWords, read_own_words
from sympress.notes.intake import Note
from sympress.runtime.artifact import (
    BOX_FOLDER,
    CHECKSUMS_FILE,
    RULES_FOLDER,
    check_files,
    files_to_run,
    read_extractor,
    write_checksums,
)
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import pack
from sympress.serve.models import Shelf, load_model
from sympress.serve.render import Question

LEXICON = """
extends = "clinical"
ignored = ["zap tree"]
[[symptom]]
id = "zaps"
name = "zaps"
codes = ["X:1"]
forms = ["brain zap{,s}"]
ambiguous = [{ form = "BZ", case = "upper" }]
[combined]
"z/h" = ["zaps", "headache"]
"""
CUES = '[[cue]]\nassertion = "absent"\nphrases = ["negates"]\n'
SECTIONS = '[[section]]\nkind = "instructions"\nheadings = ["words to heed"]\n'
NOTE = "Patient negates brain zaps. BZ, but no bz; zap tree. z/h.\n\nWords to heed:\nHiccups."
FOUND = [
    ("brain zaps", "zaps", "absent"),
    ("BZ", "zaps", "present"),
    ("z/h", "zaps", "present"),
    ("z/h", "headache", "present"),
    ("Hiccups", "hiccups", "hypothetical"),
]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The three files, by what they are."""
    texts = {"lexicon": LEXICON, "cues": CUES, "sections": SECTIONS}
    for name, text in texts.items():
        (tmp_path / f"my_{name}.toml").write_text(text, encoding="utf-8")
    return {name: tmp_path / f"my_{name}.toml" for name in texts}


@pytest.fixture
def words(files: dict[str, Path]) -> OwnWords:
    return read_own_words(**files)


def found(extractor: Extractor, note: str = NOTE) -> list[tuple[str, str | None, str]]:
    result = extractor(note)
    assert result.failure is None
    return [(note[one.start : one.end], one.symptom, one.assertion) for one in result.mentions]


@pytest.mark.parametrize("folder", [RULES_FOLDER, BOX_FOLDER], ids=["rules", "box"])
def test_the_files_change_what_the_rules_find(folder: Path, words: OwnWords):
    assert found(Extractor.load(folder, words=words)) == FOUND
    extractor = Extractor.load(folder, words=words)
    assert "zaps" in extractor.symptoms or folder == BOX_FOLDER
    assert extractor.code_of("zaps") == "X:1"
    assert ("Hiccups", "hiccups", "present") in found(Extractor.load(folder))


@pytest.mark.parametrize("folder", [RULES_FOLDER, BOX_FOLDER], ids=["rules", "box"])
def test_a_packed_artifact_carries_them_whole(folder: Path, words: OwnWords, tmp_path: Path):
    packed = tmp_path / "packed"
    pack(folder, packed, words=words)
    check_files(packed)
    listed = json.loads((packed / "checksums.json").read_text(encoding="utf-8"))["sha256"]
    assert {"lexicon.json", "cues.toml", "sections.toml"} <= set(listed) & set(files_to_run(packed))
    assert (packed / "cues.toml").read_text(encoding="utf-8") == CUES
    extractor = Extractor.load(packed)
    assert found(extractor) == FOUND
    assert extractor.code_of("zaps") == "X:1"
    pack(packed, tmp_path / "again")
    assert found(Extractor.load(tmp_path / "again")) == FOUND


def test_files_of_the_call_take_the_place_of_those_of_the_artifact(
    words: OwnWords, tmp_path: Path, files: dict[str, Path]
):
    pack(RULES_FOLDER, tmp_path / "packed", words=words)
    files["cues"].write_text("", encoding="utf-8")
    told = found(Extractor.load(tmp_path / "packed", words=read_own_words(cues=files["cues"])))
    assert told == [("brain zaps", "zaps", "present"), *FOUND[1:]]


def test_a_lexicon_that_is_called_as_ours_is_not_taken_for_it(tmp_path: Path):
    file = tmp_path / "clinical.toml"
    file.write_text(LEXICON, encoding="utf-8")
    pack(RULES_FOLDER, tmp_path / "packed", words=read_own_words(file))
    assert read_extractor(tmp_path / "packed").lexicon == "lexicon.json"
    assert ("BZ", "zaps", "present") in found(Extractor.load(tmp_path / "packed"))


def test_a_lexicon_of_ours_is_named_and_not_carried(tmp_path: Path):
    pack(RULES_FOLDER, tmp_path / "packed", words=read_own_words("paper"))
    assert read_extractor(tmp_path / "packed").lexicon == "paper"
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == [
        "checksums.json",
        "extractor.json",
    ]


def test_a_model_without_rules_refuses_what_it_would_not_read(
    tiny_artifact: Path, words: OwnWords, tmp_path: Path
):
    with pytest.raises(InputError) as caught:
        Extractor.load(tiny_artifact, words=words)
    options = "--lexicon and --cues and --sections"
    assert str(caught.value) == (
        f"{options}: {tiny_artifact} has no rules that would read them; leave out {options}, or add rules "
        f"with  sympress pack {tiny_artifact} --rules"
    )
    with pytest.raises(
        InputError, match=r"^--cues: .* has no rules that would read it; leave out --cues, or"
    ):
        pack(tiny_artifact, tmp_path / "packed", words=OwnWords(cues=words.cues, texts={"cues": CUES}))
    assert not (tmp_path / "packed").exists()
    pack(tiny_artifact, tmp_path / "packed", rules=True, words=words)
    assert [one[:2] for one in found(Extractor.load(tmp_path / "packed"))] == [one[:2] for one in FOUND]


def test_a_tagger_without_rules_names_its_spans_by_the_lexicon(
    tiny_tagger: Path, words: OwnWords, tmp_path: Path, files: dict[str, Path]
):
    with pytest.raises(InputError, match=r"^--cues and --sections: .* has no rules that would read them"):
        Extractor.load(tiny_tagger, words=words)
    files["lexicon"].write_text(
        '[[symptom]]\nid = "heat"\nname = "heat"\nforms = ["fever"]\n', encoding="utf-8"
    )
    own = read_own_words(files["lexicon"])
    extractor = Extractor.load(tiny_tagger, words=own)
    assert extractor.symptoms == ["heat"]
    named = {one.symptom for one in extractor("fever and chills, no cough").mentions}
    assert named <= {"heat", None}
    pack(tiny_tagger, tmp_path / "packed", words=own)
    assert not (tmp_path / "packed" / "forms.json").exists()
    assert Extractor.load(tmp_path / "packed").symptoms == ["heat"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cues.toml", None, "cues.toml: missing; copy the artifact again"),
        ("cues.toml", "[[cue]]\n", "2 mistakes:\n"),
        ("lexicon.json", None, "lexicon.json: missing or damaged (FileNotFoundError); copy the"),
        ("lexicon.json", "{", "lexicon.json: missing or damaged (JSONDecodeError); copy the"),
        ("lexicon.json", "[]", "lexicon.json: missing or damaged (TypeError); copy the artifact again"),
        ("lexicon.json", '{"format": 2}', "lexicon.json: format 2 is newer than this sympress; upgrade"),
        ("lexicon.json", '{"format": 1, "lexicon": {"name": 1, "symptoms": []}}',
         "lexicon.json: damaged at name; copy the artifact again"),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_or_damaged_is_said(
    words: OwnWords, tmp_path: Path, name: str, text: str | None, message: str
):
    packed = tmp_path / "packed"
    pack(RULES_FOLDER, packed, words=words)
    (packed / name).unlink()
    if text is not None:
        (packed / name).write_text(text, encoding="utf-8")
        write_checksums(packed)
    with pytest.raises(InputError) as caught:
        Extractor.load(packed)
    assert str(caught.value).removeprefix(f"{packed}/").startswith(message)


def test_words_go_to_other_processes_and_to_machines_that_have_no_files(
    words: OwnWords, files: dict[str, Path], tmp_path: Path
):
    note = Note("1", None, None, None, None, None, None, NOTE, None)
    order = Order("notes", csv=False, header=Header(COLUMNS, "rules", "2026-01-31"), words=words)
    here = Extractor.load(RULES_FOLDER, words=words)
    names = [*files_to_run(RULES_FOLDER), CHECKSUMS_FILE]
    contents = {name: (RULES_FOLDER / name).read_bytes() for name in names}
    sent = pickle.dumps(LoadArtifact(contents, order))
    for file in files.values():
        file.unlink()
    [chunk] = cut_chunks(iter([note]), notes=8)
    assert pickle.loads(sent)()(chunk).data == answer_chunk(here, chunk, order).data


def test_what_the_files_hold_decides_the_name_of_a_job(files: dict[str, Path], tmp_path: Path):
    (tmp_path / "note.txt").write_text(NOTE, encoding="utf-8")
    job = partial(
        Job, find_notes([str(tmp_path / "note.txt")]), read_wanted([], None, None), RULES_FOLDER, "notes",
        "jsonl", COLUMNS, 1,
    )  # fmt: skip
    names = [job().name(), job(words=read_own_words(**files)).name()]
    for name, file in files.items():
        alone = read_own_words(**{name: file})
        names.append(job(words=alone).name())
        file.write_text(file.read_text(encoding="utf-8").replace("net", "nets").replace("zap", "zip") + "#")
        names.append(job(words=read_own_words(**{name: file})).name())
    assert len(set(names)) == len(names) == 8
    copy = shutil.copy(files["lexicon"], tmp_path / "copy")
    shutil.move(copy, files["lexicon"])
    assert job(words=read_own_words(lexicon=files["lexicon"])).name() in names


def test_a_service_reads_the_files_again_and_keeps_its_words_when_they_are_wrong(files: dict[str, Path]):
    def load(name: str, folder: Path):
        return load_model(name, folder, read_own_words(**files))

    shelf = Shelf({"rules": RULES_FOLDER}, load)
    first = shelf.pick(None)
    assert first.fingerprint != load_model("rules", RULES_FOLDER).fingerprint
    files["cues"].write_text("", encoding="utf-8")
    second = shelf.reload("rules")
    assert second.fingerprint != first.fingerprint
    answers = [
        json.loads(answer.body) for model in (first, second) for answer in model.extract([Question(NOTE)])
    ]
    assert [answer["mentions"][0]["assertion"] for answer in answers] == ["absent", "present"]
    files["cues"].write_text("[[cues]]", encoding="utf-8")
    with pytest.raises(InputError, match="unknown key 'cues'"):
        shelf.reload("rules")
    assert shelf.pick(None) is second
