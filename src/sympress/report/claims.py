"""What a table may claim of a row: a test over trainings and notes, a margin, and corrected p-values.

Every sentence, mark and cell that says whether a row gains, keeps or loses F1 comes from `claims_of`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sympress.config import MARGIN
from sympress.errors import of_extra
from sympress.labels.task import task_of
from sympress.results import Comparison, Estimate, Pooled, Results, StrategyResult

# The test of all trainings and notes together.

#: A claim is made where its corrected p-value is below this.
LEVEL = 0.05
#: Half the width of a 95 % interval in standard errors, of a normal distribution.
_NORMAL = 1.959964


def pool(values: Sequence[float], shared: float | None, *, patients: int, margin: float) -> Pooled:
    """Return the mean of the differences of several trainings, its 95 % interval and its two tests.

    Trainings and notes are two crossed random factors, as readers and cases are where several readers judge
    the same images: every training is tested on the same notes. The variance of the mean is that of the
    trainings, s²/S, and what the notes share; the t-distribution has Satterthwaite's degrees of freedom
    (Obuchowski & Rockette 1995, doi:10.1080/03610919508813243; Hillis 2007, doi:10.1002/sim.2532;
    Satterthwaite 1946, doi:10.2307/3002019). A single training says nothing of trainings: then the notes
    alone decide.

    A loss of `margin` or more is never ruled out by fewer notes than could show one: if a share `margin` of
    `patients` had lost, none would be seen with probability (1 - margin)^patients, below which the p-value
    does not go (the rule of three, Hanley & Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031).

    Args:
        values: the difference of each training.
        shared: the variance that the notes give the mean; None where nobody can say.
        patients: how many were resampled.
        margin: the loss below which a row counts as good as the baseline.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    trainings = len(values)
    mean = math.fsum(values) / trainings
    if shared is None or patients < 2:
        return Pooled(difference=Estimate(value=mean), margin=margin)
    spread = math.fsum((value - mean) ** 2 for value in values)
    own = spread / (trainings - 1) / trainings if trainings > 1 else 0.0
    error = math.sqrt(own + shared)
    unseen = (1 - margin) ** patients
    if error < 1e-12:  # no answer that counts is another
        same = Estimate(value=mean, low=mean, high=mean)
        if abs(mean) > 1e-12:
            return Pooled(difference=same, margin=margin)
        return Pooled(difference=same, p_value=1.0, margin=margin, p_margin=unseen)
    freedom = error**4 / (own**2 / max(1, trainings - 1) + shared**2 / (patients - 1))
    student = _student(freedom)
    half = float(student.ppf(0.975)) * error
    return Pooled(
        difference=Estimate(value=mean, low=mean - half, high=mean + half),
        p_value=float(2 * student.sf(abs(mean) / error)),
        margin=margin,
        p_margin=max(unseen, float(student.sf((mean + margin) / error))),
    )


def _student(freedom: float) -> Any:
    with of_extra("report", "scipy"):
        from scipy.stats import t
    return t(min(freedom, 1e9))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values adjusted for their number (Holm 1979), in the same order; null stays null.

    The i-th smallest of m is multiplied by m - i + 1; none is smaller than the one before, or above 1.
    """
    tested = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[position] = largest
    return adjusted


# What follows for each row.

#: `gains` and `loses`: more, or less, F1 than the baseline. `keeps`: no loss of the margin or more.
#: `unclear`: too few notes to tell. `chance`: the baseline does no better than chance. `undefined`: no F1.
Kind = Literal["gains", "keeps", "loses", "unclear", "chance", "undefined"]


@dataclass(frozen=True)
class Claim:
    """What may be said of the F1 of a row beside the baseline's.

    Attributes:
        kind: the verdict.
        pooled: difference and tests, all seeds together.
        p_holm: of the difference, corrected for the number of strategies.
        within: a loss of the margin or more is ruled out.
    """

    kind: Kind
    pooled: Pooled
    p_holm: float | None
    within: bool

    @property
    def differs(self) -> bool:
        """Whether F1 differs from the baseline's."""
        return self.p_holm is not None and self.p_holm < LEVEL


def claims_of(results: Results, *, micro: bool) -> dict[str, Claim]:
    """Return what may be said of the macro- or micro-F1 of each row that was compared with the baseline.

    A results file from before `Comparison.pooled` is read with the interval of each seed; the notes then
    count as if two trainings shared all that notes do, which claims less.
    """
    found: dict[str, list[Comparison]] = {}
    for row in results.strategies:
        if row.versus_baseline is not None and (not micro or row.versus_baseline.micro_f1_difference):
            found.setdefault(row.name, []).append(row.versus_baseline)
    pooled = {name: _pooled(each, results, micro=micro) for name, each in found.items()}
    plain = dict(zip(pooled, holm([one.p_value for one in pooled.values()]), strict=True))
    margin = dict(zip(pooled, holm([one.p_margin for one in pooled.values()]), strict=True))
    chance = at_chance(results, micro=micro) is not None
    return {name: _claim(one, plain[name], margin[name], chance=chance) for name, one in pooled.items()}


def _claim(pooled: Pooled, p_holm: float | None, p_margin: float | None, *, chance: bool) -> Claim:
    difference, within = pooled.difference.value, p_margin is not None and p_margin < LEVEL
    kind: Kind = "keeps" if within else "unclear"
    if p_holm is not None and p_holm < LEVEL and difference:
        kind = "gains" if difference > 0 else "loses"
    if chance:
        kind = "chance"
    if difference is None:
        kind = "undefined"
    return Claim(kind, pooled.model_copy(update={"p_margin_holm": p_margin}), p_holm, within)


def _pooled(comparisons: Sequence[Comparison], results: Results, *, micro: bool) -> Pooled:
    stored = comparisons[0].pooled_micro if micro else comparisons[0].pooled
    if stored is not None:
        return stored
    margin = float(results.config.get("margin", MARGIN))
    each = [(one.micro_f1_difference if micro else None) or one.f1_difference for one in comparisons]
    values = [one.value for one in each if one.value is not None]
    if len(values) < len(each):
        return Pooled(difference=Estimate(value=None, note="undefined with a seed"), margin=margin)
    widths = [one.high - one.low for one in each if one.high is not None and one.low is not None]
    shared = None
    if len(widths) == len(each):
        shared = math.fsum((width / 2 / _NORMAL) ** 2 for width in widths) / len(widths)
    return pool(values, shared, patients=results.data.test, margin=margin)


# A baseline that has learnt nothing.


def at_chance(results: Results, *, micro: bool) -> float | None:
    """Return the F1 of a model that ignores the note if the baseline is not shown to do better, else None.

    Of a topic that is 1/K, macro: a guess by how frequent each is. Of symptoms it is the best that naming
    the same ones for every note gets. Of spans it is 0: where they are, only the note says. It is asked of
    every seed: one baseline at chance spoils the mean.
    """
    rows = [row for row in results.strategies if row.name == "baseline"]
    chance = max((_chance(row, results, micro=micro) for row in rows), default=0.0)
    f1 = [row.quality.micro_f1 if micro else row.quality.f1 for row in rows]
    known = [(one.value if one.low is None else one.low) for one in f1 if one is not None]
    lowest = [one for one in known if one is not None]
    return chance if lowest and min(lowest) <= chance else None


def _chance(row: StrategyResult, results: Results, *, micro: bool) -> float:
    support = sorted((one.support for one in row.quality.per_symptom if one.support), reverse=True)
    notes = results.data.test
    if not support or not notes or task_of(results.task).finds_spans:
        return 0.0
    if micro:
        total = sum(support)
        named = [2 * sum(support[:count]) / (count * notes + total) for count in range(1, len(support) + 1)]
        return max(named)
    if results.task == "topic":
        return 1 / len(support) if len(support) > 1 else 0.0
    return math.fsum(2 * one / (notes + one) for one in support) / len(support)
