"""What a results file says: sentences computed from its numbers, the Pareto set, and the results table."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

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
    format_p,
    format_ratio,
    groups,
    seeds_of,
)
from sympress.results import Estimate, Results, StrategyResult

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
    well as the best trained model; then one sentence for each compressed strategy that differs from the
    baseline in something: smaller, faster, and what may be said of its F1 (`report.claims`). That F1 is kept
    is said only where a loss of the margin is ruled out.
    """
    found = groups(results)
    models = [group for group in found if not group.is_reference]
    longer = next((group for group in found if group.name == LONGER), None)
    sentences = [_reference_sentence(group, models) for group in found if group.name in REFERENCE_NAMES]
    # A reference that beats the models comes before one that does not.
    sentences.sort(key=lambda sentence: not sentence[0])
    lines = [*chance_sentence(results), *(text for _, text in sentences if text)]
    if not any(group.name == BASELINE for group in models):
        lines.append("This run has no baseline: nothing here says what compression costs.")
        return lines
    alike = [group for group in models if group.name != BASELINE and _differs_in_nothing(group)]
    compressed = [group for group in models if group.name != BASELINE and group not in alike]
    order = ("free", "unclear", "price", "unknown", "nothing")
    judged = sorted(
        (_strategy_sentence(group, longer) for group in compressed), key=lambda one: order.index(one[0])
    )
    if longer is not None:  # what training alone gives, which a recipe that trains must beat
        same = "the baseline trained for as many steps as the longest recipe"
        lines.append(f"{LONGER} is {same}; {_change(longer)}.")
    return [*lines, *(text for _, text in judged), *_alike_sentence(alike)]


def chance_sentence(results: Results) -> list[str]:
    """Say so where the baseline does no better than a model that ignores the note."""
    kind = headline_name(results)
    chance = at_chance(results, micro=kind == "micro F1")
    if chance is None:
        return []
    learnt = (
        f"is at chance: a model that ignores the note has {kind} {chance:.3f}" if chance else "finds nothing"
    )
    return [f"The baseline {learnt}, so comparisons with it mean nothing; train longer, or on more notes."]


def beating_reference(found: list[Group]) -> tuple[Group, Group] | None:
    """Return the first reference that does as well as every trained model and the best model, or None."""
    models = [group for group in found if not group.is_reference]
    for group in found:
        if group.name in REFERENCE_NAMES and _reference_sentence(group, models)[0]:
            return group, max(models, key=lambda one: mean_f1(one) or 0.0)
    return None


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


def _kind(group: Group) -> str:
    """Of which F1 the difference of a row is."""
    return "micro F1" if group.micro is not None else "macro F1"


def mean_f1(group: Group) -> float | None:
    """Mean over seeds of the F1 that decides."""
    return group.mean(lambda row: headline_f1(row).value)


def _reference_sentence(reference: Group, models: list[Group]) -> tuple[bool, str]:
    """Return whether the reference is at least level with the best model, and the sentence."""
    name = REFERENCE_NAMES[reference.name]
    score = mean_f1(reference)
    scored = [(value, group) for group in models if (value := mean_f1(group)) is not None]
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
        text = f"{text[:-1]}; it reproduces the test labels exactly, so the models only relearn a lookup."
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
    return f"{format_number(mean_f1(group), 3)} (mean of {len(group.seeds)} seeds)"


def _strategy_sentence(group: Group, longer: Group | None) -> tuple[str, str]:
    """Return the kind (free, unclear, price, unknown, nothing) and the sentence of a compressed strategy."""
    comparisons = [row.versus_baseline for row in group.seeds if row.versus_baseline is not None]
    if len(comparisons) < len(group.seeds) or group.claim is None:
        return "unknown", f"{group.name} was not compared with the baseline."
    smaller = all(comparison.smaller for comparison in comparisons)
    faster = all(comparison.faster for comparison in comparisons)
    cost = _cost_phrase(group, smaller=smaller, faster=faster)
    if not (smaller or faster):
        return "nothing", f"{group.name} gains nothing in cost, {cost}{_masked(group)}; {_change(group)}."
    beside = ""
    if longer is not None and group.claim.kind == "gains":
        beside = f", where {LONGER} has F1 {_show_f1(longer)} and {group.name} {_show_f1(group)}"
    return _PRICES[group.claim.kind], f"{group.name} is {cost}; {_change(group)}{beside}."


def _differs_in_nothing(group: Group) -> bool:
    """Whether a row is neither smaller nor faster, holds no masked weights, and shows no other F1."""
    compared = [row.versus_baseline for row in group.seeds]
    claim = group.claim
    return (
        claim is not None
        and claim.kind in {"keeps", "unclear"}
        and all(one is not None and not (one.smaller or one.faster) for one in compared)
        and not _masked(group)
    )


def _alike_sentence(alike: Sequence[Group]) -> list[str]:
    """One sentence for all rows that differ from the baseline in nothing; none without such rows."""
    if not alike:
        return []
    names = [group.name for group in alike]
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    verb = "is" if len(names) == 1 else "are"
    return [f"{listed} {verb} neither smaller nor faster, and no difference in {_kind(alike[0])} is shown."]


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
    return f", and {1 - max(shares):.0%} of its weights are zeros that stay in the file and are multiplied"


def _change(group: Group) -> str:
    """What may be said of the F1 of a row that was compared: the clause of its claim."""
    claim, kind = group.claim, _kind(group)
    if claim is None or claim.kind == "undefined":
        return f"its {kind} difference to the baseline is undefined"
    shown, margin = format_difference(claim.pooled.difference), f"{claim.pooled.margin:.3f}"
    if len(group.seeds) > 1:
        shown += f", {len(group.seeds)} seeds together"
    if claim.kind == "chance":
        return f"its {kind} says nothing beside a baseline at chance ({shown})"
    if claim.kind == "gains":
        return f"it gains {kind} ({shown}; corrected p {format_p(claim.p_holm)})"
    if claim.kind == "loses":
        less = f", less than the margin of {margin}" if claim.within else ""
        return f"it loses {kind}{less} ({shown}; corrected p {format_p(claim.p_holm)})"
    if claim.kind == "keeps":
        p_margin = format_p(claim.pooled.p_margin_holm)
        return f"it keeps {kind} ({shown}; a loss of {margin} is ruled out, corrected p {p_margin})"
    return f"there are too few notes to tell whether it keeps {kind} within {margin} ({shown})"


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


# The results table: narrow for a console, narrow or wide as Markdown.


#: Columns of a terminal that hold the table with its intervals.
WIDE = 110


def console_table(results: Results, width: int = 120) -> Table:
    """Return the narrow table: quality, difference, size, latency, throughput; fits 120 columns.

    The references are last, under a rule. What the brackets and ratios mean is the caption. A terminal of
    less than `WIDE` columns gets fewer, which fit 80: quality without intervals, verdict, size, latency.

    Args:
        results: of the run.
        width: columns of the terminal.
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
    header, *lines = _console_cells(results, brief=width < WIDE)
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


def _console_cells(results: Results, *, brief: bool) -> list[list[str]]:
    """The header and one line a strategy, as the terminal shows them."""
    every = columns(results)
    if not brief:
        return _cells([column for column in every if column.on_console], results, full=False)
    return _cells([replace(column, narrow=column.brief) for column in every], results, full=False)


def _cells(shown: Sequence[Column], results: Results, *, full: bool) -> list[list[str]]:
    """Return the header and then one line a strategy, all as text."""
    chosen = [
        (column.header, cell)
        for column in shown
        if (cell := column.cell if full else column.narrow) is not None
    ]
    return [[header for header, _ in chosen], *([cell(g) for _, cell in chosen] for g in groups(results))]


def caption(results: Results) -> str:
    """Say in one sentence what the table shows; `explanation` says what its numbers and marks are."""
    number = len(seeds_of(results))
    seeds = f"mean (range) over {number} seeds" if number > 1 else "with 95 % intervals"
    return f"Quality and cost of each deployed file on {results.data.test:,} test notes, {seeds}."


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
