"""Whitened and Fisher-weighted low rank: statistics, the best approximation in their norm, whole models."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import sympress
from sympress.compression.lowrank.factorize import (
    Statistics,
    activation_statistics,
    fisher_statistics,
    lowrank_,
    truncated_svd,
)
from sympress.compression.prune.structured import Kept, remove_
from sympress.errors import InputError
from sympress.models.families import layer_linears
from sympress.models.model import LowRankLinear, SymptomModel, build_model, load_model, save_model
from sympress.training.losses import loss_of

TOPIC = loss_of("topic")
FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
RAGGED = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0], [2, 17, 25, 9, 3, 0, 0]])
KEPT = Kept(heads=((0, 2), (3,)), neurons=(tuple(range(0, 48, 2)), (5, 6, 40)))


def batch_of(ids: Tensor) -> dict[str, Tensor]:
    labels = torch.eye(3)[torch.arange(len(ids)) % 3]
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "labels": labels}


def calibration(notes: int = 24, tokens: int = 12) -> list[dict[str, Tensor]]:
    """Notes of 5 to `tokens` pieces, padded with 0, in batches of 8."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(5, 54, (notes, tokens), generator=generator)
    lengths = torch.randint(5, tokens + 1, (notes, 1), generator=generator)
    ids[torch.arange(tokens) >= lengths] = 0
    return [batch_of(part) for part in ids.split(8)]


def build(make_encoder: Callable, family: str = "bert") -> SymptomModel:
    return build_model(make_encoder(family), 3, "mean", seed=0).eval()


def correlated(rows: int, columns: int, seed: int) -> Tensor:
    """Inputs `(rows, columns)`, some directions of which are far stronger than others."""
    generator = torch.Generator().manual_seed(seed)
    scales = 0.6 ** torch.arange(columns, dtype=torch.float64)
    mixed = torch.randn((columns, columns), generator=generator, dtype=torch.float64)
    return torch.randn((rows, columns), generator=generator, dtype=torch.float64) * scales @ mixed


def inputs_of(model: SymptomModel, batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Inputs `(real tokens, in)` of each linear layer, note by note without any padding."""
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        linear.register_forward_pre_hook(
            lambda _module, arguments, name=name: seen.setdefault(name, []).append(arguments[0][0].double())
        )
        for name, linear in layer_linears(model.encoder)
    ]
    with torch.inference_mode():
        for batch in batches:
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True):
                model(ids[mask][None], mask[mask].long()[None])
    for hook in hooks:
        hook.remove()
    return {name: torch.cat(parts) for name, parts in seen.items()}


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 16), st.integers(3, 16), st.integers(0, 1000))
def test_whitening_never_loses_to_plain_svd_on_the_outputs(out: int, inputs: int, seed: int):
    weight = torch.randn((out, inputs), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    states = correlated(40, inputs, seed)
    for rank in range(1, min(out, inputs) + 1):
        errors = []
        for moment in (None, states.T @ states):
            first, second = truncated_svd(weight, rank, moment)
            errors.append(torch.linalg.norm(states @ (weight - second @ first).T).item())
        plain, whitened = errors
        assert whitened <= plain * (1 + 1e-6) + 1e-9
        # the best there is: what the singular values of the outputs leave out
        left_out = torch.linalg.svdvals(states @ weight.T)[rank:].norm().item()
        assert whitened == pytest.approx(left_out, rel=1e-3, abs=1e-4)


def test_it_is_the_published_formula():
    weight, states = torch.randn(9, 7, dtype=torch.float64), correlated(50, 7, seed=1)
    moment = states.T @ states
    root = torch.linalg.cholesky(moment)
    left, values, right = torch.linalg.svd(weight @ root, full_matrices=False)
    expected = left[:, :3] @ torch.diag(values[:3]) @ right[:3] @ torch.linalg.inv(root)
    first, second = truncated_svd(weight, 3, moment)
    torch.testing.assert_close(second @ first, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("inputs", "out"), [(24, 24), (24, 7), (7, 24)])
@pytest.mark.parametrize("tokens", [200, 3])
def test_full_rank_reproduces_the_layer_even_from_too_few_tokens(inputs: int, out: int, tokens: int):
    torch.manual_seed(0)
    layer, states = nn.Linear(inputs, out), torch.randn(tokens, inputs, dtype=torch.float64)
    for moment in (states.T @ states, states.square().sum(0)):
        first, second = truncated_svd(layer.weight.data, min(inputs, out), moment)
        fresh = torch.randn(20, inputs)
        torch.testing.assert_close(fresh @ first.T @ second.T + layer.bias, layer(fresh), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(6,), (6, 6)])
def test_inputs_that_never_were_anything_but_zero_prefer_nothing(shape: tuple[int, ...]):
    weight = torch.randn(5, 6)
    for ours, plain in zip(
        truncated_svd(weight, 2, torch.zeros(shape)), truncated_svd(weight, 2), strict=True
    ):
        assert torch.equal(ours, plain)


def test_fisher_minimises_the_weighted_error_and_equals_plain_svd_where_all_inputs_count_the_same():
    weight = torch.randn(10, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    importance = torch.tensor([100.0, 1, 1, 1, 0.01, 1, 1, 50], dtype=torch.float64)
    errors = []
    for moment in (importance, None):
        first, second = truncated_svd(weight, 3, moment)
        errors.append(((weight - second @ first) * importance.sqrt()).norm().item())
    assert errors[0] < errors[1]
    # Eckart & Young of the weighted matrix
    assert errors[0] == pytest.approx(
        torch.linalg.svdvals(weight * importance.sqrt())[3:].norm().item(), rel=1e-6
    )
    uniform, plain = truncated_svd(weight, 3, torch.full((8,), 7.0)), truncated_svd(weight, 3)
    torch.testing.assert_close(uniform[1] @ uniform[0], plain[1] @ plain[0], atol=1e-10, rtol=0)


@pytest.mark.parametrize("family", [name for name in FAMILIES if name != "deberta-v2"])
def test_activation_moments_are_those_of_the_real_tokens(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    statistics = activation_statistics(model, [batch_of(RAGGED)])
    expected = inputs_of(model, [batch_of(RAGGED)])
    assert statistics.notes == 3
    assert list(statistics.moments) == list(expected)
    for name, states in expected.items():
        assert statistics.moments[name].dtype == torch.float64
        assert len(states) == int((RAGGED != 0).sum())
        torch.testing.assert_close(statistics.moments[name], states.T @ states, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_padding_nor_batching_changes_the_statistics(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    whole = [batch_of(RAGGED)]
    apart = [batch_of(note[note != 0][None]) for note in RAGGED]
    for index, batch in enumerate(apart):
        batch["labels"] = whole[0]["labels"][index : index + 1]
    wide = [batch_of(functional.pad(RAGGED, (0, 5)))]
    for collect in (
        activation_statistics,
        lambda it, batches: fisher_statistics(it, batches, TOPIC),
    ):
        first, *others = (collect(model, batches) for batches in (whole, apart, wide))
        for other in others:
            for name, moment in first.moments.items():
                tolerance = 1e-4 * moment.abs().max().item()
                torch.testing.assert_close(other.moments[name], moment, atol=tolerance, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_fisher_sums_the_squared_gradients_of_each_note_over_the_outputs(family: str, make_encoder: Callable):
    model = build(make_encoder, family)
    statistics = fisher_statistics(model, [batch_of(RAGGED)], loss_of("present"))
    expected = {name: torch.zeros(linear.in_features) for name, linear in layer_linears(model.encoder)}
    for index in range(3):
        model.zero_grad()
        note = {key: value[index : index + 1] for key, value in batch_of(RAGGED).items()}
        loss_of("present")(model(note["input_ids"], note["attention_mask"]), note["labels"]).backward()
        for name, linear in layer_linears(model.encoder):
            expected[name] += linear.weight.grad.square().sum(0)
    assert statistics.notes == 3
    for name, total in expected.items():
        torch.testing.assert_close(statistics.moments[name].float(), total, atol=1e-9, rtol=1e-4)


def test_collecting_leaves_the_model_as_it_was(make_encoder: Callable):
    model = build(make_encoder).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    activation_statistics(model, calibration())
    fisher_statistics(model, calibration(8), TOPIC)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["activation", "fisher"])
def test_every_family_is_factorized_and_loads_back_equal(
    family: str, method: str, make_encoder: Callable, tmp_path: Path
):
    model = build(make_encoder, family)
    statistics = (
        activation_statistics(model, calibration())
        if method == "activation"
        else fisher_statistics(model, calibration(8), TOPIC)
    )
    names = [name for name, _ in layer_linears(model.encoder)]
    done = lowrank_(model, method=method, rank=4, statistics=statistics)
    assert list(done.factorized) == names
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    batch = batch_of(RAGGED)
    with torch.inference_mode():
        expected = model(batch["input_ids"], batch["attention_mask"])
        assert torch.isfinite(expected).all()
        assert torch.equal(loaded(batch["input_ids"], batch["attention_mask"]), expected)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_each_layer_of_a_model_errs_least_by_activation(family: str, make_encoder: Callable):
    batches = calibration()
    states = inputs_of(build(make_encoder, family), batches)
    original = dict(layer_linears(build(make_encoder, family).encoder))
    errors: dict[str, dict[str, float]] = {}
    for method in ("svd", "activation"):
        model = build(make_encoder, family)
        statistics = activation_statistics(model, batches) if method == "activation" else None
        lowrank_(model, method=method, rank=6, statistics=statistics)
        for name, whole in original.items():
            factors = model.encoder.get_submodule(name)
            lost = whole.weight - factors.second.weight @ factors.first.weight
            errors.setdefault(name, {})[method] = (states[name] @ lost.double().T).norm().item()
    assert all(error["activation"] <= error["svd"] * (1 + 1e-5) for error in errors.values())
    assert sum(error["activation"] for error in errors.values()) < 0.97 * sum(
        error["svd"] for error in errors.values()
    )


def test_error_falls_with_the_rank(make_encoder: Callable):
    batch, model = batch_of(RAGGED), build(make_encoder)
    with torch.inference_mode():
        expected = model(batch["input_ids"], batch["attention_mask"])
    errors = []
    for rank in (1, 4, 15):
        model = build(make_encoder)
        lowrank_(model, method="activation", rank=rank, statistics=activation_statistics(model, [batch]))
        with torch.inference_mode():
            errors.append((model(batch["input_ids"], batch["attention_mask"]) - expected).norm().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4  # 15 real tokens: at rank 15 nothing of them is lost


@pytest.mark.parametrize("method", ["svd", "activation"])
@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_an_allocation_meets_its_budget(method: str, keep: float, make_encoder: Callable):
    model = build(make_encoder)
    whole = sum(linear.weight.numel() for _, linear in layer_linears(model.encoder))
    statistics = activation_statistics(model, calibration()) if method == "activation" else None
    done = lowrank_(model, method=method, keep=keep, statistics=statistics)
    kept = sum(linear.weight.numel() for _, linear in layer_linears(model.encoder))
    assert keep * whole - 80 < kept <= keep * whole  # a rank costs 64 or 80
    for name, rank in zip(done.factorized, done.ranks, strict=True):
        assert model.encoder.get_submodule(name).first.out_features == rank
    assert len(done.factorized) + len(done.left_whole) == 12


def test_energy_of_the_whitened_matrix_chooses_each_rank(make_encoder: Callable):
    batches, model = calibration(), build(make_encoder)
    states = inputs_of(model, batches)
    weights = {name: linear.weight.data.double() for name, linear in layer_linears(model.encoder)}
    statistics = activation_statistics(model, batches)
    done = lowrank_(model, method="activation", energy=0.6, statistics=statistics)
    for name, rank in zip(done.factorized, done.ranks, strict=True):
        squares = torch.linalg.svdvals(states[name] @ weights[name].T).square()
        held = squares.cumsum(0) / squares.sum()
        assert held[rank - 1] >= 0.6 - 1e-6
        assert rank == 1 or held[rank - 2] < 0.6 + 1e-6
    assert done.factorized


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("settings_", [{"rank": 3}, {"keep": 0.5}])
def test_a_model_without_some_heads_and_neurons_is_factorized(
    family: str, settings_: dict[str, float], make_encoder: Callable, tmp_path: Path
):
    model = build(make_encoder, family)
    remove_(model, KEPT)
    statistics = activation_statistics(model, calibration(8))
    done = lowrank_(model, method="activation", statistics=statistics, **settings_)
    assert done.factorized
    save_model(model, tmp_path)
    batch = batch_of(RAGGED)
    with torch.inference_mode():
        expected = model(batch["input_ids"], batch["attention_mask"])
        assert torch.equal(load_model(tmp_path)(batch["input_ids"], batch["attention_mask"]), expected)


@pytest.mark.parametrize("collect", ["activation", "fisher"])
def test_a_calibration_set_without_notes_is_refused(collect: str, make_encoder: Callable):
    model = build(make_encoder)
    with pytest.raises(InputError) as caught:
        activation_statistics(model, []) if collect == "activation" else fisher_statistics(model, [], TOPIC)
    assert str(caught.value) == "the calibration set has no notes; give at least one"


def test_statistics_that_do_not_fit_are_refused(make_encoder: Callable):
    model = build(make_encoder)
    statistics = activation_statistics(model, calibration(8))
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="activation", rank=4)
    assert str(caught.value) == "low rank by 'activation' needs activation statistics of calibration notes"
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="fisher", rank=4, statistics=statistics)
    assert str(caught.value) == "low rank by 'fisher' needs fisher statistics of calibration notes"
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="fischer", rank=4)
    assert str(caught.value) == (
        "low-rank method 'fischer' is not one of svd, activation, fisher (did you mean 'fisher'?)"
    )
    remove_(model, KEPT)
    with pytest.raises(InputError) as caught:
        lowrank_(model, method="activation", rank=4, statistics=statistics)
    assert str(caught.value) == (
        "encoder.layer.0.attention.output.dense takes 16 inputs but its statistics have 32; "
        "collect them from the model as it is now"
    )
    assert not any(isinstance(module, LowRankLinear) for module in model.modules())


def test_the_example_of_the_card_runs(make_encoder: Callable):
    card = Path(sympress.__file__).parent / "compression" / "lowrank" / "README.md"
    (example,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    counts = torch.bincount(torch.cat([batch["input_ids"].flatten() for batch in calibration()]))
    known = {"model": build(make_encoder), "batches": calibration(), "counts": counts}
    exec(example, known)
    assert isinstance(known["statistics"], Statistics)
    assert known["done"].factorized
    assert known["rank"] == 16
