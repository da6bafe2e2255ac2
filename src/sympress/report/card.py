"""The card of an artifact: what it is, what it was made from, how good it is, and its limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sympress.report.formats import UNDEFINED, format_difference, format_estimate, format_ratio, signed
from sympress.report.tables import escape_markdown
from sympress.results import Estimate, Results, StrategyResult

#: The rows of a pressed artifact's table.
MODELS = {
    "pytorch-fp32": "teacher, PyTorch fp32",
    "onnx-int8": "teacher, ONNX int8",
    "pressed": "pressed",
}


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


def artifact_card(record: Mapping[str, Any], symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of a pressed artifact; every number comes from its provenance `record`."""
    lines = [
        "# A pressed symptom extractor",
        "",
        "**Not validated for clinical use.**",
        "",
        *_origin(record, symptoms),
        "",
        "Steps of the recipe:",
        "",
        *(f"{number}. {escape_markdown(remark)}" for number, remark in enumerate(record["remarks"], 1)),
        "",
        "## Beside its teacher",
        "",
        *_costs(record),
        "",
        "## What compression changed",
        "",
        *(_changes(record["test"]) if record["test"] is not None else ["Test notes were not scored."]),
        "",
        "Notes of another hospital, length or style may give other numbers.",
    ]
    return "\n".join(lines) + "\n"


def _origin(record: Mapping[str, Any], symptoms: Sequence[str]) -> list[str]:
    """What the artifact is and what it was made from."""
    config, notes, kernel = record["config"], record["notes"], record["kernel"]
    further, search = record["asked"]["teachers"], record["search"]
    return [
        f"- Task: `{config['task']}` ({len(symptoms)} symptoms), protocol `{config['protocol']}`",
        f"- Pressed from: {escape_markdown(record['model'])}, fine-tuned from "
        f"{escape_markdown(str(config['encoder']))} (its licence applies to these weights)",
        *([f"- Further teachers: {escape_markdown(', '.join(further))}"] if further else []),
        f"- Recipe: {escape_markdown(record['recipe'])}; seed {record['seed']}"
        + (f"; kernel `{kernel['name']}`" if kernel else ""),
        *([f"- Found by a search: {escape_markdown(search['sentence'])}"] if search else []),
        f"- Notes: {escape_markdown(record['data']['name'])}: {notes['train']:,} training, "
        f"{notes['transfer']:,} unlabelled, {notes['validation']:,} validation, {notes['test']:,} test",
        f"- Labels: {escape_markdown(record['data']['labels'])}",
        f"- Data fingerprint: `{record['data_fingerprint']}`",
    ]


def _costs(record: Mapping[str, Any]) -> list[str]:
    """The table of the teacher both ways and the pressed artifact."""
    threads, processor = record["threads"], record["environment"]["processor"]
    return [
        "| model | bytes | ms a note | of PyTorch | of int8 | validation F1 |",
        "|:--|--:|--:|--:|--:|--:|",
        *(
            f"| {MODELS[name]} | {row['size_bytes']:,} | {row['latency_ms_p50']:.2f} | "
            f"{format_ratio(row['latency_ratio'])} | {format_ratio(row['int8_latency_ratio'])} | "
            f"{row['validation_f1']:.3f} |"
            for name, row in record["table"].items()
        ),
        "",
        f"Median of one note at a time, the three in turn on the same notes; {threads} "
        f"thread{'s' * (threads > 1)} of {escape_markdown(processor)}. F1 is the "
        f"{'micro' if record['config']['task'] == 'present' else 'macro'} average. Whatever was "
        "chosen (epoch, thresholds, kernel, recipe) was chosen on validation notes.",
    ]


def _changes(test: Mapping[str, Any]) -> list[str]:
    """F1 on test notes, and which answers flipped, by symptom and by group of notes."""
    changes = test["changes"]
    difference = format_difference(Estimate.model_validate(test["f1_difference"]))
    return [
        "Test notes were read once, after everything was chosen. F1 of a group is the micro average.",
        f"All of them: F1 {test['f1']:.3f}, the teacher's {test['teacher_f1']:.3f}, difference {difference} "
        "(95 % bootstrap interval, resampled by patient).",
        f"The answer changed for {changes['flipped_notes']:,} of {changes['notes']:,} notes; symptom by "
        f"symptom {changes['corrected']:,} answers became right and {changes['spoiled']:,} wrong.",
        "",
        "| symptom | answers that flipped | F1 | the teacher's | difference |",
        "|:--|--:|--:|--:|--:|",
        *(
            f"| {escape_markdown(one['symptom'])} | {one['flipped']:,} | {_f1_cells(one)} |"
            for one in changes["per_symptom"]
        ),
        "",
        "| group of notes | notes | with a flipped answer | F1 | the teacher's | difference |",
        "|:--|--:|--:|--:|--:|--:|",
        *(
            f"| {escape_markdown(one['group'])} | {one['notes']:,} | {one['flipped_notes']:,} "
            f"| {_f1_cells(one)} |"
            for one in changes["per_group"]
        ),
    ]


def _f1_cells(one: Mapping[str, Any]) -> str:
    """F1, the teacher's, and the difference, as three cells."""
    pair = (one["f1"], one["baseline_f1"])
    cells = [UNDEFINED if value is None else f"{value:.3f}" for value in pair]
    return " | ".join([*cells, UNDEFINED if None in pair else signed(pair[0] - pair[1])])
