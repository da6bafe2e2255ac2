"""What a results file says, in sentences computed from its numbers."""

from __future__ import annotations

from sympress.report.columns import BASELINE, Group, groups, side_of
from sympress.report.formats import (
    defined,
    format_difference,
    format_estimate,
    format_number,
    format_ratio,
)
from sympress.results import Comparison, Estimate, Results, StrategyResult

REFERENCE_NAMES = {
    "rule": "The lexicon rule",
    "rule-assertion": "The lexicon rule with assertion",
    "tfidf": "TF-IDF with logistic regression",
}


def verdict(results: Results) -> list[str]:
    """Say in plain sentences what the run shows, what a reader must not miss first.

    First whether a reference (the lexicon rule, TF-IDF) does as well as the best trained model, then
    one sentence a compressed strategy: smaller, faster, and what it costs in F1; or that it gains
    nothing. "No loss found" is said only where the 95 % interval of the difference contains 0 for
    every seed, and always with the loss that the interval still allows.
    """
    found = groups(results)
    models = [group for group in found if not group.is_reference]
    sentences = [_reference_sentence(group, models) for group in found if group.is_reference]
    # A reference that beats the models comes before one that does not.
    sentences.sort(key=lambda sentence: not sentence[0])
    lines = [text for _, text in sentences if text]
    if not any(group.name == BASELINE for group in models):
        lines.append("This run has no baseline: nothing here says what compression costs.")
        return lines
    compressed = [group for group in models if group.name != BASELINE]
    order = {"free": 0, "price": 1, "unknown": 2, "nothing": 3}
    judged = sorted((_strategy_sentence(group) for group in compressed), key=lambda pair: order[pair[0]])
    return lines + [text for _, text in judged]


def beating_reference(found: list[Group]) -> str:
    """Return the sentence on a reference that does as well as every trained model, or an empty string."""
    models = [group for group in found if not group.is_reference]
    sentences = [_reference_sentence(group, models) for group in found if group.is_reference]
    return next((text for level, text in sentences if level), "")


def headline_f1(row: StrategyResult) -> Estimate:
    """Return the F1 that decides: micro where the task has one (`present`), else macro."""
    return row.quality.micro_f1 if row.quality.micro_f1 is not None else row.quality.f1


def headline_name(results: Results) -> str:
    """Return `micro F1` or `macro F1`: which of them decides."""
    has_micro = any(row.quality.micro_f1 is not None for row in results.strategies)
    return "micro F1" if has_micro else "macro F1"


def headline_difference(comparison: Comparison) -> Estimate:
    """Return the difference that decides: of micro F1 where the task has one, else of macro F1."""
    return comparison.micro_f1_difference or comparison.f1_difference


def _differences(group: Group) -> list[Estimate]:
    return [headline_difference(row.versus_baseline) for row in group.seeds if row.versus_baseline]


def _kind(group: Group) -> str:
    """Of which F1 the differences of a row are."""
    compared = [row.versus_baseline for row in group.seeds if row.versus_baseline]
    return "micro F1" if all(one.micro_f1_difference for one in compared) else "macro F1"


def _mean_f1(group: Group) -> float | None:
    return group.mean(lambda row: headline_f1(row).value)


def _reference_sentence(reference: Group, models: list[Group]) -> tuple[bool, str]:
    """Return whether the reference is at least level with the best model, and the sentence."""
    name = REFERENCE_NAMES[reference.name]
    score = _mean_f1(reference)
    scored = [(value, group) for group in models if (value := _mean_f1(group)) is not None]
    if score is None or not scored:
        return False, ""
    best_score, best = max(scored, key=lambda pair: pair[0])
    compared = f"F1 {_show_f1(reference)} against {_show_f1(best)} of the best model, {best.name}"
    doubt = _doubt(reference)
    if score < best_score:
        return (
            False,
            f"{name} {'scores' if doubt else 'stays'} below the best trained model: {compared}{doubt}.",
        )
    if score == best_score:
        text = f"{name} does as well as the best trained model: {compared}."
    else:
        text = f"{name} {'scores above' if doubt else 'beats'} every trained model here: {compared}{doubt}."
    if reference.name != "tfidf" and score == 1.0:
        text += " It reproduces the test labels exactly: the models only relearn a lookup."
    return True, text


def _doubt(reference: Group) -> str:
    """Say so where the difference of a reference to the baseline may be chance, else return nothing."""
    compared = _differences(reference)
    if not compared or {side_of(difference) for difference in compared} in ({1}, {-1}):
        return ""
    shown = "; ".join(format_difference(difference) for difference in compared)
    return f", which may be chance ({_kind(reference)} to the baseline: {shown})"


def _show_f1(group: Group) -> str:
    if len(group.seeds) == 1:
        return format_estimate(headline_f1(group.seeds[0]))
    return f"{format_number(_mean_f1(group), 3)} (mean of {len(group.seeds)} seeds)"


def _strategy_sentence(group: Group) -> tuple[str, str]:
    """Return the kind (free, price, unknown, nothing) and the sentence of one compressed strategy."""
    comparisons = [row.versus_baseline for row in group.seeds if row.versus_baseline is not None]
    if len(comparisons) < len(group.seeds):
        return "unknown", f"{group.name} was not compared with the baseline."
    smaller = all(comparison.smaller for comparison in comparisons)
    faster = all(comparison.faster for comparison in comparisons)
    cost = _cost_phrase(group, smaller=smaller, faster=faster)
    differences = _differences(group)
    lows = defined(difference.low for difference in differences)
    if not (smaller or faster):
        return "nothing", f"{group.name} gains nothing in cost: {cost}.{_masked(group)} {_loss(group, lows)}"
    if len(lows) < len(differences):
        return (
            "unknown",
            f"{group.name} is {cost}; its {_kind(group)} difference to the baseline is undefined.",
        )
    lost = any(side_of(difference) < 0 for difference in differences)
    return ("price" if lost else "free"), f"{group.name} is {cost}. {_loss(group, lows)}"


def _cost_phrase(group: Group, *, smaller: bool, faster: bool) -> str:
    size = f"{format_ratio(group.size_ratio)} the bytes"
    latency = f"{format_ratio(group.latency_ratio)} the latency"
    if smaller and faster:
        return f"smaller ({size}) and faster ({latency})"
    if smaller:
        return f"smaller ({size}) but not faster ({latency})"
    if faster:
        return f"faster ({latency}) but not smaller ({size})"
    return f"neither smaller ({size}) nor faster ({latency})"


def _masked(group: Group) -> str:
    """Say so where weights are masked: set to zero and not removed."""
    shares = [
        row.cost.nonzero_parameters / row.cost.parameters
        for row in group.seeds
        if row.cost.parameters and row.cost.nonzero_parameters is not None
    ]
    # A trained dense model has a handful of exact zeros; masks set whole per cents to zero.
    if not shares or max(shares) > 0.99:
        return ""
    share = f"{1 - max(shares):.0%}"
    return f" {share} of its weights are zeros: they are still in the file and are still multiplied."


def _loss(group: Group, lows: list[float]) -> str:
    differences, kind = _differences(group), _kind(group)
    if len(lows) < len(differences):
        return f"Its {kind} difference to the baseline is undefined."
    shown = "; ".join(map(format_difference, differences))
    sides = [side_of(difference) for difference in differences]
    if set(sides) == {-1}:
        return f"It loses {kind}: {shown}."
    if set(sides) == {1}:
        return f"It gains {kind}: {shown}."
    if -1 in sides:
        return f"It loses {kind} in {sides.count(-1)} of {len(sides)} seeds: {shown}."
    allowed = max(0.0, -min(lows))
    doubt = f"; a loss of {allowed:.3f} is not excluded" if allowed >= 0.0005 else ""
    return f"No significant change in {kind} was found ({shown}){doubt}."
