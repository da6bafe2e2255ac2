"""The search for a budget, with a stub in place of training: what it tries, chooses, says and keeps."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sympress.compression.lowrank.factorize import factorize_embeddings_
from sympress.compression.recipe.language import Recipe, parse_recipe
from sympress.compression.search import parse_budget
from sympress.compression.search.estimate import (
    ModelShape,
    check_recipe,
    estimate_macs,
    estimate_size_bytes,
    shape_of,
)
from sympress.compression.search.search import (
    BEHIND,
    FINISHED,
    TOO_COSTLY,
    TOO_LARGE,
    pareto_front,
    search,
    value_of,
)
from sympress.errors import InputError
from sympress.models.model import build_model, count_macs
from sympress.report.page import front_table, read_front, write_front

SHAPE = ModelShape(layers=6, hidden=384, heads=12, head_width=32, ffn=1536, vocabulary=30522, symptoms=20)


class Stub:
    """F1 and latency grow with the file, as in life; remembers what it was asked."""

    def __init__(self, *, fail_at: int | None = None) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.fail_at = fail_at

    def __call__(self, recipe: Recipe, *, short: bool) -> dict[str, float]:
        if self.fail_at == len(self.calls):
            raise KeyboardInterrupt
        self.calls.append((str(recipe), short))
        size_mb = estimate_size_bytes(recipe, SHAPE) / 1e6
        macs = estimate_macs(recipe, SHAPE, 100) / 1e9
        f1 = 0.9 - 0.05 / size_mb - (0.1 if short else 0.0)
        return {"size_mb": size_mb, "latency_ratio": 0.02 + macs, "f1": f1, "f1_drop": 0.9 - f1}


def test_the_chosen_recipe_meets_the_budget_with_the_best_f1(tmp_path: Path) -> None:
    budget, stub = parse_budget("size_mb<=8, f1_drop<=0.03"), Stub()
    found = search(budget, stub, shape=SHAPE, trials=12, storage=tmp_path / "trials", seed=0)
    finished = [one for one in found.tried if one.verdict == FINISHED]
    assert found.meets
    meeting = [one for one in finished if budget.meets(one.measured)]
    assert found.best.measured["f1"] == max(one.measured["f1"] for one in meeting)
    assert found.sentence().startswith("the budget is met: size_mb ")
    assert sum(one.verdict != TOO_LARGE for one in found.tried) == 12
    keys = ("size_mb", "latency_ratio", "f1_drop")
    points = [{key: one.measured[key] for key in keys} for one in finished]
    assert found.front == tuple(finished[index].number for index in pareto_front(points, keys))


def test_too_large_ones_are_never_trained_and_the_others_short_first(tmp_path: Path) -> None:
    stub = Stub()
    found = search(
        parse_budget("size_mb<=5"), stub, shape=SHAPE, trials=12, storage=tmp_path / "trials", seed=1
    )
    refused = {one.recipe for one in found.tried if one.verdict == TOO_LARGE}
    assert refused
    assert not refused & {recipe for recipe, _ in stub.calls}
    for recipe in {recipe for recipe, short in stub.calls if not short}:
        assert stub.calls.index((recipe, True)) < stub.calls.index((recipe, False))
    assert len(stub.calls) == len(set(stub.calls))
    behind = [one for one in found.tried if one.verdict == BEHIND]
    assert behind  # the median of those before them was better
    assert all((one.recipe, False) not in stub.calls for one in behind)


def test_what_the_clock_refuses_is_not_trained_further(tmp_path: Path) -> None:
    budget, stub = parse_budget("latency_ratio<=0.05"), Stub()
    found = search(budget, stub, shape=SHAPE, trials=8, storage=tmp_path / "trials", seed=0)
    costly = [one for one in found.tried if one.verdict == TOO_COSTLY]
    assert costly
    assert all(one.measured["latency_ratio"] > 0.05 for one in costly)
    assert all((one.recipe, False) not in stub.calls for one in costly)


@pytest.mark.parametrize("text", ["size_mb<=0.01", "latency_ratio<=0.001", "size_mb<=4, f1_drop<=0.000001"])
def test_a_budget_that_cannot_be_met_ends_with_the_nearest(tmp_path: Path, text: str) -> None:
    budget, stub = parse_budget(text), Stub()
    found = search(budget, stub, shape=SHAPE, trials=3, storage=tmp_path / "trials", seed=0)
    assert not found.meets
    finished = [one for one in found.tried if one.verdict == FINISHED]
    assert found.best.number in [one.number for one in finished]
    assert budget.excess(found.best.measured) == min(budget.excess(one.measured) for one in finished)
    assert found.sentence().startswith(
        f"none of {len(found.tried)} recipes meets the budget; the nearest one "
    )
    assert f"(limit {next(iter(budget.limits().values())):g})" in found.sentence()
    if "latency" in text:  # none may be trained further, so the nearest was taken up again
        costly = [one.measured for one in found.tried if one.verdict == TOO_COSTLY]
        assert len(finished) == 1
        assert all(budget.excess(found.best.measured) <= budget.excess(measured) for measured in costly)


@pytest.mark.parametrize("killed_at", [1, 4, 9])
def test_a_killed_search_goes_on_as_if_never_killed(tmp_path: Path, killed_at: int) -> None:
    budget = parse_budget("size_mb<=8, f1_drop<=0.02")
    whole = search(budget, Stub(), shape=SHAPE, trials=7, storage=tmp_path / "whole", seed=3)
    killed = Stub(fail_at=killed_at)
    with pytest.raises(KeyboardInterrupt):
        search(budget, killed, shape=SHAPE, trials=7, storage=tmp_path / "killed", seed=3)
    resumed = Stub()
    again = search(budget, resumed, shape=SHAPE, trials=7, storage=tmp_path / "killed", seed=3)
    assert again == whole
    finished_before = {recipe for recipe, short in killed.calls if not short}
    assert not finished_before & {recipe for recipe, _ in resumed.calls}


def test_a_finished_search_runs_nothing_again_and_more_trials_continue_it(tmp_path: Path) -> None:
    budget, stub = parse_budget("size_mb<=8"), Stub()
    first = search(budget, stub, shape=SHAPE, trials=3, storage=tmp_path / "trials", seed=0)
    calls = len(stub.calls)
    assert search(budget, stub, shape=SHAPE, trials=3, storage=tmp_path / "trials", seed=0) == first
    assert len(stub.calls) == calls
    more = search(budget, stub, shape=SHAPE, trials=5, storage=tmp_path / "trials", seed=0)
    assert more.tried[: len(first.tried)] == first.tried
    assert len(stub.calls) > calls


def test_meeting_the_budget_always_ranks_first() -> None:
    budget = parse_budget("size_mb<=6, f1_drop<=0.01")
    poor = value_of(budget, {"size_mb": 6.0, "f1_drop": 0.01, "f1": 0.01})
    near = value_of(budget, {"size_mb": 6.06, "f1_drop": 0.0, "f1": 0.99})
    assert poor == -0.01
    assert near == pytest.approx(0.01)
    assert value_of(budget, {"size_mb": 6.0, "f1_drop": float("nan"), "f1": 0.5}) == 1e9


def test_trials_must_be_one_at_least(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--trials 0 must be at least 1$"):
        search(parse_budget("size_mb<=8"), Stub(), shape=SHAPE, trials=0, storage=tmp_path / "t", seed=0)


def test_the_front_is_written_and_reads_back_equal(tmp_path: Path) -> None:
    found = search(
        parse_budget("size_mb<=8"), Stub(), shape=SHAPE, trials=6, storage=tmp_path / "trials", seed=0
    )
    write_front(found, tmp_path)
    assert read_front(tmp_path) == found
    assert json.loads((tmp_path / "search.json").read_text(encoding="utf-8"))["budget"] == "size_mb<=8"
    lines = (tmp_path / "search.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("trial,recipe,verdict,pareto,chosen,size_mb,")
    assert len(lines) == 1 + len(found.tried)
    figure = ET.parse(tmp_path / "search.svg").getroot()
    finished = [one for one in found.tried if one.verdict == FINISHED]
    ids = [one.get("id", "") for one in figure.iter()]
    assert sorted(one for one in ids if one.startswith("trial-")) == sorted(
        f"trial-{one.number}" for one in finished
    )
    assert ids.count("chosen") == 1
    assert front_table(found).row_count == len(found.front)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra", "modernbert", "deberta-v2"])
def test_the_shape_is_read_from_the_model(make_encoder: Callable[..., torch.nn.Module], family: str) -> None:
    shape = shape_of(build_model(make_encoder(family), 3, "cls", seed=0))
    assert (shape.layers, shape.hidden, shape.heads, shape.head_width) == (2, 32, 4, 8)
    assert (shape.ffn, shape.vocabulary, shape.symptoms) == (48, 54, 3)
    assert shape.dense_head
    assert shape.embedding == (16 if family == "electra" else None)
    assert shape.gated == (family == "modernbert")
    assert (shape.positions, shape.positions_read) == (0 if family == "modernbert" else 80, None)
    read = {"modernbert": 0, "roberta": 21}.get(
        family, 20
    )  # RoBERTa's first token stands behind the padding's
    model = build_model(make_encoder(family), 3, "cls", seed=0)
    assert shape_of(model, max_tokens=20).positions_read == read
    assert shape_of(model, max_tokens=500).positions_read == shape.positions


@pytest.mark.parametrize("family", ["bert", "roberta", "electra"])
def test_macs_of_the_shape_are_those_pytorch_counts(
    make_encoder: Callable[..., torch.nn.Module], family: str
) -> None:
    model = build_model(make_encoder(family), 3, "mean", seed=0)
    assert estimate_macs(parse_recipe("fine-tune"), shape_of(model), 20) == count_macs(model, 20)


def test_factorized_embeddings_keep_their_shape(make_encoder: Callable[..., torch.nn.Module]) -> None:
    model = build_model(make_encoder(), 3, "mean", seed=0)
    factorize_embeddings_(model, rank=4)
    shape = shape_of(model)
    assert (shape.embedding_rank, shape.vocabulary, shape.embedding_width) == (4, 54, 32)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("distill(layers=3)", r"^step 1 \(distill\): distill: layers=3 is more than the 2 there are$"),
        (
            "prune(heads=0.25) > distill > prune(heads=0.5)",
            r"^step 3 \(prune\): the model has one head a layer already; no head can be removed$",
        ),
        ("vocab(keep=0.5) > lowrank(rank=40)", r"^step 2 \(lowrank\): .*40.*32"),
        ("vocab(keep=9) > lowrank(embeddings=10)", r"^step 2 \(lowrank\): .*10.*9"),
    ],
)
def test_a_recipe_that_cannot_be_applied_is_refused_before_training(
    make_encoder: Callable[..., torch.nn.Module], recipe: str, message: str
) -> None:
    model = build_model(make_encoder(), 3, "mean", seed=0)
    with pytest.raises(InputError, match=message):
        check_recipe(parse_recipe(recipe), model)


def test_steps_that_train_are_refused_without_training(make_encoder: Callable[..., torch.nn.Module]) -> None:
    model = build_model(make_encoder(), 3, "mean", seed=0)
    for step in ("distill", "fine-tune", "mask(0.5, score=movement)", "quantize(int8, aware=true)"):
        with pytest.raises(InputError, match=r"^step 1 \(.*\) trains, which --no-training rules out"):
            check_recipe(parse_recipe(step), model, training=False)
    left = check_recipe(
        parse_recipe("vocab(keep=0.5) > prune(heads=0.5) > quantize(int8)"), model, training=False
    )
    assert (left.vocabulary, left.heads, left.bits) == (27, 2, 8)
