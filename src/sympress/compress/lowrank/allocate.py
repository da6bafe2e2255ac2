"""How high a rank each layer gets: by number, by energy, or out of one budget of weights for all layers."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sympress.errors import InputError

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
