"""Multiply-accumulates against plain arithmetic."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from sympress.compression.distill.student import student_of
from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune.masks import apply_masks_, magnitude_masks
from sympress.compression.prune.structured import Kept, remove_
from sympress.models.model import build_model, count_macs

SYMPTOMS = 3
HEAD = 32 * 32 + 32 * SYMPTOMS  # on one token


def layer(tokens: int, heads: int = 4, neurons: int = 48) -> int:
    """One BERT layer of 32 channels: four projections, two products of attention, two of the feed-forward."""
    channels = heads * 8
    return tokens * (4 * 32 * channels + 2 * 32 * neurons) + 2 * tokens * tokens * channels


@pytest.mark.parametrize("tokens", [2, 10, 40])
def test_a_bert_costs_what_arithmetic_says_attention_included(make_encoder: Callable, tokens: int):
    model = build_model(make_encoder("bert"), SYMPTOMS, "cls", seed=0)
    assert count_macs(model, tokens) == 2 * layer(tokens) + HEAD


def test_a_student_costs_its_layers(make_encoder: Callable):
    model = student_of(build_model(make_encoder("bert"), SYMPTOMS, "cls", seed=0), 1)
    assert count_macs(model, 10) == layer(10) + HEAD


def test_removed_heads_and_neurons_cost_nothing(make_encoder: Callable):
    model = build_model(make_encoder("bert"), SYMPTOMS, "cls", seed=0)
    remove_(model, Kept(((0, 1), (3,)), (tuple(range(24)), tuple(range(6)))))
    assert count_macs(model, 10) == layer(10, 2, 24) + layer(10, 1, 6) + HEAD


def test_factors_cost_their_rank(make_encoder: Callable):
    model = build_model(make_encoder("bert"), SYMPTOMS, "cls", seed=0)
    lowrank_(model, method="svd", rank=4)
    one = 10 * 4 * (4 * (32 + 32) + 2 * (32 + 48)) + 2 * 10 * 10 * 32
    assert count_macs(model, 10) == 2 * one + HEAD


def test_masked_weights_cost_as_much_as_any(make_encoder: Callable):
    model = build_model(make_encoder("bert"), SYMPTOMS, "cls", seed=0)
    apply_masks_(model, magnitude_masks(model, 0.9))
    assert count_macs(model, 10) == 2 * layer(10) + HEAD


def test_counting_leaves_no_gradients(make_encoder: Callable):
    model: nn.Module = build_model(make_encoder("bert"), SYMPTOMS, "mean", seed=0)
    count_macs(model, 5)
    assert all(parameter.grad is None for parameter in model.parameters())
