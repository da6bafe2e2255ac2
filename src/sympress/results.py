"""The results file of a run: `RUN/results.json`, format 1."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sympress.errors import InputError, place_of
from sympress.files import read_settings

# Quality in a results file: what `results.py` nests in each row.
#
# Everything that format 1 did not have at first has a default, so that older files still load.


class Record(BaseModel):
    """A part of a results file: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(Record):
    """A value with its 95 % bootstrap interval; `value` is null where the metric is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


class SymptomQuality(Record):
    """How well one symptom is recognised on the test set."""

    symptom: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate
    average_precision: Estimate | None = None
    threshold: float | None = None


class ReliabilityBin(Record):
    """One point of the reliability curve: answers whose probability lies from `low` up to `high`.

    `predicted` is their mean probability, `observed` the share of them that is true.
    """

    low: float
    high: float
    answers: int
    predicted: float
    observed: Estimate


class SymptomCalibration(Record):
    """Expected calibration error (equal mass) and Brier score of one symptom."""

    symptom: str
    ece: float | None
    brier: float | None


class CalibrationQuality(Record):
    """Whether probabilities can be taken at their word; an answer is one symptom of one note.

    For `topic` an answer is the most probable symptom of a note, true where it is the right one.

    Attributes:
        ece: expected calibration error in bins of equal mass.
        ece_width: the same in bins of equal width, those of `bins`.
        brier: mean squared difference of probability and truth.
        ece_before: `ece` of the probabilities before they were calibrated; null if they never were.
        brier_before: `brier` of those.
        bins: the reliability curve; bins without an answer are left out.
        per_symptom: of the task `present`.
    """

    ece: Estimate
    ece_width: Estimate
    brier: Estimate
    ece_before: Estimate | None = None
    brier_before: Estimate | None = None
    bins: list[ReliabilityBin] = Field(default_factory=list)
    per_symptom: list[SymptomCalibration] = Field(default_factory=list)


class GroupQuality(Record):
    """Micro-F1 on the notes of one group; undefined, with the reason, where the group is too small.

    `positives` are the true answers: pairs of a note and a symptom that it has.
    """

    by: Literal["sex", "age", "category"]
    group: str
    notes: int
    positives: int
    f1: Estimate


class GroupGap(Record):
    """The largest difference of micro-F1 between two groups: `best` minus `worst`, chosen on these notes."""

    by: Literal["sex", "age", "category"]
    best: str
    worst: str
    difference: Estimate


class SpanScores(Record):
    """Precision, recall and F1 of spans."""

    precision: Estimate
    recall: Estimate
    f1: Estimate


class SymptomSpans(Record):
    """Spans of one symptom: a match has the symptom right. F1 of exact and of overlapping spans."""

    symptom: str
    gold: int
    predicted: int
    exact_f1: Estimate
    overlapping_f1: Estimate


class AssertionSpans(Record):
    """One assertion: `given_span` on the pairs of spans that overlap, the others end to end.

    Attributes:
        assertion: its name.
        gold: gold spans that have it.
        predicted: predicted spans that have it.
        given_span: how well the assertion is told once the span is found.
        exact: a match has the very span and this assertion on both sides.
        overlapping: a match overlaps and has this assertion on both sides.
    """

    assertion: str
    gold: int
    predicted: int
    given_span: SpanScores
    exact: SpanScores
    overlapping: SpanScores


class SpanQuality(Record):
    """Quality of the task `mentions`; spans are matched one to one.

    Attributes:
        notes: documents.
        gold: spans that people marked.
        predicted: spans that were found.
        exact: both ends are right.
        overlapping: at least one character is shared; as many pairs as there can be.
        exact_assertion: `exact`, and the assertion is right.
        overlapping_assertion: `overlapping`, and the assertion is right.
        exact_symptom: `exact`, and the symptom is right, over spans that have one (micro).
        overlapping_symptom: `overlapping`, and the symptom is right, over spans that have one (micro).
        macro_exact_f1: mean over the symptoms with a gold span.
        macro_overlapping_f1: mean over the symptoms with a gold span.
        gold_without_symptom: gold spans that no symptom of the lexicon names; in no score by symptom.
        predicted_without_symptom: the same of predicted spans.
        per_symptom: by symptom, those with a gold or a predicted span, by name.
        assertions: by assertion, those with a gold or a predicted span.
    """

    notes: int
    gold: int
    predicted: int
    exact: SpanScores
    overlapping: SpanScores
    exact_assertion: SpanScores
    overlapping_assertion: SpanScores
    exact_symptom: SpanScores | None = None
    overlapping_symptom: SpanScores | None = None
    macro_exact_f1: Estimate | None = None
    macro_overlapping_f1: Estimate | None = None
    gold_without_symptom: int = 0
    predicted_without_symptom: int = 0
    per_symptom: list[SymptomSpans] = Field(default_factory=list)
    assertions: list[AssertionSpans] = Field(default_factory=list)


class Quality(Record):
    """Quality of a deployed artifact on the test set; precision, recall, F1 and AUROC are macro averages.

    `micro_f1` and `average_precision` belong to the task `present` and are null for `topic`. Of `mentions`,
    precision, recall and `micro_f1` are those of exact spans, and `spans` has the rest.
    """

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate
    micro_f1: Estimate | None = None
    average_precision: Estimate | None = None
    per_symptom: list[SymptomQuality] = Field(default_factory=list)
    calibration: CalibrationQuality | None = None
    groups: list[GroupQuality] = Field(default_factory=list)
    gaps: list[GroupGap] = Field(default_factory=list)
    spans: SpanQuality | None = None


# The results file of a run: `RUN/results.json`, format 1.
#
# Written by `sympress.study`, read by everything that reports. A metric that is not defined on a split (a
# class without a note, an AUROC with one class) has `value` null and a `note` that says why.


RESULTS_FORMAT: Literal[1] = 1


class Cost(Record):
    """Cost of a deployed artifact, measured on the file that was scored; null where it does not apply.

    `macs_per_note` are multiply-accumulates of one note at the median length of the test notes. The latency
    ratios are medians over notes, each row timed in turn with the one it is compared with: the baseline's
    ONNX file, the baseline in PyTorch (fp32), and the baseline as ONNX Runtime's own int8.
    """

    size_bytes: int
    parameters: int | None = None
    nonzero_parameters: int | None = None
    macs_per_note: int | None = None
    latency_ms_p50: float
    latency_ms_p95: float
    notes_per_second: float
    peak_rss_bytes: int | None = None
    runtime: str
    threads: int
    train_seconds: float
    latency_ratio: float | None = None
    latency_ratio_pytorch: float | None = None
    latency_ratio_int8: float | None = None


class YardstickCost(Record):
    """The uncompressed baseline, run in a way that needs no sympress.

    Attributes:
        size_bytes: of its weights.
        latency_ms_p50: one note at a time.
        latency_ms_p95: one note at a time.
        disabled_optimizers: what its session leaves out, as those of our own files do; null in files from
            before, whose int8 yardstick had the fusion that slows it down.
    """

    size_bytes: int
    latency_ms_p50: float
    latency_ms_p95: float
    disabled_optimizers: list[str] | None = None


class Pooled(Record):
    """What all seeds together say of a row: of one F1, the row minus the baseline on the same test notes.

    Every seed of a row has the same one; how it is computed is said by `report.claims.pool`.

    Attributes:
        difference: the mean over seeds; its interval is that of trainings and notes together.
        p_value: two-sided, that there is no difference.
        margin: the loss below which a row counts as good as the baseline (non-inferiority).
        p_margin: one-sided, that the loss is `margin` or more.
        p_margin_holm: `p_margin` corrected for the number of strategies (Holm 1979).
    """

    difference: Estimate
    p_value: float | None = None
    margin: float
    p_margin: float | None = None
    p_margin_holm: float | None = None


class Comparison(Record):
    """Paired difference to the baseline of the same seed on the same test notes.

    `smaller` and `faster` are true only if the file is smaller and the clock says faster. F1 is the macro
    average; the micro average is there for the task `present`.

    Attributes:
        p_value: that macro-F1 differs, by swapping the answers of whole patients (approximate randomisation).
        p_value_micro: the same for micro-F1.
        p_mcnemar: exact McNemar test of all answers; it takes them for independent, which the answers of one
            patient are not, and so is the more easily convinced of the three.
        pooled: of macro-F1, what all seeds together say; files from before it have none.
        pooled_micro: the same of micro-F1.
        p_holm: the p-value of `pooled` corrected for the number of strategies (Holm 1979); in files without
            `pooled` the largest `p_value` of a seed, corrected.
        p_holm_micro: the same of `pooled_micro` and `p_value_micro`.
        p_holm_mcnemar: the largest `p_mcnemar` of a seed, corrected.
    """

    f1_difference: Estimate
    micro_f1_difference: Estimate | None = None
    p_value: float | None
    p_value_micro: float | None = None
    p_mcnemar: float | None = None
    pooled: Pooled | None = None
    pooled_micro: Pooled | None = None
    p_holm: float | None = None
    p_holm_micro: float | None = None
    p_holm_mcnemar: float | None = None
    smaller: bool
    faster: bool


class SymptomChange(Record):
    """Answers on one symptom that flipped, and its F1 before and after."""

    symptom: str
    flipped: int
    f1: float | None
    baseline_f1: float | None


class GroupChange(Record):
    """Notes of one group (a sex, a band of age, a category) with a flipped answer; micro-F1 on them."""

    group: str
    notes: int
    flipped_notes: int
    f1: float | None
    baseline_f1: float | None


class Changes(Record):
    """What compression changed on the test notes, beyond the average.

    An answer is one symptom of one note; it is `corrected` where the baseline was wrong, else `spoiled`.
    """

    notes: int
    flipped_notes: int
    flipped_answers: int
    corrected: int
    spoiled: int
    per_symptom: list[SymptomChange] = Field(default_factory=list)
    per_group: list[GroupChange] = Field(default_factory=list)


class EpochQuality(Record):
    """Quality on the validation part after one epoch of training (PyTorch weights)."""

    epoch: int
    quality: Quality


class StrategyResult(Record):
    """One row of the table: one strategy trained with one seed, scored and timed as deployed."""

    name: str
    seed: int
    recipe: str
    quality: Quality
    cost: Cost
    versus_baseline: Comparison | None = None
    changes: Changes | None = None
    epochs: list[EpochQuality] = Field(default_factory=list)
    parity_max_difference: float | None = None
    kernel: str | None = None
    notes: list[str] = Field(default_factory=list)


class SplitCounts(Record):
    """Sizes of the split, what stands on both sides, and how many duplicates were found.

    `left_out` are training notes older than the first day that was asked for.
    """

    train: int
    validation: int
    test: int
    rule: str
    exact_duplicates: int
    near_duplicates: int
    patients_on_both_sides: int
    duplicates_on_both_sides: int
    left_out: int = 0


class Period(Record):
    """The notes of one year on one side of the split."""

    side: Literal["train", "validation", "test"]
    year: int
    notes: int


class SymptomRates(Record):
    """The share of the notes of each period that one symptom is labelled in."""

    symptom: str
    rates: list[float]


class Drift(Record):
    """How often each symptom is labelled over time; `rates` are in the order of `periods`."""

    periods: list[Period]
    symptoms: list[SymptomRates]


class DataDescription(Record):
    """Where the notes and labels came from, counted at every step.

    `drift` is that of notes split by time.
    """

    name: str
    fingerprint: str
    notes: int
    train: int
    validation: int
    test: int
    symptoms: list[str]
    labels: str
    reading: dict[str, int] = Field(default_factory=dict)
    labelling: dict[str, int] = Field(default_factory=dict)
    split: SplitCounts
    drift: Drift | None = None


class Results(Record):
    """All of a run."""

    format: Literal[1] = RESULTS_FORMAT
    protocol: str
    task: str
    data: DataDescription
    strategies: list[StrategyResult]
    environment: dict[str, Any]
    yardsticks: dict[str, YardstickCost] = Field(default_factory=dict)
    config: dict[str, Any] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


def load_results(run: str | Path) -> Results:
    """Read `RUN/results.json` (or the file itself).

    Raises:
        InputError: the file is missing, damaged, or of a newer format.
    """
    path = Path(run)
    path = path / "results.json" if path.is_dir() else path
    try:
        raw = json.loads(read_settings(path))
    except FileNotFoundError:
        raise InputError(f"{path}: no results here; give the folder that `sympress study -o` wrote") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); run the study again") from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != RESULTS_FORMAT:
        raise InputError(
            f"{path}: format {found!r}, this sympress reads format {RESULTS_FORMAT}; update sympress"
        )
    try:
        return Results.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = place_of(first["loc"])
        raise InputError(f"{path}: damaged at {where} ({first['msg']}); run the study again") from error
