"""The card of an artifact: what it is, what it was made from, how good it is, and its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sympress.files import write_text
from sympress.report.card_sections import (
    ENCODERS,
    calibration_section,
    cost_section,
    data_section,
    groups_section,
    identity_section,
    intended_use,
    kernel_lines,
    limits_section,
    performance_section,
    reproduce_section,
)
from sympress.report.formats import UNDEFINED, format_difference, format_ratio, signed
from sympress.report.tables import escape_markdown, printable
from sympress.results import Estimate, Results, StrategyResult

#: The rows of a pressed artifact's table.
MODELS = {
    "pytorch-fp32": "teacher, PyTorch fp32",
    "onnx-int8": "teacher, ONNX int8",
    "pressed": "pressed",
}


def model_card(results: Results, row: StrategyResult, evidence: str | None = None) -> str:
    """Markdown for the `README.md` of the artifact of `row`; every number comes from `results`.

    It begins with metadata as Hugging Face reads them; the sections are those of a model card, with the items
    of TRIPOD+AI (Collins et al. 2024, doi:10.1136/bmj-2023-078378) that apply to them.

    Args:
        results: of the run.
        row: one of its rows.
        evidence: what the user says of a validation for clinical use; without it the card says there is none.
    """
    encoder = str(results.config.get("encoder") or "bundled")
    sections = {
        "Intended use": intended_use(evidence),
        "What it is (TRIPOD+AI 4, 12)": identity_section(results, row, encoder),
        "Data (TRIPOD+AI 5, 6, 8, 9, 20)": data_section(results),
        "Performance on the test notes (TRIPOD+AI 12e, 23a)": performance_section(results, row),
        "Calibration (TRIPOD+AI 12e)": calibration_section(row),
        "Groups of notes (TRIPOD+AI 14, 23a)": groups_section(row),
        "Cost": cost_section(results, row),
        "Limits (TRIPOD+AI 26)": limits_section(results),
        "How it was made (TRIPOD+AI 18e, 18f)": reproduce_section(results),
    }
    lines = [
        *front_matter(results.task, encoder, results.data.name, row),
        f"# {escape_markdown(row.name)}: a symptom extractor",
    ]
    for title, body in sections.items():
        lines += ["", f"## {title}", "", *body]
    return "\n".join(lines).rstrip() + "\n"


def write_cards(results: Results, run: Path, evidence: str) -> list[Path]:
    """Write the card of every artifact in the run folder again, with `evidence`; return the cards.

    Raises:
        SympressError: a file could not be written.
    """
    written = []
    for row in results.strategies:
        folder = run / "artifacts" / f"{row.name}-seed{row.seed}"
        if (folder / "extractor.json").is_file():
            write_text(folder / "README.md", model_card(results, row, evidence))
            written.append(folder / "README.md")
    return written


def front_matter(task: str, encoder: str, dataset: str, row: StrategyResult | None = None) -> list[str]:
    """Metadata as Hugging Face reads them: YAML, with each text as a JSON string."""
    known = ENCODERS.get(encoder)
    base = known[0] if known else encoder
    licence = known[1] if known else "other"
    lines = [
        "---",
        "language: en",
        "library_name: sympress",
        f"pipeline_tag: {'token' if task == 'mentions' else 'text'}-classification",
        "tags: [clinical, symptom-extraction, model-compression, onnx]",
        f"license: {licence}",
        *(["license_name: that-of-the-encoder"] if licence == "other" else []),
        *([f"base_model: {json.dumps(base)}"] if known or re.fullmatch(r"[\w.-]+/[\w.-]+", base) else []),
    ]
    if row is not None:
        lines += ["model-index:", f"- name: {_yaml(row.name)}", "  results:"]
        lines += [
            "  - task: {type: text-classification}",
            f"    dataset: {{name: {_yaml(dataset)}, type: clinical-notes}}",
        ]
        lines += [
            "    metrics:",
            *(f"    - {{type: {name}, value: {value}}}" for name, value in _scores(row)),
        ]
    return [*lines, "---", ""]


def _scores(row: StrategyResult) -> list[tuple[str, float]]:
    quality = row.quality
    named = {
        "f1": quality.f1,
        "precision": quality.precision,
        "recall": quality.recall,
        "accuracy": quality.accuracy,
    }
    return [(name, one.value) for name, one in named.items() if one.value is not None]


def _yaml(text: str) -> str:
    return json.dumps(printable(text))


def artifact_card(record: Mapping[str, Any], symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of a pressed artifact; every number comes from its provenance `record`."""
    config = record["config"]
    lines = [
        *front_matter(str(config["task"]), str(config["encoder"] or "bundled"), record["data"]["name"]),
        "# A pressed symptom extractor",
        "",
        "## Intended use",
        "",
        *intended_use(),
        "",
        "## What it is",
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


def imported_card(record: Mapping[str, Any], task: str, symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of an imported artifact; every word comes from its provenance `record`."""
    source = record["source"]
    lines = [
        *front_matter(task, source["name"], "the checkpoint's"),
        "# An imported symptom extractor",
        "",
        "## Intended use",
        "",
        *intended_use(),
        "",
        "## What it is",
        "",
        f"- Task: `{task}` ({len(symptoms)} symptoms)",
        f"- Imported from: {escape_markdown(source['name'])}, architecture "
        f"{escape_markdown(source['model_type'])} "
        "(its licence applies to these weights)",
        f"- Digest of its files: `{source['digest']}`",
        f"- Largest difference to its logits: {record['import_max_difference']:.1e}",
        f"- Thresholds: {escape_markdown(record['thresholds'])}",
        *(f"- {escape_markdown(remark)}" for remark in record["remarks"]),
        "",
        "sympress measured nothing of its quality: what notes it was trained on, and how "
        "well it does, its makers "
        "know.",
    ]
    return "\n".join(lines) + "\n"


def trained_card(record: Mapping[str, Any], task: str, symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of a trained artifact; every word comes from its provenance `record`."""
    config, notes = record["config"], record["notes"]
    encoder = str(config["encoder"])
    average = {"present": "micro", "topic": "macro"}.get(task, "of exact spans")
    lines = [
        *front_matter(task, encoder, "notes that were given"),
        "# A trained symptom extractor",
        "",
        "## Intended use",
        "",
        *intended_use(),
        "",
        "## What it is",
        "",
        f"- Task: `{task}` ({len(symptoms)} symptoms)",
        f"- Fine-tuned from: {escape_markdown(encoder)} (its licence applies to these weights); seed "
        f"{record['seed']}",
        f"- Notes: {notes['train']:,} training, {notes['validation']:,} validation; data fingerprint "
        f"`{record['data_fingerprint']}`",
        f"- Validation F1 ({average}): {record['validation_f1']:.3f}. Epoch and thresholds were chosen on "
        "the same notes; `sympress evaluate` scores it on others.",
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
        f"- Recipe: {escape_markdown(record['recipe'])}; seed {record['seed']}",
        *kernel_lines(kernel["name"] if kernel else None),
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
