"""Factorized word embeddings: exact at full rank, truest to the pieces that notes use, and stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sympress.compression.lowrank.factorize import factorize_embeddings_, lowrank_, truncated_svd
from sympress.errors import InputError
from sympress.models.model import LowRankEmbedding, SymptomModel, build_model, load_model, save_model
from sympress.training.losses import loss_of

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = (IDS != 0).long()


def table(rows: int = 40, width: int = 12) -> nn.Embedding:
    torch.manual_seed(0)
    return nn.Embedding(rows, width, padding_idx=0)


def product(factors: LowRankEmbedding) -> torch.Tensor:
    return (factors.first.weight @ factors.second.weight.T).detach()


def build(make_encoder: Callable, family: str = "bert") -> SymptomModel:
    return build_model(make_encoder(family), 3, "mean", seed=0).eval()


def fitted(embedding: nn.Embedding, rank: int, counts: torch.Tensor | None = None) -> torch.Tensor:
    """The best table of `rank`; pieces past the end of `counts` count as never seen."""
    moment = None
    if counts is not None:
        moment = torch.zeros(len(embedding.weight), dtype=torch.float64)
        moment[: len(counts)] = counts
    first, second = truncated_svd(embedding.weight.data.T, rank, moment)
    return (second @ first).T


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize(("rows", "width"), [(40, 12), (12, 40)])
def test_full_rank_is_exact(rows: int, width: int, counted: bool):
    embedding = table(rows, width)
    weight = embedding.weight.data
    torch.testing.assert_close(
        fitted(embedding, 12, torch.arange(rows) if counted else None), weight, atol=1e-5, rtol=0
    )


def test_error_falls_with_the_rank_and_is_the_best_there_is():
    embedding = table()
    values = torch.linalg.svdvals(embedding.weight.data.double())
    for rank in range(1, 12):
        error = (fitted(embedding, rank) - embedding.weight.data).norm().item()
        assert error == pytest.approx(values[rank:].norm().item(), rel=1e-4)


def test_counts_make_frequent_pieces_truer_and_unseen_ones_are_still_projected():
    embedding, counts = table(), torch.zeros(30)  # the last 10 pieces are past the counts
    counts[5:10] = 100
    counts[10:20] = 1
    plain, weighted = (fitted(embedding, 5, c) for c in (None, counts))
    lost = [(it - embedding.weight.data).square().sum(1) for it in (plain, weighted)]
    assert lost[1][5:10].max() < 1e-3  # rank 5 holds five pieces
    assert lost[0][5:10].min() > 0.1
    assert (weighted[20:].norm(dim=1) > 0.1).all()
    assert (counts * lost[1][:30]).sum() < (counts * lost[0][:30]).sum()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_factorized_model_is_smaller_learns_and_loads_back_equal(
    family: str, make_encoder: Callable, tmp_path: Path
):
    model = build(make_encoder, family)
    before = sum(parameter.numel() for parameter in model.parameters())
    rows, width = model.encoder.get_input_embeddings().weight.shape
    assert factorize_embeddings_(model, rank=8) == 8
    embedding = model.encoder.get_input_embeddings()
    assert isinstance(embedding, LowRankEmbedding)
    assert embedding.first.padding_idx == 0
    after = sum(parameter.numel() for parameter in model.parameters())
    assert before - after == rows * width - 8 * (rows + width)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.encoder.get_input_embeddings().first.padding_idx == 0
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), model(IDS, MASK))
    loss_of("topic")(loaded(IDS, MASK), torch.eye(3)[:2]).backward()
    gradient = loaded.encoder.get_input_embeddings().first.weight.grad
    assert gradient[7].abs().max() > 0
    assert gradient[0].abs().max() == 0  # padding


def test_the_logits_are_those_of_the_approximated_table(make_encoder: Callable):
    model, other = build(make_encoder), build(make_encoder)
    factorize_embeddings_(model, rank=6)
    other.encoder.get_input_embeddings().weight.data = product(model.encoder.get_input_embeddings())
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS, MASK), other(IDS, MASK), atol=1e-6, rtol=0)


def test_it_loads_back_beside_factorized_layers(make_encoder: Callable, tmp_path: Path):
    model = build(make_encoder)
    lowrank_(model, rank=4)
    factorize_embeddings_(model, energy=0.5)
    save_model(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))


def test_energy_chooses_the_rank(make_encoder: Callable):
    model = build(make_encoder)
    embedding = model.encoder.get_input_embeddings()
    squares = torch.linalg.svdvals(embedding.weight.data.double()).square()
    held = squares.cumsum(0) / squares.sum()
    rank = factorize_embeddings_(model, energy=0.6)
    assert rank is not None
    assert held[rank - 1] >= 0.6 > held[rank - 2]


def test_a_rank_that_saves_nothing_leaves_it_whole(make_encoder: Callable):
    model = build(make_encoder)
    assert factorize_embeddings_(model, rank=21) is None  # 54 x 32 breaks even at 20
    assert type(model.encoder.get_input_embeddings()) is nn.Embedding
    assert factorize_embeddings_(model, rank=20) == 20


def test_bad_input_is_refused_in_one_line(make_encoder: Callable):
    model = build(make_encoder)
    for arguments, message in (
        ({"rank": 33}, "rank 33 is outside 1..32; 32 is the full rank of the word embeddings"),
        ({}, "low rank takes exactly one of rank, energy and keep, not none of them"),
        (
            {"rank": 4, "counts": torch.ones(55)},
            "piece counts of shape (55,) do not fit an embedding of 54 pieces; "
            "give one number of at least 0 a piece",
        ),
    ):
        with pytest.raises(InputError) as caught:
            factorize_embeddings_(model, **arguments)
        assert str(caught.value) == message
    factorize_embeddings_(model, rank=4)
    with pytest.raises(InputError) as caught:
        factorize_embeddings_(model, rank=4)
    assert str(caught.value) == (
        "the word embeddings are a LowRankEmbedding already; factorize them once, while whole"
    )
