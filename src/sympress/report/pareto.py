"""Where each strategy stands between quality and cost, and which ones another makes pointless."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sympress.report.columns import Group
from sympress.report.verdict import headline_f1


@dataclass(frozen=True)
class Place:
    """A strategy in a diagram of F1 against a cost.

    Attributes:
        label: what stands beside its mark.
        group: the strategy with its seeds.
        cost: along the axis; left is cheaper.
        f1: mean over seeds of the F1 that decides; `low` and `high` are the ends of its bar.
        dominated: another strategy costs no more and is no worse, and is better in one of the two.
    """

    label: str
    group: Group
    cost: float
    f1: float
    low: float
    high: float
    dominated: bool


def places(found: Sequence[tuple[str, Group]], cost: Callable[[Group], float | None]) -> list[Place]:
    """Return the strategies that have an F1 and a cost; a reference neither dominates nor is dominated.

    Args:
        found: label and strategy.
        cost: what is counted along the axis.
    """
    known = [
        (label, group, value, *interval)
        for label, group in found
        if (interval := f1_interval(group)) is not None and (value := cost(group))
    ]
    rivals = [(value, f1) for _, group, value, f1, *_ in known if not group.is_reference]
    return [
        Place(label, group, value, f1, low, high, not group.is_reference and _dominated((value, f1), rivals))
        for label, group, value, f1, low, high in known
    ]


def in_view(found: Sequence[Place]) -> tuple[list[Place], list[Place]]:
    """Part the places that are drawn from the references far below the models, which would squeeze them.

    Far: further below the worst model than the models are apart (at least 0.05).
    """
    models = [one.f1 for one in found if not one.group.is_reference]
    if not models:
        return list(found), []
    floor = min(models) - max(max(models) - min(models), 0.05)
    beyond = [one for one in found if one.group.is_reference and one.f1 < floor]
    return [one for one in found if one not in beyond], beyond


def beyond_text(beyond: Sequence[Place]) -> str:
    """Name what is out of view: `rule, 0.538`; empty if nothing is."""
    return "; ".join(f"{one.label}, {one.f1:.3f}" for one in beyond)


def _dominated(one: tuple[float, float], rivals: Sequence[tuple[float, float]]) -> bool:
    return any(cost <= one[0] and f1 >= one[1] and (cost, f1) != one for cost, f1 in rivals)


def f1_interval(group: Group) -> tuple[float, float, float] | None:
    """Mean F1 and the ends of its bar: the interval of a single seed, the range of several."""
    estimates = [headline_f1(row) for row in group.seeds]
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    if len(values) < len(estimates) or not values:
        return None
    low, high = min(values), max(values)
    if len(estimates) == 1 and estimates[0].low is not None and estimates[0].high is not None:
        low, high = estimates[0].low, estimates[0].high
    return sum(values) / len(values), low, high


def size_mb(group: Group) -> float | None:
    """Size in MB, or None where nothing stands on disk."""
    size = group.mean(lambda row: row.cost.size_bytes)
    return size / 1e6 if size else None


def latency_ms(group: Group) -> float | None:
    """Median latency of a note in ms."""
    return group.mean(lambda row: row.cost.latency_ms_p50)
