"""The configuration of a study: one frozen, validated object, readable from TOML and from flags."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NaiveDatetime, ValidationError

from sympress.errors import InputError, nearest
from sympress.files import refuse_pipe
from sympress.labels.task import TASKS, TaskName, task_of
from sympress.notes.intake import TOKENS_MOST

Protocol = Literal["paper", "clinical"]

#: The loss of F1 below which a compressed row counts as good as the baseline: one point.
MARGIN = 0.01

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
        "windows": "first",
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
        "windows": "all",
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

#: Where spans ask for other settings than the published ones, which are for whole notes: a tagger learns
#: from every word of a note, window by window. What is given, by flag or in a file, wins.
SPANS: dict[str, Any] = {
    "epochs": 15,
    "batch_size": 8,
    "max_tokens": 256,
    "windows": "all",
    "text_window": 0,
    "schedule": "linear",
    "warmup_share": 0.1,
    "select": "best",
    "published_variants": False,
}


@dataclass(frozen=True)
class Marks:
    """What a setting is, beside what pydantic knows of it.

    Attributes:
        flag: of the command line; empty for `--` and the name of the setting, None for none.
        may_change: whether it may change from one call to the next: it adds rows or measures anew, and
            changes no row.
        by_content: whether it names a file, which may move: what the file holds is compared instead.
    """

    flag: str | None = ""
    may_change: bool = False
    by_content: bool = False


def setting(default: Any, help: str, *, marks: Marks = Marks(), **limits: float) -> Any:  # noqa: A002
    """A field, from which its option of the command line is made (`cli.options`).

    Args:
        default: of the field; None where the protocol, the encoder or the task decides.
        help: what it is, as the command line says it.
        marks: what else it is.
        limits: as pydantic takes them.
    """
    return Field(default, description=help, json_schema_extra=asdict(marks), **limits)  # type: ignore[call-overload]


_NO_FLAG = Marks(flag=None)
_BY_CONTENT = Marks(by_content=True)
_MAY_CHANGE = Marks(may_change=True)


#: The largest seed that NumPy, PyTorch and transformers all take.
SEED_MOST = 2**32 - 1
#: More cores than any machine has: each thread takes memory before it does anything.
THREADS_MOST = 1024


def check_seed(seed: int) -> int:
    """Return `seed` if every library takes it.

    Raises:
        InputError: it is negative, too large, or no whole number.
    """
    if not isinstance(seed, Integral) or isinstance(seed, bool) or not 0 <= seed <= SEED_MOST:
        raise InputError(f"--seed {seed}: give a whole number from 0 to {SEED_MOST}")
    return seed


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _from_year(value: Any) -> Any:
    """The first day of a year that is given alone; pydantic would take 2004 for seconds since 1970."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str) and value.strip().isdecimal():
        year = value.strip()
        if len(year) != len("2004"):
            raise ValueError("no day (YYYY-MM-DD) and no year")
        return f"{year}-01-01"
    return value


FirstDay = Annotated[NaiveDatetime, BeforeValidator(_from_year)]


class _ProtocolConfig(_Settings):
    protocol: Protocol = setting("paper", "paper, or clinical: without its flaws.")


class DataConfig(_Settings):
    """Which notes are read, how they are labelled, and who is tested."""

    panel: ClassVar = "Notes and labels"

    notes: Path | None = setting(
        None,
        "NOTEEVENTS.csv(.gz), VAERS zips, MTSamples, Parquet, JSONL, CSV or a folder of .txt; "
        "synthetic notes when left out.",
        marks=_BY_CONTENT,
    )
    task: TaskName = setting(
        "topic",
        "topic (one symptom a note), present (all that a note affirms) or mentions (spans and what the note "
        "asserts of each).",
    )
    labels: Literal["auto", "lexicon", "coded", "concepts", "silver", "gold", "mix"] = setting(
        "auto",
        "coded (by people), concepts (their codes as symptoms of the lexicon: those of one symptom merged, "
        "those of none left out), gold (spans people marked), silver (rules with assertion), mix, lexicon "
        "(the rule of a topic), or auto: the best there is.",
    )
    gold: Path | None = setting(
        None,
        "Annotated notes: brat or i2b2 folder, JSONL, doccano, Label Studio, CoNLL, PubTator or NegEx; "
        "without --notes they are the notes.",
        marks=_BY_CONTENT,
    )
    gold_labels: tuple[str, ...] = setting((), "Labels of --gold that are symptoms, with commas.")
    ignore_attributes: tuple[str, ...] = setting(
        (),
        "An attribute of --gold that does not change what the words assert; repeatable.",
        marks=Marks("--ignore-attribute"),
    )
    mix: str | None = setting(None, "Sources of --labels mix and weights: gold=1,silver=0.3.")
    lexicon: str | None = setting(
        None, "clinical, clinical+hpo, paper, or a TSV or TOML file.", marks=_BY_CONTENT
    )
    rule: Literal["first", "earliest", "most"] | None = setting(None, "first, earliest or most.")
    top_k: int = setting(5, "The K most frequent symptoms of the data.", ge=2)
    symptoms: tuple[str, ...] = setting(
        (), "Symptoms of --task present in place of the K most frequent, as they are coded, with commas."
    )
    text_window: int | None = setting(None, "Characters of a note that are seen; 0 for all.", ge=0)
    lower: bool | None = setting(None, "Lower-case the text.", marks=_NO_FLAG)
    balance: bool | None = setting(None, "Cut every topic to the rarest.")
    mask_placeholders: bool | None = setting(
        None, "Hide de-identification placeholders from the model.", marks=_NO_FLAG
    )
    text_column: str | None = setting(None, "Name of the text column.")
    fraction: float = setting(1.0, "Share of patients to read; a larger one contains it.", gt=0, le=1)
    split: Literal["random", "patient", "time"] | None = setting(None, "random, patient or time.")
    train_from: FirstDay | None = setting(
        None, "First day (YYYY-MM-DD) or year of training; older training notes are left out."
    )
    validation_from: FirstDay | None = setting(None, "First day (YYYY-MM-DD) or year of validation.")
    test_from: FirstDay | None = setting(None, "First day (YYYY-MM-DD) or year of the test set.")
    validation_notes: bool | None = setting(
        None,
        "Keep validation notes; without them 90 % train and the test notes score every epoch, as published.",
    )
    synthetic_notes: int = setting(2000, "How many synthetic notes.", ge=50)


class TrainingConfig(_Settings):
    """What is trained, and how."""

    panel: ClassVar = "Training"

    encoder: str | None = setting(
        None,
        "bundled (MiniLM), a folder, or a Hugging Face id; Bio_ClinicalBERT for your own notes.",
        marks=_BY_CONTENT,
    )
    case: Literal["auto", "keep", "lower"] = setting("auto", "Upper case: auto, keep or lower.")
    epochs: int = setting(5, "Passes over the notes.", ge=1)
    seeds: int = setting(1, "How many seeds.", marks=_MAY_CHANGE, ge=1)
    batch_size: int = setting(16, "Notes a step.", ge=1)
    learning_rate: float | None = setting(None, "Of the baseline.", gt=0)
    head_rate_ratio: float | None = setting(
        None, "How much faster the head learns than the encoder.", marks=_NO_FLAG, gt=0
    )
    others_weight: float = setting(
        0.5,
        "Of a tagger's second head, which learns what else people marked; 0 for none.",
        marks=_NO_FLAG,
        ge=0,
    )
    weight_decay: float = setting(0.01, "Of AdamW.", marks=_NO_FLAG, ge=0)
    schedule: Literal["cosine", "linear"] | None = setting(None, "cosine or linear.", marks=_NO_FLAG)
    warmup_share: float | None = setting(
        None, "Share of the steps in which the rate rises.", marks=_NO_FLAG, ge=0, lt=1
    )
    select: Literal["last", "best", "average"] | None = setting(
        None,
        "Keep the last epoch, the best on validation (by macro-F1; of present by mean average precision), or "
        "the average of the second half.",
        marks=_NO_FLAG,
    )
    max_tokens: int | None = setting(None, "Longest input in word pieces: a window.", ge=8, le=TOKENS_MOST)
    windows: Literal["first", "all"] | None = setting(
        None, "What of a note is read: its first window, or all; a symptom's logit is then its largest."
    )
    max_windows: int = setting(16, "Windows of a note that training reads; answers come from all.", ge=1)
    pooling: Literal["cls", "mean", "maximum", "label"] | None = setting(None, "cls, mean, maximum or label.")


class CompressionConfig(_Settings):
    """Which models are compressed, and how."""

    panel: ClassVar = "Compression"

    strategies: tuple[str, ...] = setting((), "Names with commas; else the protocol's.", marks=_MAY_CHANGE)
    recipes: tuple[str, ...] = setting(
        (),
        "A recipe to run on the baseline: safe, balanced, pocket, micro, a TOML file, or "
        "'NAME = vocab(keep=0.35) > distill(layers=3) > quantize(int8)'. Repeatable.",
        marks=Marks("--recipe", may_change=True),
    )
    transfer_fraction: float | None = setting(
        None,
        "Also teach students with the further notes of this share of patients, unlabelled.",
        marks=_MAY_CHANGE,
        gt=0,
        le=1,
    )
    transfer_from: FirstDay | None = setting(
        None,
        "First day (YYYY-MM-DD) or year of those further notes; before --train-from, the training notes that "
        "it leaves out are among them.",
        marks=_MAY_CHANGE,
    )
    published_variants: bool | None = setting(
        None, "Also run the published study's literal variants.", marks=_NO_FLAG
    )
    baseline_longer: bool = setting(
        True,
        "Also train the baseline for as many steps as the longest recipe, where one trains longer.",
        marks=_MAY_CHANGE,
    )
    student_layers: int | None = setting(None, "Layers of the student.", ge=1)
    temperature: float = setting(4.0, "Of distillation.", gt=0)
    alpha: float = setting(0.5, "Teacher against labels, 0 to 1.", ge=0, le=1)
    rank: int = setting(32, "Of factorized layers.", ge=1)
    masked_share: float = setting(0.3, "Share of masked weights.", ge=0, lt=1)
    keep_heads: float = setting(0.5, "Share of heads kept.", gt=0, le=1)
    keep_neurons: float = setting(0.5, "Share of neurons kept.", gt=0, le=1)


class MeasurementConfig(_Settings):
    """How the deployed files are measured, and what stays beside them; no row depends on it."""

    panel: ClassVar = "Measurement"

    threads: int = setting(
        1, "Cores that the timed runtime may use.", marks=_MAY_CHANGE, ge=1, le=THREADS_MOST
    )
    margin: float = setting(
        MARGIN,
        "The loss of F1 below which a compressed row counts as good as the baseline (non-inferiority).",
        marks=_MAY_CHANGE,
        ge=0,
        lt=1,
    )
    resamples: int = setting(1000, "Bootstrap resamples.", marks=_MAY_CHANGE, ge=50)
    keep_weights: bool = setting(
        True,
        "Keep the weights that `sympress compress` starts from; without them a finished run holds only what "
        "is deployed, and no row can be added.",
        marks=_MAY_CHANGE,
    )


Group = TypeVar("Group", bound=_Settings)


class StudyConfig(MeasurementConfig, CompressionConfig, TrainingConfig, DataConfig, _ProtocolConfig):
    """All settings of a study, by name; a setting left None takes its protocol's or encoder's value.

    Attributes:
        data: its part about notes and labels; `training`, `compression` and `measurement` are the others.
            Files and flags name the settings without their part.
    """

    @property
    def data(self) -> DataConfig:
        """Which notes are read, how they are labelled, and who is tested."""
        return self._part(DataConfig)

    @property
    def training(self) -> TrainingConfig:
        """What is trained, and how."""
        return self._part(TrainingConfig)

    @property
    def compression(self) -> CompressionConfig:
        """Which models are compressed, and how."""
        return self._part(CompressionConfig)

    @property
    def measurement(self) -> MeasurementConfig:
        """How the deployed files are measured."""
        return self._part(MeasurementConfig)

    def _part(self, kind: type[Group]) -> Group:
        return kind.model_validate({name: getattr(self, name) for name in kind.model_fields})

    def fixed(self) -> dict[str, Any]:
        """The settings, as JSON, that a study has in common with one that goes on in its folder."""
        free = {
            name
            for name in type(self).model_fields
            if (marks := marks_of(name)).may_change or marks.by_content
        }
        return self.model_dump(mode="json", exclude=free)

    @property
    def note_task(self) -> str:
        """The task of a study that labels whole notes.

        Raises:
            InputError: it finds spans.
        """
        if task_of(self.task).finds_spans:
            raise InputError(
                f"the task {self.task} finds spans; this works on --task topic and --task present"
            )
        return self.task

    def resolved(self) -> StudyConfig:
        """The same study with every setting that was not given filled from protocol, encoder and task."""
        synthetic = self.notes is None and self.gold is None
        encoder = self.encoder or ("bundled" if synthetic else "emilyalsentzer/Bio_ClinicalBERT")
        of_task = SPANS if task_of(self.task).finds_spans else {}
        defaults = PROTOCOLS[self.protocol] | ENCODERS.get(encoder, ENCODERS[""]) | of_task
        dumped = self.model_dump()
        given = {name: dumped[name] for name in self.model_fields_set if dumped[name] is not None}
        values = dumped | defaults | given | {"encoder": encoder}
        return StudyConfig.model_validate(values)


def as_stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration; one from before notes were read by windows read the first of each.

    Spans were always read by windows. One from before symptoms could be named named none.
    """
    before = "all" if task_of(str(values.get("task", "topic"))).finds_spans else "first"
    fields = StudyConfig.model_fields
    return {"windows": before, "max_windows": fields["max_windows"].default, "symptoms": [], **values}


def marks_of(name: str, of: type[BaseModel] = StudyConfig) -> Marks:
    """What a setting of a configuration is, beside what pydantic knows of it."""
    return Marks(**cast("dict[str, Any]", of.model_fields[name].json_schema_extra))


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
        name, given = str(first["loc"][0]), first["input"]
        flag, known = "--" + name.replace("_", "-"), _choices(StudyConfig.model_fields[name].annotation)
        known = list(TASKS) if name == "task" else known
        if known:
            near = nearest(str(given), known)
            raise InputError(f"{flag} {given!r} is not one of {', '.join(known)}{near}") from error
        raise InputError(f"{flag} {given!r}: {first['msg'].lower()}") from error


def _choices(kind: Any) -> list[str]:
    """The texts of a literal type, also where it is a part of another."""
    if isinstance(kind, str):
        return [kind]
    return [text for part in get_args(kind) for text in _choices(part)]


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
