"""One pruning step of a recipe: choose what stays by importance, remove the rest, make up for it."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor

from sympress.compress.arch import family_of, head_width, keep_layers_, layers_of, removes_heads
from sympress.compress.prune.curvature import Curvature, Sampler, curvatures
from sympress.compress.prune.hidden import choose_hidden, hidden_importance, remove_hidden_
from sympress.compress.prune.importance import MaskGradients, mask_gradients
from sympress.compress.prune.layers import choose_layers
from sympress.compress.prune.reconstruct import reconstruct_
from sympress.compress.prune.search import Costs, mac_costs, rearrange, search_kept
from sympress.compress.prune.structured import Kept, choose_kept, remove_, whole_linear
from sympress.compress.prune.surgeon import keep_shares, keep_within, removals_of
from sympress.errors import InputError
from sympress.training.loss import Objective
from sympress.training.model import SymptomModel


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
    """Multiply-accumulates on a note of the mean length of `batches`."""
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    notes = sum(len(batch["attention_mask"]) for batch in batches)
    gated = family_of(model.encoder).gated
    return mac_costs(hidden, head_width(model.encoder), round(tokens / notes), gated=gated)


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
