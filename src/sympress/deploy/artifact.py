"""The artifact: the folder that is deployed. Reading one needs neither torch nor transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sympress.deploy.calibration import Calibration
from sympress.deploy.decode import assertions_of
from sympress.deploy.recognize import what_else
from sympress.errors import InputError, place_of
from sympress.files import refuse_pipe, write_json

ARTIFACT_FORMAT = 1


class Evidence(BaseModel):
    """Words that stand for a symptom of the model which they do not name in full.

    Of `redness at the injection site` a report may say `redness` and leave the place out.

    Attributes:
        mentions: symptoms of the lexicon; a present mention of one of them stands for the model's symptom
            where the model affirms it.
        words: one of which must be near that mention; one that ends in `*` is the beginning of a word. None
            asks for no further word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mentions: list[str]
    words: list[str] = Field(default_factory=list)


class Extractor(BaseModel):
    """`extractor.json`: everything beside the weights that decides what a note's answer is.

    Attributes:
        format: of the artifact.
        task: `topic`, `present` or `mentions`.
        symptoms: names of the symptoms; of the task `mentions` those that a span can be linked to.
        thresholds: probability from which on each symptom is present; None for 0.5.
        calibration: from logits to probabilities that can be taken at their word.
        max_tokens: word pieces a window, special tokens included.
        text_window: characters of a note that are read; None for all.
        lower: lower-case the text.
        mask_placeholders: hide de-identification placeholders.
        pad_id: of the tokenizer.
        windows: whether the first window of a note is read or all of them.
        stride: pieces from the start of a window to that of the next; None for half a window.
        tags: of the task `mentions`: what each logit of a word piece stands for, see `decode.tags_of`.
        span_bias: of the task `mentions`: see `decode.decode_mentions`; chosen on validation notes.
        codes: codes of a symptom, by its name.
        lexicon: the built-in lexicon whose forms name a span, `lexicon.json` for one that the artifact
            carries, or `forms.json` for its forms alone; None names none.
        rules: the mentions of the lexicon and assertion rules are answered too. Beside a model of whole notes
            they give the spans, and what no span calls present is not affirmed; see `deploy.affirm`.
        cues: the artifact carries cues of its own, in `cues.toml`.
        sections: it carries headings of its own, in `sections.toml`.
        decides: beside a model of whole notes, who decides on a present mention that the model doubts, by
            symptom; the rules where nothing is said. Chosen on validation notes.
        evidence: words that stand for a symptom of the model, by symptom; chosen on validation notes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    task: Literal["topic", "present", "mentions"]
    symptoms: list[str]
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    calibration: Calibration | None = None
    max_tokens: int = Field(ge=1)
    text_window: int | None = Field(None, ge=1)
    lower: bool = False
    mask_placeholders: bool = False
    pad_id: int = Field(ge=0)
    windows: Literal["first", "all"] = "first"
    stride: int | None = Field(None, ge=1)
    tags: list[str] | None = None
    span_bias: float = 0.0
    codes: dict[str, list[str]] = Field(default_factory=dict)
    lexicon: Literal["paper", "clinical", "lexicon.json", "forms.json"] | None = None
    rules: bool = False
    cues: bool = False
    sections: bool = False
    decides: dict[str, Literal["rules", "model"]] = Field(default_factory=dict)
    evidence: dict[str, Evidence] = Field(default_factory=dict)

    @property
    def rules_only(self) -> bool:
        """Whether rules answer alone, so that there is neither a model nor a tokenizer."""
        return self.rules and self.task == "mentions" and self.tags is None

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        """Refuse settings that contradict each other: they would fail, or answer wrong, note by note."""
        known, whole_note = len(self.symptoms), self.task != "mentions"
        thresholds, lines = self.thresholds, self.calibration
        impossible = {
            "symptoms: one stands there twice": len(set(self.symptoms)) < known,
            f"symptoms: none, for the task {self.task}": whole_note and not known,
            f"thresholds: not one for each of {known} symptoms": thresholds is not None
            and len(thresholds) != known,
            f"calibration: not one line for each of {known} symptoms": lines
            and not len(lines.a) == len(lines.b) == known,
            f"tags: the task {self.task} has none": whole_note and self.tags is not None,
            "tags: none, and no rules": not whole_note and self.tags is None and not self.rules,
            "tags: not 'O', then 'B-' and 'I-' of each assertion": self.tags is not None
            and not _are_tags(self.tags),
            "rules: true without a lexicon": self.rules and self.lexicon is None,
            "cues or sections: true without rules": (self.cues or self.sections) and not self.rules,
            "decides or evidence: of a symptom that is not among the symptoms": whole_note
            and not {*self.decides, *self.evidence} <= set(self.symptoms),
        }
        for problem, there in impossible.items():
            if there:
                raise ValueError(problem)
        return self


def _are_tags(tags: list[str]) -> bool:
    try:
        return bool(assertions_of(tags))
    except InputError:
        return False


def write_extractor(folder: Path, extractor: Extractor) -> None:
    """Write `extractor.json`."""
    write_json(folder / "extractor.json", extractor.model_dump())


def write_provenance(folder: Path, provenance: dict[str, Any]) -> None:
    """Write `provenance.json`: recipe, config, seed, versions, fingerprints; never text."""
    write_json(folder / "provenance.json", provenance)


def read_provenance(folder: Path, *, missing: str) -> Any:
    """What `provenance.json` holds, of whatever shape.

    Args:
        folder: of the artifact.
        missing: what the error says of the folder where the file is not there.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = folder / "provenance.json"
    refuse_pipe(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder}: {missing}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); copy the artifact again") from error


def read_extractor(folder: Path) -> Extractor:
    """Read `extractor.json`.

    Raises:
        InputError: the folder is no artifact, is damaged or of a newer format.
    """
    path = folder / "extractor.json"
    refuse_pipe(path)
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        hint = what_else(Path(folder))
        raise InputError(f"{folder}: no artifact here (extractor.json is missing){hint}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); copy the artifact again") from error
    found = raw.get("format") if isinstance(raw, dict) else None
    if isinstance(found, int) and found > ARTIFACT_FORMAT:
        raise InputError(f"{path}: format {found} is newer than this sympress; upgrade sympress")
    if found != ARTIFACT_FORMAT:
        raise InputError(f"{path}: not format {ARTIFACT_FORMAT}; this artifact needs another sympress")
    try:
        return Extractor.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = f"at {place_of(first['loc'])}" if first["loc"] else f"({first['ctx']['error']})"
        raise InputError(f"{path}: damaged {where}; copy the artifact again") from error
