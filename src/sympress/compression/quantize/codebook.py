"""Codebooks of the integers that weights are rounded to: k-means of one dimension, solved exactly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Smaller matrices save less than their codebook and its nodes cost.
SMALLEST_MATRIX = 1_024
#: Zero counts as much as this many weights, so that it is a value of its own.
_PINNED = 1e15


def codebook(levels: NDArray[np.integer], clusters: int) -> NDArray[np.int64]:
    """The `clusters` integers, rising, to which `levels` are rounded with the least squared error.

    k-means, as Han et al. 2016 (*Deep Compression*, section 3), of integers: solved exactly over their
    histogram (Wang and Song 2011, *Ckmeans.1d.dp*), so that nothing is drawn. Its values are integers, so
    that products stay those of int8. Zero stays zero where it is a level of a signed type: masked weights
    stay masked.

    Args:
        levels: of any shape, -128..255.
        clusters: how many; fewer come back where there are fewer levels.
    """
    counts = np.bincount(levels.reshape(-1).astype(np.int64) + 128, minlength=384).astype(np.float64)
    values = np.flatnonzero(counts) - 128
    if len(values) <= clusters:
        return values
    weights = counts[values + 128]
    if np.issubdtype(levels.dtype, np.signedinteger):
        weights[values == 0] += _PINNED
    sums = [np.concatenate([[0.0], np.cumsum(weights * values.astype(float) ** power)]) for power in range(3)]
    mass, first, second = (total[None] - total[:, None] for total in sums)  # of values from row to column
    later = np.tri(len(values) + 1, k=-1, dtype=bool).T
    nearest = np.rint(first / np.where(later, mass, 1.0))
    errors = np.where(later, second - 2 * nearest * first + nearest**2 * mass, np.inf)
    best, cuts = errors[0], []
    for _ in range(clusters - 1):
        every = best[:, None] + errors
        cuts.append(every.argmin(0))
        best = every.min(0)
    ends = [len(values)]
    for cut in reversed(cuts):
        ends.append(int(cut[ends[-1]]))
    bounds = [0, *reversed(ends)]
    return np.array([nearest[low, high] for low, high in pairwise(bounds)], dtype=np.int64)


def nearest_index(levels: NDArray[np.integer], book: NDArray[np.int64]) -> NDArray[np.intp]:
    """The place in `book` of the value nearest to each level; of two as near the lower one."""
    places: NDArray[np.intp] = np.searchsorted((book[1:] + book[:-1]) / 2, levels, side="left")
    return places


def share_levels(levels: Tensor, clusters: int) -> Tensor:
    """`levels`, whole numbers as floats, each as the value of their codebook that is nearest to it.

    A matrix smaller than `SMALLEST_MATRIX` stays as it is.
    """
    if levels.numel() < SMALLEST_MATRIX:
        return levels.detach()
    whole = levels.detach().cpu().numpy().astype(np.int16)
    book = codebook(whole, clusters)
    return torch.from_numpy(book[nearest_index(whole, book)]).to(levels)
