"""The two CSV files a strategy, in the form in which the paper's authors published theirs."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path

from sympress.files import write_text
from sympress.report.columns import seeds_of
from sympress.report.tables import printable
from sympress.results import Estimate, Results, StrategyResult

METRICS_HEADER = ("Epoch", "Accuracy", "Precision", "Recall", "F1", "AUROC")
PER_SYMPTOM_HEADER = ("Epoch", "Symptom", "Precision", "Recall", "F1", "AUROC")

#: A spreadsheet runs a cell that begins with one of these as a formula.
FORMULA_STARTS = ("=", "+", "-", "@")


def write_csvs(results: Results, run: Path) -> list[Path]:
    """Write `metrics_<strategy>.csv` and `per_symptom_<strategy>.csv` into `run`; return their paths.

    The rows are the validation part after each epoch; a strategy without epochs (the lexicon rule)
    has no files. An undefined metric is an empty cell. The first seed has the plain name, every
    further one ends in `_seed<N>`.

    Raises:
        SympressError: a file could not be written.
    """
    first_seed = min(seeds_of(results), default=0)
    written = []
    for row in results.strategies:
        if not row.epochs:
            continue
        stem = file_stem(row.name) + ("" if row.seed == first_seed else f"_seed{row.seed}")
        for prefix, text in (("metrics", metrics_csv(row)), ("per_symptom", per_symptom_csv(row))):
            path = run / f"{prefix}_{stem}.csv"
            write_text(path, text)
            written.append(path)
    return written


def metrics_csv(row: StrategyResult) -> str:
    """Return one line an epoch: accuracy, macro precision, recall, F1 and AUROC on validation notes."""
    lines = [
        [str(epoch.epoch), *(_cell(metric) for metric in (q.accuracy, q.precision, q.recall, q.f1, q.auroc))]
        for epoch in row.epochs
        for q in (epoch.quality,)
    ]
    return _csv(METRICS_HEADER, lines)


def per_symptom_csv(row: StrategyResult) -> str:
    """Return one line an epoch and symptom: precision, recall, F1 and AUROC on validation notes."""
    lines = [
        [
            str(epoch.epoch),
            _text(s.symptom),
            *(_cell(metric) for metric in (s.precision, s.recall, s.f1, s.auroc)),
        ]
        for epoch in row.epochs
        for s in epoch.quality.per_symptom
    ]
    return _csv(PER_SYMPTOM_HEADER, lines)


def file_stem(name: str) -> str:
    """Return `name` as a part of a file name: other than letters, digits, dot, dash becomes a dash."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "strategy"


def _cell(estimate: Estimate) -> str:
    value = estimate.value
    return "" if value is None or not math.isfinite(value) else repr(value)


def _text(text: str) -> str:
    """Return `text` on one line, such that a spreadsheet shows it and never runs it."""
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA_STARTS) else shown


def _csv(header: tuple[str, ...], lines: list[list[str]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()
