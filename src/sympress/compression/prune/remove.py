"""One pruning step: choose what stays by importance, remove the rest (heads, neurons, dimensions, layers)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from sympress.compression.prune.structured import (
    Costs,
    Kept,
    MaskGradients,
    choose_kept,
    keep_inputs_,
    keep_outputs_,
    mac_costs,
    mask_gradients,
    note_gradients,
    notes_loss,
    rearrange,
    remove_,
    search_kept,
    whole_linear,
)
from sympress.compression.prune.surgeon import (
    Curvature,
    Sampler,
    curvatures,
    keep_shares,
    keep_within,
    reconstruct_,
    removals_of,
)
from sympress.errors import InputError
from sympress.models.families import (
    FAMILIES,
    NO_ATTENTION,
    family_of,
    head_width,
    keep_layers_,
    layers_of,
    removes_heads,
    tell_hidden_size_,
)
from sympress.models.model import LowRankLinear, SymptomHead, SymptomModel
from sympress.training.data import notes_in
from sympress.training.losses import Objective

# Hidden dimensions: the width of the states that run through the whole encoder.


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
        for name in (*family.queries_keys_values, family.neurons_in):
            keep_inputs_(_end(layer.get_submodule(name), "first"), dims)
        for name in (family.attention_output, family.neurons_out):
            keep_outputs_(_end(layer.get_submodule(name), "second"), dims)
    _narrow_head_(model.head, dims)


def _narrow_head_(head: SymptomHead, dims: Tensor) -> None:
    for linear in (head.dense, head.query, head.output):
        if linear is not None:
            keep_inputs_(linear, dims)
    if head.dense is not None:
        keep_outputs_(head.dense, dims)
    if head.norm is not None:
        _keep_normalized_(head.norm, dims)


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


# Which transformer layers the loss can do without.


def layer_importance(
    model: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    objective: Objective,
    skipped: Sequence[int] = (),
) -> dict[int, float]:
    """For each layer that is not `skipped`, how much the mean loss of a note rises without it.

    Measured, not estimated: the notes run once for each layer, with that layer passing on its input.
    Negative where the model does better without it.
    """
    with skipping(model, skipped):
        whole = _mean_loss(model, batches, objective)
    rises = {}
    for index in range(len(layers_of(model.encoder))):
        if index not in skipped:
            with skipping(model, [*skipped, index]):
                rises[index] = _mean_loss(model, batches, objective) - whole
    return rises


def choose_layers(
    model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective, count: int
) -> tuple[int, ...]:
    """The `count` layers to keep, ascending: one by one, the least important of those left is dropped.

    Importance is measured anew after each, since neighbouring layers do alike and back each other up; so
    the notes run about `(layers^2 - count^2) / 2` times. Of equals the later goes.

    Raises:
        InputError: `count` is not 1 to the number of layers.
    """
    total = len(layers_of(model.encoder))
    if not 1 <= count <= total:
        raise InputError(f"layers={count}: the model has {total} layers, so 1 to {total} can stay")
    dropped: list[int] = []
    while total - len(dropped) > count:
        rises = layer_importance(model, batches, objective, dropped)
        dropped.append(min(rises, key=lambda index: (rises[index], -index)))
    return tuple(index for index in range(total) if index not in dropped)


@contextmanager
def skipping(model: SymptomModel, layers: Sequence[int]) -> Iterator[None]:
    """Within it, each of `layers` passes on its input, as if it were removed."""
    modules = layers_of(model.encoder)
    with ExitStack() as hooks:
        for index in layers:
            hooks.enter_context(modules[index].register_forward_hook(_pass_on))
        yield


def _pass_on(_layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> Any:
    return (arguments[0], *output[1:]) if isinstance(output, tuple) else arguments[0]


@torch.no_grad()
def _mean_loss(model: SymptomModel, batches: Sequence[dict[str, Tensor]], objective: Objective) -> float:
    model.eval()
    device = next(model.parameters()).device
    total, notes = 0.0, 0
    for batch in batches:
        moved = {name: value.to(device) for name, value in batch.items()}
        total += float(notes_loss(model, moved, objective))
        notes += notes_in(batch)
    return total / notes


# One pruning step of a recipe: choose what stays by importance, remove the rest, make up for it.


def prune_(
    model: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    objective: Objective,
    *,
    heads: float | None = None,
    ffn: float | None = None,
    hidden: float | None = None,
    layers: int | None = None,
    macs: float | None = None,
    reconstruct: bool = False,
    alone: bool = False,
    sample: Sampler | None = None,
) -> str:
    """Remove the least important parts of `model`; returns one line that says what stays.

    Layers go first. Then heads, neurons and hidden dimensions are ranked on the model that is left, with
    everything still in it, and go together.

    Args:
        model: changed in place.
        batches: of a few hundred training notes, with labels.
        objective: the loss by which importance is measured.
        heads: share of each layer's heads that stays, above 0 and at most 1.
        ffn: share of each layer's feed-forward neurons that stays, above 0 and at most 1.
        hidden: share (float) or number (int) of the hidden dimensions that stay; see `choose_hidden`.
        layers: how many layers stay.
        macs: share of the layers' multiply-accumulates, on a note of mean length, that stays in all; heads
            and neurons are searched for it over all layers. Not together with `heads` or `ffn`.
        reconstruct: solve what stays by least squares for the states of the model before the removal (of
            heads, neurons and hidden dimensions; after that of layers).
        alone: heads and neurons are ranked each by itself, not as they fall silent together.
        sample: draws targets from logits; with it heads and neurons go as the optimal brain surgeon
            says (`surgeon.py`), and least squares count tokens by their gradients.

    Raises:
        InputError: nothing is asked for, a setting is out of range or cannot apply to this model, or the
            calibration set is empty.
    """
    _check(model, batches, heads=heads, ffn=ffn, hidden=hidden, layers=layers, macs=macs)
    channels = any(value is not None for value in (heads, ffn, macs))
    if reconstruct and not channels and hidden is None:
        raise InputError("reconstruct has nothing to make up for: give heads, ffn, hidden or macs too")
    before = _sizes(model) if channels else (0, 0)
    widths = [int(model.encoder.config.hidden_size)] * 2
    all_costs = _costs(model, batches, widths[0]).total(*before)
    said = []
    if layers is not None:
        said.append(f"{layers} of {len(layers_of(model.encoder))} layers")
        keep_layers_(model.encoder, choose_layers(model, batches, objective, layers))
    original = copy.deepcopy(model) if reconstruct else None
    dims = None
    if hidden is not None:
        dims = choose_hidden(model, hidden_importance(model, batches, objective), hidden)
        widths[1] = len(dims)
    tokens = None
    if channels:
        shares = None if macs is not None else (heads or 1.0, ffn or 1.0)
        costs = _costs(model, batches, widths[1])
        budget = 1.0 if macs is None else min(1.0, macs * all_costs / costs.total(*_sizes(model)))
        if sample is None:
            gradients = mask_gradients(model, batches, objective)
            kept = _by_fisher(model, gradients, costs, shares, budget, alone=alone)
        else:
            found = curvatures(model, batches, objective, sample)
            kept = _by_surgeon(model, found, costs, shares, budget)
            tokens = [curvature.tokens for curvature in found]
        remove_(model, kept)
        after = _sizes(model)
        said += [f"{after[0]} of {before[0]} heads", f"{after[1]} of {before[1]} neurons"]
    if dims is not None:
        remove_hidden_(model, dims)
        said.append(f"{widths[1]} of {widths[0]} hidden dimensions")
    if original is not None:
        reconstruct_(model, original, batches, dims=dims, tokens=tokens)
    return f"{_listed(said)} stay"


def _check(
    model: SymptomModel,
    batches: Sequence[dict[str, Tensor]],
    *,
    heads: float | None,
    ffn: float | None,
    hidden: float | None,
    layers: int | None,
    macs: float | None,
) -> None:
    """Refuse what cannot be done before anything is measured or changed."""
    if not family_of(model.encoder).attention:
        raise InputError(f"{NO_ATTENTION} to prune; give a smaller distill(student=conv), or lowrank")
    if all(value is None for value in (heads, ffn, hidden, layers, macs)):
        raise InputError("prune has nothing to do: give what stays as heads, ffn, hidden, layers or macs")
    if macs is not None and (heads is not None or ffn is not None):
        raise InputError("macs chooses the heads and neurons itself: leave out heads and ffn")
    for name, share in (("heads", heads), ("neurons", ffn), ("multiply-accumulates", macs)):
        if share is not None and not 0 < share <= 1:
            raise InputError(f"the share of {name} to keep must be above 0 and at most 1, not {share}")
    total = len(layers_of(model.encoder))
    if layers is not None and not 1 <= layers <= total:
        raise InputError(f"layers={layers}: the model has {total} layers, so 1 to {total} can stay")
    if not batches:
        raise InputError("the calibration set has no notes: pruning measures importance on some")
    if heads is not None and heads < 1:
        _check_heads(model)


def _check_heads(model: SymptomModel) -> None:
    if not removes_heads(family_of(model.encoder)):
        kind = model.encoder.config.model_type
        raise InputError(f"heads of {kind!r} are tied to its relative positions and stay; remove ffn alone")
    if _sizes(model)[0] == len(layers_of(model.encoder)):
        raise InputError("the model has one head a layer already; no head can be removed")


def _sizes(model: SymptomModel) -> tuple[int, int]:
    """Heads and neurons of all layers."""
    family, layers = family_of(model.encoder), layers_of(model.encoder)
    channels = sum(whole_linear(layer, family.attention_output).in_features for layer in layers)
    neurons = sum(whole_linear(layer, family.neurons_out).in_features for layer in layers)
    return channels // head_width(model.encoder), neurons


def _costs(model: SymptomModel, batches: Sequence[dict[str, Tensor]], hidden: int) -> Costs:
    """Multiply-accumulates on a window of the mean length of `batches`."""
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    windows = sum(len(batch["attention_mask"]) for batch in batches)
    gated = family_of(model.encoder).gated
    return mac_costs(hidden, head_width(model.encoder), round(tokens / windows), gated=gated)


def _by_fisher(
    model: SymptomModel,
    gradients: MaskGradients,
    costs: Costs,
    shares: tuple[float, float] | None,
    budget: float,
    *,
    alone: bool,
) -> Kept:
    """`shares` of each layer's heads and neurons, or within `budget` of the cost what the search keeps."""
    importance = gradients.importance()
    if shares is not None:
        kept = choose_kept(importance, heads=shares[0], neurons=shares[1])
    else:
        kept = search_kept(importance, costs, keep=budget, all_heads=_keeps_heads(model))
    return kept if alone else rearrange(kept, gradients)


def _by_surgeon(
    model: SymptomModel,
    found: Sequence[Curvature],
    costs: Costs,
    shares: tuple[float, float] | None,
    budget: float,
) -> Kept:
    """The same in the order of the optimal brain surgeon."""
    heads, neurons = removals_of(model, found)
    if shares is not None:
        return keep_shares(heads, neurons, share_heads=shares[0], share_neurons=shares[1])
    return keep_within(heads, neurons, costs, keep=budget, all_heads=_keeps_heads(model))


def _keeps_heads(model: SymptomModel) -> bool:
    return not removes_heads(family_of(model.encoder))


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
