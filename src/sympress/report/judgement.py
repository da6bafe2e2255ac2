"""Paired tests, groups of notes and spans, as tables of the page."""

from __future__ import annotations

from typing import Any

from sympress.report.columns import groups
from sympress.report.formats import NOT_APPLICABLE, format_difference, format_estimate, format_number
from sympress.report.sections import title_of
from sympress.results import Results, SpanScores

TEST_HEADERS = (
    "row",
    "Δ F1 macro",
    "p, macro",
    "Holm, macro",
    "Δ F1 micro",
    "p, micro",
    "Holm, micro",
    "p, McNemar",
)


def tests_of(results: Results) -> dict[str, Any]:
    """Differences to the baseline on the same notes and their p-values, a line a row that was compared.

    Columns that no row fills are left out.
    """
    rows = [
        [
            title_of(results, row),
            format_difference(versus.f1_difference),
            format_p(versus.p_value),
            format_p(versus.p_holm),
            NOT_APPLICABLE
            if versus.micro_f1_difference is None
            else format_difference(versus.micro_f1_difference),
            format_p(versus.p_value_micro),
            format_p(versus.p_holm_micro),
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


def format_p(value: float | None) -> str:
    """Return a p-value to three decimals, ``<0.001`` for less, or a dash for None."""
    if value is None:
        return NOT_APPLICABLE
    return "<0.001" if value < 0.001 else f"{value:.3f}"


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
