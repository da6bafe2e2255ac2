"""Structured removal: the smaller model computes what the larger one does with the rest masked."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune.remove import prune_
from sympress.compression.prune.structured import Importance, Kept, choose_kept, mask_gradients, remove_
from sympress.errors import InputError
from sympress.models.families import family_of, head_width, layers_of
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.training.losses import loss_of

TOPIC = loss_of("topic")
FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
KEPT = Kept(heads=((0, 2), (3,)), neurons=(tuple(range(0, 48, 2)), (5, 6, 40)))
IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0], [2, 17, 25, 9, 3, 0, 0]])
MASK = (IDS != 0).long()
BATCH = {"input_ids": IDS, "attention_mask": MASK, "labels": torch.eye(3)}


def build(make_encoder: Callable, family: str) -> SymptomModel:
    """A model whose biases are not zero, so that a forgotten bias shows."""
    model = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data.normal_(std=0.1, generator=generator)
    return model


def masked(model: SymptomModel, kept: Kept) -> SymptomModel:
    """The model at full size in which nothing but `kept` reaches the output projections."""
    model = copy.deepcopy(model)
    family, width = family_of(model.encoder), head_width(model.encoder)
    for layer, heads, neurons in zip(layers_of(model.encoder), kept.heads, kept.neurons, strict=True):
        if family.queries_keys_values:
            alive = torch.zeros(4, dtype=torch.bool)
            alive[list(heads)] = True
            layer.get_submodule(family.attention_output).weight.data[:, ~alive.repeat_interleave(width)] = 0
        alive = torch.zeros(48, dtype=torch.bool)
        alive[list(neurons)] = True
        layer.get_submodule(family.neurons_out).weight.data[:, ~alive] = 0
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_removed_equals_masked_with_padding_and_after_loading(
    family: str, make_encoder: Callable, tmp_path: Path
):
    model = build(make_encoder, family)
    expected = masked(model, KEPT)
    whole = sum(parameter.numel() for parameter in model.parameters())
    with torch.inference_mode():
        before = model(IDS, MASK)
        remove_(model, KEPT)
        after = model(IDS, MASK)
        torch.testing.assert_close(after, expected(IDS, MASK), atol=1e-6, rtol=0)
        assert (after - before).abs().max() > 1e-4  # something did go
        save_model(model, tmp_path)
        loaded = load_model(tmp_path)
        assert torch.equal(loaded(IDS, MASK), after)
    removed = sum(parameter.numel() for parameter in model.parameters())
    assert removed < whole
    assert sum(parameter.numel() for parameter in loaded.parameters()) == removed


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_physically_smaller(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    names, width = family_of(model.encoder), head_width(model.encoder)
    remove_(model, KEPT)
    for layer, heads, neurons in zip(layers_of(model.encoder), KEPT.heads, KEPT.neurons, strict=True):
        stay = len(neurons)
        assert layer.get_submodule(names.neurons_in).weight.shape == (stay * (1 + names.gated), 32)
        assert layer.get_submodule(names.neurons_out).weight.shape == (32, stay)
        channels = len(heads) * width if names.queries_keys_values else 32
        assert layer.get_submodule(names.attention_output).weight.shape == (32, channels)
        matrices = 3 // max(len(names.queries_keys_values), 1)
        for name in names.queries_keys_values:
            linear = layer.get_submodule(name)
            assert linear.weight.shape == (matrices * channels, 32)
            assert (linear.out_features, linear.in_features) == (matrices * channels, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_everything_changes_nothing(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    everything = Kept(((0, 1, 2, 3),) * 2, (tuple(range(48)),) * 2)
    with torch.inference_mode():
        before = model(IDS, MASK)
        remove_(model, everything)
        torch.testing.assert_close(model(IDS, MASK), before, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_smaller_model_still_learns(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    remove_(model, KEPT)
    TOPIC(model(IDS, MASK), BATCH["labels"]).backward()
    for name, parameter in model.named_parameters():
        if name.startswith(f"encoder.{family_of(model.encoder).layers}.0."):
            assert parameter.grad is not None, name
            assert parameter.grad.shape == parameter.shape


def test_removing_heads_twice_keeps_their_width(make_encoder: Callable):
    model = build(make_encoder, "bert")
    remove_(model, Kept(((0, 1, 3),) * 2, (tuple(range(48)),) * 2))
    once = copy.deepcopy(model)
    for layer in layers_of(once.encoder):
        layer.attention.output.dense.weight.data[:, :8] = 0
    remove_(model, Kept(((1, 2),) * 2, (tuple(range(48)),) * 2))
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS, MASK), once(IDS, MASK), atol=1e-6, rtol=0)


def test_a_factorized_layer_is_refused(make_encoder: Callable):
    model = build(make_encoder, "bert")
    lowrank_(model, method="svd", rank=4)
    with pytest.raises(InputError) as caught:
        remove_(model, KEPT)
    assert str(caught.value) == (
        "attention.output.dense is already factorized; remove heads and neurons before low rank"
    )


def test_the_most_important_are_kept_in_ascending_order_and_ties_keep_the_lower():
    importance = Importance(
        heads=(torch.tensor([0.1, 0.4, 0.2, 0.3]), torch.tensor([1.0, 1.0, 1.0, 1.0])),
        neurons=(torch.tensor([0.0, 5.0, 3.0]), torch.tensor([2.0, 1.0, 3.0])),
    )
    kept = choose_kept(importance, heads=0.5, neurons=0.67)
    assert kept == Kept(heads=((1, 3), (0, 1)), neurons=((1, 2), (0, 2)))


def test_at_least_one_head_and_one_neuron_stay():
    importance = Importance((torch.tensor([0.0, 1.0]),), (torch.tensor([3.0, 2.0, 1.0]),))
    assert choose_kept(importance, heads=0.01, neurons=0.01) == Kept(((1,),), ((0,),))


@pytest.mark.parametrize(
    ("heads", "neurons", "message"),
    [
        (0.0, 0.5, "the share of heads to keep must be above 0 and at most 1, not 0.0"),
        (1.1, 0.5, "the share of heads to keep must be above 0 and at most 1, not 1.1"),
        (0.5, -1.0, "the share of neurons to keep must be above 0 and at most 1, not -1.0"),
    ],
)
def test_a_share_out_of_range_is_refused(heads: float, neurons: float, message: str):
    with pytest.raises(InputError) as caught:
        choose_kept(Importance((), ()), heads=heads, neurons=neurons)
    assert str(caught.value) == message


@pytest.mark.parametrize("family", FAMILIES)
def test_heads_and_neurons_without_output_are_unimportant_and_go_first(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    names, width = family_of(model.encoder), head_width(model.encoder)
    layer = layers_of(model.encoder)[0]
    layer.get_submodule(names.attention_output).weight.data[:, 2 * width : 3 * width] = 0
    layer.get_submodule(names.neurons_out).weight.data[:, 7] = 0
    importance = mask_gradients(model, [BATCH, BATCH], TOPIC).importance()
    assert [tuple(scores.shape) for scores in importance.heads] == [(4,), (4,)]
    assert [tuple(scores.shape) for scores in importance.neurons] == [(48,), (48,)]
    assert importance.heads[0][2] == 0
    assert importance.neurons[0][7] == 0
    assert (importance.heads[0][[0, 1, 3]] > 0).all()
    kept = choose_kept(importance, heads=0.75, neurons=47 / 48)
    assert kept.heads[0] == (0, 1, 3)
    assert kept.neurons[0] == tuple(neuron for neuron in range(48) if neuron != 7)


def test_importance_predicts_the_change_of_the_loss(make_encoder: Callable):
    """First order: scaling a head's output by (1 - e) changes a note's loss by e times its score."""
    model = build(make_encoder, "bert")
    one = {name: value[:1] for name, value in BATCH.items()}
    importance = mask_gradients(model, [one], TOPIC).importance()
    share = 1e-2
    with torch.no_grad():
        before = TOPIC(model(one["input_ids"], one["attention_mask"]).double(), one["labels"].double())
        layers_of(model.encoder)[1].attention.output.dense.weight.data[:, 8:16] *= 1 - share
        after = TOPIC(model(one["input_ids"], one["attention_mask"]).double(), one["labels"].double())
    assert ((after - before) / share).square().item() == pytest.approx(importance.heads[1][1].item(), rel=0.1)


def test_importance_leaves_no_hooks_and_no_gradients(make_encoder: Callable):
    model = build(make_encoder, "bert")
    mask_gradients(model, [BATCH], TOPIC)
    assert all(not module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("family", "heads", "said"), [("bert", 0.5, "4 of 8"), ("deberta-v2", 1.0, "8 of 8")]
)
def test_each_head_and_neuron_is_ranked_by_itself_and_no_more_than_stays_is_claimed(
    make_encoder: Callable, family: str, heads: float, said: str
):
    model = build(make_encoder, family)
    importance = mask_gradients(model, [BATCH], TOPIC).importance()
    expected = copy.deepcopy(model)
    remove_(expected, choose_kept(importance, heads=heads, neurons=0.25))
    remark = prune_(model, [BATCH], TOPIC, heads=heads, ffn=0.25, alone=True)
    assert remark == f"{said} heads and 24 of 96 neurons stay"
    with torch.inference_mode():
        assert torch.equal(model(IDS, MASK), expected(IDS, MASK))
