"""Narrow students: the teacher's geometry of word pieces, sizes that fit, the seed alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sympress.compression.distill.student import narrow_student, principal_directions
from sympress.errors import InputError
from sympress.models.families import layers_of
from sympress.models.model import SymptomModel, build_model, load_model, save_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def narrow(teacher: SymptomModel, **changes: object) -> SymptomModel:
    sizes = {"layers": 1, "width": 24, "heads": 3, "ffn": 20, "seed": 0}
    return narrow_student(teacher, **{**sizes, **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_student_has_the_sizes_asked_for_and_loads_back(
    family: str, make_encoder: Callable, tmp_path: Path
):
    teacher = build_model(make_encoder(family), 3, "label", seed=0).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = narrow(teacher)
    config = student.encoder.config
    assert (config.hidden_size, config.num_attention_heads, config.num_hidden_layers) == (24, 3, 1)
    assert len(layers_of(student.encoder)) == 1
    assert (student.symptoms, student.head.pooling) == (3, "label")
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in teacher.parameters())
    assert not any(32 in p.shape for p in student.parameters())
    assert (teacher.encoder.config.hidden_size, teacher.encoder.config.num_hidden_layers) == (32, 2)
    assert all(torch.equal(teacher.state_dict()[name], value) for name, value in before.items())
    save_model(student, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), student(IDS, MASK))


def test_it_depends_on_the_seed_alone(make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    found = []
    for seed, noise in ((1, 0), (1, 7), (2, 0)):
        torch.manual_seed(noise)
        state = torch.random.get_rng_state()
        found.append(narrow(teacher, seed=seed).state_dict())
        assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not torch.equal(
        found[0]["encoder.encoder.layer.0.output.dense.weight"],
        found[2]["encoder.encoder.layer.0.output.dense.weight"],
    )


def flat_teacher(make_encoder: Callable, directions: int) -> SymptomModel:
    """A teacher whose word pieces differ in only so many directions, around a large common row."""
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    generator = torch.Generator().manual_seed(0)
    table = teacher.encoder.get_input_embeddings()
    with torch.no_grad():
        rows = torch.randn(54, directions, generator=generator) @ torch.randn(
            directions, 32, generator=generator
        )
        table.weight.copy_(0.02 * rows + 5)
    return teacher


def test_word_pieces_keep_their_distances_where_the_directions_suffice(make_encoder: Callable):
    teacher = flat_teacher(make_encoder, 16)
    wide = teacher.encoder.get_input_embeddings().weight.detach()[1:]
    words = narrow(teacher, width=16, heads=2).encoder.get_input_embeddings()
    slim = words.weight.detach()
    assert not slim[words.padding_idx].any()
    slim = slim[1:]
    ratio = torch.pdist(slim) / torch.pdist(wide)
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), rtol=1e-3, atol=0)
    # variance a channel as in the teacher, spread over the channels, around no common row
    assert slim.var(0).mean().item() == pytest.approx(wide.var(0).mean().item(), rel=0.02)
    assert slim.mean(0).abs().max() < 0.2 * slim.std(0).min()
    assert slim.var(0).max() < 6 * slim.var(0).min()


def test_principal_directions_are_those_of_the_singular_values():
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows *= torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5, 0.1])
    mean, basis, scale = principal_directions(rows, 2)
    torch.testing.assert_close(mean, rows.mean(0))
    _, values, right = torch.linalg.svd(rows - rows.mean(0), full_matrices=False)
    torch.testing.assert_close((basis.T @ right[:2].T).abs(), torch.eye(2, dtype=torch.float64))
    kept = ((rows - mean) @ basis).square().sum(0)
    torch.testing.assert_close(kept, values[:2] ** 2)
    assert scale**2 * kept.mean().item() == pytest.approx((values**2).sum().item() / 6)


def test_equal_rows_have_no_directions_and_no_nan():
    mean, _, scale = principal_directions(torch.full((4, 3), 2.0, dtype=torch.float64), 2)
    assert mean.tolist() == [2.0, 2.0, 2.0]
    assert scale == 1.0


def test_positions_and_types_are_projected_alike(make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    student = narrow(teacher, width=32, heads=4)  # as wide as the teacher: a rotation
    for name in ("word", "position", "token_type"):
        wide = getattr(teacher.encoder.embeddings, f"{name}_embeddings").weight.detach()[1:]
        slim = getattr(student.encoder.embeddings, f"{name}_embeddings").weight.detach()[1:]
        if len(wide) > 1:
            torch.testing.assert_close(torch.pdist(slim), torch.pdist(wide), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 64}, "a student 64 wide must be 1 to 32 wide, as its teacher is"),
        ({"width": 25}, "width 25 must be a multiple of the number of heads, which is 3"),
        ({"heads": 0}, "width 24 must be a multiple of the number of heads, which is 0"),
        ({"ffn": 0}, "a student needs 1 feed-forward neuron or more, not 0"),
        ({"layers": 3}, "a student of 3 layers cannot be taken from a teacher of 2"),
    ],
)
def test_an_impossible_shape_is_refused(changes: dict[str, object], message: str, make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0)
    with pytest.raises(InputError) as caught:
        narrow(teacher, **changes)
    assert str(caught.value) == message


def test_rotary_heads_must_be_even(make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        narrow(build_model(make_encoder("modernbert"), 3, "cls", seed=0), width=15)
    expected = "width 15 over 3 heads: rotary positions need an even width a head"
    assert str(caught.value) == expected


def test_factorized_embeddings_are_refused(make_encoder: Callable):
    teacher = build_model(make_encoder("bert"), 3, "cls", seed=0)
    teacher.encoder.embeddings.word_embeddings = nn.Sequential(nn.Embedding(54, 8), nn.Linear(8, 32))
    with pytest.raises(InputError) as caught:
        narrow(teacher)
    assert str(caught.value) == (
        "embeddings.word_embeddings is already factorized; take the narrow student before that step"
    )
