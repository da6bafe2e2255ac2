"""Masks that grow: the published schedule and scores, the exact share, and a kill that changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune.masks import GradualMasks, apply_masks_, cubic_share, magnitude_masks
from sympress.errors import InputError
from sympress.models.families import layer_linears
from sympress.models.model import SymptomModel, build_model, load_model, save_model
from sympress.training import from_logits, train
from sympress.training.data import EncodedNotes, NoteDataset
from sympress.training.epochs import TrainSettings
from sympress.training.losses import loss_of

IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0], [2, 17, 25, 9, 3, 0, 0]])
MASK = (IDS != 0).long()
SETTINGS = TrainSettings(epochs=2, batch_size=8, learning_rate=1e-2, save_steps=3)
STEPS = 6  # 24 notes, 8 a batch, 2 epochs


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.fixture
def model(make_encoder: Callable) -> SymptomModel:
    return build_model(make_encoder("bert"), 3, "cls", seed=0)


def notes() -> NoteDataset:
    rng = np.random.default_rng(0)
    ids = tuple(rng.integers(5, 40, size=rng.integers(4, 12)).astype(np.int64) for _ in range(24))
    return NoteDataset(EncodedNotes(ids, 0), np.eye(3, dtype=np.uint8)[rng.integers(0, 3, size=24)])


def run(model: SymptomModel, masks: GradualMasks, folder: Path, kill_at: int = 0) -> None:
    def progress(done: int, _total: int) -> None:
        if done == kill_at:
            raise KilledError

    train(
        model,
        notes(),
        notes(),
        SETTINGS,
        folder,
        pad_id=0,
        batch_loss=from_logits(loss_of("topic")),
        score=lambda logits: (0.0, {}),
        after_step=masks,
        progress=progress,
    )


def zeros(model: SymptomModel) -> dict[str, int]:
    return {name: int((linear.weight == 0).sum()) for name, linear in layer_linears(model.encoder)}


def test_the_schedule_is_cubic():
    assert [cubic_share(step, 10, 20, 0.8) for step in (0, 10, 20, 99)] == [0.0, 0.0, 0.8, 0.8]
    assert cubic_share(15, 10, 20, 0.8) == pytest.approx(0.8 * (1 - 0.5**3))
    assert cubic_share(12, 10, 20, 0.5) == pytest.approx(0.5 + (0 - 0.5) * (1 - 0.2) ** 3)  # eq. 1
    shares = [cubic_share(step, 3, 40, 0.9) for step in range(50)]
    assert shares == sorted(shares)


def test_movement_keeps_values_aside_and_lets_weights_come_back(model: SymptomModel):
    """Against the paper written out for one matrix: W is dense, the forward pass sees W * M(S)."""
    masks = GradualMasks(model, 0.5, 8, scores="movement", warmup=0, cooldown=0.2, every=1)
    linears = dict(layer_linears(model.encoder))
    linear = next(iter(linears.values()))
    generator = torch.Generator().manual_seed(0)
    dense, mask = linear.weight.detach().clone(), torch.ones(32, 32, dtype=torch.bool)
    scores, returned = torch.zeros(32, 32), 0
    for step in range(1, 9):
        gradient = torch.randn(32, 32, generator=generator)
        for other in linears.values():
            other.weight.grad = torch.zeros_like(other.weight)
        linear.weight.grad = gradient.clone()
        with torch.no_grad():
            linear.weight -= 0.01 * gradient  # the optimizer moves masked weights too
        masks()
        dense = torch.where(mask, dense - 0.01 * gradient, dense)  # no gradient passes a closed mask
        scores -= gradient * dense
        if step <= masks.end:
            count = round(cubic_share(step, masks.start, masks.end, 0.5) * 1024)
            lowest = scores.flatten().argsort(stable=True)[:count]
            new = torch.ones(1024, dtype=torch.bool)
            new[lowest] = False
            new = new.view(32, 32)
            returned += int((new & ~mask).sum())
            mask = new
        torch.testing.assert_close(linear.weight.detach(), dense * mask)
    assert returned > 20
    assert torch.equal(masks.finish_()[f"encoder.{next(iter(linears))}"], mask)


def test_magnitude_at_the_end_is_what_masking_at_once_finds_where_nothing_moves(model: SymptomModel):
    at_once = magnitude_masks(model, 0.6)
    masks = GradualMasks(model, 0.6, 10, every=2)
    for _ in range(10):
        masks()
    found = masks.finish_()
    assert set(found) == {f"encoder.{name}" for name, _ in layer_linears(model.encoder)}
    for name, mask in found.items():
        assert torch.equal(mask, at_once[name])


@pytest.mark.parametrize("scores", ["magnitude", "movement"])
def test_training_ends_with_exactly_the_share_and_loads(scores: str, model: SymptomModel, tmp_path: Path):
    masks = GradualMasks(model, 0.7, STEPS, scores=scores, every=2)
    run(model, masks, tmp_path / "run")
    found = masks.finish_()
    expected = {name: round(0.7 * linear.weight.numel()) for name, linear in layer_linears(model.encoder)}
    assert zeros(model) == expected
    assert not any("prune_" in name for name in model.state_dict())
    save_model(model, tmp_path / "saved")
    loaded = load_model(tmp_path / "saved")
    assert zeros(loaded) == expected
    apply_masks_(loaded, found)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), model.eval()(IDS, MASK))


def test_movement_and_magnitude_choose_differently(make_encoder: Callable, tmp_path: Path):
    found = []
    for scores in ("magnitude", "movement"):
        model = build_model(make_encoder("bert"), 3, "cls", seed=0)
        masks = GradualMasks(model, 0.5, STEPS, scores=scores, every=1)
        run(model, masks, tmp_path / scores)
        found.append(torch.cat([mask.flatten() for mask in masks.finish_().values()]))
    agree = float((found[0] == found[1]).float().mean())
    assert 0.3 < agree < 0.8


@pytest.mark.parametrize("scores", ["magnitude", "movement"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(scores: str, make_encoder: Callable, tmp_path: Path):
    def fresh() -> tuple[SymptomModel, GradualMasks]:
        model = build_model(make_encoder("bert"), 3, "cls", seed=0)
        return model, GradualMasks(model, 0.7, STEPS, scores=scores, warmup=0.1, cooldown=0.2, every=1)

    whole, masks = fresh()
    run(whole, masks, tmp_path / "whole")
    model, killed = fresh()
    with pytest.raises(KilledError):
        run(model, killed, tmp_path / "killed", kill_at=5)
    again, resumed = fresh()
    run(again, resumed, tmp_path / "killed")
    expected = whole.state_dict()
    assert int(expected["prune_steps"]) == STEPS
    for name, value in again.state_dict().items():
        assert torch.equal(value, expected[name]), name
    first, second = masks.finish_(), resumed.finish_()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("scores", ["magnitude", "movement"])
def test_an_earlier_epochs_weights_are_masked_to_the_share_too(scores: str, model: SymptomModel):
    """`select="best"` may bring back weights and buffers from before the masks had grown."""
    masks = GradualMasks(model, 0.7, 100, scores=scores, every=1)
    for _ in range(20):
        masks()
    assert 0 < sum(zeros(model).values()) < sum(round(0.7 * 32 * 32) for _ in zeros(model))
    masks.finish_()
    for name, linear in layer_linears(model.encoder):
        assert zeros(model)[name] == round(0.7 * linear.weight.numel())


def test_factorized_layers_are_masked_in_their_factors(model: SymptomModel):
    lowrank_(model, method="svd", rank=4)
    masks = GradualMasks(model, 0.5, 4, every=1)
    for _ in range(4):
        masks()
    assert any(name.endswith(".first") for name in masks.finish_())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"final_share": 1.0}, "the share of masked weights must be at least 0 and below 1, not 1.0"),
        (
            {"warmup": 0.6, "cooldown": 0.4},
            "warmup 0.6 and cooldown 0.4 must leave steps in which masks grow",
        ),
        ({"total_steps": 0}, "total steps 0 and steps between masks 10 must be 1 or more"),
    ],
)
def test_settings_out_of_range_are_refused(arguments: dict[str, float], message: str, model: SymptomModel):
    with pytest.raises(InputError) as caught:
        GradualMasks(model, **{"final_share": 0.5, "total_steps": 10, **arguments})
    assert str(caught.value) == message
