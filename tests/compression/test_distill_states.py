"""Hidden states and relations: what is looked at, zero where it must be, numbers by hand, padding."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch

from sympress.compression.distill.objective import (
    Features,
    common_heads,
    forward_features,
    hidden_loss,
    relation_loss,
    relations,
)
from sympress.compression.prune.structured import Kept, remove_
from sympress.errors import InputError
from sympress.models.families import family_of, layer_linears, layers_of
from sympress.models.model import LowRankLinear, SymptomModel, build_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def see(model: SymptomModel, ids: torch.Tensor = IDS, mask: torch.Tensor = MASK) -> Features:
    with torch.no_grad():
        return forward_features(model, ids, mask, states=True, relations_layer=-1)[1]


def random_states(seed: int, width: int = 8) -> torch.Tensor:
    return torch.randn((2, 5, width), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_that_transformers_reports(family: str, make_encoder: Callable):
    model = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    seen = see(model)
    with torch.no_grad():
        known = model.encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True)
    assert len(seen.states) == len(layers_of(model.encoder)) + 1
    for ours, theirs in zip(seen.states, known.hidden_states, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(seen.states[-1], known.last_hidden_state)


@pytest.mark.parametrize("family", FAMILIES)
def test_relations_come_from_the_layer_asked_for_and_no_hook_stays(family: str, make_encoder: Callable):
    model = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    names = family_of(model.encoder).relation_inputs
    with torch.no_grad():
        logits, seen = forward_features(model, IDS, MASK, states=True, relations_layer=0)
        # what the first layer's linears make of its input (ModernBERT's first layer has no norm before)
        made = [layers_of(model.encoder)[0].get_submodule(name)(seen.states[0]) for name in names]
        assert torch.equal(logits, model(IDS, MASK))
    torch.testing.assert_close(torch.cat(seen.relations, -1), torch.cat(made, -1))
    assert [tuple(part.shape) for part in seen.relations] == [(2, 5, 32)] * 3
    hooks = [module._forward_hooks or module._forward_pre_hooks for module in model.modules()]
    assert not any(hooks)


def test_nothing_is_kept_that_was_not_asked_for(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    assert forward_features(model, IDS, MASK, states=False)[1] == Features()
    with pytest.raises(InputError) as caught:
        forward_features(model, IDS, MASK, states=False, relations_layer=2)
    assert str(caught.value) == "relations of layer 2: the model has layers 0 to 1, or -1"
    layers_of(model.encoder)[1].attention = torch.nn.Identity()
    with pytest.raises(InputError) as caught:
        forward_features(model, IDS, MASK, states=False, relations_layer=-1)
    expected = "layer -1 has no attention left to take relations from; choose another layer"
    assert str(caught.value) == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_are_zero_for_an_equal_student_and_blind_to_padding(family: str, make_encoder: Callable):
    teacher = build_model(make_encoder(family, seed=0), 3, "mean", seed=0).eval()
    student = build_model(make_encoder(family, seed=1), 3, "mean", seed=1).eval()
    shown, seen = see(teacher), see(student)
    more, longer = torch.cat([IDS, torch.full((2, 4), 9)], 1), torch.cat([MASK, torch.zeros(2, 4).long()], 1)
    shown_longer, seen_longer = see(teacher, more, longer), see(student, more, longer)
    for normalised in (False, True):
        assert hidden_loss(shown.states, shown.states, MASK, normalised=normalised).item() == 0
        loss = hidden_loss(seen.states, shown.states, MASK, normalised=normalised)
        assert loss.item() > 0
        padded = hidden_loss(seen_longer.states, shown_longer.states, longer, normalised=normalised)
        torch.testing.assert_close(padded, loss)
    assert relation_loss(shown.relations, shown.relations, MASK, 8).item() == 0
    loss = relation_loss(seen.relations, shown.relations, MASK, 8)
    assert loss.item() > 0
    padded = relation_loss(seen_longer.relations, shown_longer.relations, longer, 8)
    torch.testing.assert_close(padded, loss, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_a_student_with_heads_removed_and_low_rank_is_looked_at_too(family: str, make_encoder: Callable):
    teacher = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    student = copy.deepcopy(teacher)
    remove_(student, Kept(((0, 1, 2), (1,)), (tuple(range(48)), tuple(range(20)))))
    for name, linear in list(layer_linears(student.encoder)):
        factors = LowRankLinear(linear.in_features, 3, linear.out_features, bias=linear.bias is not None)
        student.encoder.set_submodule(name, factors)
    seen, shown = see(student), see(teacher)
    assert [part.shape[-1] for part in seen.relations] == [8, 8, 8]
    assert hidden_loss(seen.states, shown.states, MASK).item() > 0
    assert relation_loss(seen.relations, shown.relations, MASK, 8).item() > 0


def test_hidden_loss_of_hand_computed_states():
    mask = torch.tensor([[1, 1, 0]])
    student = [torch.tensor([[[3.0, 4.0], [0.0, 2.0], [99.0, 99.0]]]), torch.zeros(1, 3, 2)]
    teacher = [torch.tensor([[[3.0, 0.0], [0.0, 1.0], [-5.0, 7.0]]]), torch.ones(1, 3, 2)]
    # first pair: (0 + 16 + 0 + 1) / 4; second: 1; averaged over the two
    assert hidden_loss(student, teacher, mask).item() == pytest.approx((17 / 4 + 1) / 2)
    # directions: (0.6, 0.8) against (1, 0) is 0.16 + 0.64, the second token agrees
    one = hidden_loss(student[:1], teacher[:1], mask, normalised=True)
    assert one.item() == pytest.approx(0.8 / 2)
    opposite = hidden_loss([-teacher[0]], teacher[:1], mask, normalised=True)
    assert opposite.item() == pytest.approx(4.0)


def test_relations_of_a_hand_computed_note():
    # one relation head of two channels, two real tokens and a padding one
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [50.0, 50.0]]])
    found = relations(vectors, torch.tensor([[True, True, False]]), 1)[0, 0].exp()
    high = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    torch.testing.assert_close(found[0], torch.tensor([high, 1 - high, 0.0]))
    other = math.exp(4 / math.sqrt(2)) / (math.exp(4 / math.sqrt(2)) + 1)
    torch.testing.assert_close(found[1], torch.tensor([1 - other, other, 0.0]))


def test_relation_loss_equals_a_slow_sum_over_notes_heads_and_tokens():
    student = [random_states(seed, width=4) for seed in (0, 1, 2)]
    teacher = [random_states(seed, width=8) for seed in (3, 4, 5)]
    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        divergences = []
        for note, length in enumerate(MASK.sum(1).tolist()):
            for head in range(2):
                small = ours[note, :length, head * 2 : head * 2 + 2].double()
                large = theirs[note, :length, head * 4 : head * 4 + 4].double()
                p = torch.softmax(large @ large.T / 2, -1)
                q = torch.softmax(small @ small.T / math.sqrt(2), -1)
                divergences += (p * (p / q).log()).sum(-1).tolist()
        total += sum(divergences) / len(divergences)
    assert relation_loss(student, teacher, MASK, 2).item() == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    ("wanted", "channels", "expected"),
    [(12, (384, 384), 12), (12, (312, 768), 12), (48, (256, 768), 32), (12, (80, 384), 8), (1, (5, 7), 1)],
)
def test_relation_heads_divide_both_widths(wanted: int, channels: tuple[int, int], expected: int):
    assert common_heads(wanted, *channels) == expected


def test_impossible_relation_heads_are_refused():
    with pytest.raises(InputError) as caught:
        common_heads(12, 35, 48)
    expected = (
        "no 2 to 12 relation heads divide the attention channels 35 and 48; "
        "use relation_heads=1 or another width"
    )
    assert str(caught.value) == expected
    with pytest.raises(InputError, match=r"^relation heads must be 1 or more, not 0$"):
        common_heads(0, 32, 32)
