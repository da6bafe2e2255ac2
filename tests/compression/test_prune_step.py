"""The pruning step of a recipe, and the layers it drops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune.remove import choose_layers, layer_importance, prune_, skipping
from sympress.errors import InputError
from sympress.models.families import family_of, keep_layers_, layers_of
from sympress.models.model import SymptomModel, build_model, count_macs, load_model, save_model
from sympress.training.losses import loss_of

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0], [2, 17, 25, 9, 3, 0, 0]])
MASK = (IDS != 0).long()
BATCH = {"input_ids": IDS, "attention_mask": MASK, "labels": torch.eye(3)}


def build(make_encoder: Callable, family: str = "bert") -> SymptomModel:
    return build_model(make_encoder(family), 3, "mean", seed=0).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_skipped_layer_is_a_removed_layer(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    removed = copy.deepcopy(model)
    keep_layers_(removed.encoder, [1])
    with torch.inference_mode():
        whole = model(IDS, MASK)
        with skipping(model, [0]):
            torch.testing.assert_close(model(IDS, MASK), removed(IDS, MASK), atol=1e-6, rtol=0)
        assert torch.equal(model(IDS, MASK), whole)


def test_importance_of_a_layer_is_the_rise_of_the_mean_loss(make_encoder: Callable):
    model = build(make_encoder)
    two = [BATCH, {name: value[:1] for name, value in BATCH.items()}]  # notes count, not batches
    rises = layer_importance(model, two, loss_of("topic"))
    removed = copy.deepcopy(model)
    keep_layers_(removed.encoder, [0])
    ids, mask = torch.cat([IDS, IDS[:1]]), torch.cat([MASK, MASK[:1]])
    labels = torch.cat([BATCH["labels"], BATCH["labels"][:1]])
    with torch.no_grad():
        expected = loss_of("topic")(removed(ids, mask), labels) - loss_of("topic")(model(ids, mask), labels)
    assert list(rises) == [0, 1]
    assert rises[1] == pytest.approx(float(expected), abs=1e-6)


def test_layers_that_do_nothing_go_first(make_encoder: Callable):
    model = build(make_encoder, "modernbert")
    layer = layers_of(model.encoder)[1]
    layer.attn.Wo.weight.data.zero_()
    layer.mlp.Wo.weight.data.zero_()
    assert layer_importance(model, [BATCH], loss_of("topic"))[1] == 0.0
    rise = layer_importance(model, [BATCH], loss_of("topic"))[0]
    assert choose_layers(model, [BATCH], loss_of("topic"), 1) == ((0,) if rise > 0 else (1,))
    assert choose_layers(model, [BATCH], loss_of("topic"), 2) == (0, 1)


def full(family: str) -> dict[str, Any]:
    return {"ffn": 0.5} if family == "deberta-v2" else {"heads": 0.5, "ffn": 0.5, "hidden": 0.75}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_pruned_and_loads_back(family: str, make_encoder: Callable, tmp_path: Path):
    model = build(make_encoder, family)
    before = sum(parameter.numel() for parameter in model.parameters())
    remark = prune_(model, [BATCH], loss_of("topic"), **full(family), layers=1, reconstruct=True)
    heads, hidden = (
        ("4 of 8 heads and 24", "")
        if family == "deberta-v2"
        else ("2 of 8 heads, 24", " and 24 of 32 hidden")
    )
    assert remark == (f"1 of 2 layers, {heads} of 96 neurons{hidden}{' dimensions' if hidden else ''} stay")
    assert sum(parameter.numel() for parameter in model.parameters()) < before
    save_model(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))


@pytest.mark.parametrize("settings", [{}, {"hidden": 24}, {"layers": 1}])
def test_the_budget_is_met_as_pytorch_counts_it(settings: dict[str, Any], make_encoder: Callable):
    """On notes of equal length, all layers' products; the head's few are taken off on both sides."""
    model = build(make_encoder)
    ids = torch.randint(5, 54, (4, 20), generator=torch.Generator().manual_seed(0))
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.eye(4)[:, :3]}
    before = count_macs(model, 20) - 3 * 32
    remark = prune_(model, [batch], loss_of("topic"), macs=0.4, **settings)
    after = count_macs(model, 20) - 3 * model.head.output.in_features
    assert after <= 0.4 * before
    assert after > 0.37 * before or "1 of 2 layers" in remark


def test_neurons_alone_meet_the_budget_where_heads_stay(make_encoder: Callable):
    model = build(make_encoder, "deberta-v2")
    remark = prune_(model, [BATCH], loss_of("topic"), macs=0.8)
    assert remark.startswith("8 of 8 heads and ")
    assert not remark.startswith("8 of 8 heads and 96 ")


def test_a_share_of_one_changes_nothing(make_encoder: Callable):
    model = build(make_encoder)
    with torch.inference_mode():
        before = model(IDS, MASK)
    remark = prune_(model, [BATCH], loss_of("topic"), heads=1.0, ffn=1.0, hidden=1.0, reconstruct=True)
    assert remark == "8 of 8 heads, 96 of 96 neurons and 32 of 32 hidden dimensions stay"
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS, MASK), before, atol=1e-5, rtol=0)


def test_reconstruction_brings_the_outputs_nearer(make_encoder: Callable):
    original = build(make_encoder)
    for name, parameter in original.named_parameters():
        if parameter.ndim == 2 and "embeddings" not in name:
            parameter.data *= 4
    ids = torch.randint(5, 54, (32, 12), generator=torch.Generator().manual_seed(0))
    labels = torch.eye(3)[torch.arange(32) % 3]
    batches = [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}]
    with torch.no_grad():
        expected = original(ids, torch.ones_like(ids))
        errors = []
        for reconstruct in (False, True):
            model = copy.deepcopy(original)
            prune_(model, batches, loss_of("topic"), heads=0.5, ffn=0.25, reconstruct=reconstruct)
            errors.append(float((model(ids, torch.ones_like(ids)) - expected).square().sum()))
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "prune has nothing to do: give what stays as heads, ffn, hidden, layers or macs"),
        ({"heads": 0.0}, "the share of heads to keep must be above 0 and at most 1, not 0.0"),
        ({"ffn": 1.2}, "the share of neurons to keep must be above 0 and at most 1, not 1.2"),
        ({"hidden": -1.0}, "the share of hidden dimensions to keep must be above 0 and at most 1, not -1.0"),
        ({"macs": 0}, "the share of multiply-accumulates to keep must be above 0 and at most 1, not 0"),
        ({"macs": 0.5, "ffn": 0.5}, "macs chooses the heads and neurons itself: leave out heads and ffn"),
        ({"layers": 3}, "layers=3: the model has 2 layers, so 1 to 2 can stay"),
        (
            {"layers": 1, "reconstruct": True},
            "reconstruct has nothing to make up for: give heads, ffn, hidden or macs too",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_refused(settings: dict[str, Any], message: str, make_encoder: Callable):
    with pytest.raises(InputError) as caught:
        prune_(build(make_encoder), [BATCH], loss_of("topic"), **settings)
    assert str(caught.value) == message


def test_what_the_model_does_not_allow_is_refused(make_encoder: Callable):
    model = build(make_encoder)
    prune_(model, [BATCH], loss_of("topic"), heads=0.25)
    with pytest.raises(InputError) as caught:
        prune_(model, [BATCH], loss_of("topic"), heads=0.5)
    assert str(caught.value) == "the model has one head a layer already; no head can be removed"
    with pytest.raises(InputError, match=r"^heads of 'deberta-v2' are tied to its relative positions"):
        prune_(build(make_encoder, "deberta-v2"), [BATCH], loss_of("topic"), heads=0.5)
    with pytest.raises(InputError, match=r"^the calibration set has no notes"):
        prune_(build(make_encoder), [], loss_of("topic"), ffn=0.5)
    factorized = build(make_encoder)
    lowrank_(factorized, method="svd", rank=4)
    with pytest.raises(InputError, match=r"remove heads and neurons before low rank$"):
        prune_(factorized, [BATCH], loss_of("topic"), ffn=0.5)
    assert prune_(factorized, [BATCH], loss_of("topic"), hidden=0.75) == "24 of 32 hidden dimensions stay"
    assert family_of(factorized.encoder).layers == "encoder.layer"
