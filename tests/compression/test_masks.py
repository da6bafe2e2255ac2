"""Masks: exactly the share that was asked for, the smallest weights, and zero for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sympress.compression.prune.masks import apply_masks_, keep_masked, magnitude_masks
from sympress.errors import InputError
from sympress.models.model import SymptomModel, build_model
from sympress.training import from_logits, train
from sympress.training.data import EncodedNotes, NoteDataset
from sympress.training.epochs import TrainSettings
from sympress.training.losses import loss_of


@pytest.fixture
def model(make_encoder: Callable) -> SymptomModel:
    return build_model(make_encoder("bert"), 3, "cls", seed=0)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.999])
def test_each_linear_layer_has_exactly_the_requested_share_masked(model: SymptomModel, share: float):
    masks = magnitude_masks(model, share)
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert masks.keys() == linears.keys()
    for name, mask in masks.items():
        assert mask.shape == linears[name].weight.shape
        assert int((~mask).sum()) == round(share * mask.numel())


def test_the_smallest_weights_are_the_masked_ones(model: SymptomModel):
    for name, mask in magnitude_masks(model, 0.3).items():
        weight = model.get_submodule(name).weight.detach().abs()
        assert weight[~mask].max() <= weight[mask].min()


def test_equal_weights_are_masked_in_order(model: SymptomModel):
    model.head.output.weight.data = torch.tensor([[1.0, -1.0, 1.0, 2.0]])
    assert magnitude_masks(model, 0.5)["head.output"].tolist() == [[False, False, True, True]]


def test_masks_agree_with_the_pruning_of_pytorch(model: SymptomModel):
    """The published study used torch.nn.utils.prune.l1_unstructured."""
    from torch.nn.utils import prune

    ours = magnitude_masks(model, 0.3)["head.dense"]
    prune.l1_unstructured(model.head.dense, "weight", amount=0.3)
    assert torch.equal(model.head.dense.weight_mask.bool(), ours)


def test_applying_masks_zeroes_them_and_leaves_the_rest(model: SymptomModel):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    masks = magnitude_masks(model, 0.3)
    apply_masks_(model, masks)
    for name, value in model.state_dict().items():
        mask = masks.get(name.removesuffix(".weight"))
        expected = before[name] if mask is None else before[name] * mask
        assert torch.equal(value, expected)


def test_masked_weights_stay_zero_through_training_and_the_rest_learns(model: SymptomModel, tmp_path: Path):
    rng = np.random.default_rng(0)
    ids = tuple(rng.integers(5, 40, size=rng.integers(4, 12)).astype(np.int64) for _ in range(24))
    targets = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, size=24)]
    notes = NoteDataset(EncodedNotes(ids, 0), targets)
    masks = magnitude_masks(model, 0.5)
    apply_masks_(model, masks)
    before = {name: model.get_submodule(name).weight.detach().clone() for name in masks}
    train(
        model,
        notes,
        notes,
        TrainSettings(epochs=2, batch_size=8, learning_rate=1e-2),
        tmp_path,
        pad_id=0,
        batch_loss=from_logits(loss_of("topic")),
        score=lambda logits: (0.0, {}),
        after_step=keep_masked(model, masks),
    )
    for name, mask in masks.items():
        weight = model.get_submodule(name).weight.detach()
        assert torch.count_nonzero(weight[~mask]) == 0
        assert (weight[mask] != before[name][mask]).float().mean() > 0.9


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0])
def test_a_share_out_of_range_is_refused(model: SymptomModel, share: float):
    with pytest.raises(InputError) as caught:
        magnitude_masks(model, share)
    assert str(caught.value) == f"the share of masked weights must be at least 0 and below 1, not {share}"
