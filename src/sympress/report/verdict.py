"""What a results file says: sentences computed from its numbers, the Pareto set, and the results table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich import box
from rich.table import Table
from rich.text import Text

from sympress.report.claims import LEVEL, Kind, at_chance
from sympress.report.columns import (
    BASELINE,
    LONGER,
    MARK,
    PARTLY,
    Column,
    Group,
    columns,
    format_difference,
    format_estimate,
    format_number,
    format_ratio,
    groups,
    seeds_of,
)
from sympress.results import Comparison, Estimate, Results, StrategyResult

# What a results file says, in sentences computed from its numbers.


REFERENCE_NAMES = {
    "rule": "The lexicon rule",
    "rule-assertion": "The lexicon rule with assertion",
    "tfidf": "TF-IDF with logistic regression",
    "ensemble": "The ensemble of the networks, TF-IDF and the rules",
}


def verdict(results: Results) -> list[str]:
    """Say in plain sentences what the run shows, what a reader must not miss first.

    First that the baseline is at chance, if it is, and whether a reference (the lexicon rule, TF-IDF) does as
    well as the best trained model; then one sentence a compressed strategy: smaller, faster, and what may be
    said of its F1 (`report.claims`). That F1 is kept is said only where a loss of the margin is ruled out.
    """
    found = groups(results)
    models = [group for group in found if not group.is_reference]
    longer = next((group for group in found if group.name == LONGER), None)
    sentences = [_reference_sentence(group, models) for group in found if group.name in REFERENCE_NAMES]
    # A reference that beats the models comes before one that does not.
    sentences.sort(key=lambda sentence: not sentence[0])
    lines = [*_chance_sentence(results), *(text for _, text in sentences if text)]
    if not any(group.name == BASELINE for group in models):
        lines.append("This run has no baseline: nothing here says what compression costs.")
        return lines
    compressed = [group for group in models if group.name != BASELINE]
    order = ("free", "unclear", "price", "unknown", "nothing")
    judged = sorted(
        (_strategy_sentence(group, longer) for group in compressed), key=lambda one: order.index(one[0])
    )
    lines += [] if longer is None else [_longer_sentence(longer)]
    return lines + [text for _, text in judged]


def _longer_sentence(longer: Group) -> str:
    """What training alone gives, which a recipe that trains must beat."""
    return f"The baseline trained for as many steps as the longest recipe ({LONGER}): {_change(longer)}"


def _chance_sentence(results: Results) -> list[str]:
    """Say so where the baseline does no better than a model that ignores the note."""
    kind = headline_name(results)
    chance = at_chance(results, micro=kind == "micro F1")
    if chance is None:
        return []
    return [
        f"The baseline is at chance: a model that ignores the note has {kind} {chance:.3f}. Comparisons with "
        "it mean nothing: train longer, or on more notes."
    ]


def beating_reference(found: list[Group]) -> str:
    """Return the sentence on a reference that does as well as every trained model, or an empty string."""
    models = [group for group in found if not group.is_reference]
    sentences = [_reference_sentence(group, models) for group in found if group.name in REFERENCE_NAMES]
    return next((text for level, text in sentences if level), "")


def headline_f1(row: StrategyResult) -> Estimate:
    """Return the F1 that decides: micro where the task has one (`present`), else macro."""
    return row.quality.micro_f1 if row.quality.micro_f1 is not None else row.quality.f1


def headline_name(results: Results) -> str:
    """Return `micro F1` or `macro F1`: which of them decides."""
    has_micro = any(row.quality.micro_f1 is not None for row in results.strategies)
    return "micro F1" if has_micro else "macro F1"


def scored_part(results: Results) -> str:
    """Return `validation`, or `test` where no validation notes were kept: what scores every epoch."""
    return "validation" if results.data.validation else "test"


def headline_difference(comparison: Comparison) -> Estimate:
    """Return the difference that decides: of micro F1 where the task has one, else of macro F1."""
    return comparison.micro_f1_difference or comparison.f1_difference


def _differences(group: Group) -> list[Estimate]:
    return [headline_difference(row.versus_baseline) for row in group.seeds if row.versus_baseline]


def _kind(group: Group) -> str:
    """Of which F1 the difference of a row is."""
    return "micro F1" if group.micro is not None else "macro F1"


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
    claim = reference.claim
    if claim is None or claim.differs:
        return ""
    shown = format_difference(claim.pooled.difference)
    return f", which may be chance ({_kind(reference)} to the baseline: {shown})"


def _show_f1(group: Group) -> str:
    if len(group.seeds) == 1:
        return format_estimate(headline_f1(group.seeds[0]))
    return f"{format_number(_mean_f1(group), 3)} (mean of {len(group.seeds)} seeds)"


def _strategy_sentence(group: Group, longer: Group | None) -> tuple[str, str]:
    """Return the kind (free, unclear, price, unknown, nothing) and the sentence of a compressed strategy."""
    comparisons = [row.versus_baseline for row in group.seeds if row.versus_baseline is not None]
    if len(comparisons) < len(group.seeds) or group.claim is None:
        return "unknown", f"{group.name} was not compared with the baseline."
    smaller = all(comparison.smaller for comparison in comparisons)
    faster = all(comparison.faster for comparison in comparisons)
    cost = _cost_phrase(group, smaller=smaller, faster=faster)
    if not (smaller or faster):
        return "nothing", f"{group.name} gains nothing in cost: {cost}.{_masked(group)} {_change(group)}"
    beside = ""
    if longer is not None and group.claim.kind == "gains":
        beside = f" {LONGER} has F1 {_show_f1(longer)}, {group.name} {_show_f1(group)}."
    return _PRICES[group.claim.kind], f"{group.name} is {cost}. {_change(group)}{beside}"


#: Of each claim, where the sentence of a row stands.
_PRICES: dict[Kind, str] = {
    "gains": "free",
    "keeps": "free",
    "unclear": "unclear",
    "loses": "price",
    "chance": "unknown",
    "undefined": "unknown",
}


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


def _change(group: Group) -> str:
    """What may be said of the F1 of a row that was compared: the sentence of its claim."""
    claim, kind = group.claim, _kind(group)
    if claim is None or claim.kind == "undefined":
        return f"Its {kind} difference to the baseline is undefined."
    difference, margin = claim.pooled.difference, f"{claim.pooled.margin:.3f}"
    shown = format_difference(difference)
    if len(group.seeds) > 1:
        shown += f", {len(group.seeds)} seeds together"
    if claim.kind == "chance":
        return f"Its {kind} says nothing beside a baseline at chance ({shown})."
    if claim.kind == "gains":
        return f"It gains {kind}: {shown}; corrected p {_p(claim.p_holm)}."
    if claim.kind == "loses":
        less = f", less than the margin of {margin}" if claim.within else ""
        return f"It loses {kind}{less}: {shown}; corrected p {_p(claim.p_holm)}."
    if claim.kind == "keeps":
        p_margin = _p(claim.pooled.p_margin_holm)
        return f"It keeps {kind}: {shown}; a loss of {margin} is ruled out, corrected p {p_margin}."
    return f"Too few notes to tell whether it keeps {kind} within {margin}: {shown}."


def _p(value: float | None) -> str:
    return "undefined" if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"


# Where each strategy stands between quality and cost, and which ones another makes pointless.


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


# Which recipe to take and what it costs, in sentences computed from the numbers.


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
    """Choose the cheapest compressed row that is smaller or faster and is shown to keep its F1.

    Cheapest: the least product of bytes and latency, both relative to the baseline. F1 is the one that
    decides: micro for `present`, macro for `topic`; it is kept where a loss of the margin is ruled out. Where
    a reference does as well as every trained model, or the baseline is at chance, that is said first.
    """
    found = groups(results)
    baseline = next((group for group in found if group.name == BASELINE), None)
    rivals = [group for group in found if not group.is_reference and group.name != BASELINE]
    sentence, further, best = _choose(rivals) if baseline is not None else _choose([])
    reference = beating_reference(found)
    at_chance_line = _chance_sentence(results)
    if reference:
        further = [f"Among the models: {sentence[:1].lower()}{sentence[1:]}", *further]
        return Advice(f"Take no model for this: {_lower(reference)}", tuple(further), None, baseline)
    if at_chance_line:
        return Advice(at_chance_line[0], (), None, baseline)
    return Advice(sentence, tuple(further), best, baseline)


def _choose(rivals: list[Group]) -> tuple[str, list[str], Group | None]:
    """The sentence, what follows it, and the strategy that is worth taking, if one is."""
    if not rivals:
        return "Nothing was compressed here: there is no recipe to choose.", [], None
    gaining = sorted((group for group in rivals if _gains(group)), key=_price)
    free = [group for group in gaining if _free(group)]
    others = [group for group in gaining if group not in free]
    if not free:
        return _nothing_free(others), [], None
    best = free[0]
    cheaper = [group for group in others if _price(group) < _price(best)]
    further = [f"To go further, {_offer(cheaper[0])}."] if cheaper else []
    if len(rivals) > 1:
        further.append(
            f"Chosen by this very table among {len(rivals)} compressed rows: confirm it on notes of your own."
        )
    return f"Take {_offer(best)}.", further, best


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


def _offer(group: Group) -> str:
    """`NAME: bytes, latency. What may be said of its F1`, without the last full stop."""
    size = f"{format_number(size_mb(group), 1)} MB ({format_ratio(group.size_ratio)} the baseline’s)"
    speed = f"{format_number(latency_ms(group), 2)} ms a note ({format_ratio(group.latency_ratio)})"
    return f"{group.name}: {size}, {speed}. {_change(group).removesuffix('.')}"


def _nothing_free(others: list[Group]) -> str:
    if not others:
        return "Keep the baseline: no compressed row is smaller or faster."
    unclear = [group for group in others if group.claim is not None and group.claim.kind == "unclear"]
    if unclear:
        return f"Keep the baseline until more notes have judged {_offer(unclear[0])}."
    return f"Keep the baseline, or pay for less: {_offer(others[0])}."


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:] if sentence.startswith("The ") else sentence


# The results table: narrow for a console, narrow or wide as Markdown.


def console_table(results: Results) -> Table:
    """Return the narrow table: quality, difference, size, latency, throughput; fits 120 columns.

    The references stand last, under a rule. What the brackets and ratios mean is the caption.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(printable(f"{results.protocol} · {results.task} · {results.data.name}")),
        caption=Text(explanation(results)),
        title_justify="left",
        caption_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    header, *lines = _cells([column for column in columns(results) if column.on_console], results, full=False)
    for number, name in enumerate(header):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    found = groups(results)
    for number, group in enumerate(found):
        next_is_reference = number + 1 < len(found) and found[number + 1].is_reference
        table.add_row(
            *(Text(printable(cell)) for cell in lines[number]),
            style="dim" if group.is_reference else None,
            end_section=next_is_reference and not group.is_reference,
        )
    return table


def markdown_table(results: Results, *, full: bool = True, only: Sequence[str] = ()) -> str:
    """Return a Markdown table with every column, or with those of the console (`full=False`).

    Args:
        results: of the run.
        full: every column.
        only: headers of the columns to show; () for all of them.
    """
    shown = [one for one in columns(results) if not only or one.header in only]
    header, *lines = _cells(shown, results, full=full)
    rule = [":--"] + ["--:"] * (len(header) - 1)
    escaped = [[escape_markdown(cell) for cell in line] for line in (header, *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (escaped[0], rule, *escaped[1:]))


def _cells(shown: Sequence[Column], results: Results, *, full: bool) -> list[list[str]]:
    """Return the header and then one line a strategy, all as text."""
    chosen = [
        (column.header, cell)
        for column in shown
        if (cell := column.cell if full else column.narrow) is not None
    ]
    return [[header for header, _ in chosen], *([cell(g) for _, cell in chosen] for g in groups(results))]


def explanation(results: Results) -> str:
    """Say in one line what the numbers of the table are: intervals, seeds, ratios, marks, references."""
    seeds = seeds_of(results)
    listed = ", ".join(str(seed) for seed in seeds)
    interval = "95 % bootstrap interval, test notes resampled by patient"
    numbers = f"[ ] {interval}; seed {listed}"
    if len(seeds) > 1:
        numbers = f"mean (range) over {len(seeds)} seeds ({listed}); [ ] 95 % interval over seeds and notes"
    averaged = any(row.quality.f1.note for row in results.strategies if row.quality.f1.value is not None)
    partly = f" {PARTLY} averaged over the symptoms that are defined on the test notes." if averaged else ""
    return (
        f"{results.data.test:,} test notes; {numbers}; {_claimed(results)}× ratio to the baseline; "
        f"MB = 10⁶ bytes; latency at batch 1{_timed(results)}; reference rows are not compressed models."
        f"{partly}"
    )


def _timed(results: Results) -> str:
    """Say so where the int8 yardstick was timed with a fusion that our own files leave out."""
    int8 = results.yardsticks.get("onnx-int8")
    if int8 is None or int8.disabled_optimizers is not None:
        return ""
    return ", the int8 yardstick with a fusion that slows it down and that our files leave out"


def _claimed(results: Results) -> str:
    """What a mark and a verdict mean, where a row was compared."""
    claim = next((group.claim for group in groups(results) if group.claim is not None), None)
    if claim is None:
        return ""
    several = "all seeds together, " if len(seeds_of(results)) > 1 else ""
    stored = any(row.versus_baseline and row.versus_baseline.pooled for row in results.strategies)
    source = "" if stored else ", from the recorded intervals"
    return (
        f"{MARK} differs from the baseline, and verdict on {headline_name(results)} (keeps: a loss of "
        f"{claim.pooled.margin:g} is ruled out): {several}p < {LEVEL:g}, corrected by Holm{source}; "
    )


def printable(text: str) -> str:
    """Return `text` with control characters (line ends, terminal escapes) replaced by a visible mark."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text
    )


def escape_markdown(text: str) -> str:
    """Return `text` such that Markdown shows it as it is: no markup, no HTML, no new cell or line."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", printable(text).replace("&", "&amp;"))
