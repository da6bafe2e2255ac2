"""Which recipe a run advises to take, in a headline of at most 15 words and the figures behind it."""

from __future__ import annotations

from dataclasses import dataclass

from sympress.report.claims import Kind
from sympress.report.columns import BASELINE, Group, format_number, groups
from sympress.report.verdict import (
    REFERENCE_NAMES,
    beating_reference,
    chance_sentence,
    latency_ms,
    mean_f1,
    size_mb,
)
from sympress.results import Results


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes:
        headline: what the run shows, in at most 15 words of which a strategy's name counts as one.
        further: what else a reader must know: the cheapest row with a price, and that this was chosen here.
        taken: the strategy, or None where no compressed one is worth taking.
        shown: whose figures stand below the headline: of the strategy it names, else the baseline.
        baseline: the uncompressed model, where the run has one.
    """

    headline: str
    further: tuple[str, ...]
    taken: Group | None
    shown: Group | None
    baseline: Group | None


def advise(results: Results) -> Advice:
    """Choose the cheapest compressed row that is smaller or faster and is shown to keep its F1.

    Cheapest: the least product of bytes and latency, both relative to the baseline. F1 is the one that
    decides: micro for `present`, macro for `topic`; it is kept where a loss of the margin is ruled out. Where
    a reference does as well as every trained model, or the baseline is at chance, that is said first.
    """
    found = groups(results)
    baseline = next((group for group in found if group.name == BASELINE), None)
    rivals = [group for group in found if not group.is_reference and group.name != BASELINE]
    if baseline is None:
        headline = "This run has no baseline, so the price of compression is unknown."
        return Advice(headline, (), None, None, None)
    chosen = _choose(rivals, baseline)
    level = beating_reference(found)
    if level is not None:
        further = (f"Among the trained models: {chosen.headline}", *chosen.further)
        return Advice(_beaten(*level), further, None, level[0], baseline)
    if chance_sentence(results):
        headline = "The baseline is no better than guessing, so comparisons with it mean nothing."
        return Advice(headline, (), None, baseline, baseline)
    return chosen


def _beaten(reference: Group, best: Group) -> str:
    """The headline where a reference does as well as every trained model."""
    ours, theirs = mean_f1(reference) or 0.0, mean_f1(best) or 0.0
    certain = ours > theirs and (reference.claim is None or reference.claim.differs)
    verb = "beats every trained model" if certain else "scores above every trained model"
    if ours == theirs:
        verb = "matches the best trained model"
    return f"{REFERENCE_NAMES[reference.name]} {verb}: F1 {ours:.3f} against {theirs:.3f}."


def _choose(rivals: list[Group], baseline: Group) -> Advice:
    """What to take of the compressed rows."""
    if not rivals:
        return Advice(
            "Nothing was compressed here: there is no recipe to choose.", (), None, baseline, baseline
        )
    gaining = sorted((group for group in rivals if _gains(group)), key=_price)
    free = [group for group in gaining if _free(group)]
    others = [group for group in gaining if group not in free]
    if not free:
        headline, shown = _nothing_free(others)
        return Advice(headline, (), None, shown or baseline, baseline)
    best = free[0]
    cheaper = [group for group in others if _price(group) < _price(best)]
    further = [_offer(cheaper[0])] if cheaper else []
    if len(rivals) > 1:
        further.append(
            f"{best.name} was chosen among {len(rivals)} compressed rows by these very test notes: confirm "
            "it on notes of your own."
        )
    return Advice(f"{_cheaper(best)}, and {_kept(best)}.", tuple(further), best, best, baseline)


def _gains(group: Group) -> bool:
    compared = [row.versus_baseline for row in group.seeds]
    return all(one is not None and (one.smaller or one.faster) for one in compared)


def _free(group: Group) -> bool:
    """Whether a row is shown to cost no F1, or less than the margin."""
    claim = group.claim
    return claim is not None and (
        claim.kind in ("gains", "keeps") or (claim.kind == "loses" and claim.within)
    )


def _price(group: Group) -> float:
    return (group.size_ratio or 1.0) * (group.latency_ratio or 1.0)


def _cheaper(group: Group) -> str:
    """`NAME is 5.8 times smaller and 1.6 times faster`, of which each is said where it was measured."""
    compared = [row.versus_baseline for row in group.seeds if row.versus_baseline is not None]
    smaller, faster = all(one.smaller for one in compared), all(one.faster for one in compared)
    said = [
        f"{_times(ratio)} {word}"
        for measured, ratio, word in (
            (smaller, group.size_ratio, "smaller"),
            (faster, group.latency_ratio, "faster"),
        )
        if measured and ratio
    ]
    return f"{group.name} is {' and '.join(said) or 'cheaper'}"


def _times(ratio: float) -> str:
    """`5.8 times` of a ratio of 0.17; `20 %` of 0.8, where 1.2 times would be misread."""
    if ratio > 2 / 3:
        return f"{100 * (1 - ratio):.0f} %"
    return f"{1 / ratio:,.{0 if ratio < 0.1 else 1}f} times"


def _kept(group: Group) -> str:
    """What a row that is free does with the F1."""
    claim = group.claim
    if claim is not None and claim.kind == "gains":
        return "improves the F1"
    if claim is not None and claim.kind == "loses":
        return f"loses less than {claim.pooled.margin:g} F1"
    return "keeps the baseline’s F1"


def _lost(group: Group) -> str:
    """How much F1 a row loses, to three decimals."""
    value = None if group.claim is None else group.claim.pooled.difference.value
    return f"{abs(value or 0.0):.3f}"


def _offer(group: Group) -> str:
    """A sentence on a row that is cheaper than the one to take, and why it is not that one."""
    cost = f"{format_number(size_mb(group), 1)} MB and {format_number(latency_ms(group), 2)} ms per note"
    why = "its F1 cannot be compared"
    if group.claim is not None and group.claim.kind == "unclear":
        why = "there are too few test notes to tell whether it keeps the F1"
    elif group.claim is not None and group.claim.kind == "loses":
        why = f"it loses {_lost(group)} of the F1"
    return f"{group.name} is cheaper still, {cost}, but {why}."


def _nothing_free(others: list[Group]) -> tuple[str, Group | None]:
    """The headline where no row is shown to keep its F1, and the row that it names."""
    if not others:
        return "No compressed model is smaller or faster: keep the baseline.", None
    unclear = _claimed(others, "unclear")
    if unclear is not None:
        return f"Too few test notes to tell whether {unclear.name} keeps the baseline’s F1.", unclear
    losing = _claimed(others, "loses")
    if losing is not None:
        return f"{_cheaper(losing)}, but loses {_lost(losing)} F1.", losing
    return "No F1 can be compared here: keep the baseline.", None


def _claimed(found: list[Group], kind: Kind) -> Group | None:
    """The first row of which `kind` is claimed, or None."""
    return next((group for group in found if group.claim is not None and group.claim.kind == kind), None)
