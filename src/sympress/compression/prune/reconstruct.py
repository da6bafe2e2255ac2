"""Least squares after removal: the weights that stay make up for those that went, without training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sympress.compression.prune.structured import whole_linear
from sympress.errors import InputError
from sympress.models.families import Family, family_of, layers_of
from sympress.models.model import SymptomModel

#: A token on which no answer depends still counts this much of the mean, for notes that are otherwise.
EVEN = 0.1


@dataclass(frozen=True)
class _Block:
    """One half of a layer, attention or feed-forward, on one batch; all `(batch, tokens, channels)`.

    Attributes:
        inputs: of its last linear layer, over the heads' channels or the neurons.
        residual: what is added to that linear's output.
        total: that sum.
    """

    inputs: Tensor
    residual: Tensor
    total: Tensor


@dataclass
class _Run:
    """A model on one batch, layer by layer: its present states and what each layer is called with."""

    states: Tensor
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]]
    real: Tensor


@torch.no_grad()
def reconstruct_(
    pruned: SymptomModel,
    original: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    *,
    dims: Sequence[int] | None = None,
    ridge: float = 1e-3,
    tokens: Sequence[Sequence[Tensor]] | None = None,
) -> None:
    """Solve anew the attention outputs and the second feed-forward matrices of `pruned`, layer by layer.

    After each the states shall be those of `original` (over `dims`, where hidden dimensions were removed):
    `min |X W^T + b + R - Y|^2 + ridge |W - W0|^2` over the real tokens of `batches`, with X the inputs in
    the pruned model so far, W0 its weight, R its residual states and Y the original's sum of output and
    residual. That is the mask tuning of Kwon et al. 2022 with whole weights for their masks. It never raises
    the squared error of a sum on `batches`, given what comes before it, and changes nothing where nothing
    was removed.

    Args:
        pruned: changed in place; on the same device as `original`.
        original: what `pruned` was made of, with as many layers.
        batches: a few hundred notes; no labels are needed.
        dims: the hidden dimensions of `original` that `pruned` kept; all without it.
        ridge: 0 or more, relative to the mean square of the inputs.
        tokens: of each such matrix and each of `batches`, what a token's squared error counts, `(batch,
            tokens)`, as in `Curvature.tokens`; to each is added `EVEN` of their mean. All alike without it.

    Raises:
        InputError: the models' layers or widths do not match, a layer is factorized already, or the encoder
            works on the states between its layers.
    """
    family, layers, wholes = family_of(pruned.encoder), layers_of(pruned.encoder), layers_of(original.encoder)
    hidden = int(original.encoder.config.hidden_size) if dims is None else len(dims)
    if len(layers) != len(wholes) or hidden != int(pruned.encoder.config.hidden_size):
        raise InputError("the pruned model does not have the layers and hidden dimensions of the original")
    stay = slice(None) if dims is None else list(dims)
    ours, theirs = _start(pruned, batches), _start(original, batches)
    for index, (layer, whole) in enumerate(zip(layers, wholes, strict=True)):
        targets = [_step(whole, family, run, index) for run in theirs]
        for part, name in enumerate((family.attention_output, family.neurons_out)):
            equations = _NormalEquations(whole_linear(layer, name))
            weights = _evened(
                [run.real for run in ours], None if tokens is None else tokens[2 * index + part]
            )
            for run, target, counts in zip(ours, targets, weights, strict=True):
                block = _pass(layer, family, run, index)[0][part]
                equations.add(block, target[part].total[..., stay], run.real, counts)
            equations.solve_(ridge)
        for run in ours:
            _step(layer, family, run, index)


def _evened(real: Sequence[Tensor], tokens: Sequence[Tensor] | None) -> list[Tensor]:
    """What the real tokens of each batch count, `(real tokens,)`, 1 in the mean."""
    if tokens is None:
        return [torch.ones(int(mask.sum()), dtype=torch.float64, device=mask.device) for mask in real]
    found = [own[mask].double() for own, mask in zip(tokens, real, strict=True)]
    mean = torch.cat(found).mean().clamp(min=torch.finfo(torch.float64).tiny)
    return [(own / mean + EVEN) / (1 + EVEN) for own in found]


class _NormalEquations:
    """Accumulates `X^T X` and `X^T (error)` of one linear layer in float64, and corrects its weight."""

    def __init__(self, linear: nn.Linear) -> None:
        self.linear = linear
        inputs, device = linear.in_features, linear.weight.device
        self.ones = linear.bias is not None
        self.gram = torch.zeros((inputs + self.ones,) * 2, dtype=torch.float64, device=device)
        self.cross = self.gram.new_zeros((inputs + self.ones, linear.out_features))

    def add(self, block: _Block, target: Tensor, real: Tensor, counts: Tensor) -> None:
        """Add the real tokens of one batch.

        Args:
            block: as it is.
            target: what its sum shall be, `(batch, tokens, hidden)`.
            real: `(batch, tokens)`.
            counts: what the squared error of each real token counts, `(real tokens,)`.
        """
        inputs = block.inputs[real].double()  # (real tokens, inputs)
        if self.ones:
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)
        weighted = (inputs * counts[:, None]).T
        self.gram += weighted @ inputs
        self.cross += weighted @ (target - block.total)[real].double()

    def solve_(self, ridge: float) -> None:
        """Correct weight and bias; the ridge holds on to the present weight, so none is worse than before."""
        inputs = self.linear.in_features
        scale = self.gram.diagonal()[:inputs].mean().clamp(min=1e-8)
        self.gram.diagonal()[:inputs].add_(max(ridge, 1e-9) * scale)  # never singular
        correction = torch.linalg.solve(self.gram, self.cross).to(self.linear.weight.dtype)
        self.linear.weight.add_(correction[:inputs].T)
        if self.ones:
            self.linear.bias.add_(correction[inputs])


def _start(model: SymptomModel, batches: Sequence[dict[str, Tensor]]) -> list[_Run]:
    """Run every batch once, keeping the first layer's states and the other arguments of each layer."""
    model.eval()
    device = next(model.parameters()).device
    runs = []
    for batch in batches:
        mask = batch["attention_mask"].to(device)
        states: list[Tensor] = []
        run = _Run(torch.empty(0), [], mask.bool())
        hooks = [
            layer.register_forward_pre_hook(_recorder(run, states), with_kwargs=True)
            for layer in layers_of(model.encoder)
        ]
        hooks += [layer.register_forward_hook(_follower(states)) for layer in layers_of(model.encoder)]
        try:
            model.encoder(input_ids=batch["input_ids"].to(device), attention_mask=mask)
        finally:
            for hook in hooks:
                hook.remove()
        runs.append(run)
    return runs


def _recorder(run: _Run, states: list[Tensor]) -> Any:
    def record(_layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        if not run.calls:
            run.states = arguments[0]
        elif arguments[0] is not states[-1]:
            raise InputError("this encoder works on the states between its layers; leave out reconstruct")
        run.calls.append((arguments[1:], named))

    return record


def _follower(states: list[Tensor]) -> Any:
    def follow(_layer: nn.Module, _arguments: tuple[Any, ...], output: Any) -> None:
        states[:] = [_states_of(output)]

    return follow


def _states_of(output: Any) -> Tensor:
    states: Tensor = output[0] if isinstance(output, tuple) else output
    return states


def _step(layer: nn.Module, family: Family, run: _Run, index: int) -> tuple[_Block, _Block]:
    """Take `run` through layer `index`."""
    blocks, run.states = _pass(layer, family, run, index)
    return blocks


def _pass(layer: nn.Module, family: Family, run: _Run, index: int) -> tuple[tuple[_Block, _Block], Tensor]:
    """Attention and feed-forward half of `layer` on the states of `run`, and the states after it."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    names = (family.attention_output, family.neurons_in, family.neurons_out)
    hooks = [layer.get_submodule(name).register_forward_hook(_watcher(seen, name)) for name in names]
    try:
        arguments, named = run.calls[index]
        after = _states_of(layer(run.states, *arguments, **named))
    finally:
        for hook in hooks:
            hook.remove()
    heads, attended = seen[family.attention_output]
    neurons, fed = seen[family.neurons_out]
    between = after - fed if family.pre_norm else seen[family.neurons_in][0]
    return (
        _Block(heads, run.states, run.states + attended),
        _Block(neurons, between, between + fed),
    ), after


def _watcher(seen: dict[str, tuple[Tensor, Tensor]], name: str) -> Any:
    def watch(_linear: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        seen[name] = (arguments[0], output)

    return watch
