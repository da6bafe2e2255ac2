"""Teachers: averaged, run once and read back, and any Hugging Face classifier among them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertForSequenceClassification, PreTrainedTokenizerFast

import sympress
from sympress.compression.distill import teachers as module
from sympress.compression.distill.objective import Distillation, DistillSettings
from sympress.compression.distill.student import student_of
from sympress.compression.distill.teachers import (
    Int8Teacher,
    average_logits,
    fingerprint_notes,
    fingerprint_teacher,
    label_order,
    load_classifier_teacher,
    teacher_logits,
)
from sympress.errors import InputError
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.pipeline.compress import load_teacher
from sympress.runtime.artifact import Extractor
from sympress.training.data import EncodedNotes, NoteDataset, encode_texts
from sympress.training.epochs import predict_logits

SYMPTOMS = ["Fever", "cough", "pain"]


@pytest.fixture
def notes(token_ids: list[np.ndarray]) -> EncodedNotes:
    return EncodedNotes(tuple(token_ids), 0)


@pytest.fixture
def teacher(make_encoder: Callable) -> SymptomModel:
    return build_model(make_encoder("bert"), 3, "mean", seed=0).eval()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every teacher that was run."""
    done: list[object] = []

    def counted(model: SymptomModel, *arguments: object, **named: object) -> np.ndarray:
        done.append(model)
        return predict_logits(model, *arguments, **named)

    monkeypatch.setattr(module, "predict_logits", counted)
    return done


def test_logits_of_teachers_are_averaged():
    one, two = np.array([[1.0, -2.0]], dtype=np.float32), np.array([[3.0, 0.0]], dtype=np.float32)
    found = average_logits([one, two])
    assert found.dtype == np.float32
    assert found.tolist() == [[2.0, -1.0]]
    with pytest.raises(InputError, match=r"^no teacher to average; give one at least$"):
        average_logits([])
    with pytest.raises(InputError) as caught:
        average_logits([one, np.zeros((2, 2), dtype=np.float32)])
    expected = "teachers answered with logits of shapes (1, 2) and (2, 2); use equal ones"
    assert str(caught.value) == expected


def test_a_teacher_runs_once(
    teacher: SymptomModel, make_encoder: Callable, notes: EncodedNotes, runs: list[object], tmp_path: Path
):
    other = build_model(make_encoder("electra", seed=3), 3, "cls", seed=3).eval()
    first = teacher_logits([teacher], notes, 0, tmp_path)
    unlabelled = NoteDataset(notes, np.zeros((4, 3), dtype=np.uint8))
    np.testing.assert_array_equal(first, predict_logits(teacher, unlabelled, 0, mixed=True))
    np.testing.assert_array_equal(teacher_logits([teacher], notes, 0, tmp_path), first)
    assert runs == [teacher]
    both = teacher_logits([teacher, other], notes, 0, tmp_path)
    assert runs == [teacher, other]  # the first was read
    second = teacher_logits([other], notes, 0, tmp_path)
    np.testing.assert_allclose(both, (first + second) / 2, rtol=1e-6)
    assert len(list(tmp_path.iterdir())) == 2  # and no draft left behind


def test_a_reloaded_teacher_is_the_same_teacher(teacher: SymptomModel, tmp_path: Path):
    save_model(teacher, tmp_path)
    assert fingerprint_teacher(load_model(tmp_path)) == fingerprint_teacher(teacher)


def test_other_weights_or_other_notes_are_run_anew(
    teacher: SymptomModel, notes: EncodedNotes, runs: list[object], tmp_path: Path
):
    teacher_logits([teacher], notes, 0, tmp_path)
    fewer = EncodedNotes(notes.ids[:3], 0)
    assert teacher_logits([teacher], fewer, 0, tmp_path).shape == (3, 3)
    with torch.no_grad():
        teacher.head.output.bias[0] += 1
    teacher_logits([teacher], notes, 0, tmp_path)
    assert len(runs) == 3
    # pooling alone changes the logits, so it changes the fingerprint
    mark = fingerprint_teacher(teacher)
    teacher.head.pooling = "maximum"
    assert fingerprint_teacher(teacher) != mark


def test_a_damaged_store_is_written_anew(
    teacher: SymptomModel, notes: EncodedNotes, runs: list[object], tmp_path: Path
):
    first = teacher_logits([teacher], notes, 0, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    np.testing.assert_array_equal(teacher_logits([teacher], notes, 0, tmp_path), first)
    assert len(runs) == 2
    assert module.read_logits(path, {"teacher": "another", "notes": "one"}) is None


def test_a_killed_teacher_goes_on_behind_its_last_part(
    teacher: SymptomModel,
    notes: EncodedNotes,
    runs: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    whole = teacher_logits([teacher], notes, 0, tmp_path / "whole")
    monkeypatch.setattr(module, "PART_NOTES", 3)
    told: list[tuple[int, int]] = []

    def killed(done: int, total: int) -> None:
        told.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teacher_logits([teacher], notes, 0, tmp_path / "parts", progress=killed)
    assert len(runs) == 2
    again = teacher_logits(
        [teacher], notes, 0, tmp_path / "parts", progress=lambda done, total: told.append((done, total))
    )
    np.testing.assert_allclose(again, whole, rtol=1e-5, atol=1e-6)
    assert len(runs) == 3  # the first part was read
    assert told == [(3, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("pooling", ["mean", "token"])
def test_a_teacher_as_an_int8_file_says_nearly_the_same(
    pooling: str, make_encoder: Callable, notes: EncodedNotes, runs: list[object], tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, pooling, seed=0).eval()
    whole = teacher_logits([model], notes, 0, tmp_path)
    rounded = teacher_logits([Int8Teacher(model)], notes, 0, tmp_path)
    assert rounded.shape == whole.shape
    assert not np.array_equal(rounded, whole)
    assert np.abs(rounded - whole).max() < 0.1 * whole.std()
    assert runs == [model]  # PyTorch answered once
    # its answers are stored apart from those in float, and no note's depends on the others
    stored = teacher_logits([Int8Teacher(model)], notes, 0, tmp_path)
    np.testing.assert_array_equal(stored, rounded)
    alone = Int8Teacher(model).logits(EncodedNotes(notes.ids[-1:], 0))
    np.testing.assert_array_equal(alone, rounded[-len(alone) :])
    assert Int8Teacher(model).logits(EncodedNotes((), 0)).shape == (0, 3)


def test_notes_cut_elsewhere_have_another_fingerprint():
    one = EncodedNotes((np.array([1, 2]), np.array([3])), 0)
    two = EncodedNotes((np.array([1]), np.array([2, 3])), 0)
    turned = EncodedNotes((np.array([3]), np.array([1, 2])), 0)
    assert len({fingerprint_notes(notes) for notes in (one, two, turned)}) == 3
    assert fingerprint_notes(one) == fingerprint_notes(EncodedNotes(one.ids, 5))


@pytest.fixture
def classifier_folder(make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> Path:
    """A BERT classifier with its labels in another order and case."""
    config = make_encoder("bert").config
    config.id2label = {0: "PAIN", 1: "fever", 2: "Cough"}
    config.label2id = {label: index for index, label in config.id2label.items()}
    torch.manual_seed(0)
    model = BertForSequenceClassification(config).eval()
    with torch.no_grad():
        model.classifier.bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    folder = tmp_path / "classifier"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_classifier_answers_in_the_order_of_the_symptoms(classifier_folder: Path):
    found = load_classifier_teacher(str(classifier_folder), SYMPTOMS)
    assert found.symptoms == 3
    assert found.order.tolist() == [1, 2, 0]
    ids, mask = torch.tensor([[2, 7, 3, 0]]), torch.tensor([[1, 1, 1, 0]])
    own = BertForSequenceClassification.from_pretrained(classifier_folder).eval()
    with torch.inference_mode():
        expected = own(input_ids=ids, attention_mask=mask).logits[:, [1, 2, 0]]
        torch.testing.assert_close(found(ids, mask), expected)


def test_a_classifier_teaches_through_the_store_and_in_the_batch(
    classifier_folder: Path, teacher: SymptomModel, tmp_path: Path
):
    classifier = load_classifier_teacher(str(classifier_folder), SYMPTOMS)
    notes = encode_texts(classifier.tokenizer, ["fever and cough", "no pain"], 16)
    logits = teacher_logits([classifier, teacher], notes, 0, tmp_path)
    assert logits.shape == (2, 3)
    student = student_of(teacher, 1)
    distillation = Distillation("present", DistillSettings(labels=0, soft=1), [classifier])
    distillation.attach_(student)
    ids = torch.from_numpy(np.stack([notes.ids[0][:4], notes.ids[1][:4]]))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.zeros(2, 3)}
    assert distillation(student, batch).item() > 0
    with pytest.raises(
        InputError, match=r"^hidden states and relations need a teacher that sympress trained"
    ):
        Distillation("present", DistillSettings(relations=1), [classifier])


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["fever", "cough"], "it lacks 'pain' (1 missing)"),
        (["fever", "cough", "pain", "rash"], "it adds 'rash' (1 extra)"),
        (["LABEL_0", "LABEL_1", "pain"], "it lacks 'Fever' (2 missing) and it adds 'LABEL_0' (2 extra)"),
        (["fever", "Fever", "cough", "pain"], "it has a label twice"),
    ],
)
def test_other_labels_are_refused(labels: list[str], reason: str):
    with pytest.raises(InputError) as caught:
        label_order("them", labels, SYMPTOMS)
    assert str(caught.value) == (
        f"them: a teacher and student with different labels: {reason}; "
        "its id2label must be the student's symptoms"
    )


def test_a_folder_that_is_no_classifier_is_refused(encoder_folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"the weights lack classifier\.bias \(2 tensors\); a teacher needs"):
        load_classifier_teacher(str(encoder_folder), ["a", "b"])
    with pytest.raises(InputError) as caught:
        load_classifier_teacher("/no/such/folder", SYMPTOMS)
    expected = "/no/such/folder: no such teacher folder; give a folder or a Hugging Face id"
    assert str(caught.value) == expected
    with pytest.raises(InputError) as caught:
        load_classifier_teacher(str(tmp_path), SYMPTOMS)
    assert str(caught.value) == f"{tmp_path}: config.json is missing; a teacher folder needs it"


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification", None])
def test_a_teacher_of_one_label_per_note_is_refused_where_there_may_be_several(
    classifier_folder: Path, problem: str | None
):
    config = classifier_folder / "config.json"
    values = json.loads(config.read_text(encoding="utf-8")) | {"problem_type": problem}
    config.write_text(json.dumps(values), encoding="utf-8")
    assert load_classifier_teacher(str(classifier_folder), SYMPTOMS).symptoms == 3  # the task topic
    if problem != "single_label_classification":
        assert load_classifier_teacher(str(classifier_folder), SYMPTOMS, several=True).symptoms == 3
        return
    present = Extractor(task="present", symptoms=list(SYMPTOMS), max_tokens=16, pad_id=0)
    with pytest.raises(InputError) as caught:
        load_teacher(str(classifier_folder), present)
    assert str(caught.value) == (
        f"{classifier_folder}: a teacher of one label per note (its problem_type is "
        "single_label_classification); the task present needs one of several, multi_label_classification"
    )


@pytest.mark.parametrize("damage", ["cut short", "pickles"])
def test_a_damaged_teacher_names_the_cause(classifier_folder: Path, damage: str):
    weights = classifier_folder / "model.safetensors"
    if damage == "pickles":
        weights.rename(classifier_folder / "pytorch_model-00001-of-00002.bin")
        said = f"{classifier_folder}: its weights are pickles (pytorch_model-00001-of-00002.bin), which "
    else:
        weights.write_bytes(weights.read_bytes()[:-1])
        said = f"{weights}: damaged or cut short; copy the teacher again"
    with pytest.raises(InputError) as caught:
        load_classifier_teacher(str(classifier_folder), SYMPTOMS)
    assert str(caught.value).startswith(said)


def test_the_code_of_the_card_runs(
    teacher: SymptomModel, notes: EncodedNotes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    card = Path(sympress.__file__).parent / "compression" / "distill" / "README.md"
    (code,) = re.findall(r"```python\n(.*?)\n```", card.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    ids = torch.tensor([[2, 7, 3, 0], [2, 7, 9, 3]])
    batch = {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.zeros(2, 3)}
    names = {"teacher": teacher, "notes": notes, "batch": batch, "pad_id": 0}
    exec(compile(code, str(card), "exec"), names)
    assert names["loss"].item() > 0
    assert names["logits"].shape == (4, 3)
    assert not any(name.startswith("projections.") for name in names["student"].state_dict())
