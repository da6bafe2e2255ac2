"""Quality in a results file: what `results.py` nests in each row.

Everything that format 1 did not have at first has a default, so that older files still load.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
