"""Distillation as a whole: the sum of its parts, what is trained by it, what is left behind."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sympress.compression.distill.objective import (
    Distillation,
    DistillSettings,
    choose_map,
    forward_features,
    hidden_loss,
    relation_loss,
)
from sympress.compression.distill.student import narrow_student, student_of
from sympress.errors import InputError
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.training import train
from sympress.training.data import EncodedNotes, NoteDataset
from sympress.training.epochs import TrainSettings, mixed_precision
from sympress.training.losses import loss_of

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
EVERYTHING = DistillSettings(labels=0.3, soft=0.7, hidden=2.0, relations=3.0, relation_heads=4)


def batch_of(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {
        "input_ids": torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0], [2, 9, 10, 3, 0]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]]),
        "labels": torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]]),
        **more,
    }


@pytest.fixture
def teacher(make_encoder: Callable) -> SymptomModel:
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    with torch.no_grad():  # answers that differ from note to note
        model.head.output.weight.mul_(30)
    return model


def narrow(teacher: SymptomModel, seed: int = 0) -> SymptomModel:
    return narrow_student(teacher, layers=1, width=16, heads=2, ffn=24, seed=seed)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_equal_student_has_nothing_to_learn_but_the_labels(family: str, make_encoder: Callable):
    teacher = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    settings = DistillSettings(labels=0, soft=1, hidden=1, relations=1, relation_heads=4)
    distillation = Distillation("present", settings, [teacher])
    student = copy.deepcopy(teacher).requires_grad_(True)
    distillation.attach_(student)
    assert student.state_dict().keys() == teacher.state_dict().keys()  # same width: nothing to project
    with mixed_precision(torch.device("cpu")):  # as the trainer runs it, and the teacher with it
        loss = distillation(student, batch_of())
    loss.backward()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert all(p.grad is None or p.grad.abs().max() < 1e-4 for p in student.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_reaches_a_narrow_student_and_its_projections(family: str, make_encoder: Callable):
    teacher = build_model(make_encoder(family), 3, "cls", seed=0).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = narrow(teacher)
    plain = {name: value.clone() for name, value in student.state_dict().items()}
    distillation = Distillation("topic", EVERYTHING, [teacher])
    distillation.attach_(student)
    added = student.state_dict().keys() - plain.keys()
    assert added == {"projections.embeddings.weight", "projections.layers.weight"}
    distillation(student.train(), batch_of()).backward()
    for name, parameter in student.named_parameters():
        unused = "pooler" in name or name.endswith(("key.bias", "k_lin.bias"))  # softmax cancels key biases
        assert unused or (parameter.grad is not None and bool(torch.isfinite(parameter.grad).all())), name
        if name.startswith("projections."):
            assert parameter.grad.abs().max() > 0
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in before.items())
    distillation.detach_(student)
    assert list(student.state_dict()) == list(plain)
    assert all(torch.equal(student.state_dict()[name], value) for name, value in plain.items())
    distillation.detach_(student)  # a second time changes nothing


@pytest.mark.parametrize("task", ["topic", "present"])
def test_the_loss_is_the_weighted_sum_of_its_parts(task: str, teacher: SymptomModel):
    student, batch = narrow(teacher), batch_of()
    distillation = Distillation(task, EVERYTHING, [teacher])
    distillation.attach_(student, seed=3)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        logits, seen = forward_features(student, ids, mask, states=True, relations_layer=-1)
        wanted, shown = forward_features(teacher, ids, mask, states=True, relations_layer=-1)
        embeddings = student.projections["embeddings"](seen.states[0])
        last = student.projections["layers"](seen.states[1])  # 1 layer of 1 learns layer 2 of 2
        parts = (
            0.3 * loss_of(task)(logits, batch["labels"], None),
            0.7 * loss_of(task).soft_targets(logits, wanted, 4.0),
            2.0 * hidden_loss([embeddings, last], [shown.states[0], shown.states[2]], mask),
            3.0 * relation_loss(seen.relations, shown.relations, mask, 4),
        )
        found = distillation(student, batch)
    assert all(part > 0 for part in parts)
    torch.testing.assert_close(found, torch.stack(parts).sum(), rtol=0.02, atol=0.0)  # the teacher in bf16


def test_projections_depend_on_the_seed_alone(teacher: SymptomModel):
    found = []
    for seed, noise in ((5, 0), (5, 1), (6, 0)):
        torch.manual_seed(noise)
        student = narrow(teacher)
        Distillation("present", EVERYTHING, [teacher]).attach_(student, seed=seed)
        found.append(student.projections["layers"].weight.detach())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0].T @ found[0], torch.eye(16), atol=1e-5, rtol=0)  # keeps lengths


def test_stored_logits_are_used_and_the_teacher_does_not_run(teacher: SymptomModel):
    student = student_of(teacher, 1)
    stored = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    settings = DistillSettings(labels=0, soft=1)
    batch = batch_of(teacher_logits=stored)
    with torch.no_grad():
        expected = loss_of("present").soft_targets(
            student(batch["input_ids"], batch["attention_mask"]), stored, 4.0
        )
        teacher.forward = None  # would fail if called
        for teachers in ((), (teacher,)):
            found = Distillation("present", settings, teachers)(student, batch)
            torch.testing.assert_close(found, expected)
    with pytest.raises(InputError) as caught:
        Distillation("present", settings)(student, batch_of())
    assert str(caught.value) == "soft targets need a teacher, or the teacher's logits beside each note"


def test_stored_logits_stand_beside_a_teacher_that_shows_its_states(teacher: SymptomModel):
    student = student_of(teacher, 1)
    stored = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    weights = {"labels": 0.0, "relation_heads": 4}
    with torch.no_grad():
        both = Distillation("present", DistillSettings(soft=1, hidden=1, **weights), [teacher])
        soft = Distillation("present", DistillSettings(soft=1, **weights))
        hidden = Distillation("present", DistillSettings(soft=0, hidden=1, **weights), [teacher])
        batch = batch_of(teacher_logits=stored)
        torch.testing.assert_close(both(student, batch), soft(student, batch) + hidden(student, batch))


def test_the_logits_of_several_teachers_are_averaged(teacher: SymptomModel, make_encoder: Callable):
    other = build_model(make_encoder("bert", seed=5), 3, "cls", seed=5).eval()
    student, batch = student_of(teacher, 1), batch_of()
    ids, mask = batch["input_ids"], batch["attention_mask"]
    settings = DistillSettings(labels=0, soft=1)
    with torch.no_grad():
        mean = (teacher(ids, mask) + other(ids, mask)) / 2
        expected = Distillation("present", settings)(student, batch_of(teacher_logits=mean))
        found = Distillation("present", settings, [teacher, other])(student, batch)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("task", ["topic", "present"])
def test_notes_without_labels_count_in_every_loss_but_the_labels(task: str, teacher: SymptomModel):
    student = student_of(teacher, 1)
    stored = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    whole = batch_of(teacher_logits=stored)
    part = {**whole, "labelled": torch.tensor([1, 0, 1])}
    none = {**whole, "labelled": torch.zeros(3)}
    labels = Distillation(task, DistillSettings(labels=1, soft=0))
    soft = Distillation(task, DistillSettings(labels=0, soft=1))
    with torch.no_grad():
        rows = {name: value[[0, 2]] for name, value in whole.items()}
        torch.testing.assert_close(labels(student, part), labels(student, rows))
        torch.testing.assert_close(soft(student, part), soft(student, whole))
        assert labels(student, none).item() == 0
    # not even a label that is not a number has an influence
    part["labels"] = part["labels"].clone()
    part["labels"][1] = float("nan")
    labels(student, part).backward()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in student.parameters())


def test_training_brings_a_narrow_student_to_its_teacher(teacher: SymptomModel):
    student = narrow(teacher)
    distillation = Distillation("present", EVERYTHING, [teacher])
    distillation.attach_(student)
    optimizer = torch.optim.AdamW(student.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = distillation(student, batch_of())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_trainer_trains_and_keeps_the_projections(
    teacher: SymptomModel, token_ids: list[np.ndarray], tmp_path: Path
):
    student = narrow(teacher)
    distillation = Distillation("present", EVERYTHING, [teacher])
    distillation.attach_(student)
    before = student.projections["layers"].weight.detach().clone()
    notes = NoteDataset(
        EncodedNotes(tuple(token_ids), 0),
        np.eye(4, 3, dtype=np.uint8),
        labelled=np.array([True, False, True, True]),
    )
    train(
        student,
        notes,
        notes,
        TrainSettings(epochs=2, batch_size=2, learning_rate=1e-3, select="best"),
        tmp_path / "work",
        pad_id=0,
        score=lambda _logits: (0.0, {}),
        batch_loss=distillation,
    )
    assert not torch.equal(student.projections["layers"].weight, before)
    distillation.detach_(student)
    save_model(student, tmp_path / "model")
    ids, mask = batch_of()["input_ids"], batch_of()["attention_mask"]
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path / "model")(ids, mask), student(ids, mask))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"soft": -1}, "the weight of soft must be 0 or more, not -1"),
        ({"hidden": float("nan")}, "the weight of hidden must be 0 or more, not nan"),
        (
            {"labels": 0, "soft": 0},
            "all weights of distillation are 0; give labels, soft, hidden or relations one",
        ),
        ({"temperature": 0.0}, "temperature 0.0 must be > 0"),
        ({"relation_heads": 0}, "relation heads must be 1 or more, not 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str):
    with pytest.raises(InputError) as caught:
        DistillSettings(**settings)
    assert str(caught.value) == message


def test_a_teacher_that_does_not_fit_is_refused(teacher: SymptomModel, make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        Distillation("present", DistillSettings(hidden=1))
    assert str(caught.value) == (
        "hidden states and relations need a teacher that sympress trained, given first; "
        "logits alone can come from any"
    )
    more = build_model(make_encoder("bert"), 4, "mean", seed=0)
    with pytest.raises(InputError) as caught:
        Distillation("present", DistillSettings(), [teacher]).attach_(more)
    expected = "a teacher and student with different labels: the teacher has 3 symptoms, the student 4"
    assert str(caught.value) == expected
    trimmed = student_of(teacher, 1)
    trimmed.encoder.resize_token_embeddings(40)
    with pytest.raises(InputError) as caught:
        Distillation("present", DistillSettings(), [teacher]).attach_(trimmed)
    assert str(caught.value) == (
        "the teacher has 54 word pieces, the student 40: trim the teacher's vocabulary alike, "
        "or distill from stored logits"
    )
    mapped = DistillSettings(hidden=1, layer_map=(2,))
    with pytest.raises(InputError) as caught:
        Distillation("present", mapped, [teacher]).attach_(student_of(teacher, 1))
    expected = "layer map [2] must name a layer of the teacher, 0..1, for each of the student's 1"
    assert str(caught.value) == expected


def test_a_layer_map_says_which_states_are_imitated(teacher: SymptomModel):
    assert choose_map(None, 2, 6) == (2, 5)
    assert choose_map((0, 3), 2, 6) == (0, 3)
    student, batch = student_of(teacher, 1), batch_of()
    first = DistillSettings(labels=0, soft=0, hidden=1, layer_map=(0,))
    last = DistillSettings(labels=0, soft=0, hidden=1)
    with torch.no_grad(), mixed_precision(torch.device("cpu")):
        # the student is the teacher's first layer
        assert Distillation("present", first, [teacher])(student, batch).item() == pytest.approx(0, abs=1e-6)
        assert Distillation("present", last, [teacher])(student, batch).item() > 0
