"""Hidden dimensions: the width of the states that run through the whole encoder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from sympress.compress.arch import (
    FAMILIES,
    Family,
    family_of,
    head_width,
    layers_of,
    removes_heads,
    tell_hidden_size_,
)
from sympress.compress.prune.importance import note_gradients
from sympress.compress.prune.structured import keep_inputs_, keep_outputs_
from sympress.errors import InputError
from sympress.training.heads import SymptomHead
from sympress.training.loss import Objective
from sympress.training.model import LowRankLinear, SymptomModel


def hidden_importance(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> Tensor:
    """Importance `(hidden,)` of each dimension: Fisher of its mask at every LayerNorm's output, added up.

    As `MaskGradients.importance` for a dimension that falls silent in all layers at once. That the statistics
    of the LayerNorms change with it is not in the estimate.
    """
    hidden = int(model.encoder.config.hidden_size)
    norms = [module for module in model.encoder.modules() if _is_norm(module, hidden)]
    total = torch.zeros(hidden, device=next(model.parameters()).device)
    for found in note_gradients(model, batches, objective, norms, outputs=True):
        for notes in found:
            total += notes.square().sum(0)
    return total


def choose_hidden(model: SymptomModel, importance: Tensor, keep: float) -> tuple[int, ...]:
    """The most important dimensions, ascending; a float `keep` is their share, an int how many.

    Their number is a multiple of a head's width, to which a share is rounded: the config then says both the
    width and, by its number of heads, the width of a head. At least one head's width stays.

    Raises:
        InputError: the share or the number is out of range, or the number no such multiple.
    """
    hidden, width = len(importance), head_width(model.encoder)
    if isinstance(keep, int):
        count = keep
        if not width <= count <= hidden or count % width:
            raise InputError(
                f"hidden={count} must be a multiple of the width of a head, {width}, and at most {hidden}"
            )
    else:
        if not 0 < keep <= 1:
            raise InputError(
                f"the share of hidden dimensions to keep must be above 0 and at most 1, not {keep}"
            )
        count = width * max(1, round(keep * hidden / width))
    order = torch.argsort(importance, descending=True, stable=True)
    return tuple(sorted(int(index) for index in order[:count]))


def remove_hidden_(model: SymptomModel, kept_dims: Sequence[int]) -> None:
    """Remove all hidden dimensions but `kept_dims` (ascending) from embeddings, layers, norms and head.

    Outputs equal those of the model in which the other dimensions are masked everywhere and each LayerNorm
    takes its mean and variance over the kept ones. Heads and neurons, and their widths, stay as they are.
    Factorized linear layers are fine.

    Raises:
        InputError: the family's hidden dimensions cannot be removed (the message names those whose can), or
            their number is no multiple of a head's width.
    """
    encoder = model.encoder
    family = family_of(encoder)
    if not removes_heads(family):
        able = ", ".join(name for name, other in FAMILIES.items() if removes_heads(other))
        raise InputError(
            f"hidden dimensions of {encoder.config.model_type!r} cannot be removed; supported are {able}"
        )
    whole, dims = int(encoder.config.hidden_size), torch.tensor(kept_dims)
    tell_hidden_size_(encoder, len(dims))
    layers = layers_of(encoder)
    inside = {id(module) for module in layers.modules()}
    for module in encoder.modules():
        if isinstance(module, nn.Embedding) and module.embedding_dim == whole:
            module.weight = nn.Parameter(module.weight.data[:, dims].clone())
            module.embedding_dim = len(dims)
        elif _is_norm(module, whole):
            _keep_normalized_(module, dims)
        elif isinstance(module, nn.Linear) and id(module) not in inside and module.out_features == whole:
            keep_outputs_(module, dims)  # ELECTRA's projection of narrower embeddings, factorized embeddings
    for layer in layers:
        _narrow_layer_(layer, family, dims)
    _narrow_head_(model.head, dims)


def _narrow_head_(head: SymptomHead, dims: Tensor) -> None:
    for linear in (head.dense, head.query, head.output):
        if linear is not None:
            keep_inputs_(linear, dims)
    if head.dense is not None:
        keep_outputs_(head.dense, dims)
    if head.norm is not None:
        _keep_normalized_(head.norm, dims)


def _narrow_layer_(layer: nn.Module, family: Family, dims: Tensor) -> None:
    for name in (*family.queries_keys_values, family.neurons_in):
        keep_inputs_(_end(layer.get_submodule(name), "first"), dims)
    for name in (family.attention_output, family.neurons_out):
        keep_outputs_(_end(layer.get_submodule(name), "second"), dims)


def _end(module: nn.Module, factor: str) -> nn.Linear:
    """`module`, or the factor of it that reads or writes the states."""
    linear = getattr(module, factor) if isinstance(module, LowRankLinear) else module
    if not isinstance(linear, nn.Linear):
        raise InputError(f"{type(module).__name__} layers have fixed widths; remove hidden dimensions before")
    return linear


def _is_norm(module: nn.Module, hidden: int) -> bool:
    return isinstance(module, nn.LayerNorm) and module.normalized_shape == (hidden,)


def _keep_normalized_(norm: nn.Module, dims: Tensor) -> None:
    for name in ("weight", "bias"):
        parameter = getattr(norm, name)
        if parameter is not None:
            setattr(norm, name, nn.Parameter(parameter.data[dims].clone()))
    norm.normalized_shape = (len(dims),)  # type: ignore[assignment]
