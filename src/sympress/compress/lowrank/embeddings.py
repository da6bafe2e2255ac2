"""Factorize the embedding of word pieces: a narrow table and one matrix that widens it (Lan et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sympress.compress.lowrank.allocate import (
    RankChoice,
    Spectrum,
    break_even_rank,
    check_rank,
    rank_of_energy,
)
from sympress.compress.lowrank.svd import Decomposition, decompose, factors_of
from sympress.errors import InputError
from sympress.training.model import LowRankEmbedding, SymptomModel


def factorize_embeddings_(
    model: SymptomModel,
    *,
    rank: int | None = None,
    energy: float | None = None,
    counts: Tensor | None = None,
) -> int | None:
    """Factorize the word-piece embedding of `model`; returns the rank, or None where it stays whole.

    It stays whole where the rank saves no weights. Do it after trimming the vocabulary.

    Args:
        model: changed in place.
        rank: 1 to the full rank; exactly one of `rank` and `energy` must be given.
        energy: above 0, at most 1; the smallest rank that holds this share of the squared norm of the table,
            its rows weighted by `counts`.
        counts: `(pieces,)`, how often each piece occurs in notes; the error of a piece counts that often.
            Pieces past its end count as never seen. None: all pieces count the same.

    Raises:
        InputError: a setting is out of range, `counts` do not fit, or the embedding is factorized already.
    """
    choice = RankChoice(rank, energy)
    embedding = model.encoder.get_input_embeddings()
    if type(embedding) is not nn.Embedding:
        raise InputError(
            f"the word embeddings are a {type(embedding).__name__} already; factorize them once, while whole"
        )
    rows, width = embedding.weight.shape
    if choice.rank is not None:
        check_rank(choice.rank, min(rows, width), "the word embeddings")
    parts = _decompose(embedding, counts)
    spectrum = Spectrum(width, rows, parts.values)
    used = choice.rank if choice.rank is not None else rank_of_energy(spectrum, choice.energy or 1.0)
    if used > break_even_rank(rows, width):
        return None
    model.encoder.set_input_embeddings(_low_rank(embedding, parts, used))
    return used


def factorize_embedding(embedding: nn.Embedding, rank: int, counts: Tensor | None = None) -> LowRankEmbedding:
    """Two factors in place of `embedding`; exact when `rank` is full. `counts` as above.

    Raises:
        InputError: `rank` is below 1 or above the full rank, or `counts` do not fit.
    """
    check_rank(rank, min(embedding.weight.shape), "the word embeddings")
    return _low_rank(embedding, _decompose(embedding, counts), rank)


def _decompose(embedding: nn.Embedding, counts: Tensor | None) -> Decomposition:
    """As a linear layer that takes pieces as one-hot rows X: XᵀX is diagonal and holds the counts."""
    moment = None if counts is None else _fitted(counts, len(embedding.weight))
    return decompose(embedding.weight.data.T, moment)


def _fitted(counts: Tensor, rows: int) -> Tensor:
    if counts.ndim != 1 or len(counts) > rows or bool((counts < 0).any()):
        raise InputError(
            f"piece counts of shape {tuple(counts.shape)} do not fit an embedding of {rows} pieces; "
            "give one number of at least 0 a piece"
        )
    fitted = torch.zeros(rows, dtype=torch.float64, device=counts.device)
    fitted[: len(counts)] = counts
    return fitted


def _low_rank(embedding: nn.Embedding, parts: Decomposition, rank: int) -> LowRankEmbedding:
    rows, width = embedding.weight.shape
    first, second = factors_of(embedding.weight.data.T, parts, rank)  # (rank, rows), (width, rank)
    factors = LowRankEmbedding(rows, rank, width, padding_idx=embedding.padding_idx)
    factors.first.weight.data, factors.second.weight.data = first.T.contiguous(), second
    return factors
