"""A model in a program: made of a checkpoint, pressed with and without labels, saved, shared."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub.utils import filter_repo_objects
from transformers import AutoModelForSequenceClassification, CamembertConfig, CamembertModel

import sympress
from sympress.errors import InputError
from sympress.model import Model
from sympress.runtime.artifact import check_files, own_files, write_checksums

Notes = Callable[[int, int], tuple[list[str], list[list[str]]]]
SPANS = [[(0, 5, "fever")], [], [(6, 10, "rash")]] * 4
SPANNED = ["fever and pain", "no dose", "after rash"] * 4


@pytest.fixture
def exports_copied(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], None]:
    """For recipes that leave the weights alone: the fp32 file is the model's, which saves the export."""

    def of(origin: Model) -> None:
        def copied(_model: object, path: Path, _notes: object) -> float:
            shutil.copyfile(origin.folder / "model.onnx", path)
            return 0.0

        monkeypatch.setattr("sympress.studies.press.export_checked", copied)

    return of


def test_a_checkpoint_answers_as_it_does_in_transformers(model: Model, classifier: Path, notes_of: Notes):
    texts, _ = notes_of(5, 9)
    theirs = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    for text in texts:
        ids = model.tokenizer(text, return_tensors="pt")
        wanted = theirs(**ids).logits.detach().numpy()[0]
        np.testing.assert_allclose(model.note_logits(text)[0], wanted, atol=1e-4)
    assert model.weights.symptoms == 3
    assert model.provenance["source"]["name"] == "symptom-bert"


def test_without_training_no_note_is_needed(
    model: Model, exports_copied: Callable[[Model], None], notes_of: Notes
):
    exports_copied(model)
    small = sympress.compress(model, training=False)
    assert small.provenance["recipe"] == "quantize(int8)"
    assert small.provenance["notes"] == {
        "train": 0,
        "transfer": 0,
        "validation": 0,
        "test": 0,
        "synthetic": 60,  # nobody gave notes; it is timed on these
    }
    assert "0 validation, 0 test; timed on 60 synthetic ones" in (small.folder / "README.md").read_text(
        "utf-8"
    )
    assert small.provenance["data"] == {"name": "synthetic", "labels": "given: by the model itself"}
    texts, labels = notes_of(30, 5)
    array = np.array([[name in named for name in small.symptoms] for named in labels])
    done = sympress.evaluate(small, texts, array, against=model)
    assert done.results.cost.size_bytes < done.results.against.cost.size_bytes
    with pytest.raises(InputError, match=r"quantized already; press the artifact it was made from"):
        sympress.compress(small, training=False)


def test_a_step_that_reads_notes_is_refused_without_them(model: Model):
    with pytest.raises(
        InputError, match=r"step 1 \(vocab\) needs notes; give some, unlabelled ones are enough"
    ):
        sympress.compress(model, "vocab(keep=0.9) > quantize(int8)", training=False)
    with pytest.raises(InputError, match="a budget searches recipes that train; give notes"):
        sympress.compress(model, "size_mb<=3, f1_drop<=0.01")


def test_notes_that_nobody_labelled_are_labelled_by_the_model(
    model: Model, exports_copied: Callable[[Model], None], notes_of: Notes
):
    exports_copied(model)
    small = sympress.compress(model, "quantize(int8)", unlabelled=notes_of(50, 6)[0])
    stored = small.provenance
    assert (stored["notes"]["train"], stored["notes"]["validation"]) == (40, 10)
    assert stored["table"]["pytorch-fp32"]["validation_f1"] == 1.0  # it agrees with itself
    assert stored["remarks"][-1] == "thresholds and calibration are the teacher's: nobody labelled the notes"
    assert small.settings.thresholds == [0.5, 0.5, 0.5]
    assert stored["test"] is None


def test_labels_that_the_model_does_not_have_are_refused_before_anything_is_trained(model: Model):
    with pytest.raises(InputError, match=r"the model has no symptom 'feverish chill' \(did you mean 'fever'"):
        sympress.compress(model, "quantize(int8)", train=(["a"] * 9, [["feverish chill"]] * 9))


def test_a_tagger_is_pressed_with_spans_and_without_notes(
    found: Model, exports_copied: Callable[[Model], None]
):
    exports_copied(found)
    assert found.task == "mentions"
    with_spans = sympress.compress(found, "quantize(int8)", train=(SPANNED, SPANS))
    stored = with_spans.provenance
    assert stored["notes"]["train"] + stored["notes"]["validation"] == len(SPANNED)
    assert set(stored["table"]) == {"pytorch-fp32", "onnx-int8", "pressed"}
    assert with_spans.settings.tags == ["O", "B-present", "I-present"]
    bare = sympress.compress(found, training=False)
    assert bare.provenance["recipe"] == "quantize(int8)"
    done = sympress.evaluate(with_spans, SPANNED, SPANS, against=found, resamples=50)
    assert [one.figure for one in done.results.against.differences] == [
        "notes micro",
        "notes macro",
        "spans exact",
        "spans overlapping",
    ]


def test_names_are_no_spans(found: Model):
    with pytest.raises(InputError, match="train: no spans, which this model finds"):
        sympress.compress(found, "quantize(int8)", train=(SPANNED, [["fever"]] * len(SPANNED)))


def test_what_is_saved_is_whole_and_overwrites_nothing(model: Model, tmp_path: Path):
    kept = model.save(tmp_path / "kept")
    check_files(kept)
    assert sympress.load(str(kept)).symptoms == model.symptoms
    with pytest.raises(InputError, match="there is something already; save to another folder"):
        model.save(kept)
    again = pickle.loads(pickle.dumps(sympress.load(kept)))
    assert again("fever").to_dict() == model("fever").to_dict()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"max_tokens": 16},
            "max_tokens: for a classifier of transformers; {0} is an artifact, which has its own; ",
        ),
        (
            {"labels_per_note": "one"},
            "labels_per_note: for a classifier of transformers; {0} is an artifact, ",
        ),
        (
            {"entities": ["SIGN"]},
            "entities: for a classifier of transformers; {0} is an artifact, which has ",
        ),
        (
            {"entities": "SIGN", "max_tokens": 9},
            "entities and max_tokens: for a classifier of transformers; {0} ",
        ),
        ({"revision": "main"}, "revision: {0} is not on the Hub, and has no revisions; leave it out"),
    ],
)
def test_what_an_artifact_would_not_read_is_refused(given: dict[str, Any], said: str, tmp_path: Path):
    saved = sympress.load("rules").save(tmp_path / "saved")
    for source, called in ((None, "box"), ("rules", "rules"), (saved, str(saved))):
        with pytest.raises(InputError) as refused:
            sympress.load(source, **given)
        assert str(refused.value).startswith(said.format(called))
        assert "\n" not in str(refused.value)


def test_a_folder_has_no_revisions(classifier: Path, model: Model):
    said = f"revision: {classifier} is a folder, which has no revisions; leave it out"
    with pytest.raises(InputError, match=re.escape(said)):
        sympress.load(classifier, revision="main")


def test_where_nothing_can_be_saved_is_one_line_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = sympress.load("rules")
    (tmp_path / "here").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.chdir(tmp_path / "here")
    for asked in (".", "../file/x", "~nobody-of-this-name/x", "/dev/null/x"):
        with pytest.raises(InputError, match=r"^[^\n]*; save to another folder$"):
            own.save(asked)
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["file", "here"]
    (tmp_path / "link").symlink_to("here")
    monkeypatch.chdir(tmp_path)
    assert sympress.load(own.save("link")).symptoms == own.symptoms


def test_a_model_of_a_relative_folder_outlives_a_change_of_directory(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model.save(tmp_path / "rel")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    own = sympress.load("rel")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert own.provenance == model.provenance
    assert own.tokenizer.vocab_size == model.tokenizer.vocab_size
    assert own.weights.symptoms == 3
    assert sympress.load(own.save(tmp_path / "again")).symptoms == own.symptoms
    assert sympress.evaluate(own, ["fever"] * 3, [["fever"]] * 3, timed=False, resamples=0)


@pytest.fixture
def unsaved() -> Callable[[], Model]:
    """Makes models in temporary folders of their own."""

    def make() -> Model:
        holder = sympress.model.TemporaryFolder()
        shutil.copytree(sympress.load("rules").folder, holder.path / "rules")
        (holder.path / "rules" / "provenance.json").write_text("{}")
        write_checksums(holder.path / "rules")
        return Model.in_temporary(holder, holder.path / "rules")

    return make


def test_an_unsaved_model_leaves_no_folder_behind(unsaved: Callable[[], Model]):
    held = unsaved()
    place = held.folder
    assert place.is_dir()
    del held
    assert not place.exists()


@pytest.mark.parametrize("opened", [True, False])
def test_copies_of_an_unsaved_model_outlive_it(unsaved: Callable[[], Model], opened: bool):
    first = unsaved()
    held = first if opened else pickle.loads(pickle.dumps(first))
    copies = [copy.copy(held), copy.deepcopy(held), copy.copy(copy.deepcopy(held))]
    place = held.folder
    copies[0].on_error = "raise"
    assert held.on_error == "record"
    del first, held
    assert all(one.provenance == {} and one("fever").symptoms for one in copies)
    del copies
    assert not place.exists()


def test_a_pickled_unsaved_model_is_whole_in_a_process_that_lacks_its_folder(
    unsaved: Callable[[], Model], tmp_path: Path
):
    held = unsaved()
    answer, files = held("fever and no rash").to_dict(), own_files(held.folder)
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(held))
    del held
    again = pickle.loads((tmp_path / "model.pkl").read_bytes())
    twice = pickle.loads(pickle.dumps(again))
    place = again.folder
    assert own_files(again.save(tmp_path / "saved")) == files
    del again
    assert not place.exists()
    assert twice("fever and no rash").to_dict() == answer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_that_ends_leaves_the_folder_to_its_parent():
    holder = sympress.model.TemporaryFolder()
    child = os.fork()
    if child == 0:
        holder._remove()
        os._exit(0)
    os.waitpid(child, 0)
    assert holder.path.is_dir()


def test_a_model_goes_to_the_hub_and_comes_back(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hub: dict[str, Path] = {}

    def create(_self: object, repo_id: str, **more: Any) -> str:
        assert more == {"private": True, "exist_ok": True}
        return f"https://huggingface.co/{repo_id}"

    def put(
        _self: object, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> None:
        given = [path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*")]
        for name in filter_repo_objects(given, allow_patterns=allow_patterns):
            (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder_path / name, tmp_path / "hub" / name)
        hub[repo_id] = tmp_path / "hub"

    def get(name: str, *, local_files_only: bool = False, **_: Any) -> str:
        if local_files_only or name not in hub:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        return str(hub[name])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", create)
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", put)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", get)
    assert model.push_to_hub("my-org/pocket", private=True) == "https://huggingface.co/my-org/pocket"
    for opened in (sympress.load("my-org/pocket"), Model.from_pretrained("my-org/pocket")):
        assert opened("fever").to_dict() == model("fever").to_dict()
    assert Model.from_pretrained("my-org/pocket", revision="main").symptoms == model.symptoms
    with pytest.raises(InputError, match="max_tokens: for a classifier of transformers; my-org/pocket is an"):
        sympress.load("my-org/pocket", max_tokens=16)
    with pytest.raises(InputError, match="no id of the Hub; write OWNER/NAME"):
        model.push_to_hub("pocket")


def test_what_is_not_the_artifacts_is_neither_uploaded_nor_saved(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = sympress.load(model.save(tmp_path / "own"))
    whole = {path.name for path in own.folder.iterdir()}
    (own.folder / "notes.csv").write_text("note_id,text\n1,fever\n")
    (own.folder / "work").mkdir()
    (own.folder / "work" / ".env").write_text("TOKEN=x")
    sent: list[str] = []

    def put(_self: object, *, folder_path: Path, allow_patterns: list[str], **_: object) -> None:
        given = [path.relative_to(folder_path).as_posix() for path in folder_path.rglob("*")]
        sent.extend(filter_repo_objects(given, allow_patterns=allow_patterns))

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_a, **_k: "https://hub")
    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", put)
    own.push_to_hub("my-org/own")
    assert set(sent) == whole
    assert {path.name for path in own.save(tmp_path / "again").iterdir()} == whole


def test_an_artifact_that_changed_since_it_was_loaded_is_neither_uploaded_nor_saved(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = sympress.load(model.save(tmp_path / "own"))
    settings = json.loads((own.folder / "extractor.json").read_text())
    (own.folder / "extractor.json").write_text(json.dumps(settings | {"text_window": 9}))
    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", lambda *_a, **_k: pytest.fail("asked"))
    for listed_anew in (False, True):
        if listed_anew:
            write_checksums(own.folder)
        with pytest.raises(InputError, match=r"changed since it was written|another artifact than"):
            own.push_to_hub("my-org/own")
        with pytest.raises(InputError, match=r"changed since it was written|another artifact than"):
            own.save(tmp_path / "again")
        assert not (tmp_path / "again").exists()


def test_a_family_that_is_not_supported_is_refused_in_one_line(tmp_path: Path, tokenizer: Any):
    config = CamembertConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    CamembertModel(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError) as refused:
        sympress.train(["a"] * 10, [["fever"], ["cough"]] * 5, encoder=tmp_path)
    line = str(refused.value)
    assert "\n" not in line
    assert "camembert" in line
    assert "modernbert" in line
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(
        json.dumps(written | {"architectures": ["CamembertForSequenceClassification"]}), encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"camembert.*modernbert"):
        sympress.load(tmp_path)
