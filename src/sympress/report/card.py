"""The card of an artifact: what it is, what it was made from, how good it is, and its limits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sympress.files import write_text
from sympress.labels.task import task_of
from sympress.report.columns import UNDEFINED, format_difference, format_estimate, format_ratio, signed
from sympress.report.sections import command_of, leak_sentence
from sympress.report.verdict import escape_markdown, printable
from sympress.results import Estimate, Results, StrategyResult
from sympress.runtime.session import made_for

# The sections of a model card; every number comes from the results.


#: Encoders that are known by name: where they come from, and their licence.
ENCODERS = {
    "bundled": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    "emilyalsentzer/Bio_ClinicalBERT": ("emilyalsentzer/Bio_ClinicalBERT", "mit"),
}


def origin_of(encoder: str) -> tuple[str, str] | None:
    """Where an encoder comes from, and its licence: by its name, or as the card in its folder says."""
    card = Path(encoder) / "README.md"
    if encoder in ENCODERS or not card.is_file():
        return ENCODERS.get(encoder)
    said = re.match(r"---\n(.*?)\n---\n", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
    fields = dict(re.findall(r"^(base_model|license): *([\w./-]+) *$", said[1] if said else "", re.MULTILINE))
    return (fields["base_model"], fields["license"]) if len(fields) == 2 else None


def intended_use(evidence: str | None = None) -> list[str]:
    """What it is for, and whether anything shows that it may be used on patients."""
    lines = [
        "Finding symptoms in clinical notes for research, cohort selection and quality control, with a "
        "person who reads the notes that matter. Not for decisions about a patient.",
        "",
    ]
    if evidence is None:
        return [*lines, "**Not validated for clinical use.**"]
    quoted = [f"> {escape_markdown(line)}" for line in evidence.strip().splitlines()]
    return [
        *lines,
        "Evidence of validation, as supplied by the user and not checked by sympress:",
        "",
        *quoted,
    ]


def identity_section(results: Results, row: StrategyResult, encoder: str) -> list[str]:
    """Task, encoder with its licence, recipe, remarks."""
    known = origin_of(encoder)
    licence = (
        f"{known[0]}, licence {known[1]}"
        if known
        else f"{escape_markdown(encoder)}; its licence applies to these weights"
    )
    return [
        f"- Task: `{results.task}` ({len(results.data.symptoms)} symptoms), protocol `{results.protocol}`",
        f"- Encoder: {licence}",
        f"- Recipe: {escape_markdown(row.recipe)}; seed {row.seed}",
        *(f"- {escape_markdown(remark)}" for remark in row.notes),
    ]


#: Open notes by the name under which they are read: whose they are, and under which licence.
SOURCES = {
    "vaers": "Vaccine Adverse Event Reporting System (CDC and FDA), a work of the US government in the "
    "public domain. A report does not show that a vaccine caused what it describes.",
    "mtsamples": "MTSamples (mtsamples.com), transcribed sample reports, CC0 as republished.",
}


def data_section(results: Results) -> list[str]:
    """Notes, labels, leak check, counts at every step."""
    data = results.data
    return [
        f"- Notes: {escape_markdown(data.name)}: {data.train:,} training, {data.validation:,} validation, "
        f"{data.test:,} test, split by {escape_markdown(data.split.rule)}",
        *([f"- Source: {SOURCES[data.name]}"] if data.name in SOURCES else []),
        f"- Labels: {escape_markdown(data.labels)}",
        f"- {leak_sentence(results)}",
        *(
            f"- {title}: {', '.join(f'{escape_markdown(name)} {count:,}' for name, count in counts.items())}"
            for title, counts in (("Reading", data.reading), ("Labelling", data.labelling))
            if counts
        ),
        f"- Fingerprint: `{printable(data.fingerprint).replace('`', '')}`",
        *(f"- {escape_markdown(warning)}" for warning in results.warnings),
    ]


def performance_section(results: Results, row: StrategyResult) -> list[str]:
    """By symptom, macro average, and the difference to the baseline."""
    quality = row.quality
    lines = [
        "| symptom | test notes | precision | recall | F1 | AUROC |",
        "|:--|--:|--:|--:|--:|--:|",
        *(
            f"| {escape_markdown(one.symptom)} | {one.support:,} | "
            + " | ".join(map(format_estimate, (one.precision, one.recall, one.f1, one.auroc)))
            + " |"
            for one in quality.per_symptom
        ),
        f"| **macro average** | {results.data.test:,} | "
        + " | ".join(map(format_estimate, (quality.precision, quality.recall, quality.f1, quality.auroc)))
        + " |",
        "",
    ]
    if quality.micro_f1 is not None:
        lines += [f"Micro F1: {format_estimate(quality.micro_f1)}.", ""]
    if row.versus_baseline is not None:
        difference = format_difference(row.versus_baseline.f1_difference)
        lines += [f"Macro F1 to the uncompressed baseline on the same notes: {difference}.", ""]
    return [*lines, "Brackets: 95 % bootstrap intervals on the test notes, resampled by patient."]


def calibration_section(row: StrategyResult) -> list[str]:
    """Calibration error and Brier score, or that there is none."""
    found = row.quality.calibration
    if found is None:
        return ["Not measured in this run: do not take a probability at its word."]
    before = (
        "" if found.ece_before is None else f" Before it was calibrated: {format_estimate(found.ece_before)}."
    )
    return [
        f"Expected calibration error (bins of equal mass) {format_estimate(found.ece)}, Brier score "
        f"{format_estimate(found.brier)}.{before}"
    ]


def groups_section(row: StrategyResult) -> list[str]:
    """Micro-F1 by group of notes, or that there is none."""
    if not row.quality.groups:
        return ["This run has no quality by group of notes."]
    return [
        "| group | notes | micro F1 |",
        "|:--|--:|--:|",
        *(
            f"| {one.by}: {escape_markdown(one.group)} | {one.notes:,} | {format_estimate(one.f1)} |"
            for one in row.quality.groups
        ),
    ]


def cost_section(results: Results, row: StrategyResult) -> list[str]:
    """Bytes, latency, throughput, memory, training."""
    cost = row.cost
    processor = escape_markdown(str(results.environment.get("processor", "this machine")))
    return [
        f"- Deployed file: {cost.size_bytes:,} bytes; {cost.latency_ms_p50:.2f} ms a note (median, batch 1, "
        f"{cost.threads} thread{'s' * (cost.threads > 1)} of {processor})",
        f"- {cost.notes_per_second:,.0f} notes a second"
        + ("" if cost.peak_rss_bytes is None else f", {cost.peak_rss_bytes / 1e6:,.0f} MB of memory"),
        *kernel_lines(row.kernel),
        f"- Training: {cost.train_seconds:,.0f} s",
    ]


def kernel_lines(kernel: str | None) -> list[str]:
    """An item of a list: the kernel of an int8 file and the CPUs it is made for; none for a float file."""
    return [] if kernel is None else [f"- Kernel `{kernel}`: {made_for(kernel) or 'unknown here'}"]


def limits_section(results: Results) -> list[str]:
    """What the numbers do not say."""
    limits = ["- Notes of another hospital, length or style may give other numbers."]
    if results.data.labels.startswith("silver"):
        limits.append(
            "- Labels are silver: a rule made them, nobody read the notes. They say what the rule finds, "
            "negated mentions and family history included unless the rule leaves them out."
        )
    if results.protocol == "paper":
        limits.append("- The protocol repeats a published study, flaws included: see the report of the run.")
    return [*limits, "- A symptom that is not listed is never found."]


def reproduce_section(results: Results) -> list[str]:
    """The command and the versions."""
    command = command_of(results)
    versions = results.environment.get("versions")
    shown = ", ".join(
        f"{escape_markdown(str(name))} {escape_markdown(str(one))}" for name, one in (versions or {}).items()
    )
    return [
        *([f"    {printable(command)}", ""] if command else []),
        *([f"- Versions: {shown}"] if shown else []),
        "- The whole record: `provenance.json`",
    ]


# The card of an artifact: what it is, what it was made from, how good it is, and its limits.


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
    known = origin_of(encoder)
    base = known[0] if known else encoder
    licence = known[1] if known else "other"
    lines = [
        "---",
        "language: en",
        "library_name: sympress",
        f"pipeline_tag: {'token' if task_of(task).finds_spans else 'text'}-classification",
        "tags: [clinical, symptom-extraction, model-compression, onnx]",
        f"license: {licence}",
        *(["license_name: that-of-the-encoder"] if licence == "other" else []),
        *([f"base_model: {json.dumps(base)}"] if known or re.fullmatch(r"[\w.-]+/[\w.-]+", base) else []),
    ]
    if row is not None:
        scores = [
            (name, getattr(row.quality, name).value) for name in ("f1", "precision", "recall", "accuracy")
        ]
        lines += [
            "model-index:",
            f"- name: {_yaml(row.name)}",
            "  results:",
            "  - task: {type: text-classification}",
            f"    dataset: {{name: {_yaml(dataset)}, type: clinical-notes}}",
            "    metrics:",
            *(f"    - {{type: {name}, value: {value}}}" for name, value in scores if value is not None),
        ]
    return [*lines, "---", ""]


def _yaml(text: str) -> str:
    return json.dumps(printable(text))


def _opening(title: str, task: str, encoder: str, dataset: str) -> list[str]:
    """How every card of an artifact begins, up to what it is."""
    return [
        *front_matter(task, encoder, dataset),
        f"# {title}",
        "",
        "## Intended use",
        "",
        *intended_use(),
        "",
        "## What it is",
        "",
    ]


def artifact_card(record: Mapping[str, Any], symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of a pressed artifact; every number comes from its provenance `record`."""
    config = record["config"]
    encoder = str(config["encoder"] or "bundled")
    lines = [
        *_opening("A pressed symptom extractor", str(config["task"]), encoder, record["data"]["name"]),
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
        *_opening("An imported symptom extractor", task, source["name"], "the checkpoint's"),
        f"- Task: `{task}` ({len(symptoms)} symptoms)",
        f"- Imported from: {escape_markdown(source['name'])}, architecture "
        f"{escape_markdown(source['model_type'])} (its licence applies to these weights)",
        f"- Digest of its files: `{source['digest']}`",
        f"- Largest difference to its logits: {record['import_max_difference']:.1e}",
        f"- Thresholds: {escape_markdown(record['thresholds'])}",
        *(f"- {escape_markdown(remark)}" for remark in record["remarks"]),
        "",
        "sympress measured nothing of its quality: what notes it was trained on, and how well it does, its "
        "makers know.",
    ]
    return "\n".join(lines) + "\n"


def trained_card(record: Mapping[str, Any], task: str, symptoms: Sequence[str]) -> str:
    """Markdown for the `README.md` of a trained artifact; every word comes from its provenance `record`."""
    config, notes = record["config"], record["notes"]
    encoder = str(config["encoder"])
    kind = task_of(task)
    average = "of exact spans" if kind.finds_spans else kind.average
    lines = [
        *_opening("A trained symptom extractor", task, encoder, "notes that were given"),
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
        f"{notes['transfer']:,} unlabelled, {notes['validation']:,} validation, {notes['test']:,} test"
        + (f"; timed on {notes['synthetic']:,} synthetic ones" if "synthetic" in notes else ""),
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
        f"{task_of(record['config']['task']).average} average. Whatever was "
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
