"""Markdown of what the single measurements found: spans, generalization, assertion, speed.

Each function takes the JSON of a file under `results/` and returns lines, which `report.documents` puts into
the documents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sympress.report.formats import NOT_APPLICABLE, format_number
from sympress.report.tables import escape_markdown

Measured = Mapping[str, Any]
#: How a model is called in a table.
_NAMES = {
    "baseline": "MiniLM, fine-tuned",
    "tfidf": "TF-IDF with logistic regression",
    "rule": "the rule, without the held-out forms",
    "rule-assertion": "lexicon with assertion",
    "baseline-taught": "MiniLM, taught every form",
    "tfidf-taught": "TF-IDF, taught every form",
}


def spans_table(measured: Measured) -> list[str]:
    """What `study.maccrobat` wrote: a line a row, F1 with intervals over documents."""
    lines = _head(
        ["row", "MB", "exact F1", "overlapping F1", "negated F1, span given", "Δ exact F1 to the tagger"]
    )
    for name, row in measured["rows"].items():
        spans = row["spans"]
        negated = next((one for one in spans["assertions"] if one["assertion"] == "absent"), None)
        size = row["size_bytes"]
        lines.append(
            _row(
                name,
                NOT_APPLICABLE if size is None else format_number(size / 1e6, 1),
                _interval(spans["exact"]["f1"]),
                _interval(spans["overlapping"]["f1"]),
                NOT_APPLICABLE if negated is None else _interval(negated["given_span"]["f1"]),
                NOT_APPLICABLE
                if row["minus_tagger"] is None
                else _interval(row["minus_tagger"], signed=True),
            )
        )
    whole = next(iter(measured["rows"].values()))["spans"]
    recipes = "; ".join(f"{name}: `{row['recipe']}`" for name, row in measured["rows"].items())
    folds, run = measured["folds"], measured["folds_run"]
    how = f"{folds} folds by document" if run == folds else f"{run} of {folds} folds by document"
    return [
        *lines,
        "",
        f"{whole['notes']} documents, {whole['gold']} gold spans, {how}, "
        "each document answered once by a model that never saw it; \\[ \\] 95 % interval over documents. "
        f"{recipes}.",
    ]


def years_table(measured: Measured) -> list[str]:
    """What `study.generalize` found in later years: micro-F1 of each model, year by year."""
    by_year = measured["years"]["by_year"]
    models = list(next(iter(by_year.values()))["models"])
    lines = _head(["test year", "reports", *(_NAMES.get(name, name) for name in models)])
    for year, found in by_year.items():
        scores = [_interval(found["models"][name]["micro_f1"]) for name in models]
        lines.append(_row(year, format_number(found["notes"], 0), *scores))
    trained = format_number(measured["years"]["train"], 0)
    return [
        *lines,
        "",
        f"Micro-F1, {trained} training reports from before; \\[ \\] 95 % interval over patients.",
    ]


def source_table(measured: Measured) -> list[str]:
    """What `study.generalize` found in another source: micro- and macro-F1 there and at home."""
    source = measured["source"]
    lines = _head(["model", "same source, micro-F1", "elsewhere, micro-F1", "elsewhere, macro-F1"])
    for name in source["same_source"]["models"]:
        here, there = (source[place]["models"][name] for place in ("same_source", "elsewhere"))
        lines.append(
            _row(
                _NAMES.get(name, name),
                _interval(here["micro_f1"]),
                _interval(there["micro_f1"]),
                _interval(there["macro_f1"]),
            )
        )
    there = source["elsewhere"]
    return [
        *lines,
        "",
        f"Trained on {format_number(source['train'], 0)} notes of the first source; "
        f"{format_number(there['notes'], 0)} notes elsewhere; {there['symptoms']} symptoms that at least 10 "
        "have. The labels are the rules' own on both sides: this says how a model carries over what it was "
        "taught, not how right it is.",
    ]


def forms_table(measured: Measured) -> list[str]:
    """What `study.generalize` found for surface forms that were held out of training."""
    forms = measured["forms"]
    keys = ("recall_unseen", "recall_seen", "false_alarms")
    lines = _head(["model", "recall by held-out forms alone", "recall by others", "false alarms"])
    for name, row in forms["models"].items():
        lines.append(_row(_NAMES.get(name, name), *(_interval(row[key], digits=3) for key in keys)))
    return [
        *lines,
        "",
        f"{forms['forms_held_out']} forms held out by hash, {format_number(forms['removed'], 0)} training "
        f"notes with them removed, {format_number(forms['train'], 0)} left; {forms['answers_recall_unseen']} "
        "answers hang on held-out forms alone. Labels are the rules', with all forms.",
    ]


def negex_table(measured: Measured) -> list[str]:
    """What `measure.negex` wrote: F1 by rules alone, the condition given, beside the peer."""
    rows = [("sympress", measured["sympress"])]
    if isinstance(measured.get("medspacy"), dict):
        rows.append(("medspaCy, default pipeline", measured["medspacy"]))
    lines = _head(["system", "negated F1", "historical F1"])
    for name, found in rows:
        lines.append(_row(name, *(_halves(found.get(kind)) for kind in ("negated", "historical"))))
    count = measured["data"]["sentences"]
    return [
        *lines,
        "",
        f"`{measured['command']}`; {format_number(count, 0)} sentences; in brackets halves A and B.",
    ]


def _halves(found: Measured | None) -> str:
    if found is None:
        return NOT_APPLICABLE
    values = [format_number(found[part]["f1"], 3) for part in ("all", "A", "B") if part in found]
    return values[0] + (f" ({', '.join(values[1:])})" if values[1:] else "")


def throughput_table(measured: Measured) -> list[str]:
    """What `study.throughput` wrote: windows a second of each contender, in turn."""
    lines = _head(["contender", "windows/s", "× the pipeline"])
    for name, row in measured["rows"].items():
        lines.append(
            _row(
                name,
                format_number(row["windows_per_second"], 1),
                f"{format_number(row['times_as_fast'], 1)}×",
            )
        )
    cores, windows = measured["cores"], format_number(measured["windows"], 0)
    processor = escape_markdown(str(measured["environment"]["processor"]))
    return [
        *lines,
        "",
        f"{windows} windows of at most 256 word pieces, {cores} cores of {processor}, all in turn.",
    ]


def _head(columns: list[str]) -> list[str]:
    return [f"| {' | '.join(columns)} |", f"| {' | '.join([':--', *['--:'] * (len(columns) - 1)])} |"]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(estimate: Measured, *, digits: int = 3, signed: bool = False) -> str:
    """`0.716 [0.713, 0.721]`, escaped for Markdown."""

    def written(value: float) -> str:
        shown = format_number(abs(value), digits)
        return f"{'−' if value < 0 else '+' if signed else ''}{shown}"

    if estimate["value"] is None:
        return NOT_APPLICABLE
    text = written(estimate["value"])
    if estimate["low"] is None or estimate["high"] is None:
        return text
    return f"{text} \\[{written(estimate['low'])}, {written(estimate['high'])}\\]"


#: The table of each kind of block.
MEASURED_TABLES: dict[str, Callable[[Measured], list[str]]] = {
    "spans": spans_table,
    "years": years_table,
    "source": source_table,
    "forms": forms_table,
    "negex": negex_table,
    "throughput": throughput_table,
}
