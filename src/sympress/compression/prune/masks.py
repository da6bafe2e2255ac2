"""Masks: weights set to zero, at once or while the model trains; the file stays as large as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from sympress.errors import InputError
from sympress.models.families import layer_linears
from sympress.models.model import SymptomModel

# Masks: weights set to zero. The file and the arithmetic stay as large as before; see structured.py.


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


# Masks that grow while the model trains, by the size of the weights or by where training moves them.


Scores = Literal["magnitude", "movement"]


def cubic_share(step: int, start: int, end: int, final: float) -> float:
    """Share masked after `step`: 0 until `start`, `final` from `end` on (Zhu & Gupta 2017, eq. 1).

    `final (1 - (1 - (step - start) / (end - start))^3)`: fast at first, while weights are redundant.
    """
    if step >= end:
        return final
    done = max(0.0, (step - start) / (end - start))
    return final * (1.0 - (1.0 - done) ** 3)


class GradualMasks:
    """Call it after each optimizer step, gradients still in place: masks grow to `final_share`.

    It masks each linear layer of the transformer layers to the same share. `magnitude` (Zhu & Gupta 2017)
    masks the smallest weights W; `movement` (Sanh et al. 2020) those with the lowest score
    `S = - sum over steps of dL/dW W`: training moved them towards zero. Their learning rate of S is left
    out, since a common factor changes no order. With movement, a masked weight keeps its value aside and
    its score goes on counting, so that it can come back, as the straight-through estimator lets it in the
    paper; by magnitude, a masked weight stays masked.

    All state is in buffers of the model: steps done, masks, scores, values kept aside. They are in every
    checkpoint of `train`, so a run that was killed goes on as if it had not been. Build the object on the
    model before `train` is called, the second time too, and call `finish_` afterwards: it makes the share
    exact, whichever epoch's weights were chosen, and takes the buffers off, without which `load_model`
    would refuse the file.
    """

    def __init__(
        self,
        model: SymptomModel,
        final_share: float,
        total_steps: int,
        *,
        scores: Scores = "magnitude",
        warmup: float = 0.1,
        cooldown: float = 0.3,
        every: int = 10,
    ) -> None:
        """Put the buffers on `model`.

        Args:
            model: the model that will be trained.
            final_share: share of each linear layer's weights that is masked in the end, 0 to below 1.
            total_steps: optimizer steps of the training: epochs x batches.
            scores: what ranks the weights.
            warmup: share of the steps before the first weight is masked.
            cooldown: share of the steps after the last one is; with `warmup` below 1.
            every: steps between two updates of the masks.

        Raises:
            InputError: a share or a number of steps is out of range.
        """
        if not 0 <= final_share < 1:
            raise InputError(f"the share of masked weights must be at least 0 and below 1, not {final_share}")
        if warmup < 0 or cooldown < 0 or warmup + cooldown >= 1:
            raise InputError(f"warmup {warmup} and cooldown {cooldown} must leave steps in which masks grow")
        if total_steps < 1 or every < 1:
            raise InputError(f"total steps {total_steps} and steps between masks {every} must be 1 or more")
        self.model, self.final_share, self.scores, self.every = model, final_share, scores, every
        self.start = round(warmup * total_steps)
        self.end = max(self.start + 1, round((1 - cooldown) * total_steps))
        self._linears = dict(layer_linears(model.encoder))
        model.register_buffer("prune_steps", torch.zeros((), dtype=torch.int64))
        for linear in self._linears.values():
            linear.register_buffer("prune_mask", torch.ones_like(linear.weight, dtype=torch.bool))
            if scores == "movement":
                linear.register_buffer("prune_scores", torch.zeros_like(linear.weight))
                linear.register_buffer("prune_aside", torch.zeros_like(linear.weight))

    @torch.no_grad()
    def __call__(self) -> None:
        """Count the step, add to the scores, update the masks when it is time, set masked weights to 0."""
        self.model.get_buffer("prune_steps").add_(1)
        step = int(self.model.get_buffer("prune_steps"))
        due = step > self.start and ((step - self.start) % self.every == 0 or step == self.end)
        share = cubic_share(step, self.start, self.end, self.final_share)
        for linear in self._linears.values():
            dense = self._dense(linear)
            if self.scores == "movement" and linear.weight.grad is not None:
                # a half-precision step that overflowed was skipped by the optimizer: nothing moved
                gradient = linear.weight.grad.nan_to_num(0.0, 0.0, 0.0)
                linear.get_buffer("prune_scores").sub_(gradient * dense)
            if due and step <= self.end:
                self._mask_(linear, dense, share)
            linear.weight.mul_(linear.get_buffer("prune_mask"))

    @torch.no_grad()
    def finish_(self) -> dict[str, Tensor]:
        """Mask exactly the final share, take the buffers off and return the masks by the layers' names.

        The masks are as `magnitude_masks` makes them, for `keep_masked` in a later training.
        """
        masks = {}
        for name, linear in self._linears.items():
            dense = self._dense(linear)
            if int((~linear.get_buffer("prune_mask")).sum()) != round(self.final_share * dense.numel()):
                self._mask_(linear, dense, self.final_share)
            linear.weight.mul_(linear.get_buffer("prune_mask"))
            masks[f"encoder.{name}"] = linear.get_buffer("prune_mask").cpu()
            for buffer in [own for own in linear._buffers if own.startswith("prune_")]:
                delattr(linear, buffer)
        del self.model.prune_steps
        return masks

    def _dense(self, linear: nn.Linear) -> Tensor:
        """The weights with the values kept aside where they are masked (zeros by magnitude)."""
        mask = linear.get_buffer("prune_mask")
        if self.scores == "magnitude":
            return linear.weight * mask
        return torch.where(mask, linear.weight, linear.get_buffer("prune_aside"))

    def _mask_(self, linear: nn.Linear, dense: Tensor, share: float) -> None:
        """Mask `share` of the layer anew; weights that come back take the value kept aside."""
        movement = self.scores == "movement"
        mask = smallest_masked(linear.get_buffer("prune_scores") if movement else dense.abs(), share)
        linear.get_buffer("prune_mask").copy_(mask)
        linear.weight.copy_(dense)
        if movement:
            linear.get_buffer("prune_aside").copy_(torch.where(mask, torch.zeros_like(dense), dense))
