"""The best rank-r approximation of a matrix, W ~ second @ first, in a chosen norm.

The error of W' is ||(W - W') S||_F, where M = S Sᵀ says how much each input counts: nothing given, all the
same (Eckart & Young 1936); the second moment of the layer's inputs, so that it is the error of the layer's
outputs (Chen et al. 2021, Wang et al. 2024); squared gradients, a diagonal (Hsu et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Added to the diagonal of M, relative to its mean, so that inputs never seen in calibration count a little.
_RIDGE = 1e-8


@dataclass(frozen=True)
class Decomposition:
    """Of W S, in float64: left singular vectors `(out, full)` and singular values `(full,)`, descending."""

    left: Tensor
    values: Tensor


def decompose(weight: Tensor, moment: Tensor | None = None) -> Decomposition:
    """Decompose W S, where S is a root of `moment`.

    Args:
        weight: W `(out, in)`.
        moment: M `(in, in)`, symmetric and positive semi-definite, or `(in,)` where it is diagonal; None
            where all inputs count the same.
    """
    left, values, _ = torch.linalg.svd(_times_root(weight.double(), moment), full_matrices=False)
    return Decomposition(left, values)


def _times_root(matrix: Tensor, moment: Tensor | None) -> Tensor:
    if moment is None:
        return matrix
    moment = moment.to(matrix)
    mean = (moment if moment.ndim == 1 else moment.diagonal()).mean()
    if mean == 0:  # inputs or gradients are all zero and prefer nothing
        return matrix
    if moment.ndim == 1:
        return matrix * (moment + _RIDGE * mean).sqrt()
    ridge = _RIDGE * mean * torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    root: Tensor = torch.linalg.cholesky(moment + ridge)
    return matrix @ root


def factors_of(weight: Tensor, decomposition: Decomposition, rank: int) -> tuple[Tensor, Tensor]:
    """Factors `(rank, in)` and `(out, rank)` of W' = U_r U_rᵀ W, the best there is in the norm of M.

    With W S = U Σ Vᵀ that best is U_r Σ_r V_rᵀ S⁻¹ (Wang et al. 2024, section 3.1). Since
    Σ_r V_rᵀ S⁻¹ = U_rᵀ W, S need not be inverted. The root of the norm of each row of U_rᵀ W (of each
    singular value, where all inputs count the same) goes to either factor, so that both learn at one rate.
    """
    left = decomposition.left[:, :rank]
    rows = left.T @ weight.double()
    root = rows.norm(dim=1).sqrt()
    first = rows / torch.where(root > 0, root, 1.0)[:, None]
    return first.to(weight.dtype).contiguous(), (left * root).to(weight.dtype).contiguous()


def truncated_svd(weight: Tensor, rank: int, moment: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Factors `(rank, in)` and `(out, rank)` whose product is the best rank-`rank` fit of `(out, in)`."""
    return factors_of(weight, decompose(weight, moment), rank)
