"""What a search for a budget finds: every recipe it tried, the Pareto set, and the one it chooses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from sympress.compression.search.budget import Budget

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
