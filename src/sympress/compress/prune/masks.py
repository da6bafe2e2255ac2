"""Masks: weights set to zero. The file and the arithmetic stay as large as before; see structured.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sympress.errors import InputError
from sympress.training.model import SymptomModel


def magnitude_masks(model: SymptomModel, masked_share: float) -> dict[str, Tensor]:
    """For every linear layer, a boolean mask that is False for its smallest `masked_share` of weights.

    Layer by layer, as torch.nn.utils.prune.l1_unstructured in the published study (Han et al. 2015).

    Raises:
        InputError: `masked_share` is outside 0..1 (1 excluded).
    """
    if not 0 <= masked_share < 1:
        raise InputError(f"the share of masked weights must be at least 0 and below 1, not {masked_share}")
    masks = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            masks[name] = smallest_masked(module.weight.data.abs(), masked_share)
    return masks


def smallest_masked(scores: Tensor, masked_share: float) -> Tensor:
    """A boolean mask like `scores`, False for the share of the lowest, exactly; of equals the first."""
    mask = torch.ones(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().argsort(stable=True)[: round(masked_share * scores.numel())]] = False
    return mask.view_as(scores)


def apply_masks_(model: SymptomModel, masks: dict[str, Tensor]) -> None:
    """Set the masked weights to zero."""
    with torch.no_grad():
        for name, mask in masks.items():
            layer = model.get_submodule(name)
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(mask.to(layer.weight.device))


def keep_masked(model: SymptomModel, masks: dict[str, Tensor]) -> Callable[[], None]:
    """A function to call after each optimizer step, which sets the masked weights to zero again."""
    return lambda: apply_masks_(model, masks)
