"""Low rank: the best approximation, exact at full rank, and only where it saves weights."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sympress.compression.lowrank import LowRank
from sympress.compression.lowrank.factorize import (
    break_even_rank,
    factorize_classifier_,
    lowrank_,
    truncated_svd,
)
from sympress.compression.recipe.material import State
from sympress.errors import InputError
from sympress.models.families import layer_linears
from sympress.models.model import LowRankLinear, build_model, load_model, save_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def linear(in_features: int, out_features: int) -> nn.Linear:
    torch.manual_seed(in_features * 100 + out_features)
    return nn.Linear(in_features, out_features)


def weights_of(module: nn.Module) -> int:
    return sum(parameter.numel() for name, parameter in module.named_parameters() if "bias" not in name)


@pytest.mark.parametrize(("in_features", "out_features"), [(24, 24), (24, 7), (7, 24)])
def test_full_rank_reproduces_the_layer(in_features: int, out_features: int):
    weight = linear(in_features, out_features).weight.data
    first, second = truncated_svd(weight, min(in_features, out_features))
    torch.testing.assert_close(second @ first, weight, atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 20), st.integers(2, 20), st.integers(0, 1000))
def test_error_never_grows_with_rank_and_is_the_best_there_is(rows: int, columns: int, seed: int):
    weight = torch.randn((rows, columns), generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(weight.double())
    errors = []
    for rank in range(1, min(rows, columns) + 1):
        first, second = truncated_svd(weight, rank)
        assert first.shape == (rank, columns)
        assert second.shape == (rows, rank)
        errors.append(torch.linalg.norm((second.double() @ first.double()) - weight.double()).item())
        # Eckart & Young: the error is the norm of the singular values that were left out
        assert errors[-1] == pytest.approx(values[rank:].norm().item(), abs=1e-5)
    assert all(after <= before + 1e-6 for before, after in pairwise(errors))


@given(st.integers(2, 400), st.integers(2, 400))
def test_break_even_rank_is_exact_at_its_border(in_features: int, out_features: int):
    rank = break_even_rank(in_features, out_features)
    whole = in_features * out_features
    assert rank * (in_features + out_features) < whole
    assert (rank + 1) * (in_features + out_features) >= whole


@pytest.mark.parametrize(("shape", "rank"), [((32, 32), 15), ((32, 48), 19), ((768, 3072), 614), ((1, 9), 0)])
def test_break_even_rank_of_known_shapes(shape: tuple[int, int], rank: int):
    assert break_even_rank(*shape) == rank


@pytest.mark.parametrize("rank", [0, -1, 33])
def test_a_rank_that_no_layer_can_have_is_refused(rank: int, make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="svd", rank=rank)
    assert str(caught.value) == (
        f"rank {rank} is outside 1..32; 32 is the full rank of the largest linear layer"
    )


def test_a_factorized_model_is_not_factorized_again(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    lowrank_(model, method="svd", rank=4)
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="svd", rank=2)
    assert str(caught.value) == (
        "encoder.layer.0.attention.self.query is already factorized; use low rank once, on whole layers"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_is_factorized_where_the_rank_pays(family: str, make_encoder: Callable):
    model = build_model(make_encoder(family), 3, "cls", seed=0)
    names = [name for name, _ in layer_linears(model.encoder)]
    biases = [None if layer.bias is None else layer.bias.clone() for _, layer in layer_linears(model.encoder)]
    before = weights_of(model.encoder)
    done = lowrank_(model, method="svd", rank=4)
    assert list(done.factorized) == names
    assert done.left_whole == ()
    assert done.ranks == (4,) * len(names)
    factors = [model.encoder.get_submodule(name) for name in names]
    assert all(isinstance(each, LowRankLinear) for each in factors)
    for each, bias in zip(factors, biases, strict=True):
        assert each.second.bias is None if bias is None else torch.equal(each.second.bias, bias)
    assert weights_of(model.encoder) < before


def test_layers_in_which_the_rank_does_not_pay_are_left_whole(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    before = weights_of(model)
    done = lowrank_(model, method="svd", rank=16)  # 32x32 breaks even at 15, 32x48 at 19
    assert {name.split(".", 3)[3] for name in done.factorized} == {"intermediate.dense", "output.dense"}
    assert len(done.left_whole) == 2 * 4
    assert weights_of(model) < before
    untouched = build_model(make_encoder("bert"), 3, "cls", seed=0)
    assert lowrank_(untouched, method="svd", rank=20).factorized == ()
    assert weights_of(untouched) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_factorization_loads_back_equal(family: str, make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder(family), 3, "mean", seed=0).eval()
    lowrank_(model, method="svd", rank=16)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), model(IDS, MASK))


def published(make_encoder: Callable, symptoms: int, rank: int) -> tuple[float, str]:
    """Largest change of a logit by the published variant, and what it says of itself."""
    model = build_model(make_encoder("bert"), symptoms, "cls", seed=0).eval()
    with torch.inference_mode():
        before = model(IDS, MASK)
    step = LowRank(rank=rank, method="svd", where="classifier")
    remark = step.apply(State(model, None, model, (model, None)), None, 1)  # type: ignore[arg-type]
    with torch.inference_mode():
        return (model(IDS, MASK) - before).abs().max().item(), remark


def test_the_published_variant_changes_nothing_and_says_so(make_encoder: Callable):
    change, remark = published(make_encoder, symptoms=5, rank=32)
    assert change < 1e-5
    assert remark.endswith("rank-5 approximation, which is exact: nothing is compressed")


def test_the_published_variant_below_full_rank_does_not_claim_to_be_exact(make_encoder: Callable):
    change, remark = published(make_encoder, symptoms=12, rank=3)
    assert change > 1e-4
    assert "exact" not in remark


def test_the_published_variant_returns_the_rank_it_used(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 5, "cls", seed=0)
    assert factorize_classifier_(model, 32) == 5
    assert factorize_classifier_(model, 2) == 2
    assert torch.linalg.matrix_rank(model.head.output.weight.data, rtol=1e-4).item() == 2
    assert model.head.output.weight.shape == (5, 32)
