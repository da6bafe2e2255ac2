"""Search for the recipe that meets a budget: the limits, as they are written, and what a search finds."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sympress.errors import InputError, SympressError, nearest

_LIMIT = re.compile(r"(?P<key>\w+)\s*(?P<operator>[<>=!≤≥~]+)\s*(?P<number>[^\s<>=!≤≥~].*)", re.DOTALL)
_EXAMPLE = '"size_mb<=6, f1_drop<=0.01"'
#: A limit of 0 has no relative excess; what is above it is counted in points of F1.
_ONE_POINT = 0.01


@dataclass(frozen=True)
class Budget:
    """Upper limits on what a compressed model costs; None where there is no limit.

    Attributes:
        size_mb: the model file, in megabytes of 10^6 bytes.
        latency_ratio: latency of one note relative to the teacher as PyTorch fp32, 0.1 for ten times faster.
        int8_latency_ratio: latency of one note relative to the teacher as ONNX int8.
        f1_drop: the teacher's F1 of the task minus the model's, both in 0..1, on validation data.
        macs_ratio: multiply-accumulates of one note relative to the teacher's.
        memory_mb: peak memory of the process that answers, in megabytes of 10^6 bytes.
    """

    size_mb: float | None = None
    latency_ratio: float | None = None
    int8_latency_ratio: float | None = None
    f1_drop: float | None = None
    macs_ratio: float | None = None
    memory_mb: float | None = None

    def __str__(self) -> str:
        return ", ".join(f"{key}<={str(limit).removesuffix('.0')}" for key, limit in self.limits().items())

    def limits(self) -> dict[str, float]:
        """The limits that are set, in the order of the class."""
        pairs = ((key, getattr(self, key)) for key in BUDGET_KEYS)
        return {key: limit for key, limit in pairs if limit is not None}

    def among(self, keys: Collection[str]) -> Budget:
        """The limits on `keys` alone: what a cheap estimate can already tell."""
        return Budget(**{key: limit for key, limit in self.limits().items() if key in keys})

    def violations(self, measured: Mapping[str, float]) -> dict[str, float]:
        """By how much `measured` is above each limit it breaks, in that limit's unit.

        A value that is not a number breaks its limit by infinity.

        Raises:
            SympressError: a limited value was not measured.
        """
        broken = {}
        for key, limit in self.limits().items():
            if key not in measured:
                raise SympressError(f"the budget limits {key}, which was not measured")
            value = measured[key]
            if not value <= limit:
                broken[key] = math.inf if math.isnan(value) else value - limit
        return broken

    def meets(self, measured: Mapping[str, float]) -> bool:
        """True if `measured` is at or below every limit."""
        return not self.violations(measured)

    def excess(self, measured: Mapping[str, float]) -> float:
        """The largest excess relative to its limit, 0 when the budget is met: small comes nearest.

        What is above a limit of 0 is divided by 0.01, one point of F1.
        """
        limits = self.limits()
        return max(
            (over / (limits[key] or _ONE_POINT) for key, over in self.violations(measured).items()),
            default=0.0,
        )


BUDGET_KEYS: tuple[str, ...] = tuple(field.name for field in fields(Budget))


def parse_budget(text: str) -> Budget:
    """The budget that `text` spells.

    Raises:
        InputError: no limit, an unknown key (the nearest is named), a key given twice, another operator
            than `<=`, or a limit that is not a number above 0 (0 is fine for `f1_drop`).
    """
    if not text.strip():
        raise InputError(f"the budget is empty; write limits such as {_EXAMPLE}")
    limits: dict[str, float] = {}
    for part in text.split(","):
        key, limit = _parse_limit(part.strip())
        if key in limits:
            raise InputError(f"budget: {key} is given twice")
        limits[key] = limit
    return Budget(**limits)


def _parse_limit(text: str) -> tuple[str, float]:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise InputError(f"budget: {text!r} is not a limit; write limits such as {_EXAMPLE}")
    key, operator, number = match["key"], match["operator"], match["number"]
    if key not in BUDGET_KEYS:
        raise InputError(
            f"budget: unknown key {key!r}{nearest(key, BUDGET_KEYS)}; known are {', '.join(BUDGET_KEYS)}"
        )
    if operator != "<=":
        raise InputError(f"budget: {text!r} is not an upper limit; write {key}<={number}")
    try:
        limit = float(number)
    except ValueError as error:
        raise InputError(f"budget: the limit of {key} must be a number, not {number!r}") from error
    lowest_allowed = limit >= 0 if key == "f1_drop" else limit > 0
    if not (math.isfinite(limit) and lowest_allowed):
        least = "of at least 0" if key == "f1_drop" else "above 0"
        raise InputError(f"budget: the limit of {key} must be a number {least}, not {number}")
    return key, limit


# What a search for a budget finds.


#: What became of a trial, from cheapest to dearest.
TOO_LARGE, TOO_COSTLY, BEHIND, FINISHED = "too large", "too costly", "behind", "finished"
#: The values that the Pareto set minimises.
PARETO_KEYS = ("size_mb", "latency_ratio", "f1_drop")


@dataclass(frozen=True)
class Tried:
    """One recipe of a search: how far it came and what is known of it, estimates where it was not trained."""

    number: int
    recipe: str
    verdict: str
    measured: dict[str, float]


@dataclass(frozen=True)
class SearchResult:
    """All trials, which of them are on the Pareto front (of the finished), and which one is chosen."""

    budget: Budget
    tried: tuple[Tried, ...]
    front: tuple[int, ...]
    chosen: int

    @property
    def best(self) -> Tried:
        """The chosen trial: it meets the budget with the best F1, or else comes nearest."""
        return self.tried[self.chosen]

    @property
    def meets(self) -> bool:
        """True if the chosen trial meets the budget."""
        return self.budget.meets(self.best.measured)

    def count(self, verdict: str) -> int:
        """How many trials ended so."""
        return sum(one.verdict == verdict for one in self.tried)

    def sentence(self) -> str:
        """Whether the budget is met, in plain words, with the numbers that decide."""
        limits, measured = self.budget.limits(), self.best.measured
        found = ", ".join(f"{key} {measured[key]:.4g} (limit {limit:g})" for key, limit in limits.items())
        if self.meets:
            return f"the budget is met: {found}"
        tried = f"none of {len(self.tried)} recipes meets the budget"
        return f"{tried}; the nearest one that was trained has {found}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "budget": str(self.budget),
            "meets": self.meets,
            "chosen": self.chosen,
            "front": list(self.front),
            "tried": [asdict(one) for one in self.tried],
        }
