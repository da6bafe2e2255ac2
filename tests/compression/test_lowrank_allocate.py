"""Ranks by number, by energy and out of one budget, against hand-computed cases and full search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.compression.lowrank.factorize import (
    RankChoice,
    Spectrum,
    allocate_ranks,
    break_even_rank,
    choose_ranks,
    rank_of_energy,
)
from sympress.errors import InputError


def spectrum(*values: float, shape: tuple[int, int] | None = None) -> Spectrum:
    return Spectrum(*(shape or (len(values), len(values))), torch.tensor(values, dtype=torch.float64))


def decaying(full: int, base: float) -> Spectrum:
    return spectrum(*(base**index for index in range(full)))


def cost(spectra: Mapping[str, Spectrum], ranks: Mapping[str, int | None]) -> int:
    total = 0
    for name, layer in spectra.items():
        rows, columns, rank = layer.out_features, layer.in_features, ranks[name]
        total += rows * columns if rank is None else rank * (rows + columns)
    return total


def error(spectra: Mapping[str, Spectrum], ranks: Mapping[str, int | None]) -> float:
    """Sum over layers of the share of the squared norm that is lost."""
    lost = 0.0
    for name, layer in spectra.items():
        squares = layer.values.square()
        if ranks[name] is not None:
            lost += float(squares[ranks[name] :].sum() / squares.sum())
    return lost


@pytest.mark.parametrize(
    ("energy", "rank"),
    [(0.1, 1), (0.53, 1), (0.54, 2), (0.83, 2), (0.84, 3), (0.96, 3), (0.97, 4), (1.0, 4)],
)
def test_energy_takes_the_smallest_rank_that_holds_it(energy: float, rank: int):
    # squares 16, 9, 4, 1 of 30: 53.3 %, 83.3 %, 96.7 %, 100 %
    assert rank_of_energy(spectrum(4, 3, 2, 1), energy) == rank


def test_the_whole_energy_of_a_matrix_of_lower_rank_is_held_by_that_rank():
    assert rank_of_energy(spectrum(3, 1, 0, 0), 1.0) == 2
    assert rank_of_energy(spectrum(0, 0, 0), 0.9) == 3  # nothing to hold: no rank stands out


def test_a_chosen_rank_that_saves_nothing_leaves_the_layer_whole():
    spectra = {"square": decaying(10, 0.5), "flat": spectrum(*[1.0] * 10), "one": spectrum(1, shape=(1, 9))}
    assert choose_ranks(spectra, RankChoice(rank=4)) == {"square": 4, "flat": 4, "one": None}
    assert choose_ranks(spectra, RankChoice(rank=5)) == {"square": None, "flat": None, "one": None}
    assert choose_ranks(spectra, RankChoice(energy=0.9)) == {"square": 2, "flat": None, "one": None}


def test_allocation_of_a_hand_computed_case():
    # shares: a 0.6, 0.3, 0.07, 0.03...; b 0.4, 0.35, 0.2, 0.05...; each rank costs 20 of 2 x 100
    a = spectrum(*(share**0.5 for share in (0.6, 0.3, 0.07, 0.03)), *[0.0] * 6)
    b = spectrum(*(share**0.5 for share in (0.4, 0.35, 0.2, 0.05)), *[0.0] * 6)
    spectra = {"a": a, "b": b}
    expected = [(40, 1, 1), (60, 1, 2), (80, 2, 2), (100, 2, 3), (120, 3, 3), (140, 3, 4), (160, 4, 4)]
    for budget, rank_a, rank_b in expected:
        assert allocate_ranks(spectra, budget / 200) == {"a": rank_a, "b": rank_b}
    assert allocate_ranks(spectra, 79 / 200) == {"a": 1, "b": 2}


def test_a_flatter_spectrum_gets_the_higher_rank():
    spectra = {"steep": decaying(40, 0.5), "flat": decaying(40, 0.95)}
    ranks = allocate_ranks(spectra, 0.5)
    assert ranks["flat"] > 2 * ranks["steep"]
    assert cost(spectra, ranks) <= 0.5 * 2 * 40 * 40


def test_of_two_equal_spectra_the_cheaper_matrix_gets_the_higher_rank():
    values = tuple(0.9**index for index in range(20))
    spectra = {"small": spectrum(*values), "large": spectrum(*values, shape=(20, 80))}
    ranks = allocate_ranks(spectra, 0.4)
    assert ranks["small"] is None or ranks["small"] > ranks["large"]


def test_a_layer_above_break_even_is_whole_and_charged_in_full():
    spectra = {"flat": spectrum(*[1.0] * 10), "steep": decaying(10, 0.1)}
    ranks = allocate_ranks(spectra, 0.65)  # 130: 100 for the flat one, 20 for rank 1 of the steep one
    assert ranks["flat"] is None
    assert ranks["steep"] == 1
    assert cost(spectra, ranks) == 120
    assert allocate_ranks(spectra, 0.59)["flat"] == 4  # 118 are not enough: break-even at most


def test_everything_may_stay_whole():
    spectra = {"a": spectrum(*[1.0] * 6), "b": decaying(8, 0.9), "c": spectrum(1, shape=(1, 9))}
    assert allocate_ranks(spectra, 1.0) == {"a": None, "b": None, "c": None}


def test_weights_that_would_remove_no_error_are_not_spent():
    assert allocate_ranks({"a": spectrum(2, 1, *[0.0] * 18)}, 1.0) == {"a": 2}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.2, 1.0))
def test_the_budget_is_met_and_no_single_rank_more_would_fit(seed: int, keep: float):
    generator = torch.Generator().manual_seed(seed)
    spectra = {}
    for name in ("a", "b", "c"):
        rows, columns = (int(torch.randint(10, 30, (1,), generator=generator)) for _ in range(2))
        values = torch.rand(min(rows, columns), generator=generator, dtype=torch.float64) + 0.01
        spectra[name] = Spectrum(rows, columns, values.sort(descending=True).values)
    total = sum(layer.out_features * layer.in_features for layer in spectra.values())
    ranks = allocate_ranks(spectra, keep)
    spent = cost(spectra, ranks)
    assert spent <= keep * total
    for name, rank in ranks.items():
        rows, columns = spectra[name].out_features, spectra[name].in_features
        if rank is not None:
            assert 1 <= rank <= break_even_rank(rows, columns)
            assert spent + min(rows + columns, rows * columns - rank * (rows + columns)) > keep * total


@pytest.mark.parametrize("keep", [0.3, 0.4, 0.5, 0.6])
def test_equal_costs_are_allocated_as_well_as_by_full_search(keep: float):
    spectra = {name: decaying(12, base) for name, base in (("a", 0.3), ("b", 0.6), ("c", 0.8))}
    budget = keep * 3 * 144
    found = [
        error(spectra, ranks)
        for counts in itertools.product(range(1, 6), repeat=3)
        if cost(spectra, ranks := dict(zip(spectra, counts, strict=True))) <= budget
    ]
    assert error(spectra, allocate_ranks(spectra, keep)) <= min(found) + 1e-12


def test_a_budget_below_rank_one_is_refused():
    with pytest.raises(InputError) as caught:
        allocate_ranks({"a": decaying(10, 0.5), "b": decaying(10, 0.9)}, 0.1)
    assert str(caught.value) == "low rank cannot keep only 0.1 of 200 weights: rank 1 of every layer takes 40"


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({}, "low rank takes exactly one of rank, energy and keep, not none of them"),
        (
            {"rank": 4, "keep": 0.5},
            "low rank takes exactly one of rank, energy and keep, not rank=4 and keep=0.5",
        ),
        ({"energy": 0.0}, "low rank's energy must be above 0 and at most 1, not 0.0"),
        ({"keep": 1.5}, "low rank's keep must be above 0 and at most 1, not 1.5"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(settings_: dict[str, float], message: str):
    with pytest.raises(InputError) as caught:
        RankChoice(**settings_)
    assert str(caught.value) == message
