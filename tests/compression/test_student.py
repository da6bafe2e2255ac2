"""Students taken from a teacher's layers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sympress.compression.distill.student import choose_layers, student_of, uniform_map
from sympress.errors import InputError
from sympress.models.families import family_of, layers_of, spread_layers
from sympress.models.model import build_model, load_model, save_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize(
    ("layers", "kept", "expected"),
    [
        (6, 3, (0, 3, 5)),
        (12, 6, (0, 2, 4, 7, 9, 11)),
        (12, 4, (0, 4, 7, 11)),
        (6, 2, (0, 5)),
        (6, 1, (0,)),
        (2, 2, (0, 1)),
        (1, 1, (0,)),
    ],
)
def test_layers_are_spread_evenly(layers: int, kept: int, expected: tuple[int, ...]):
    assert spread_layers(layers, kept) == expected


@given(st.integers(1, 48).flatmap(lambda layers: st.tuples(st.just(layers), st.integers(1, layers))))
def test_any_spread_is_ascending_and_spans_the_teacher(case: tuple[int, int]):
    layers, kept = case
    chosen = spread_layers(layers, kept)
    assert len(chosen) == kept
    assert list(chosen) == sorted(set(chosen))
    assert chosen[0] == 0
    assert kept == 1 or chosen[-1] == layers - 1
    steps = [after - before for before, after in pairwise(chosen)]
    assert not steps or max(steps) - min(steps) <= 1


@pytest.mark.parametrize("kept", [0, 3])
def test_an_impossible_student_is_refused(kept: int):
    with pytest.raises(InputError) as caught:
        spread_layers(2, kept)
    assert str(caught.value) == f"a student of {kept} layers cannot be taken from a teacher of 2"


@pytest.mark.parametrize(
    ("kept", "choice", "expected"),
    [
        (3, "spread", (0, 3, 5)),
        (3, "first", (0, 1, 2)),
        (3, "last", (3, 4, 5)),
        ((1, 4), "spread", (1, 4)),
        ([5], "first", (5,)),
    ],
)
def test_layers_are_chosen_by_rule_or_by_index(kept: object, choice: str, expected: tuple[int, ...]):
    assert choose_layers(6, kept, choice) == expected


@pytest.mark.parametrize("kept", [(), (1, 1), (4, 1), (-1, 2), (0, 6)])
def test_impossible_indices_are_refused(kept: tuple[int, ...]):
    with pytest.raises(InputError) as caught:
        choose_layers(6, kept)
    assert str(caught.value) == f"student layers {list(kept)} must ascend and lie within 0..5"


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (3, 6, (1, 3, 5)),
        (4, 12, (2, 5, 8, 11)),
        (1, 6, (5,)),
        (2, 2, (0, 1)),
        (2, 3, (1, 2)),
        (4, 6, (1, 2, 4, 5)),
    ],
)
def test_the_layer_map_is_even_and_ends_at_the_last(ours: int, theirs: int, expected: tuple[int, ...]):
    assert uniform_map(ours, theirs) == expected


@pytest.mark.parametrize("choice", ["first", "last"])
def test_a_student_holds_the_layers_of_its_choice(choice: str, make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0)
    index = 0 if choice == "first" else 1
    for student in (student_of(teacher, 1, choice), student_of(teacher, [index])):
        (found,), layer = layers_of(student.encoder), layers_of(teacher.encoder)[index]
        for ours, theirs in zip(found.parameters(), layer.parameters(), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_with_all_layers_equals_its_teacher(family: str, make_encoder: Callable):
    teacher = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    student = student_of(teacher, 2)
    with torch.inference_mode():
        assert torch.equal(student(IDS, MASK), teacher(IDS, MASK))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_student_of_one_layer_has_the_weights_of_that_layer(
    family: str, make_encoder: Callable, tmp_path: Path
):
    teacher = build_model(make_encoder(family), 3, "cls", seed=0).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = student_of(teacher, 1)
    assert len(layers_of(student.encoder)) == student.encoder.config.num_hidden_layers == 1
    assert len(layers_of(teacher.encoder)) == teacher.encoder.config.num_hidden_layers == 2
    dropped = f"encoder.{family_of(teacher.encoder).layers}.1."
    expected = {name: value for name, value in before.items() if not name.startswith(dropped)}
    found = student.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    with torch.no_grad():  # a student shares no memory with its teacher
        for parameter in student.parameters():
            parameter.zero_()
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in before.items())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_student_loads_back_equal(family: str, make_encoder: Callable, tmp_path: Path):
    student = student_of(build_model(make_encoder(family), 3, "cls", seed=0).eval(), 1)
    save_model(student, tmp_path)
    loaded = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), student(IDS, MASK))


def test_layers_are_kept_in_the_order_of_the_teacher(make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0)
    layers = layers_of(teacher.encoder)
    for index, layer in enumerate(layers):
        layer.output.dense.bias.data.fill_(float(index))
    layers.append(layers[0].__class__(teacher.encoder.config))
    layers[2].output.dense.bias.data.fill_(2.0)
    teacher.encoder.config.num_hidden_layers = 3
    student = student_of(teacher, 2)
    assert [layer.output.dense.bias[0].item() for layer in layers_of(student.encoder)] == [0.0, 2.0]
