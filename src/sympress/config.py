"""The configuration of a study: one frozen, validated object, readable from TOML and from flags."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sympress.errors import InputError, nearest
from sympress.files import refuse_pipe
from sympress.labels.labelset import AnyTask, Task

Protocol = Literal["paper", "clinical"]

#: What a protocol means where the user says nothing. `paper` is the published procedure
#: (Boabang 2025, as its notebook ran it); `clinical` is the same question without its flaws.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "paper": {
        "lexicon": "paper",
        "split": "random",
        "rule": "first",
        "text_window": 1000,
        "lower": True,
        "balance": True,
        "max_tokens": 256,
        "schedule": "cosine",
        "warmup_share": 0.0,
        "select": "last",
        "mask_placeholders": False,
        "published_variants": True,
    },
    "clinical": {
        "lexicon": "clinical",
        "split": "patient",
        "rule": "earliest",
        "text_window": 0,
        "lower": False,
        "balance": False,
        "max_tokens": 128,
        "schedule": "linear",
        "warmup_share": 0.06,
        "select": "best",
        "mask_placeholders": True,
        "published_variants": False,
    },
}

#: Where an encoder's own nature asks for other settings than the published ones (which are for
#: BERT-base). The packaged MiniLM is narrow and was trained with mean pooling: it wants larger steps.
ENCODERS: dict[str, dict[str, Any]] = {
    "bundled": {"learning_rate": 2e-4, "head_rate_ratio": 10.0, "pooling": "maximum"},
    "": {"learning_rate": 3e-5, "head_rate_ratio": 1.0, "pooling": "cls"},
}

#: Where a task asks for other settings than the published ones, which are for whole notes: a tagger learns
#: from every word of a note, window by window. What is given, by flag or in a file, wins.
TASKS: dict[str, dict[str, Any]] = {
    "mentions": {
        "epochs": 15,
        "batch_size": 8,
        "max_tokens": 256,
        "text_window": 0,
        "schedule": "linear",
        "warmup_share": 0.1,
        "select": "best",
        "published_variants": False,
    },
}


class StudyConfig(BaseModel):
    """All settings of a study. A setting left None takes its protocol's or encoder's value.

    Attributes:
        notes: where to read notes; None for synthetic ones.
        text_column: name of the text column of a CSV, JSONL or Parquet file without a well-known one.
        fraction: share of patients to read, 0..1; a larger share contains the smaller.
        synthetic_notes: how many synthetic notes to make when `notes` is None.
        protocol: `paper` or `clinical`; fills every setting that is None.
        task: `topic` (one symptom a note), `present` (the set of symptoms) or `mentions` (spans).
        labels: `coded` (by people), `gold` (spans that people marked), `silver` (rules with assertion),
            `mix`, `lexicon` (the rule of a topic), or `auto`: coded where the notes carry codes, else gold
            where it is given, else rules.
        gold: spans that people marked, in any format that `labels.gold.read_gold` reads; without `notes` its
            documents are the notes.
        gold_labels: labels of spans that are symptoms; empty for those whose name says so.
        ignore_attributes: attributes of spans in `gold` that do not change what their words assert.
        mix: weights of the sources of a mix, `coded=1,silver=0.3`.
        lexicon: `paper`, `clinical`, or a TSV or TOML file.
        rule: which lexicon match decides a topic: `first` of the lexicon, `earliest`, `most` mentioned.
        text_window: characters of a note that are seen; 0 for all of them.
        lower: lower-case the text.
        balance: down-sample every topic to the rarest.
        mask_placeholders: hide de-identification placeholders from the model.
        top_k: how many symptoms, the most frequent in the data.
        split: `random` by note, by `patient`, or by `time`.
        validation_from: first day of validation (split `time`).
        test_from: first day of the test set (split `time`).
        encoder: `bundled`, a folder, or a Hugging Face id.
        case: what the tokenizer does with upper case: `keep`, `lower`, or as the encoder says.
        strategies: names from `sympress.compress.strategies.STRATEGIES`; empty for the protocol's own.
        recipes: recipes to run beside the strategies: names, or `NAME = vocab(keep=0.35) > …`.
        transfer_fraction: share of patients whose notes before validation also teach students, unlabelled.
        published_variants: also run the published study's literal variants.
        seeds: how many seeds, 0, 1, ….
        epochs: passes over the training notes, for each strategy that trains.
        batch_size: notes a step.
        learning_rate: of the baseline; strategies scale it as the published study did.
        head_rate_ratio: how much faster the head learns than the encoder.
        others_weight: of a tagger's second head, which learns what else people marked; 0 for none.
        weight_decay: AdamW's.
        schedule: `cosine` or `linear`.
        warmup_share: share of the steps in which the rate rises.
        select: keep the `last` epoch, the `best` on validation (by macro-F1; of `present` by mean average
            precision), or the `average` of the second half.
        max_tokens: longest input in word pieces.
        pooling: `cls`, `mean`, `maximum` or `label`.
        temperature: of distillation.
        alpha: weight of the teacher against the labels, 0..1.
        student_layers: layers of the student; None for half of the teacher's.
        rank: of the factorized layers.
        masked_share: share of weights that masks set to zero, 0..1.
        keep_heads: share of attention heads that structured removal keeps.
        keep_neurons: share of feed-forward neurons that structured removal keeps.
        threads: cores that the measured runtime may use.
        resamples: bootstrap resamples behind each interval.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    notes: Path | None = None
    text_column: str | None = None
    fraction: float = Field(1.0, gt=0, le=1)
    synthetic_notes: int = Field(2000, ge=50)
    protocol: Protocol = "paper"
    task: AnyTask = "topic"
    labels: Literal["auto", "lexicon", "coded", "silver", "gold", "mix"] = "auto"
    gold: Path | None = None
    gold_labels: tuple[str, ...] = ()
    ignore_attributes: tuple[str, ...] = ()
    mix: str | None = None
    lexicon: str | None = None
    rule: Literal["first", "earliest", "most"] | None = None
    text_window: int | None = Field(None, ge=0)
    lower: bool | None = None
    balance: bool | None = None
    mask_placeholders: bool | None = None
    top_k: int = Field(5, ge=2)
    split: Literal["random", "patient", "time"] | None = None
    validation_from: datetime | None = None
    test_from: datetime | None = None
    encoder: str | None = None
    case: Literal["auto", "keep", "lower"] = "auto"
    strategies: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    transfer_fraction: float | None = Field(None, gt=0, le=1)
    published_variants: bool | None = None
    seeds: int = Field(1, ge=1)
    epochs: int = Field(5, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    head_rate_ratio: float | None = Field(None, gt=0)
    others_weight: float = Field(0.5, ge=0)
    weight_decay: float = Field(0.01, ge=0)
    schedule: Literal["cosine", "linear"] | None = None
    warmup_share: float | None = Field(None, ge=0, lt=1)
    select: Literal["last", "best", "average"] | None = None
    max_tokens: int | None = Field(None, ge=8)
    pooling: Literal["cls", "mean", "maximum", "label"] | None = None
    temperature: float = Field(4.0, gt=0)
    alpha: float = Field(0.5, ge=0, le=1)
    student_layers: int | None = Field(None, ge=1)
    rank: int = Field(32, ge=1)
    masked_share: float = Field(0.3, ge=0, lt=1)
    keep_heads: float = Field(0.5, gt=0, le=1)
    keep_neurons: float = Field(0.5, gt=0, le=1)
    threads: int = Field(1, ge=1)
    resamples: int = Field(1000, ge=50)

    @property
    def note_task(self) -> Task:
        """The task of a study that labels whole notes.

        Raises:
            InputError: it is `mentions`, which finds spans.
        """
        if self.task == "mentions":
            raise InputError("the task mentions finds spans; this works on --task topic and --task present")
        return self.task

    def resolved(self) -> StudyConfig:
        """The same study with every setting that was not given filled from protocol, encoder and task."""
        synthetic = self.notes is None and self.gold is None
        encoder = self.encoder or ("bundled" if synthetic else "emilyalsentzer/Bio_ClinicalBERT")
        defaults = PROTOCOLS[self.protocol] | ENCODERS.get(encoder, ENCODERS[""]) | TASKS.get(self.task, {})
        dumped = self.model_dump()
        given = {name: dumped[name] for name in self.model_fields_set if dumped[name] is not None}
        values = dumped | defaults | given | {"encoder": encoder}
        return StudyConfig.model_validate(values)


def make_config(values: dict[str, Any]) -> StudyConfig:
    """Build a `StudyConfig`.

    Raises:
        InputError: an unknown key (the nearest known one is named) or a value out of range.
    """
    for key in values:
        if key not in StudyConfig.model_fields:
            raise InputError(f"unknown setting {key!r}{nearest(key, StudyConfig.model_fields)}")
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        flag = "--" + name.replace("_", "-")
        raise InputError(f"{flag} {first['input']!r}: {first['msg'].lower()}") from error


def read_config_file(path: Path) -> dict[str, Any]:
    """The keys of a TOML file.

    Raises:
        InputError: the file is missing or is not TOML.
    """
    refuse_pipe(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:  # also of bytes that are not UTF-8, and of a number that is too long
        raise InputError(f"{path}: not TOML ({error})") from error
    except RecursionError as error:
        raise InputError(f"{path}: nested too deeply; a study has plain settings") from error
