"""Two factors in place of a linear layer or an embedding, by the SVD in a chosen norm."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from sympress.errors import InputError, nearest
from sympress.models.families import layer_linears
from sympress.models.model import LowRankEmbedding, LowRankLinear, SymptomModel
from sympress.training.data import note_logits, notes_in, take_notes
from sympress.training.losses import Objective


@dataclass(frozen=True)
class Statistics:
    """How much the inputs of each linear layer count.

    Attributes:
        method: the way of factorizing they are made for.
        moments: by name from the encoder, float64: `(in, in)` for `activation`, `(in,)` for `fisher`.
        notes: calibration notes seen.
    """

    method: Literal["activation", "fisher"]
    moments: Mapping[str, Tensor]
    notes: int


@torch.no_grad()
def activation_statistics(model: SymptomModel, batches: Iterable[dict[str, Tensor]]) -> Statistics:
    """Second moments XᵀX `(in, in)` of the inputs of every linear layer, in one pass (Wang et al. 2024).

    Only real tokens count. Inputs that are not a batch of notes (DeBERTa's table of relative positions) are
    scaled to count as much as the tokens of the batch, so that the result does not depend on how notes are
    batched.

    Args:
        model: not changed; neither are its gradients.
        batches: of `input_ids` and `attention_mask` `(batch, tokens)`.

    Raises:
        InputError: there is no calibration note.
    """
    moments: dict[str, Tensor] = {}
    notes = 0
    with _evaluating(model):
        for batch in _on_device(model, batches):
            mask = batch["attention_mask"].bool()
            with _watching_inputs(model, partial(_add_moment_, moments, mask)):
                model(batch["input_ids"], batch["attention_mask"])
            notes += notes_in(batch)
    return Statistics("activation", moments, _some(notes))


def _add_moment_(moments: dict[str, Tensor], mask: Tensor, name: str, states: Tensor) -> None:
    of_notes = states.shape[:-1] == mask.shape
    rows = (states[mask] if of_notes else states.flatten(0, -2)).double()  # (rows, in)
    weight = 1.0 if of_notes else float(mask.sum()) / len(rows)
    moment = weight * (rows.T @ rows)
    moments[name] = moments[name] + moment if name in moments else moment


def fisher_statistics(
    model: SymptomModel, batches: Iterable[dict[str, Tensor]], objective: Objective
) -> Statistics:
    """Squared gradients of the loss, summed over notes and over the outputs of each input, `(in,)`.

    The importance of an input is the summed diagonal Fisher information of all weights it is multiplied with
    (Hsu et al. 2022: they write y = x W, where an input is a row of W; in PyTorch's weights it is a column).
    The gradient is squared note by note, not batch by batch.

    Args:
        model: not changed; neither are its gradients.
        batches: of `input_ids` and `attention_mask` `(batch, tokens)`, and `labels` `(batch, ...)`.
        objective: the loss.

    Raises:
        InputError: there is no calibration note.
    """
    names, linears = zip(*layer_linears(model.encoder), strict=True)
    weights = [linear.weight for linear in linears]
    totals = [torch.zeros(weight.shape[1], dtype=torch.float64, device=weight.device) for weight in weights]
    notes = 0
    with _evaluating(model):
        for batch in _on_device(model, batches):
            for row in range(notes_in(batch)):
                note = take_notes(batch, row, row + 1)
                loss = objective(note_logits(model, note), note["labels"], None)
                gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
                for total, gradient in zip(totals, gradients, strict=True):
                    total.add_(gradient.double().square().sum(0))
            notes += notes_in(batch)
    return Statistics("fisher", dict(zip(names, totals, strict=True)), _some(notes))


def _some(notes: int) -> int:
    if notes == 0:
        raise InputError("the calibration set has no notes; give at least one")
    return notes


def _on_device(model: SymptomModel, batches: Iterable[dict[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    device = next(model.parameters()).device
    for batch in batches:
        yield {key: value.to(device) for key, value in batch.items()}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Without dropout; afterwards as before."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextmanager
def _watching_inputs(model: SymptomModel, see: Callable[[str, Tensor], None]) -> Iterator[None]:
    """Call `see` with the name and the input `(..., in)` of each linear layer, whenever one computes."""
    with ExitStack() as hooks:
        for name, linear in layer_linears(model.encoder):
            hooks.enter_context(
                linear.register_forward_pre_hook(
                    lambda _module, arguments, name=name: see(name, arguments[0])
                )
            )
        yield


# The best rank-r approximation of a matrix, W ~ second @ first, in a chosen norm.
#
# The error of W' is ||(W - W') S||_F, where M = S Sᵀ says how much each input counts: nothing given, all
# the same (Eckart & Young 1936); the second moment of the layer's inputs, so that it is the error of the
# layer's outputs (Chen et al. 2021, Wang et al. 2024); squared gradients, a diagonal (Hsu et al. 2022).


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


# How high a rank each layer gets: by number, by energy, or out of one budget of weights for all layers.


#: A step that removes less than this share of a layer's squared error removes rounding, not error.
_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Spectrum:
    """A layer `(out, in)` and the singular values `(min(out, in),)`, descending, of its weighted matrix."""

    out_features: int
    in_features: int
    values: Tensor

    @property
    def shares(self) -> Tensor:
        """Share of the squared norm that each singular value holds; they sum to 1 unless all are zero."""
        squares = self.values.double().square()
        return squares / squares.sum().clamp(min=torch.finfo(torch.float64).tiny)


@dataclass(frozen=True)
class RankChoice:
    """Exactly one way to choose ranks.

    Attributes:
        rank: the same for every layer, 1 to the full rank of the largest one.
        energy: above 0, at most 1; each layer's smallest rank that holds this share of the squared singular
            values.
        keep: above 0, at most 1; share of the layers' weights that stays, see `allocate_ranks`.

    Raises:
        InputError: none or several are given, or one is out of its range.
    """

    rank: int | None = None
    energy: float | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        given = [f"{name}={value:g}" for name, value in vars(self).items() if value is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none of them"
            raise InputError(f"low rank takes exactly one of rank, energy and keep, not {found}")
        for name, share in (("energy", self.energy), ("keep", self.keep)):
            if share is not None and not 0 < share <= 1:
                raise InputError(f"low rank's {name} must be above 0 and at most 1, not {share}")


def break_even_rank(in_features: int, out_features: int) -> int:
    """The largest rank whose two factors hold fewer weights than the matrix: r (in + out) < in x out."""
    return (in_features * out_features - 1) // (in_features + out_features)


def check_rank(rank: int, full: int, whose: str) -> None:
    """Refuse a rank that `whose` matrix cannot have.

    Raises:
        InputError: `rank` is below 1 or above `full`.
    """
    if not 1 <= rank <= full:
        raise InputError(f"rank {rank} is outside 1..{full}; {full} is the full rank of {whose}")


def choose_ranks(spectra: Mapping[str, Spectrum], choice: RankChoice) -> dict[str, int | None]:
    """A rank a layer, or None where it saves no weights and the layer stays whole.

    Raises:
        InputError: `choice.keep` leaves less than rank 1 of every layer.
    """
    if choice.keep is not None:
        return allocate_ranks(spectra, choice.keep)
    chosen: dict[str, int | None] = {}
    for name, spectrum in spectra.items():
        rank = choice.rank if choice.rank is not None else rank_of_energy(spectrum, choice.energy or 1.0)
        pays = rank <= break_even_rank(spectrum.in_features, spectrum.out_features)
        chosen[name] = rank if pays else None
    return chosen


def rank_of_energy(spectrum: Spectrum, energy: float) -> int:
    """The smallest rank whose singular values hold the share `energy` of the squared norm, at least 1."""
    missing = spectrum.shares.cumsum(0) < energy - _NEGLIGIBLE
    return min(int(missing.sum()) + 1, len(spectrum.values))


@dataclass(frozen=True)
class _Step:
    """What the next rank of a layer brings: share of its squared error removed, weights it costs."""

    gain: float
    cost: int


def _steps(spectrum: Spectrum) -> list[_Step]:
    """From nothing to rank 1, 2, ... break-even and at last to the whole layer, which has no error left."""
    shares: list[float] = spectrum.shares.tolist()
    one, whole = spectrum.in_features + spectrum.out_features, spectrum.in_features * spectrum.out_features
    most = break_even_rank(spectrum.in_features, spectrum.out_features)
    ranks = [_Step(share, one) for share in shares[:most]]
    return [*ranks, _Step(sum(shares[most:]), whole - most * one)]


def allocate_ranks(spectra: Mapping[str, Spectrum], keep: float) -> dict[str, int | None]:
    """Ranks that remove most error for `keep` of the layers' weights; None for a layer left whole.

    Each layer starts at rank 1. Again and again the layer whose next rank removes the largest share of its
    own squared error per weight gets it, until none fits in what is left. As singular values descend, that is
    water-filling: all layers end at about the same gain per weight. A layer that outgrows its break-even rank
    becomes whole again and is charged in full. Biases are not counted.

    Raises:
        InputError: rank 1 of every layer already takes more than `keep` of the weights.
    """
    steps = {name: _steps(spectrum) for name, spectrum in spectra.items()}
    total = sum(step.cost for layer in steps.values() for step in layer)
    budget = int(keep * total)
    spent = sum(layer[0].cost for layer in steps.values())
    if spent > budget:
        raise InputError(
            f"low rank cannot keep only {keep:g} of {total} weights: rank 1 of every layer takes {spent}"
        )
    taken = dict.fromkeys(steps, 1)
    waiting = [_bid(steps[name], 1, name) for name in steps if len(steps[name]) > 1]
    heapq.heapify(waiting)
    while waiting:
        _, name = heapq.heappop(waiting)
        step = steps[name][taken[name]]
        if spent + step.cost > budget or step.gain < _NEGLIGIBLE:
            continue  # what does not fit now never will: what is left only shrinks
        spent += step.cost
        taken[name] += 1
        if taken[name] < len(steps[name]):
            heapq.heappush(waiting, _bid(steps[name], taken[name], name))
    return {name: None if count == len(steps[name]) else count for name, count in taken.items()}


def _bid(steps: list[_Step], index: int, name: str) -> tuple[float, str]:
    """Gain per weight, negated since the heap gives its smallest; ties go by name."""
    return -steps[index].gain / steps[index].cost, name


# Factorize the embedding of word pieces: a narrow table and one matrix that widens it (Lan et al. 2020).


def factorize_embeddings_(
    model: SymptomModel,
    *,
    rank: int | None = None,
    energy: float | None = None,
    counts: Tensor | None = None,
) -> int | None:
    """Factorize the word-piece embedding of `model`; returns the rank, or None where it stays whole.

    It stays whole where the rank saves no weights. Do it after trimming the vocabulary.

    Args:
        model: changed in place.
        rank: 1 to the full rank; exactly one of `rank` and `energy` must be given.
        energy: above 0, at most 1; the smallest rank that holds this share of the squared norm of the table,
            its rows weighted by `counts`.
        counts: `(pieces,)`, how often each piece occurs in notes; the error of a piece counts that often.
            Pieces past its end count as never seen. None: all pieces count the same.

    Raises:
        InputError: a setting is out of range, `counts` do not fit, or the embedding is factorized already.
    """
    choice = RankChoice(rank, energy)
    embedding = model.encoder.get_input_embeddings()
    if type(embedding) is not nn.Embedding:
        raise InputError(
            f"the word embeddings are a {type(embedding).__name__} already; factorize them once, while whole"
        )
    rows, width = embedding.weight.shape
    if choice.rank is not None:
        check_rank(choice.rank, min(rows, width), "the word embeddings")
    # a linear layer that takes pieces as one-hot rows X: XᵀX is diagonal and holds the counts
    parts = decompose(embedding.weight.data.T, None if counts is None else _fitted(counts, rows))
    spectrum = Spectrum(width, rows, parts.values)
    used = choice.rank if choice.rank is not None else rank_of_energy(spectrum, choice.energy or 1.0)
    if used > break_even_rank(rows, width):
        return None
    model.encoder.set_input_embeddings(_low_rank(embedding, parts, used))
    return used


def _fitted(counts: Tensor, rows: int) -> Tensor:
    if counts.ndim != 1 or len(counts) > rows or bool((counts < 0).any()):
        raise InputError(
            f"piece counts of shape {tuple(counts.shape)} do not fit an embedding of {rows} pieces; "
            "give one number of at least 0 a piece"
        )
    fitted = torch.zeros(rows, dtype=torch.float64, device=counts.device)
    fitted[: len(counts)] = counts
    return fitted


def _low_rank(embedding: nn.Embedding, parts: Decomposition, rank: int) -> LowRankEmbedding:
    rows, width = embedding.weight.shape
    first, second = factors_of(embedding.weight.data.T, parts, rank)  # (rank, rows), (width, rank)
    factors = LowRankEmbedding(rows, rank, width, padding_idx=embedding.padding_idx)
    factors.first.weight.data, factors.second.weight.data = first.T.contiguous(), second
    return factors


# Replace linear layers by two factors, wherever that saves weights.


Method = Literal["svd", "activation", "fisher"]
METHODS: tuple[Method, ...] = ("svd", "activation", "fisher")


@dataclass(frozen=True)
class Factorization:
    """What was done: layers factorized and, in the same order, their ranks; layers left whole."""

    factorized: tuple[str, ...]
    left_whole: tuple[str, ...]
    ranks: tuple[int, ...]


def lowrank_(
    model: SymptomModel,
    *,
    method: Method = "svd",
    rank: int | None = None,
    energy: float | None = None,
    keep: float | None = None,
    statistics: Statistics | None = None,
) -> Factorization:
    """Factorize the linear layers of the transformer layers; those in which it saves nothing stay whole.

    Args:
        model: changed in place. Heads and neurons may have been removed from it before.
        method: what the error is measured on: `svd` the weights; `activation` the layers' outputs over the
            calibration notes; `fisher` the weights times their inputs' importance to the loss.
        rank: see `RankChoice`, of which exactly one must be given; so for `energy` (of the weighted matrix)
            and `keep`.
        energy: above 0, at most 1.
        keep: above 0, at most 1.
        statistics: of this very model, from `activation_statistics` or `fisher_statistics`; not for `svd`.

    Raises:
        InputError: a setting is out of range, a layer is factorized already, or `statistics` are missing or
            made for another method or for layers of another size.
    """
    choice = RankChoice(rank, energy, keep)
    for name, module in model.encoder.named_modules():
        if isinstance(module, LowRankLinear):
            raise InputError(f"{name} is already factorized; use low rank once, on whole layers")
    linears = dict(layer_linears(model.encoder))
    if rank is not None:
        check_rank(rank, max(min(it.weight.shape) for it in linears.values()), "the largest linear layer")
    moments = _moments(method, statistics, linears)
    parts = {name: decompose(linear.weight.data, moments.get(name)) for name, linear in linears.items()}
    spectra = {
        name: Spectrum(linears[name].out_features, linears[name].in_features, part.values)
        for name, part in parts.items()
    }
    chosen = choose_ranks(spectra, choice)
    used = {name: layer_rank for name, layer_rank in chosen.items() if layer_rank is not None}
    for name, layer_rank in used.items():
        first, second = factors_of(linears[name].weight.data, parts[name], layer_rank)
        model.encoder.set_submodule(name, _low_rank_layer(linears[name], first, second))
    whole = tuple(name for name in linears if name not in used)
    return Factorization(tuple(used), whole, tuple(used.values()))


def _moments(
    method: Method, statistics: Statistics | None, linears: Mapping[str, nn.Linear]
) -> Mapping[str, Tensor]:
    """How much each layer's inputs count; empty for plain SVD."""
    if method not in METHODS:
        known = ", ".join(METHODS)
        raise InputError(f"low-rank method {method!r} is not one of {known}{nearest(method, METHODS)}")
    if method == "svd":
        return {}
    if statistics is None or statistics.method != method:
        raise InputError(f"low rank by {method!r} needs {method} statistics of calibration notes")
    for name, linear in linears.items():
        width = len(statistics.moments[name]) if name in statistics.moments else 0
        if width != linear.in_features:
            raise InputError(
                f"{name} takes {linear.in_features} inputs but its statistics have {width}; "
                "collect them from the model as it is now"
            )
    return statistics.moments


def _low_rank_layer(linear: nn.Linear, first: Tensor, second: Tensor) -> LowRankLinear:
    factors = LowRankLinear(linear.in_features, len(first), linear.out_features, bias=linear.bias is not None)
    factors.first.weight.data, factors.second.weight.data = first, second
    if linear.bias is not None:
        factors.second.bias.data = linear.bias.data.clone()
    return factors


def factorize_classifier_(model: SymptomModel, rank: int) -> int:
    """The published variant: factorize the K-class output layer alone, in place of its own weight.

    The authors replace the weight by the product of its factors; with K classes its rank is at most K,
    so any rank of K or more reproduces it and nothing is saved. Returns the rank that was used.
    """
    output = model.head.output
    used = min(rank, output.in_features // 2, output.out_features)
    first, second = truncated_svd(output.weight.data, used)
    output.weight.data = second @ first
    return used
