"""Heads: padding has no influence, and each pools as it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from sympress.errors import InputError
from sympress.models.model import POOLINGS, SymptomHead, build_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
STATES = torch.tensor([[[1.0, 2.0], [3.0, -4.0], [100.0, 100.0]]])
MASK = torch.tensor([[1, 1, 0]])


def head(pooling: str, hidden: int = 2, symptoms: int = 2) -> SymptomHead:
    torch.manual_seed(0)
    return SymptomHead(hidden, symptoms, pooling).eval()


def identity(layer: nn.Linear) -> None:
    layer.weight.data = torch.eye(2)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_change_the_logits(family: str, pooling: str, make_encoder: Callable):
    model = build_model(make_encoder(family), 3, pooling, seed=0).eval()
    ids = torch.tensor([[2, 7, 9, 11, 12, 30, 3]])
    with torch.inference_mode():
        alone = model(ids, torch.ones_like(ids))
        for padding in (1, 20):
            longer = torch.cat([ids, torch.zeros((1, padding), dtype=torch.int64)], 1)
            padded = model(longer, (torch.arange(longer.shape[1]) < 7).long()[None])
            torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)
    assert alone.shape == (1, 3)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_what_stands_in_the_padding_does_not_matter(pooling: str):
    model = head(pooling)
    other = STATES.clone()
    other[0, 2] = -50.0
    assert torch.equal(model(STATES, MASK), model(other, MASK))


def test_mean_and_maximum_pool_over_the_real_tokens():
    for pooling, expected in (("mean", [[2.0, -1.0]]), ("maximum", [[3.0, 2.0]])):
        model = head(pooling)
        identity(model.output)
        assert model(STATES, MASK).tolist() == expected


def test_cls_is_dense_then_tanh_of_the_first_token():
    model = head("cls")
    identity(model.output)
    identity(model.dense)
    model.dense.bias.data.zero_()
    torch.testing.assert_close(model(STATES, MASK), torch.tanh(torch.tensor([[1.0, 2.0]])))


def test_label_attention_of_a_hand_computed_note():
    """CAML: each symptom weighs the tokens by its own query, then scores their mean by its own weights."""
    model = head("label")
    model.query.weight.data = torch.tensor([[0.0, 0.0], [100.0, 0.0]])  # symptom 0 looks evenly, 1 at token 2
    model.output.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    model.output.bias.data = torch.tensor([0.5, 0.0])
    torch.testing.assert_close(model(STATES, MASK), torch.tensor([[2.0 + 0.5, -4.0]]))


def test_label_attention_has_a_query_and_weights_a_symptom():
    model = head("label", hidden=6, symptoms=4)
    assert model.query.weight.shape == model.output.weight.shape == (4, 6)
    assert model(torch.randn(3, 5, 6), torch.ones(3, 5)).shape == (3, 4)


@pytest.mark.parametrize("pooling", ["mean", "label"])
def test_a_note_without_a_token_has_finite_logits(pooling: str):
    assert torch.isfinite(head(pooling)(STATES, torch.zeros(1, 3))).all()


def test_cls_starts_from_the_pooler_of_the_encoder(make_encoder: Callable):
    encoder = make_encoder("bert")
    model = build_model(encoder, 3, "cls", seed=0)
    assert torch.equal(model.head.dense.weight, encoder.pooler.dense.weight)
    assert torch.equal(model.head.dense.bias, encoder.pooler.dense.bias)
    assert model.encoder.pooler is None
    assert encoder.pooler is not None  # the encoder that was given is left as it was
    ids = torch.tensor([[2, 7, 9, 3]])
    expected = model.head.output(encoder(ids).pooler_output)
    torch.testing.assert_close(model.eval()(ids, torch.ones_like(ids)), expected)


def test_the_head_depends_on_the_seed_alone(make_encoder: Callable):
    encoder = make_encoder("distilbert")
    torch.manual_seed(5)
    first = build_model(encoder, 3, "cls", seed=1)
    state = torch.get_rng_state()
    torch.manual_seed(6)
    second, other = build_model(encoder, 3, "cls", seed=1), build_model(encoder, 3, "cls", seed=2)
    assert torch.equal(first.head.output.weight, second.head.output.weight)
    assert not torch.equal(first.head.output.weight, other.head.output.weight)
    torch.manual_seed(5)
    assert torch.equal(torch.get_rng_state(), state)  # building a model draws nothing from the global state


def test_an_unknown_pooling_is_refused(make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        build_model(make_encoder("bert"), 3, "max", seed=0)
    assert str(caught.value) == "pooling 'max' is not one of cls, mean, maximum, label"
