"""The mask search: the best that a budget buys, and block-diagonal exchanges that never make it worse."""

from __future__ import annotations

import itertools

import pytest
import torch

from sympress.compression.prune.structured import (
    Costs,
    Importance,
    Kept,
    MaskGradients,
    mac_costs,
    rearrange,
    search_kept,
)
from sympress.errors import InputError

SMALL = Importance(
    heads=(torch.tensor([5.0, 1.0]), torch.tensor([0.2, 0.1])),
    neurons=(torch.tensor([3.0, 2.0, 0.5]), torch.tensor([0.4, 0.3, 6.0])),
)


def subsets(layers: tuple[torch.Tensor, ...]):
    """Every way to keep at least one of each layer."""
    choices = [
        [pick for count in range(1, len(own) + 1) for pick in itertools.combinations(range(len(own)), count)]
        for own in layers
    ]
    return itertools.product(*choices)


def lost(layers: tuple[torch.Tensor, ...], kept) -> float:
    return sum(
        float(own.double().sum() - own.double()[list(stay)].sum())
        for own, stay in zip(layers, kept, strict=True)
    )


def best_by_trying_all(importance: Importance, costs: Costs, budget: float) -> float:
    return min(
        lost(importance.heads, heads) + lost(importance.neurons, neurons)
        for heads in subsets(importance.heads)
        for neurons in subsets(importance.neurons)
        if costs.total(sum(map(len, heads)), sum(map(len, neurons))) <= budget + 1e-9
    )


@pytest.mark.parametrize("keep", [0.5, 0.6, 0.75, 0.9, 1.0])
@pytest.mark.parametrize("costs", [Costs(3.0, 1.0), Costs(1.0, 2.0), Costs(2.5, 0.5, fixed=0.5)])
def test_nothing_within_the_budget_loses_less(keep: float, costs: Costs):
    budget = keep * costs.total(4, 6)
    kept = search_kept(SMALL, costs, keep=keep)
    assert costs.total(sum(map(len, kept.heads)), sum(map(len, kept.neurons))) <= budget + 1e-9
    found = lost(SMALL.heads, kept.heads) + lost(SMALL.neurons, kept.neurons)
    assert found == pytest.approx(best_by_trying_all(SMALL, costs, budget), abs=1e-6)


def test_random_importance_with_uneven_layers_is_solved_exactly():
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        importance = Importance(
            heads=(torch.rand(2, generator=generator), torch.rand(3, generator=generator)),
            neurons=(torch.rand(4, generator=generator), torch.rand(2, generator=generator)),
        )
        costs = Costs(2.0, 1.0)
        kept = search_kept(importance, costs, keep=0.6)
        found = lost(importance.heads, kept.heads) + lost(importance.neurons, kept.neurons)
        assert found == pytest.approx(best_by_trying_all(importance, costs, 0.6 * 16.0), abs=1e-6)


def test_by_hand_every_layer_keeps_one_and_the_budget_goes_to_what_matters():
    # 2 heads at 3 and 2 neurons at 1 are forced: 8 of 18; at 10 two more neurons are bought: 2.0 and 0.5
    kept = search_kept(SMALL, Costs(3.0, 1.0), keep=10 / 18)
    assert kept == Kept(heads=((0,), (0,)), neurons=((0, 1, 2), (2,)))
    assert search_kept(SMALL, Costs(3.0, 1.0), keep=1.0) == Kept(((0, 1), (0, 1)), ((0, 1, 2), (0, 1, 2)))


def test_heads_that_cannot_be_removed_all_stay():
    kept = search_kept(SMALL, Costs(3.0, 1.0), keep=15 / 18, all_heads=True)
    assert kept == Kept(((0, 1), (0, 1)), ((0, 1), (2,)))


def test_a_budget_that_cannot_be_met_is_refused_with_what_can():
    with pytest.raises(InputError) as caught:
        search_kept(SMALL, Costs(3.0, 1.0), keep=0.4)
    assert str(caught.value) == (
        "0.4 of the cost cannot be met: one head and one neuron a layer cost 0.4444; ask for more"
    )
    with pytest.raises(InputError, match=r"above 0 and at most 1, not 0$"):
        search_kept(SMALL, Costs(3.0, 1.0), keep=0.0)


def test_multiply_accumulates_of_a_head_and_a_neuron():
    costs = mac_costs(768, 64, 128)
    assert costs.head == 128 * 4 * 768 * 64 + 2 * 128**2 * 64
    assert costs.neuron == 128 * 2 * 768
    assert mac_costs(768, 64, 128, gated=True).neuron == 128 * 3 * 768
    # BERT-base on 128 tokens: 11.17 billion, as Kwon et al. count it
    assert costs.total(144, 12 * 3072) / 1e9 == pytest.approx(11.17, abs=0.01)


def test_importance_is_the_sum_of_squared_gradients():
    gradients = MaskGradients((torch.tensor([[1.0, -2.0], [3.0, 0.0]]),), (torch.tensor([[2.0], [-1.0]]),))
    importance = gradients.importance()
    assert importance.heads[0].tolist() == [10.0, 4.0]
    assert importance.neurons[0].tolist() == [5.0]


def block_loss(gradients: torch.Tensor, stay: tuple[int, ...]) -> float:
    removed = [unit for unit in range(gradients.shape[1]) if unit not in stay]
    return float(gradients[:, removed].double().sum(1).square().sum())


def test_units_that_cancel_are_removed_together():
    # alone 2 and 3 matter least, but they push the loss the same way; 1 and 2 push it opposite ways
    gradients = MaskGradients((torch.tensor([[3.0, -2.1, 2.0, 1.5]]),), (torch.ones(1, 2),))
    kept = rearrange(Kept(((0, 1),), ((0,),)), gradients)
    assert kept.heads == ((0, 3),)
    assert block_loss(gradients.heads[0], (0, 1)) == pytest.approx(12.25)
    assert block_loss(gradients.heads[0], (0, 3)) == pytest.approx(0.01, rel=1e-3)


def test_exchanging_never_raises_the_estimate_and_keeps_the_numbers():
    generator = torch.Generator().manual_seed(1)
    lower = 0
    for _ in range(20):
        gradients = torch.randn(6, 9, generator=generator)
        order = gradients.square().sum(0).argsort(descending=True)
        start = tuple(sorted(int(unit) for unit in order[:4]))
        kept = rearrange(Kept((start,), (start,)), MaskGradients((gradients,), (gradients,)))
        assert len(set(kept.heads[0])) == 4
        assert kept.heads == kept.neurons
        assert list(kept.heads[0]) == sorted(kept.heads[0])
        before, after = block_loss(gradients, start), block_loss(gradients, kept.heads[0])
        assert after <= before + 1e-9
        lower += after < before - 1e-6
    assert lower > 10


def test_nothing_removed_is_nothing_exchanged():
    everything = Kept(((0, 1),), ((0, 1, 2),))
    assert rearrange(everything, MaskGradients((torch.randn(3, 2),), (torch.randn(3, 3),))) == everything
