"""A run of the protocol `paper` beside the published numbers, and what it shows of that procedure."""

from __future__ import annotations

import csv
from collections.abc import Callable
from importlib import resources
from typing import Any

from sympress.report.columns import BASELINE, Group, groups, seeds_of
from sympress.report.formats import defined, format_estimate, format_number, format_ratio
from sympress.report.pareto import latency_ms, size_mb
from sympress.report.sections import METRICS, metrics_of
from sympress.report.verdict import headline_f1
from sympress.results import Results, StrategyResult

#: Keys of `data.labelling` under which a study counts the labels that a negated mention gave.
NEGATED = "labelled by a negated mention"
NOT_CURRENT = "labelled by a mention of family, history, possibility or hypothesis"
NOT_FOUND = "labelled where the annotator finds no mention"


def published_beside(results: Results) -> list[dict[str, Any]]:
    """Return the paper's last-epoch table; each line with our rows of that strategy, first seed.

    `ours` holds the strategy as sympress does it and, where the run has it, its literal variant
    `<strategy>-published`, each as `(name, five numbers)`.
    """
    first = _first_seed(results)
    return [
        {
            "method": line["method"],
            "published": [line[name] for name in METRICS],
            "ours": [(name, metrics_of(first[name].quality)) for name in _variants(line["strategy"], first)],
        }
        for line in _read("published.csv")
    ]


def epochs_beside(results: Results) -> list[dict[str, Any]]:
    """Return the published numbers after each epoch, each with ours on validation notes, first seed."""
    first = _first_seed(results)
    lines = []
    for line in _read("published_epochs.csv"):
        ours = [
            (name, metrics_of(epoch.quality))
            for name in _variants(line["strategy"], first)
            for epoch in first[name].epochs
            if str(epoch.epoch) == line["epoch"]
        ]
        if ours:
            numbers = [line[name] for name in METRICS]
            lines.append(
                {"method": line["strategy"], "epoch": line["epoch"], "published": numbers, "ours": ours}
            )
    return lines


def eleven_points(results: Results) -> list[tuple[str, str]]:
    """Return what the published procedure does not show, each with what this run shows of it."""
    found = {group.name: group for group in groups(results)}
    return [(title, show(results, found)) for title, show in POINTS.items()]


def _first_seed(results: Results) -> dict[str, StrategyResult]:
    first: dict[str, StrategyResult] = {}
    for row in sorted(results.strategies, key=lambda row: row.seed):
        first.setdefault(row.name, row)
    return first


def _variants(strategy: str, first: dict[str, StrategyResult]) -> list[str]:
    return [name for name in (strategy, f"{strategy}-published") if name in first]


def _read(name: str) -> list[dict[str, str]]:
    path = resources.files("sympress.report").joinpath("data", name)
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


# The points ----------------------------------------------------------------------------------------

Found = dict[str, Group]


def _lookup(results: Results, found: Found) -> str:
    models = [group for group in found.values() if not group.is_reference]
    scores = defined(group.mean(lambda row: headline_f1(row).value) for group in models)
    if "rule" not in found or not scores:
        return "This run has no row of the rule."
    rule = format_number(found["rule"].mean(lambda row: headline_f1(row).value), 3)
    return (
        f"The rule scores F1 {rule}, the best trained model {max(scores):.3f}. Labels: {results.data.labels}."
    )


def _negation(results: Results, _found: Found) -> str:
    counts = results.data.labelling
    if NEGATED not in counts:
        return _BY_PEOPLE if _by_people(results) else "Not counted in this run."
    total = results.data.train + results.data.validation + results.data.test
    return (
        f"{counts[NEGATED]:,} of {total:,} labels come from a negated mention, "
        f"{counts.get(NOT_CURRENT, 0):,} from one of family, history, possibility or hypothesis."
    )


_BY_PEOPLE = "The labels of this run come from people, not from a rule."


def _by_people(results: Results) -> bool:
    return results.data.labels.startswith(("coded", "gold"))


def _order(results: Results, _found: Found) -> str:
    if _by_people(results):
        return f"{_BY_PEOPLE} Fingerprint of the data: {results.data.fingerprint}."
    return (
        "The order is that of the lexicon file, so the same notes always give the same labels. Fingerprint "
        f"of the data: {results.data.fingerprint}."
    )


def _leaks(results: Results, _found: Found) -> str:
    split = results.data.split
    return (
        f"Split {split.rule}: of {split.test:,} test notes {split.patients_on_both_sides:,} have a note of "
        f"the same patient and {split.duplicates_on_both_sides:,} a copy or near-copy in training."
    )


def _teacher(_results: Results, found: Found) -> str:
    return _gains(found, "distillation-published", "distillation")


def _rank(_results: Results, found: Found) -> str:
    saved = ""
    if "lowrank-published" in found and BASELINE in found:
        ours, base = (_parameters(found[name]) for name in ("lowrank-published", BASELINE))
        if ours is not None and base is not None:
            saved = f"The model with the factorized classifier has {_more(ours - base)} the baseline. "
    return saved + _gains(found, "lowrank-published", "lowrank")


def _more(change: float) -> str:
    if not round(change):
        return "as many parameters as"
    return f"{abs(change):,.0f} {'fewer' if change < 0 else 'more'} parameters than"


def _parameters(group: Group) -> float | None:
    return group.mean(lambda row: row.cost.parameters)


def _zeros(_results: Results, found: Found) -> str:
    masked = next((found[name] for name in ("pruning-published", "pruning-masked") if name in found), None)
    shares = "" if masked is None else _zero_share(masked)
    return shares + _gains(found, "pruning-published", "pruning-masked", "pruning")


def _zero_share(group: Group) -> str:
    weights, nonzero = _parameters(group), group.mean(lambda row: row.cost.nonzero_parameters)
    if not weights or nonzero is None:
        return ""
    return f"{1 - nonzero / weights:.1%} of the weights of {group.name} are zeros. "


def _int8(_results: Results, found: Found) -> str:
    return _gains(found, "quantization-published", "quantization")


def _cost(_results: Results, found: Found) -> str:
    if BASELINE not in found:
        return "This run has no baseline."
    base = found[BASELINE]
    memory = base.mean(lambda row: row.cost.peak_rss_bytes)
    held = "" if memory is None else f", {format_number(memory / 1e6, 0)} MB of memory"
    speed = base.mean(lambda row: row.cost.notes_per_second)
    return (
        f"Every row has them. The baseline: {format_number(size_mb(base), 1)} MB, "
        f"{format_number(latency_ms(base), 2)} ms a note, {format_number(speed, 0)} notes a second{held}."
    )


def _seeds(results: Results, found: Found) -> str:
    compared = [
        group for group in found.values() if group.seeds[0].versus_baseline and not group.is_reference
    ]
    apart = sum(group.direction != 0 for group in compared)
    interval = (
        format_estimate(found[BASELINE].seeds[0].quality.accuracy) if BASELINE in found else "undefined"
    )
    number = len(seeds_of(results))
    return (
        f"{number} seed{'s' * (number > 1)}, {results.data.test:,} test notes; accuracy of the baseline "
        f"{interval}. {apart} of {len(compared)} compressed rows differ from it significantly in every seed."
    )


def _choice(results: Results, _found: Found) -> str:
    data, select = results.data, results.config.get("select")
    kept = {"last": "the last epoch is kept", "best": "the epoch best on validation is kept"}
    how = f"; {kept[select]}" if select in kept else ""
    return (
        f"{data.validation:,} validation notes score every epoch{how}; the {data.test:,} test notes do not."
    )


def _gains(found: Found, *names: str) -> str:
    """Bytes, latency and F1 of each of the rows that the run has."""
    shown = [
        f"{name}: {format_ratio(group.size_ratio)} the bytes, "
        f"{format_ratio(group.latency_ratio)} the latency, F1 {format_number(group.mean(_f1), 3)}"
        for name in names
        if (group := found.get(name)) is not None
    ]
    return "; ".join(shown) + "." if shown else f"This run has no row {' or '.join(names)}."


def _f1(row: StrategyResult) -> float | None:
    return headline_f1(row).value


#: The eleven points of the reference protocol, and what fills each.
POINTS: dict[str, Callable[[Results, Found], str]] = {
    "The label is a keyword that stands in the note: a rule scores all of them.": _lookup,
    "“Denies fever” is labelled fever: no negation, family history or hypotheses.": _negation,
    "The order of the lexicon came from hashing, so labels changed from one process to the next.": _order,
    "Notes of one patient, and copies, fall on both sides of the split.": _leaks,
    "The teacher was never fine-tuned, and the student is as large as the teacher.": _teacher,
    "The classifier’s rank is at most the number of classes: a factorization of rank 32 is exact.": _rank,
    "Masked weights stay in the file as zeros, and are multiplied.": _zeros,
    "The int8 model was never measured.": _int8,
    "Size, memory, latency and throughput are not reported.": _cost,
    "One seed and few test notes: the interval is wider than most gaps. No test of significance.": _seeds,
    "Every epoch is scored on the test set, so whatever was chosen was chosen there.": _choice,
}
