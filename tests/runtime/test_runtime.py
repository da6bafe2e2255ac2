"""The artifact as deployed: it answers what PyTorch answers, one note at a time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from sympress.compression.export import PARITY_TOLERANCE, export_checked
from sympress.errors import InputError
from sympress.labels.task import task_of
from sympress.models.model import SymptomModel, build_model
from sympress.runtime.artifact import (
    Extractor,
    read_extractor,
    write_checksums,
    write_extractor,
    write_provenance,
)
from sympress.runtime.session import Runtime, prepare_text
from sympress.training.data import NoteDataset, encode_texts
from sympress.training.epochs import predict_logits

TEXTS = [
    "Patient reports FEVER and cough.",
    "No pain",
    "",
    "fever after the dose " * 20,  # far beyond 16 tokens
    "unheard-of words, 39.5 °C\n\n\tand chills",
    "rash",
]
EXTRACTOR = Extractor(task="topic", symptoms=["fever", "cough", "pain"], max_tokens=16, pad_id=0)


@pytest.fixture(scope="module")
def model(make_encoder: Callable) -> SymptomModel:
    """A model whose answers differ from note to note."""
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    model.head.output.weight.data *= 50
    return model


@pytest.fixture(scope="module")
def artifact(
    model: SymptomModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    tokenizer.save_pretrained(folder)
    write_extractor(folder, EXTRACTOR)
    notes = [np.array([2, *range(5, 5 + length), 3]) for length in (1, 6, 20)]
    assert export_checked(model, folder / "model.onnx", notes) < PARITY_TOLERANCE
    write_checksums(folder)
    return folder


def copy_of(artifact: Path, target: Path) -> Path:
    for file in artifact.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_word_pieces_are_those_of_training(artifact: Path, tokenizer: PreTrainedTokenizerFast):
    runtime = Runtime.load(artifact)
    found = [window for text in TEXTS for window in runtime.windows_of(text).windows]
    expected = encode_texts(tokenizer, TEXTS, 16).ids
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in expected]
    assert len(found[3]) == 16
    assert found[3][-1] == tokenizer.sep_token_id


@pytest.mark.parametrize("task", ["topic", "present"])
def test_answers_are_those_of_pytorch(
    artifact: Path, model: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, task: str
):
    folder = copy_of(artifact, tmp_path)
    write_extractor(folder, EXTRACTOR.model_copy(update={"task": task}))
    write_checksums(folder)
    found = Runtime.load(folder).predict(TEXTS)
    notes = NoteDataset(encode_texts(tokenizer, TEXTS, 16), np.zeros((len(TEXTS), 3), dtype=np.uint8))
    expected = task_of(task).probabilities(predict_logits(model, notes, pad_id=0))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.shape == (len(TEXTS), 3)
    assert np.ptp(found, axis=0).max() > 0.05  # the notes are told apart
    if task == "topic":
        np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_an_answer_does_not_depend_on_the_other_notes(artifact: Path):
    runtime = Runtime.load(artifact)
    together = runtime.predict(TEXTS)
    for row, text in enumerate(TEXTS):
        assert np.array_equal(runtime.predict([text])[0], together[row])
    assert np.array_equal(runtime.predict(TEXTS[::-1]), together[::-1])


def test_padding_in_a_batch_changes_nothing_that_matters(artifact: Path):
    runtime = Runtime.load(artifact)
    batch = runtime.batch_logits([runtime.windows_of(text).windows[0] for text in TEXTS])
    np.testing.assert_allclose(batch, runtime.predict_logits(TEXTS), atol=1e-5)


def test_threads_do_not_change_the_answer(artifact: Path):
    one, two = (Runtime.load(artifact, threads=threads).predict(TEXTS) for threads in (1, 2))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_no_notes_give_no_rows(artifact: Path):
    assert Runtime.load(artifact).predict([]).shape == (0, 3)


def test_text_is_cut_then_masked_then_lower_cased():
    extractor = EXTRACTOR.model_copy(update={"text_window": 24, "mask_placeholders": True, "lower": True})
    text = "Seen [**Hospital 18**] FEVER and more"
    assert prepare_text(text, EXTRACTOR) == text
    assert prepare_text(text, extractor) == "seen" + " " * 19 + "f"
    # a placeholder that the window cuts open has no closing mark and stays as it is
    assert prepare_text(text, extractor.model_copy(update={"text_window": 10})) == "seen [**ho"


def test_probabilities_of_hand_computed_logits():
    logits = np.array([[0.0, np.log(3.0)]], dtype=np.float32)
    np.testing.assert_allclose(task_of("topic").probabilities(logits), [[0.25, 0.75]], atol=1e-7)
    np.testing.assert_allclose(task_of("present").probabilities(logits), [[0.5, 0.75]], atol=1e-7)


@pytest.mark.parametrize("task", ["topic", "present"])
def test_extreme_logits_give_probabilities(task: str):
    found = task_of(task).probabilities(np.array([[1e4, -1e4]], dtype=np.float32))
    np.testing.assert_allclose(found, [[1.0, 0.0]], atol=1e-12)
    assert task_of(task).probabilities(np.zeros((0, 2), dtype=np.float32)).shape == (0, 2)


def test_an_extractor_is_read_back_equal(tmp_path: Path):
    extractor = Extractor(
        task="present",
        symptoms=["fever", "chest pain"],
        thresholds=[0.25, 0.5],
        max_tokens=128,
        text_window=1000,
        lower=True,
        mask_placeholders=True,
        pad_id=1,
    )
    write_extractor(tmp_path, extractor)
    assert read_extractor(tmp_path) == extractor
    write_provenance(tmp_path, {"seed": 3})
    assert json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8")) == {"seed": 3}


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        Runtime.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_an_extractor_is_no_artifact(tmp_path: Path):
    assert refused(tmp_path) == f"{tmp_path}: no artifact here (extractor.json is missing)"
    nowhere = tmp_path / "nowhere"
    assert refused(nowhere) == f"{nowhere}: no artifact here (extractor.json is missing)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged (JSONDecodeError); copy the artifact again"),
        ("\x00", "damaged (JSONDecodeError); copy the artifact again"),
        ("[]", "not format 1; this artifact needs another sympress"),
        ("{}", "not format 1; this artifact needs another sympress"),
        ('{"format": 2}', "format 2 is newer than this sympress; upgrade sympress"),
        ('{"format": 1}', "damaged at task; copy the artifact again"),
    ],
)
def test_a_damaged_or_newer_extractor_is_one_line(tmp_path: Path, content: str, message: str):
    path = tmp_path / "extractor.json"
    path.write_text(content, encoding="utf-8")
    assert refused(tmp_path) == f"{path}: {message}"


@pytest.mark.parametrize("file", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_damaged_file_of_an_artifact_is_one_line(artifact: Path, tmp_path: Path, file: str, damage: str):
    path = copy_of(artifact, tmp_path) / file
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    write_checksums(tmp_path)
    message = refused(tmp_path)
    if damage == "missing":
        assert message == f"{tmp_path}: {file} is missing; copy the artifact again"
        return
    assert message.startswith(f"{tmp_path}: a damaged artifact (")
    assert message.endswith("); copy it again")


def test_the_text_of_a_note_never_enters_an_error(artifact: Path, tmp_path: Path):
    path = copy_of(artifact, tmp_path) / "extractor.json"
    path.write_text(json.dumps({"format": 1, "task": "Mr. Secret has fever"}), encoding="utf-8")
    assert "Secret" not in refused(tmp_path)
