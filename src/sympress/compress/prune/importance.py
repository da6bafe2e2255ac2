"""How much each attention head, feed-forward neuron and hidden dimension matters to the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sympress.compress.arch import family_of, head_width, layers_of
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel


@dataclass(frozen=True)
class Importance:
    """Per layer: heads `(heads,)` and neurons `(neurons,)`, non-negative; larger matters more.

    All of them estimate the same loss, so that a head compares with a neuron, and layer with layer.
    """

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]


@dataclass(frozen=True)
class MaskGradients:
    """Per layer: gradients of each note's loss to a mask of ones, `(notes, heads)` and `(notes, neurons)`."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]

    def importance(self) -> Importance:
        """The diagonal of the empirical Fisher information (Kwon et al. 2022)."""
        return Importance(
            tuple(gradients.square().sum(0) for gradients in self.heads),
            tuple(gradients.square().sum(0) for gradients in self.neurons),
        )


def mask_gradients(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> MaskGradients:
    """Sum over tokens of activation x gradient; a few hundred notes at most, they are kept.

    That product is the first-order estimate of how a note's loss changes when a head (or neuron) is removed
    (Michel et al. 2019, eq. 2).
    """
    notes = zip(*_head_and_neuron_gradients(model, batches, objective), strict=True)
    joined = [torch.cat(batch) for batch in notes]
    return MaskGradients(tuple(joined[0::2]), tuple(joined[1::2]))


def _head_and_neuron_gradients(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> Iterator[list[Tensor]]:
    """For each batch: heads `(batch, heads)` and neurons `(batch, neurons)` of layer 0, of layer 1, ..."""
    family, width = family_of(model.encoder), head_width(model.encoder)
    modules = [
        layer.get_submodule(name)
        for layer in layers_of(model.encoder)
        for name in (family.attention_output, family.neurons_out)
    ]
    for found in note_gradients(model, batches, objective, modules):
        yield [
            note.unflatten(-1, (-1, width)).sum(-1) if index % 2 == 0 else note
            for index, note in enumerate(found)
        ]


def note_gradients(
    model: SymptomModel,
    batches: Iterable[dict[str, Tensor]],
    objective: Objective,
    modules: Sequence[nn.Module],
    *,
    outputs: bool = False,
) -> Iterator[list[Tensor]]:
    """For each batch and module, sum over tokens of activation x gradient of each note's loss.

    The activations are the modules' inputs, or their outputs. Yields tensors `(batch, channels)`; padding
    adds nothing, since no loss depends on it. Leaves no hooks and no gradients behind.
    """
    model.eval()
    device = next(model.parameters()).device
    seen: dict[int, Tensor] = {}
    hooks = [
        module.register_forward_hook(_output_keeper(seen, index))
        if outputs
        else module.register_forward_pre_hook(_input_keeper(seen, index))
        for index, module in enumerate(modules)
    ]
    try:
        for batch in batches:
            model.zero_grad(set_to_none=True)
            moved = {name: value.to(device) for name, value in batch.items()}
            with torch.enable_grad():  # a caller may have switched gradients off
                notes_loss(model, moved, objective).backward()
            yield [_activation_times_gradient(seen[index]) for index in range(len(modules))]
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)


def notes_loss(model: SymptomModel, batch: dict[str, Tensor], objective: Objective) -> Tensor:
    """The losses of a batch's notes added up; `objective` gives their mean."""
    logits = model(batch["input_ids"], batch["attention_mask"])
    return objective(logits, batch["labels"], batch.get("teacher_logits")) * len(logits)


def _activation_times_gradient(activation: Tensor) -> Tensor:
    if activation.grad is None:  # the loss does not depend on it
        return torch.zeros_like(activation[:, 0]).detach()
    return (activation * activation.grad).sum(1).detach()  # (batch, channels)


def _input_keeper(seen: dict[int, Tensor], key: int) -> Callable[..., None]:
    def keep(_module: nn.Module, arguments: tuple[Any, ...]) -> None:
        arguments[0].retain_grad()
        seen[key] = arguments[0]

    return keep


def _output_keeper(seen: dict[int, Tensor], key: int) -> Callable[..., None]:
    def keep(_module: nn.Module, _arguments: tuple[Any, ...], output: Tensor) -> None:
        output.retain_grad()
        seen[key] = output

    return keep
