"""The results file of a run: `RUN/results.json`, format 1.

Written by `sympress.study`, read by everything that reports. A metric that is not defined on a split
(a class without a note, an AUROC with one class) has `value` null and a `note` that says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sympress.errors import InputError

RESULTS_FORMAT: Literal[1] = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Record):
    """A value with its 95 % bootstrap interval; `value` is null where the metric is undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None
    note: str | None = None


class SymptomQuality(_Record):
    """How well one symptom is recognised on the test set."""

    symptom: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate
    threshold: float | None = None


class Quality(_Record):
    """Quality of a deployed artifact on the test set; precision, recall, F1 and AUROC are macro averages.

    `micro_f1` and `average_precision` belong to the task `present` and are null for `topic`.
    """

    accuracy: Estimate
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auroc: Estimate
    micro_f1: Estimate | None = None
    average_precision: Estimate | None = None
    per_symptom: list[SymptomQuality] = Field(default_factory=list)


class Cost(_Record):
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
    peak_rss_bytes: int
    runtime: str
    threads: int
    train_seconds: float
    latency_ratio: float | None = None
    latency_ratio_pytorch: float | None = None
    latency_ratio_int8: float | None = None


class YardstickCost(_Record):
    """The uncompressed baseline, run in a way that needs no sympress."""

    size_bytes: int
    latency_ms_p50: float
    latency_ms_p95: float


class Comparison(_Record):
    """Paired difference to the baseline of the same seed on the same test notes.

    `smaller` and `faster` are true only if the file is smaller and the clock says faster. F1 is the macro
    average; the micro average is there for the task `present`.
    """

    f1_difference: Estimate
    micro_f1_difference: Estimate | None = None
    p_value: float | None
    smaller: bool
    faster: bool


class SymptomChange(_Record):
    """Answers on one symptom that flipped, and its F1 before and after."""

    symptom: str
    flipped: int
    f1: float | None
    baseline_f1: float | None


class GroupChange(_Record):
    """Notes of one group (a sex, a band of age, a category) with a flipped answer; micro-F1 on them."""

    group: str
    notes: int
    flipped_notes: int
    f1: float | None
    baseline_f1: float | None


class Changes(_Record):
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


class EpochQuality(_Record):
    """Quality on the validation part after one epoch of training (PyTorch weights)."""

    epoch: int
    quality: Quality


class StrategyResult(_Record):
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
    notes: list[str] = Field(default_factory=list)


class SplitCounts(_Record):
    """Sizes of the split, what stands on both sides, and how many duplicates were found."""

    train: int
    validation: int
    test: int
    rule: str
    exact_duplicates: int
    near_duplicates: int
    patients_on_both_sides: int
    duplicates_on_both_sides: int


class DataDescription(_Record):
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


class Results(_Record):
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


def load_results(run: Path) -> Results:
    """Read `RUN/results.json` (or the file itself).

    Raises:
        InputError: the file is missing, damaged, or of a newer format.
    """
    path = run / "results.json" if run.is_dir() else run
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
