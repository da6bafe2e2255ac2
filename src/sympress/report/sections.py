"""What each section of the page shows of one run, as plain values for the template."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from typing import Any

from sympress.report.columns import BASELINE, Group, columns, groups, seeds_of
from sympress.report.formats import (
    NOT_APPLICABLE,
    UNDEFINED,
    defined,
    format_estimate,
    format_number,
    signed,
)
from sympress.results import Estimate, GroupChange, Quality, Results, StrategyResult

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")
_CELL = re.compile(r"(?P<value>[+−\d][\d.,]*%?)(?: (?P<aside>[(\[].*[)\]]))?(?P<mark>†| \*)?")
_NUMBER = re.compile(r"[−-]?\d[\d,]*\.?\d*(?:e[−-]?\d+)?")


def table_of(runs: Sequence[tuple[str, Results]]) -> dict[str, Any]:
    """The results table of one run, or of several with the run's name in front; cells with a key to sort by.

    A cell is `(value, mark, aside, key)`: of `0.9 [0.8, 1.0] *` the number, the mark behind it, the brackets,
    and the number to sort by, if there is one.
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
    headers = [column.header for column in shown]
    return {"headers": ["run", *headers] if several else headers, "rows": rows}


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
    flips = [
        [
            title_of(results, row),
            *(
                format_number(count, 0)
                for count in (
                    row.changes.notes,
                    row.changes.flipped_notes,
                    row.changes.flipped_answers,
                    row.changes.corrected,
                    row.changes.spoiled,
                )
            ),
        ]
        for row in changed
        if row.changes is not None
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
