"""How the loss grows when the linear layer behind heads or neurons is changed: a Fisher matrix a layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sympress.compress.arch import family_of, layers_of
from sympress.compress.prune.structured import whole_linear
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel

#: (logits, targets) -> targets drawn from what the logits say; see `training.loss.sample_targets`.
Sampler = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Curvature:
    """Of one linear layer with weight `(outputs, inputs)`: how its changes add to the loss of all notes.

    Half of `tr(metric D gram D^T)` is what a change D of weight and bias, side by side, adds to second
    order. Tokens x with gradient g are taken as independent, and the direction of g as independent of x; its
    length is not: a token counts by the square of it.

    Attributes:
        gram: `(inputs + 1, inputs + 1)`, float64: sum over tokens of `|g|^2 x x^T`; x ends with a 1.
        metric: `(outputs, outputs)`, float64: sum of `g g^T` over sum of `|g|^2`; its trace is 1.
        tokens: `|g|^2` of each batch, `(batch, tokens)`, 0 for padding.
    """

    gram: Tensor
    metric: Tensor
    tokens: list[Tensor] = field(default_factory=list)


def curvatures(
    model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective, sample: Sampler
) -> tuple[Curvature, ...]:
    """Of the attention output and the second feed-forward matrix of layer 0, of layer 1, ...

    The Fisher information is the model's own: gradients are to targets drawn from its answers, not to the
    labels, so that a note which the model has learned by heart counts as well (Kunstner et al. 2019). Keeps
    `(inputs + 1)^2` numbers of 8 bytes a matrix, 19 MB for 1,536 neurons.

    Args:
        model: left as it is, without gradients.
        batches: a few hundred notes; their labels only say which tokens have a target.
        objective: mean loss of a batch.
        sample: draws targets.

    Raises:
        InputError: a layer is factorized already.
    """
    family = family_of(model.encoder)
    names = (family.attention_output, family.neurons_out)
    linears = [whole_linear(layer, name) for layer in layers_of(model.encoder) for name in names]
    found = [_empty(linear) for linear in linears]
    seen: dict[int, tuple[Tensor, Tensor]] = {}
    hooks = [linear.register_forward_hook(_keeper(seen, place)) for place, linear in enumerate(linears)]
    model.eval()
    device = next(model.parameters()).device
    try:
        for batch in batches:
            moved = {name: value.to(device) for name, value in batch.items()}
            _backward(model, moved, objective, sample)
            for place, curvature in enumerate(found):
                _add_(curvature, *seen[place], moved["attention_mask"].bool())
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
    for curvature in found:
        curvature.metric /= curvature.metric.trace().clamp(min=torch.finfo(torch.float64).tiny)
    return tuple(found)


def _empty(linear: nn.Linear) -> Curvature:
    inputs, outputs = linear.in_features + 1, linear.out_features
    double = linear.weight.new_zeros(1, dtype=torch.float64)
    return Curvature(double.new_zeros(inputs, inputs), double.new_zeros(outputs, outputs))


def _keeper(seen: dict[int, tuple[Tensor, Tensor]], place: int) -> Callable[..., None]:
    def keep(_module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        seen[place] = (arguments[0].detach(), output)

    return keep


def _backward(model: SymptomModel, batch: dict[str, Tensor], objective: Objective, sample: Sampler) -> None:
    model.zero_grad(set_to_none=True)
    with torch.enable_grad():  # a caller may have switched gradients off
        logits = model(batch["input_ids"], batch["attention_mask"])
        drawn = sample(logits.detach(), batch["labels"])
        (objective(logits, drawn) * len(logits)).backward()


def _add_(curvature: Curvature, inputs: Tensor, outputs: Tensor, real: Tensor) -> None:
    """Add one batch, `(batch, tokens, …)` each."""
    gradients = torch.zeros_like(outputs) if outputs.grad is None else outputs.grad
    lengths = gradients.square().sum(-1) * real
    curvature.tokens.append(lengths)
    states = torch.cat([inputs[real], inputs.new_ones(int(real.sum()), 1)], 1)
    weighted = states * lengths[real].sqrt()[:, None]
    curvature.gram += weighted.T @ weighted  # a batch in the model's precision, their sum in double
    slopes = gradients[real]
    curvature.metric += slopes.T @ slopes
