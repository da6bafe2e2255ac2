"""Which recipe to take and what it costs, in sentences computed from the numbers."""

from __future__ import annotations

from dataclasses import dataclass

from sympress.report.columns import BASELINE, Group, groups
from sympress.report.formats import defined, format_number, format_ratio, signed
from sympress.report.pareto import latency_ms, size_mb
from sympress.report.verdict import beating_reference, headline_difference, headline_f1
from sympress.results import Results


@dataclass(frozen=True)
class Advice:
    """What to take.

    Attributes:
        sentence: which recipe, and its price in F1, bytes and time.
        further: what else a reader must know: the cheapest row with a price, and that this was chosen here.
        taken: the strategy, or None where no compressed one is worth taking.
        baseline: the uncompressed model, where the run has one.
    """

    sentence: str
    further: tuple[str, ...]
    taken: Group | None
    baseline: Group | None


def advise(results: Results) -> Advice:
    """Choose the cheapest compressed row that is smaller or faster and loses no F1 significantly in any seed.

    Cheapest: the least product of bytes and latency, both relative to the baseline. F1 is the one that
    decides: micro for `present`, macro for `topic`. Where a reference does as well as every trained model,
    that is said first, and what to take among the models after it.
    """
    found = groups(results)
    baseline = next((group for group in found if group.name == BASELINE), None)
    rivals = [group for group in found if not group.is_reference and group.name != BASELINE]
    sentence, further, best = _choose(rivals) if baseline is not None else _choose([])
    reference = beating_reference(found)
    if reference:
        further = [f"Among the models: {sentence[:1].lower()}{sentence[1:]}", *further]
        return Advice(f"Take no model for this: {_lower(reference)}", tuple(further), None, baseline)
    return Advice(sentence, tuple(further), best, baseline)


def _choose(rivals: list[Group]) -> tuple[str, list[str], Group | None]:
    """The sentence, what follows it, and the strategy that is worth taking, if one is."""
    if not rivals:
        return "Nothing was compressed here: there is no recipe to choose.", [], None
    gaining = [group for group in rivals if _gains(group)]
    free = [group for group in gaining if not _loses(group)]
    paid = sorted((group for group in gaining if _loses(group)), key=_price)
    if not free:
        return _nothing_free(paid), [], None
    best = min(free, key=_price)
    further = [f"To go further, {_offer(paid[0])}."] if paid and _price(paid[0]) < _price(best) else []
    if len(rivals) > 1:
        further.append(
            f"Chosen by this very table among {len(rivals)} compressed rows: confirm it on notes of your own."
        )
    return f"Take {_offer(best)}.", further, best


def _gains(group: Group) -> bool:
    compared = [row.versus_baseline for row in group.seeds]
    return all(one is not None and (one.smaller or one.faster) for one in compared)


def _loses(group: Group) -> bool:
    """Whether the interval of any seed lies below 0, or is unknown."""
    highs = [headline_difference(row.versus_baseline).high for row in group.seeds if row.versus_baseline]
    return any(high is None or high < 0 for high in highs)


def _price(group: Group) -> float:
    return (group.size_ratio or 1.0) * (group.latency_ratio or 1.0)


def _offer(group: Group) -> str:
    """`NAME: bytes, latency, and the change of F1`."""
    kind = "micro F1" if headline_f1(group.seeds[0]) is group.seeds[0].quality.micro_f1 else "macro F1"
    size = f"{format_number(size_mb(group), 1)} MB ({format_ratio(group.size_ratio)} the baseline’s)"
    speed = f"{format_number(latency_ms(group), 2)} ms a note ({format_ratio(group.latency_ratio)})"
    differences = [headline_difference(row.versus_baseline) for row in group.seeds if row.versus_baseline]
    change = _mean_signed([difference.value for difference in differences])
    if _loses(group):
        return f"{group.name}: {size}, {speed}, but it loses {kind} ({change})"
    allowed = max(0.0, -min(defined(difference.low for difference in differences), default=0.0))
    doubt = f"; a loss of {allowed:.3f} is not excluded" if allowed >= 0.0005 else ""
    return f"{group.name}: {size}, {speed}, and no significant loss of {kind} ({change}{doubt})"


def _mean_signed(values: list[float | None]) -> str:
    known = defined(values)
    return signed(sum(known) / len(known)) if known else "undefined"


def _nothing_free(paid: list[Group]) -> str:
    if not paid:
        return "Keep the baseline: no compressed row is smaller or faster."
    return f"Keep the baseline, or pay for less: {_offer(paid[0])}."


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence.startswith("The ") else sentence
