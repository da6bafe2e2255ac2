"""What each section of the page shows of one run, as plain values for the template."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympress.report.columns import (
    BASELINE,
    NOT_APPLICABLE,
    UNDEFINED,
    Group,
    columns,
    defined,
    format_difference,
    format_estimate,
    format_number,
    format_p,
    groups,
    seeds_of,
    signed,
)
from sympress.results import (
    CalibrationQuality,
    Estimate,
    GroupChange,
    Quality,
    Results,
    SpanScores,
    StrategyResult,
)

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")
_CELL = re.compile(r"(?P<value>[+−\d][\d.,]*%?)(?: (?P<aside>[(\[].*[)\]]))?(?P<mark>†| \*)?")
_NUMBER = re.compile(r"[−-]?\d[\d,]*\.?\d*(?:e[−-]?\d+)?")


def table_of(runs: Sequence[tuple[str, Results]]) -> dict[str, Any]:
    """The results table of one run, or of several with the run's name in front; cells with a key to sort by.

    A header comes with whether it is shown only when more columns are asked for. A cell is `(value, mark,
    aside, key)`: of `0.9 [0.8, 1.0] *` the number, the mark behind it, the brackets, and the number to sort
    by, if there is one.
    """
    several, shown = len(runs) > 1, columns(*(results for _, results in runs))
    rows = [
        {
            "cells": [
                (*parts_of(text), sort_key(text))
                for text in [*([name] if several else []), *(column.cell(group) for column in shown)]
            ],
            "is_reference": group.is_reference,
            "is_baseline": group.name == BASELINE,
        }
        for name, results in runs
        for group in groups(results)
    ]
    headers = [("run", False)] if several else []
    return {"headers": [*headers, *((column.header, column.more) for column in shown)], "rows": rows}


def parts_of(text: str) -> tuple[str, str, str]:
    """Return the value of a cell, the mark behind it (with its blank) and what stands in brackets."""
    found = _CELL.fullmatch(text)
    return (found["value"], found["mark"] or "", found["aside"] or "") if found else (text, "", "")


def sort_key(text: str) -> str:
    """Return the first number of a cell as a computer writes it, or an empty string."""
    found = _NUMBER.search(text)
    return found[0].replace(",", "").replace("−", "-") if found else ""


def symptom_matrix(found: list[Group]) -> dict[str, Any]:
    """F1 of each symptom (rows) for each strategy (columns), mean over seeds; each with its heat, 0 to 1."""
    support: dict[str, int] = {}
    scores: dict[tuple[str, str], list[Estimate]] = {}
    for group in found:
        for row in group.seeds:
            for quality in row.quality.per_symptom:
                support.setdefault(quality.symptom, quality.support)
                scores.setdefault((quality.symptom, group.name), []).append(quality.f1)
    means = {key: mean_of(estimates) for key, estimates in scores.items()}
    known = defined(means.values())
    low, span = min(known, default=0.0), (max(known, default=1.0) - min(known, default=0.0)) or 1.0
    rows = [
        (
            symptom,
            format_number(count, 0),
            [_heat(means, (symptom, group.name), low, span) for group in found],
        )
        for symptom, count in support.items()
    ]
    ends = (format_number(low, 3), format_number(max(known, default=1.0), 3))
    return {"headers": ["symptom", "notes", *(group.name for group in found)], "rows": rows, "ends": ends}


def _heat(
    means: dict[tuple[str, str], float | None], key: tuple[str, str], low: float, span: float
) -> tuple[str, str]:
    """The text of a cell, and its heat as CSS has it."""
    if key not in means:
        return NOT_APPLICABLE, ""
    value = means[key]
    return (UNDEFINED, "") if value is None else (f"{value:.3f}", f"{(value - low) / span:.3f}")


def mean_of(estimates: Sequence[Estimate]) -> float | None:
    """Mean of the values, or None where one is undefined or there are none."""
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    return sum(values) / len(values) if values and len(values) == len(estimates) else None


def changes_of(results: Results) -> dict[str, Any]:
    """Flips of every compressed row, and F1 by group of notes beside the baseline's; empty without any."""
    changed = [row for group in groups(results) for row in group.seeds if row.changes is not None]
    counted = ("notes", "flipped_notes", "flipped_answers", "corrected", "spoiled")
    flips = [
        [title_of(results, row), *(format_number(getattr(row.changes, name), 0) for name in counted)]
        for row in changed
    ]
    return {"flips": flips, "subgroups": _subgroups(results, changed)}


def _subgroups(results: Results, changed: list[StrategyResult]) -> dict[str, Any]:
    """F1 of each group of notes and its difference to the baseline's, first seed; a row a group."""
    first = [row for row in changed if row.seed == min(seeds_of(results), default=0) and row.changes]
    names: dict[str, GroupChange] = {}
    found: dict[tuple[str, str], GroupChange] = {}
    for row in first:
        for one in row.changes.per_group if row.changes else ():
            names.setdefault(one.group, one)
            found[one.group, row.name] = one
    rows = [
        [
            name,
            format_number(one.notes, 0),
            format_number(one.baseline_f1, 3),
            *(_beside(found.get((name, row.name))) for row in first),
        ]
        for name, one in names.items()
    ]
    return {"headers": ["group of notes", "notes", "baseline", *(row.name for row in first)], "rows": rows}


def _beside(one: GroupChange | None) -> str:
    if one is None or one.f1 is None:
        return NOT_APPLICABLE
    if one.baseline_f1 is None:
        return f"{one.f1:.3f}"
    return f"{one.f1:.3f} ({signed(one.f1 - one.baseline_f1)})"


def title_of(results: Results, row: StrategyResult) -> str:
    """Name of a row, with its seed where there are several."""
    return f"{row.name} · seed {row.seed}" if len(seeds_of(results)) > 1 else row.name


def block_of(results: Results, row: StrategyResult) -> dict[str, Any]:
    """What stands behind one row of the table: per symptom on test, per epoch on validation."""
    versus = row.versus_baseline
    return {
        "title": title_of(results, row),
        "row": row,
        "p_value": None if versus is None or versus.p_value is None else f"{versus.p_value:.2g}",
        "symptoms": [
            [
                quality.symptom,
                format_number(quality.support, 0),
                *(format_estimate(m) for m in (quality.precision, quality.recall, quality.f1, quality.auroc)),
                NOT_APPLICABLE if quality.threshold is None else f"{quality.threshold:.3f}",
            ]
            for quality in row.quality.per_symptom
        ],
        "epochs": [[str(epoch.epoch), *metrics_of(epoch.quality)] for epoch in row.epochs],
        "reasons": _reasons(row.quality),
    }


def metrics_of(quality: Quality) -> list[str]:
    """Accuracy, precision, recall, F1 and AUROC to four decimals."""
    values = [getattr(quality, name).value for name in METRICS]
    return [UNDEFINED if value is None else f"{value:.4f}" for value in values]


def _reasons(quality: Quality) -> list[str]:
    """What the metrics themselves remark: why one has no value, or over how many symptoms it averages."""
    found = [(name, getattr(quality, name)) for name in METRICS]
    for symptom in quality.per_symptom:
        metrics = ("precision", "recall", "f1", "auroc")
        found += [(f"{symptom.symptom}, {name}", getattr(symptom, name)) for name in metrics]
    return [f"{name}: {estimate.note}" for name, estimate in found if estimate.note]


def data_facts(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Counts of reading, labelling, splitting and the search for duplicates, each under its title."""
    data, split = results.data, results.data.split
    counted = {
        "Reading": data.reading,
        "Labelling": data.labelling,
        "Split": {
            "training notes": split.train,
            "validation notes": split.validation,
            "test notes": split.test,
            **({"older training notes left out": split.left_out} if split.left_out else {}),
        },
        "Duplicates and leaks": {
            "exact duplicates found": split.exact_duplicates,
            "near-duplicates found": split.near_duplicates,
            "patients on both sides": split.patients_on_both_sides,
            "duplicates on both sides": split.duplicates_on_both_sides,
        },
    }
    return [
        (title, [(name, f"{count:,}") for name, count in counts.items()])
        for title, counts in counted.items()
        if counts
    ]


def drift_table(results: Results) -> tuple[list[str], list[list[str]]] | None:
    """The rate of each symptom by year in percent, headers first; None where notes are not split by time."""
    drift = results.data.drift
    if drift is None:
        return None
    sides = {"train": "", "validation": ", validation", "test": ", test"}
    headers = ["Symptom", *(f"{one.year}{sides[one.side]}" for one in drift.periods)]
    return headers, [[one.symptom, *(f"{100 * rate:.2f}" for rate in one.rates)] for one in drift.symptoms]


def leak_sentence(results: Results) -> str:
    """Say whether a patient or a copy of a note stands on both sides of the split."""
    split = results.data.split
    if not split.patients_on_both_sides and not split.duplicates_on_both_sides:
        return "Leak check: no patient and no copy of a note stands in training and in test."
    return (
        f"Leak check: {split.patients_on_both_sides:,} test notes have a note of the same patient, and "
        f"{split.duplicates_on_both_sides:,} a copy, in training."
    )


def config_text(results: Results) -> str:
    """The configuration as indented JSON."""
    return json.dumps(results.config, indent=2, ensure_ascii=False, default=str)


def command_of(results: Results) -> str | None:
    """Return the exact command of the run, if its config keeps one."""
    command = results.config.get("command")
    if isinstance(command, list):
        return shlex.join(str(part) for part in command)
    return str(command) if command else None


def flatten(values: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return nested values as `(dotted name, text)` pairs."""
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            found += flatten(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", NOT_APPLICABLE if value is None else str(value)))
    return found


# Whether probabilities can be taken at their word: what a run says of it, for a table and a curve.


@dataclass(frozen=True)
class Reliability:
    """Calibration of one strategy, first seed.

    Attributes:
        name: of the strategy.
        cells: calibration error, Brier score, and both before calibration.
        predicted: mean probability of each bin.
        observed: share of answers of the bin that are true.
    """

    name: str
    cells: tuple[str, ...]
    predicted: tuple[float, ...]
    observed: tuple[float, ...]


def calibration_of(results: Results) -> list[Reliability]:
    """Return the calibration of every strategy that has one."""
    first = [(group.name, group.seeds[0].quality.calibration) for group in groups(results)]
    return [_reliability(name, found) for name, found in first if found is not None]


def _reliability(name: str, found: CalibrationQuality) -> Reliability:
    points = [(one.predicted, one.observed.value) for one in found.bins if one.observed.value is not None]
    values = (found.ece, found.ece_width, found.brier, found.ece_before, found.brier_before)
    return Reliability(
        name,
        tuple(format_estimate(value) for value in values),
        tuple(x for x, _ in points),
        tuple(y for _, y in points),
    )


# Thresholds, and what moving them would give.


@dataclass(frozen=True)
class PrecisionRecall:
    """Precision against recall of one strategy, micro average on the test notes, first seed.

    Attributes:
        name: of the strategy.
        recall: of each point of the curve, ascending.
        precision: of each point.
        chosen: recall and precision at the thresholds.
    """

    name: str
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    chosen: tuple[float, float]


def thresholds_of(group: Group | None) -> dict[str, Any]:
    """The threshold of each symptom with precision, recall and F1 there, first seed; no rows without any."""
    found = [] if group is None else group.seeds[0].quality.per_symptom
    rows = [
        [
            one.symptom,
            format_number(one.support, 0),
            f"{one.threshold:.3f}",
            *map(format_estimate, (one.precision, one.recall, one.f1)),
        ]
        for one in found
        if one.threshold is not None
    ]
    return {"name": "" if group is None else group.name, "rows": rows}


# Paired tests, groups of notes and spans, as tables of the page.


TEST_HEADERS = ("row", "Δ F1 macro", "p, macro", "Δ F1 micro", "p, micro", "p, McNemar")
CLAIM_HEADERS = ("row", "F1", "Δ, all seeds", "p", "Holm", "p of a loss of the margin", "Holm")


def claims_table(results: Results) -> list[list[str]]:
    """What all seeds of a row say together: the difference, both tests, both corrected."""
    return [
        [
            group.label,
            kind,
            format_difference(claim.pooled.difference),
            format_p(claim.pooled.p_value),
            format_p(claim.p_holm),
            format_p(claim.pooled.p_margin),
            format_p(claim.pooled.p_margin_holm),
        ]
        for group in groups(results)
        for kind, claim in (("micro", group.micro), ("macro", group.macro))
        if claim is not None
    ]


def tests_of(results: Results) -> dict[str, Any]:
    """Differences of each seed to the baseline on the same notes, with p-values of that seed alone.

    Columns that no row fills are left out.
    """
    rows = [
        [
            title_of(results, row),
            format_difference(versus.f1_difference),
            format_p(versus.p_value),
            NOT_APPLICABLE
            if versus.micro_f1_difference is None
            else format_difference(versus.micro_f1_difference),
            format_p(versus.p_value_micro),
            format_p(versus.p_mcnemar),
        ]
        for group in groups(results)
        for row in group.seeds
        if (versus := row.versus_baseline) is not None
    ]
    kept = [
        place
        for place in range(len(TEST_HEADERS))
        if not place or any(row[place] != NOT_APPLICABLE for row in rows)
    ]
    headers = [TEST_HEADERS[place] for place in kept]
    return {"headers": headers, "rows": [[row[place] for place in kept] for row in rows]}


def groups_of(results: Results) -> dict[str, Any]:
    """Micro-F1 with interval by group of notes, and the largest gaps between groups, first seed."""
    first = [(group.name, group.seeds[0].quality) for group in groups(results)]
    first = [(name, quality) for name, quality in first if quality.groups]
    sizes = {(one.by, one.group): one.notes for _, quality in first for one in quality.groups}
    found = {(name, one.by, one.group): one.f1 for name, quality in first for one in quality.groups}
    rows = [
        [
            f"{by}: {group}",
            format_number(notes, 0),
            *(format_estimate(found.get((name, by, group))) for name, _ in first),
        ]
        for (by, group), notes in sizes.items()
    ]
    gaps = [
        [name, gap.by, gap.best, gap.worst, format_difference(gap.difference)]
        for name, quality in first
        for gap in quality.gaps
    ]
    return {"headers": ["group", "notes", *(name for name, _ in first)], "rows": rows, "gaps": gaps}


SPAN_HEADERS = ("row", "match", "precision", "recall", "F1")


def spans_of(results: Results) -> list[list[str]]:
    """Precision, recall and F1 of mentions by how a match is counted, first seed; none for other tasks."""
    rows = []
    for group in groups(results):
        spans = group.seeds[0].quality.spans
        if spans is None:
            continue
        matches: dict[str, SpanScores | None] = {
            "exact": spans.exact,
            "overlapping": spans.overlapping,
            "exact, with assertion": spans.exact_assertion,
            "overlapping, with assertion": spans.overlapping_assertion,
            "exact, with symptom": spans.exact_symptom,
            "overlapping, with symptom": spans.overlapping_symptom,
        }
        rows += [
            [group.name, name, *map(format_estimate, (scores.precision, scores.recall, scores.f1))]
            for name, scores in matches.items()
            if scores is not None
        ]
    return rows
