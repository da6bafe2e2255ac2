"""The sections of a model card; every number comes from the results."""

from __future__ import annotations

from sympress.deploy.kernels import made_for
from sympress.report.formats import format_difference, format_estimate
from sympress.report.sections import command_of, leak_sentence
from sympress.report.tables import escape_markdown, printable
from sympress.results import Results, StrategyResult

#: Encoders that are known by name: where they come from, and their licence.
ENCODERS = {
    "bundled": ("sentence-transformers/all-MiniLM-L6-v2", "apache-2.0"),
    "emilyalsentzer/Bio_ClinicalBERT": ("emilyalsentzer/Bio_ClinicalBERT", "mit"),
}


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
    known = ENCODERS.get(encoder)
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
