"""`sympress.load`: whatever a user names is opened, or one line says what it is and what to do."""

from __future__ import annotations

import copy
import json
import logging
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from transformers import BertConfig, BertForSequenceClassification, BertModel

import sympress
from sympress import Extractor, InputError, SympressError
from sympress.errors import InputError as Mistake
from sympress.labels.lexicon import Lexicon, Symptom, load_lexicon
from sympress.labels.own_words import OwnWords
from sympress.runtime.artifact import (
    BOX_FOLDER,
    RULES_FOLDER,
    artifact_digest,
    read_extractor,
    write_checksums,
)
from sympress.runtime.linker import load_rules

OUR_WORDS = OwnWords(load_lexicon("clinical"))
NOTE = "c/o fever and chills, denies cough"


def symptoms(extractor: Extractor, note: str = NOTE) -> list[tuple[str | None, str]]:
    return [(one.symptom, one.assertion) for one in extractor(note).mentions]


FOUND = [("fever", "present"), ("chills", "present"), ("cough", "absent")]


# What can be named --------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [None, "box", "rules", BOX_FOLDER, str(RULES_FOLDER)], ids=str)
def test_what_comes_with_sympress_loads_by_name_by_path_and_by_nothing(source: str | Path | None):
    assert symptoms(sympress.load(source)) == FOUND
    assert symptoms(Extractor.load(source)) == FOUND


def test_artifacts_that_read_by_our_words_share_the_rules():
    assert load_rules(read_extractor(RULES_FOLDER), OUR_WORDS) is load_rules(
        read_extractor(BOX_FOLDER), OUR_WORDS
    )


@pytest.mark.parametrize("kind", [str, Path])
def test_an_artifact_loads_by_a_string_or_a_path(tiny_artifact: Path, kind: type):
    loaded = sympress.load(kind(tiny_artifact), threads=2)
    assert (loaded.folder, loaded.threads, loaded.task) == (tiny_artifact, 2, "present")


def test_the_one_artifact_of_a_digest_loads_and_no_other(tiny_artifact: Path):
    assert sympress.load(tiny_artifact, digest=artifact_digest(tiny_artifact)).task == "present"
    with pytest.raises(InputError, match="another artifact than that of the digest given"):
        sympress.load(tiny_artifact, digest="sha256:" + "0" * 64)


def test_words_of_ones_own_come_from_files_named_by_strings(tmp_path: Path):
    lexicon, cues = tmp_path / "mine.tsv", tmp_path / "cues.toml"
    lexicon.write_text("symptom\tform\nzaps\tbrain zaps\n", encoding="utf-8")
    cues.write_text('[cues]\nabsent = ["nix"]\n', encoding="utf-8")
    own = sympress.load("rules", lexicon=str(lexicon))
    assert symptoms(own, "brain zaps, no fever") == [("zaps", "present")]
    with pytest.raises(InputError, match=str(tmp_path / "none.toml")):
        sympress.load("rules", cues=str(tmp_path / "none.toml"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads 0: give a whole number from 1"),
        ({"threads": 1.5}, "threads 1.5: give a whole number from 1"),
        ({"on_error": "ignore"}, "on_error 'ignore': give 'record' or 'raise'"),
    ],
)
def test_a_setting_that_is_none_is_refused_before_anything_is_read(
    settings: dict, message: str, tmp_path: Path
):
    with pytest.raises(InputError) as refused:
        sympress.load(tmp_path, **settings)
    assert str(refused.value) == message


# What is no artifact ------------------------------------------------------------------------------


def refused(source: str | Path) -> str:
    with pytest.raises(InputError) as error:
        Extractor.load(source)
    assert "\n" not in str(error.value)
    start, _, hint = str(error.value).partition("(extractor.json is missing)")
    assert start == f"{source}: no artifact here "
    return hint


SMALL = {
    "vocab_size": 9,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
}


def test_a_checkpoint_of_a_classifier_is_named_with_the_command_that_imports_it(tmp_path: Path):
    BertForSequenceClassification(BertConfig(**SMALL)).save_pretrained(tmp_path)
    assert refused(tmp_path) == (
        "; that is a Hugging Face checkpoint, BertForSequenceClassification: make an artifact with  "
        f"sympress import {tmp_path} -o ARTIFACT"
    )


def test_an_encoder_without_a_head_is_named_with_the_command_that_trains_one(tmp_path: Path):
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    assert refused(tmp_path) == (
        "; that is a Hugging Face encoder, BertModel, without a head for symptoms: train one with  "
        f"sympress study --encoder {tmp_path}"
    )


def test_an_id_of_the_hub_is_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert refused("my-org/symptom-bert").endswith("with  sympress import my-org/symptom-bert -o ARTIFACT")


def test_an_id_that_the_hub_does_not_give_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="checkpoint 'my-org/symptom-bert': no such folder, nor an id in"):
        sympress.load("my-org/symptom-bert")


def test_a_run_names_the_first_of_its_artifacts(tmp_path: Path):
    own = tmp_path / "artifacts" / "baseline-seed0"
    own.mkdir(parents=True)
    (own / "extractor.json").write_text("{}", encoding="utf-8")
    assert refused(tmp_path) == f"; that is a run: give one of its artifacts, such as {own}"


def test_a_file_is_no_folder(tmp_path: Path):
    file = tmp_path / "model.onnx"
    file.write_bytes(b"")
    assert refused(file) == "; that is a file: give the folder of the artifact"


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        ('{"sympress": {}, "model_type": "bert"}', "; its weights are: copy the whole artifact again"),
        ('{"model_type": "bert", "architectures": ["two\\nlines"]}', None),
        ("[]", ""),
        ("{", ""),
        (None, ""),
    ],
)
def test_whatever_a_config_says_the_message_is_one_line(config: str | None, hint: str | None, tmp_path: Path):
    if config is not None:
        (tmp_path / "config.json").write_text(config, encoding="utf-8")
    assert hint in (None, refused(tmp_path))
    refused(tmp_path)


# One text and many --------------------------------------------------------------------------------


def test_one_text_gives_one_result_and_any_iterable_of_texts_gives_results():
    extractor = sympress.load()
    one = extractor(NOTE)
    assert isinstance(one, sympress.NoteResult)
    for notes in (
        [NOTE],
        (NOTE,),
        iter([NOTE]),
        np.array([NOTE]),
        pl.Series([NOTE]),
        pd.Series([NOTE], index=["x"]),
        pl.DataFrame({"text": [NOTE]})["text"],
    ):
        several = extractor(notes)
        assert isinstance(several, sympress.NoteResults)
        assert several == (one,)
        assert several[0].text == NOTE
    assert extractor([]) == ()


@pytest.mark.parametrize(
    ("notes", "message"),
    [
        (
            pd.DataFrame({"text": [NOTE]}),
            "notes are a DataFrame; give a text, a list of texts, or one column",
        ),
        (
            pl.DataFrame({"text": [NOTE]}),
            "notes are a DataFrame; give a text, a list of texts, or one column",
        ),
        ({"a": NOTE}, "notes are a dict; give a text, a list of texts, or one column"),
        (NOTE.encode(), "notes are a bytes; give a text, a list of texts, or one column"),
        (None, "notes are NoneType; give a text or a list of texts"),
        (7, "notes are int; give a text or a list of texts"),
        ([NOTE, float("nan")], "note 1 is float, not text; give str"),
    ],
    ids=["pandas", "polars", "dict", "bytes", "none", "number", "missing"],
)
def test_what_is_no_text_is_refused_without_being_shown(notes: object, message: str):
    with pytest.raises(Mistake) as refusal:
        sympress.load("rules")(notes)  # type: ignore[arg-type]
    assert str(refusal.value) == message


# Failures -----------------------------------------------------------------------------------------


def explode(text: str, *_: object) -> None:
    raise ValueError(f"cannot read {text}")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_is_recorded_and_logged_without_the_note(
    threads: int, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    extractor = sympress.load(tiny_artifact, threads=threads)
    monkeypatch.setattr(extractor.model, "windows_of", explode)
    with caplog.at_level(logging.DEBUG, logger="sympress"):
        results = extractor(["Mr. Canary", "Mrs. Canary"])
    assert [one.failure for one in results] == ["the model failed (ValueError)"] * 2
    assert sorted(record.getMessage() for record in caplog.records) == [
        f"note {at}: no answer: the model failed (ValueError)" for at in (0, 1)
    ]
    assert "Canary" not in caplog.text + repr(results)


@pytest.mark.parametrize("threads", [1, 3])
def test_a_failure_is_raised_with_its_cause_where_that_is_asked(
    threads: int, tiny_artifact: Path, monkeypatch: pytest.MonkeyPatch
):
    extractor = sympress.load(tiny_artifact, threads=threads, on_error="raise")
    assert extractor("fever").failure is None
    monkeypatch.setattr(extractor.model, "windows_of", explode)
    with pytest.raises(SympressError, match=r"^note 0: the model failed \(ValueError\)$") as raised:
        extractor(["Mr. Canary", "fever"])
    assert isinstance(raised.value.__cause__, ValueError)
    with pytest.raises(SympressError, match=r"^the model failed \(ValueError\)$"):
        extractor("Mr. Canary")
    assert extractor.answer("Mr. Canary").failure == "the model failed (ValueError)"  # jobs record always


def test_a_note_that_is_too_long_raises_a_mistake_of_the_input():
    with pytest.raises(InputError, match=r"^note 1: longer than 16,777,216 characters$"):
        sympress.load("rules", on_error="raise")(["fever", "fever " * 3_000_000])


def test_the_logger_says_nothing_until_a_program_asks():
    program = "import sympress; print(sympress.load('rules')(['x', 'fever ' * 3_000_000])[1].failure)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("longer than 16,777,216 characters\n", "")


# Other processes ----------------------------------------------------------------------------------


def test_an_extractor_pickles_by_its_folder_and_opens_it_when_it_is_used(tiny_artifact: Path):
    extractor = sympress.load(tiny_artifact, threads=2, on_error="raise")
    pickled = pickle.dumps(extractor)
    assert len(pickled) < 2_000
    again = pickle.loads(pickled)
    assert repr(again) == repr(extractor) == f"Extractor({str(tiny_artifact)!r})"
    assert "runtime" not in vars(again)
    assert (again.threads, again.on_error) == (2, "raise")
    assert again(["fever", "no pain"]) == extractor(["fever", "no pain"])
    assert (again.threads, again.on_error) == (2, "raise")
    assert "runtime" in vars(again)
    assert pickle.dumps(pickle.loads(pickled)) == pickle.dumps(again)
    assert copy.deepcopy(extractor)("fever") == extractor("fever")


def test_words_of_ones_own_go_with_it():
    own = OwnWords(Lexicon("own", (Symptom("zaps", ("brain zaps",), "zaps"),)))
    again = pickle.loads(pickle.dumps(Extractor.load("rules", words=own)))
    assert symptoms(again, "brain zaps, no fever") == [("zaps", "present")]


def test_what_comes_with_sympress_is_pickled_by_name_and_so_opens_wherever_it_is_installed():
    pickled = pickle.dumps(sympress.load())
    assert str(BOX_FOLDER.parent).encode() not in pickled
    assert symptoms(pickle.loads(pickled)) == FOUND


def test_a_relative_folder_opens_in_another_working_directory(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tiny_artifact.parent)
    pickled = pickle.dumps(sympress.load(tiny_artifact.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(pickled).task == "present"


def test_another_artifact_in_the_folder_is_refused_when_it_is_opened(tiny_artifact: Path, tmp_path: Path):
    for file in tiny_artifact.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    pickled = pickle.dumps(sympress.load(tmp_path))
    changed = read_extractor(tmp_path).model_copy(update={"thresholds": [0.1] * 3})
    (tmp_path / "extractor.json").write_text(json.dumps(changed.model_dump()), encoding="utf-8")
    write_checksums(tmp_path)
    with pytest.raises(InputError, match="another artifact than that of the digest given"):
        pickle.loads(pickled)("fever")


def test_one_that_was_put_together_by_hand_does_not_pickle(tiny_artifact: Path):
    loaded = sympress.load(tiny_artifact)
    by_hand = Extractor(loaded.settings, loaded.runtime, tiny_artifact, 1)
    with pytest.raises(TypeError, match=r"not made by Extractor\.load"):
        pickle.dumps(by_hand)


@pytest.mark.parametrize("opened", [True, False])
def test_an_attribute_that_there_is_not_is_an_attribute_error(opened: bool, tiny_artifact: Path):
    extractor = sympress.load(tiny_artifact)
    with pytest.raises(AttributeError, match="no attribute 'taks'"):
        _ = (extractor if opened else pickle.loads(pickle.dumps(extractor))).taks


def test_a_spawned_process_and_joblib_answer_with_the_extractor_of_this_one(tiny_artifact: Path):
    extractor = sympress.load(tiny_artifact)
    notes = ["fever", "no pain", "cough after the dose"]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert tuple(pool.map(extractor, notes)) == extractor(notes)
    workers = joblib.Parallel(n_jobs=2, backend="threading")
    assert tuple(workers(joblib.delayed(extractor)(note) for note in notes)) == extractor(notes)
