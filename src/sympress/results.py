"""The results file of a run: `RUN/results.json`, format 1.

Written by `sympress.study`, read by everything that reports. A metric that is not defined on a split
(a class without a note, an AUROC with one class) has `value` null and a `note` that says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from sympress.errors import InputError
from sympress.files import refuse_pipe
from sympress.results_quality import (
    AssertionSpans,
    CalibrationQuality,
    Estimate,
    GroupGap,
    GroupQuality,
    Quality,
    Record,
    ReliabilityBin,
    SpanQuality,
    SpanScores,
    SymptomCalibration,
    SymptomQuality,
    SymptomSpans,
)

__all__ = [
    "RESULTS_FORMAT",
    "AssertionSpans",
    "CalibrationQuality",
    "Changes",
    "Comparison",
    "Cost",
    "DataDescription",
    "EpochQuality",
    "Estimate",
    "GroupChange",
    "GroupGap",
    "GroupQuality",
    "Quality",
    "Record",
    "ReliabilityBin",
    "Results",
    "SpanQuality",
    "SpanScores",
    "SplitCounts",
    "StrategyResult",
    "SymptomCalibration",
    "SymptomChange",
    "SymptomQuality",
    "SymptomSpans",
    "YardstickCost",
    "load_results",
]

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
    """The uncompressed baseline, run in a way that needs no sympress."""

    size_bytes: int
    latency_ms_p50: float
    latency_ms_p95: float


class Comparison(Record):
    """Paired difference to the baseline of the same seed on the same test notes.

    `smaller` and `faster` are true only if the file is smaller and the clock says faster. F1 is the macro
    average; the micro average is there for the task `present`.

    Attributes:
        p_value: that macro-F1 differs, by swapping the answers of whole patients (approximate randomisation).
        p_value_micro: the same for micro-F1.
        p_mcnemar: exact McNemar test of all answers; it takes them for independent, which the answers of one
            patient are not, and so is the more easily convinced of the three.
        p_holm: `p_value` corrected for the number of strategies (Holm 1979). Of several seeds the largest
            p-value stands for the strategy, so that all seeds have the same corrected one.
        p_holm_micro: the same of `p_value_micro`.
        p_holm_mcnemar: the same of `p_mcnemar`.
    """

    f1_difference: Estimate
    micro_f1_difference: Estimate | None = None
    p_value: float | None
    p_value_micro: float | None = None
    p_mcnemar: float | None = None
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
    """Sizes of the split, what stands on both sides, and how many duplicates were found."""

    train: int
    validation: int
    test: int
    rule: str
    exact_duplicates: int
    near_duplicates: int
    patients_on_both_sides: int
    duplicates_on_both_sides: int


class DataDescription(Record):
    """Where the notes and labels came from, counted at every step."""

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
    refuse_pipe(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no results here; give the folder that `sympress study -o` wrote") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
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
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path}: damaged at {where} ({first['msg']}); run the study again") from error
