"""One self-contained HTML page a run: no network, no script, every word of the data escaped."""

from __future__ import annotations

import csv
import json
import shlex
from importlib import resources
from pathlib import Path
from typing import Any

from sympress.errors import MissingExtraError
from sympress.files import write_text
from sympress.report.columns import Group, columns, groups, seeds_of
from sympress.report.formats import NOT_APPLICABLE, UNDEFINED, format_estimate, format_number
from sympress.report.scatter import scatter
from sympress.report.tables import explanation
from sympress.report.verdict import verdict
from sympress.results import Estimate, Quality, Results, StrategyResult

METRICS = ("accuracy", "precision", "recall", "f1", "auroc")


def write_report(results: Results, run: Path) -> Path:
    """Write `RUN/report.html`, all of it or none, and return its path.

    Raises:
        MissingExtraError: jinja2 is not installed.
        SympressError: the file could not be written.
    """
    path = run / "report.html"
    write_text(path, render_report(results))
    return path


def render_report(results: Results) -> str:
    """Return the page as text; the same results give the same page.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
    except ImportError:
        raise MissingExtraError("train", "jinja2") from None
    template = resources.files("sympress.report").joinpath("templates/report.html.j2")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template.read_text(encoding="utf-8")).render(_page(results))


def _page(results: Results) -> dict[str, Any]:
    found = groups(results)
    return {
        "results": results,
        "verdict": verdict(results),
        "explanation": explanation(results),
        "columns": [column.header for column in columns(results)],
        "rows": [_row(results, group) for group in found],
        "scatter": scatter(found),
        "f1_name": "micro F1" if results.task == "present" else "macro F1",
        "symptoms": _symptom_matrix(found),
        "blocks": [_block(results, row) for row in results.strategies],
        "published": published_beside(results) if results.protocol == "paper" else [],
        "facts": _data_facts(results),
        "command": command_of(results),
        "environment": list(flatten(results.environment)),
        "config": json.dumps(results.config, indent=2, ensure_ascii=False, default=str),
    }


def _row(results: Results, group: Group) -> dict[str, Any]:
    cells = [column.cell(group) for column in columns(results)]
    return {"cells": cells, "is_reference": group.is_reference}


def _symptom_matrix(found: list[Group]) -> dict[str, Any]:
    """F1 of each symptom (rows) for each strategy (columns), mean over seeds, on the test set."""
    support: dict[str, int] = {}
    scores: dict[tuple[str, str], list[Estimate]] = {}
    for group in found:
        for row in group.seeds:
            for quality in row.quality.per_symptom:
                support.setdefault(quality.symptom, quality.support)
                scores.setdefault((quality.symptom, group.name), []).append(quality.f1)
    rows = [
        [symptom, format_number(count, 0), *(_mean(scores.get((symptom, group.name), [])) for group in found)]
        for symptom, count in support.items()
    ]
    return {"headers": ["symptom", "notes", *(group.name for group in found)], "rows": rows}


def _mean(estimates: list[Estimate]) -> str:
    if not estimates:
        return NOT_APPLICABLE
    values = [estimate.value for estimate in estimates if estimate.value is not None]
    return f"{sum(values) / len(values):.3f}" if len(values) == len(estimates) else UNDEFINED


def _block(results: Results, row: StrategyResult) -> dict[str, Any]:
    """What stands behind one row of the table: per symptom on test, per epoch on validation."""
    many = len(seeds_of(results)) > 1
    versus = row.versus_baseline
    return {
        "title": f"{row.name} · seed {row.seed}" if many else row.name,
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
        "epochs": [[str(epoch.epoch), *_metrics(epoch.quality)] for epoch in row.epochs],
        "reasons": _reasons(row.quality),
    }


def _metrics(quality: Quality) -> list[str]:
    values = [getattr(quality, name).value for name in METRICS]
    return [UNDEFINED if value is None else f"{value:.4f}" for value in values]


def _reasons(quality: Quality) -> list[str]:
    """What the metrics themselves remark: why one has no value, or over how many symptoms it averages."""
    found = [(name, getattr(quality, name)) for name in METRICS]
    for symptom in quality.per_symptom:
        metrics = ("precision", "recall", "f1", "auroc")
        found += [(f"{symptom.symptom}, {name}", getattr(symptom, name)) for name in metrics]
    return [f"{name}: {estimate.note}" for name, estimate in found if estimate.note]


def published_beside(results: Results) -> list[dict[str, Any]]:
    """Return the paper's last-epoch table; each line with our rows of that strategy, first seed.

    `ours` holds the strategy as sympress does it and, where the run has it, its literal variant
    `<strategy>-published`, each as `(name, five numbers)`.
    """
    first: dict[str, StrategyResult] = {}
    for row in sorted(results.strategies, key=lambda row: row.seed):
        first.setdefault(row.name, row)
    path = resources.files("sympress.report").joinpath("data/published.csv")
    lines = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
    return [
        {
            "method": line["method"],
            "published": [line[name] for name in METRICS],
            "ours": [
                (name, _metrics(first[name].quality))
                for name in (line["strategy"], f"{line['strategy']}-published")
                if name in first
            ],
        }
        for line in lines
    ]


def _data_facts(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
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
