"""The card of an artifact: what it is, what it was made from, how good it is, and its limits."""

from __future__ import annotations

from sympress.report.formats import format_estimate
from sympress.report.tables import escape_markdown
from sympress.results import Results, StrategyResult


def model_card(results: Results, row: StrategyResult) -> str:
    """Markdown for the `README.md` of the artifact of `row`; every number comes from `results`."""
    data, quality, cost = results.data, row.quality, row.cost
    encoder = escape_markdown(str(results.config.get("encoder", "unknown")))
    processor = escape_markdown(str(results.environment.get("processor", "this machine")))
    lines = [
        f"# {escape_markdown(row.name)}: a symptom extractor",
        "",
        "**Not validated for clinical use.**",
        "",
        f"- Task: `{results.task}` ({len(data.symptoms)} symptoms), protocol `{results.protocol}`",
        f"- Encoder: {encoder} (its licence applies to these weights)",
        f"- Recipe: {escape_markdown(row.recipe)}; seed {row.seed}",
        f"- Notes: {escape_markdown(data.name)}: {data.train:,} training, {data.validation:,} validation, "
        f"{data.test:,} test, split by {escape_markdown(data.split.rule)}",
        f"- Labels: {escape_markdown(data.labels)}",
        f"- Deployed file: {cost.size_bytes:,} bytes; {cost.latency_ms_p50:.2f} ms a note (median, batch 1, "
        f"{cost.threads} thread of {processor})",
        "",
        "| symptom | test notes | precision | recall | F1 | AUROC |",
        "|:--|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {escape_markdown(one.symptom)} | {one.support:,} | "
        + " | ".join(map(format_estimate, (one.precision, one.recall, one.f1, one.auroc)))
        + " |"
        for one in quality.per_symptom
    ]
    lines += [
        f"| **macro average** | {data.test:,} | "
        + " | ".join(map(format_estimate, (quality.precision, quality.recall, quality.f1, quality.auroc)))
        + " |",
        "",
        "Brackets: 95 % bootstrap intervals on the test notes, resampled by patient. Notes of another "
        "hospital, length or style may give other numbers.",
        "",
        *(f"- {escape_markdown(remark)}" for remark in row.notes),
    ]
    return "\n".join(lines).rstrip() + "\n"
