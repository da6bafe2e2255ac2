"""The artifact: the folder that is deployed, its settings and checksums; no torch, no transformers."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sympress.errors import InputError, place_of
from sympress.files import read_settings, refuse_pipe, write_json
from sympress.labels.task import TaskName, task_of
from sympress.notes.intake import TOKENS_MOST
from sympress.runtime.affirm import Evidence, Fusion
from sympress.runtime.tokens import classes_of

# What a folder is that is no artifact, and what makes an artifact of it.


#: How the names of the architectures end that `sympress import` reads.
_CLASSIFIERS = ("ForSequenceClassification", "ForTokenClassification")


def what_else(place: Path) -> str:
    """What stands at `place`, where no artifact does, and what to do; empty where nothing tells."""
    if place.is_file():
        return "; that is a file: give the folder of the artifact"
    if may_be_on_hub(place):
        return f"; there is no such folder: of a checkpoint on the Hub, {_importing(place)}"
    if run := sorted(one.parent for one in place.glob("artifacts/*/extractor.json")):
        return f"; that is a run: give one of its artifacts, such as {run[0]}"
    return _of_config(place, _config(place))


def _of_config(place: Path, config: dict[str, Any]) -> str:
    if "sympress" in config:
        return "; its weights are: copy the whole artifact again"
    if "model_type" not in config:
        return ""
    names = config.get("architectures")
    name = str(names[0] if isinstance(names, list) and names else config["model_type"])
    name = name if name.isidentifier() else "of an unknown kind"
    if name.endswith(_CLASSIFIERS):
        return f"; that is a Hugging Face checkpoint, {name}: {_importing(place)}"
    return (
        f"; that is a Hugging Face encoder, {name}, without a head for symptoms: train one with  "
        f"sympress study --encoder {place}"
    )


def is_classifier(place: Path) -> bool:
    """Whether `place` is the folder of a fine-tuned classifier of transformers, and no artifact."""
    if (place / "extractor.json").exists():
        return False
    config = _config(place)
    names = config.get("architectures")
    named = isinstance(names, list) and names and str(names[0]).endswith(_CLASSIFIERS)
    return bool(named) and "sympress" not in config


def _importing(place: Path) -> str:
    return f"make an artifact with  sympress import {place} -o ARTIFACT"


def _config(place: Path) -> dict[str, Any]:
    try:
        raw = json.loads(read_settings(place / "config.json"))
    except (InputError, OSError, ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def may_be_on_hub(place: Path) -> bool:
    """Whether `place` is written as the id of a model: an owner and a name, with no such folder here."""
    return (
        not place.exists() and not place.is_absolute() and len(place.parts) == 2 and ".." not in place.parts
    )


# What answers without an artifact of one's own: folders that come with sympress.


#: `extractor.json` alone: mentions by the clinical lexicon, sections and assertion rules, without a model.
RULES_FOLDER = Path(__file__).with_name("rules")

#: A `micro` model with the same rules beside it, made by `make model`; its card is the README.md in it.
BOX_FOLDER = Path(__file__).with_name("box")

_BY_NAME = {"box": BOX_FOLDER, "rules": RULES_FOLDER}


def artifact_folder(asked: str | Path | None) -> Path:
    """The folder of the artifact that was asked for: by its path, or `box` or `rules`; the box for None."""
    if asked is None:
        return BOX_FOLDER
    folder = Path(asked)
    return folder if folder.exists() else _BY_NAME.get(str(asked), folder)


def bundled_name(folder: Path) -> str | None:
    """`box` or `rules` for a folder that comes with sympress, wherever it is installed; else None."""
    return next((name for name, own in _BY_NAME.items() if own == folder), None)


# The map from a model's logits to probabilities that can be taken at their word; numpy only.
#
# It is fitted on validation notes (`evaluation.probabilities`) and stored in `extractor.json`.


Floats = NDArray[np.float64]


class Calibration(BaseModel):
    """One line a symptom, `a * logit + b`; every `a` is positive, so the order of notes never changes.

    For `topic` all `a` are one over the temperature and all `b` are 0.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    a: list[float]
    b: list[float]

    @field_validator("a")
    @classmethod
    def _rising(cls, slopes: list[float]) -> list[float]:
        if not all(slope > 0 for slope in slopes):
            raise ValueError("a slope is not positive")
        return slopes

    def apply(self, logits: ArrayLike, *, task: str = "present") -> Floats:
        """Return calibrated probabilities of logits `(..., K)`: those of `a * logits + b`, float64."""
        moved = np.asarray(self.a, dtype=np.float64) * np.asarray(logits, dtype=np.float64)
        return task_of(task).probabilities(moved + np.asarray(self.b, dtype=np.float64))


# The artifact: the folder that is deployed. Reading one needs neither torch nor transformers.


ARTIFACT_FORMAT = 1

#: Most windows that see the same word piece; beyond, a note takes memory and time without end.
OVERLAP_MOST = 16


class Extractor(BaseModel):
    """`extractor.json`: everything beside the weights that decides what a note's answer is.

    Attributes:
        format: of the artifact.
        task: `topic`, `present` or `mentions`, or another of `labels.task.TASKS`.
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
            they give the spans, and what no span calls present is not affirmed; see `runtime.affirm`.
        tagger: the artifact carries one of the task `mentions` in the folder `tagger`, whose spans are
            mentions beside those of the rules.
        cues: the artifact carries cues of its own, in `cues.toml`.
        sections: it carries headings of its own, in `sections.toml`.
        decides: beside a model of whole notes, who decides on a present mention that the model doubts, by
            symptom; the rules where nothing is said. Chosen on validation notes.
        evidence: words that stand for a symptom of the model, by symptom; chosen on validation notes.
        fusion: how what the rules of `lexicon` find moves the model's logits, before they are calibrated;
            fitted on validation notes. None where the model decides alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    task: TaskName
    symptoms: list[str]
    thresholds: list[Annotated[float, Field(ge=0, le=1)]] | None = None
    calibration: Calibration | None = None
    max_tokens: int = Field(ge=1, le=TOKENS_MOST)
    text_window: int | None = Field(None, ge=1)
    lower: bool = False
    mask_placeholders: bool = False
    pad_id: int = Field(ge=0)
    windows: Literal["first", "all"] = "first"
    stride: int | None = Field(None, ge=1)
    tags: list[str] | None = None
    span_bias: float = 0.0
    codes: dict[str, list[str]] = Field(default_factory=dict)
    lexicon: Literal["paper", "clinical", "clinical+hpo", "lexicon.json", "forms.json"] | None = None
    rules: bool = False
    tagger: bool = False
    cues: bool = False
    sections: bool = False
    decides: dict[str, Literal["rules", "model"]] = Field(default_factory=dict)
    evidence: dict[str, Evidence] = Field(default_factory=dict)
    fusion: Fusion | None = None

    @property
    def finds_spans(self) -> bool:
        """Whether a model finds spans, which then need names."""
        return self.tags is not None or self.tagger

    @property
    def rules_only(self) -> bool:
        """Whether rules answer alone, so that there is neither a model nor a tokenizer."""
        return self.rules and task_of(self.task).finds_spans and self.tags is None

    @model_validator(mode="after")
    def _agreeing(self) -> Self:
        """Refuse settings that contradict each other: they would fail, or answer wrong, note by note."""
        known, whole_note = len(self.symptoms), not task_of(self.task).finds_spans
        thresholds, lines = self.thresholds, self.calibration
        impossible = {
            "symptoms: one stands there twice": len(set(self.symptoms)) < known,
            f"symptoms: none, for the task {self.task}": whole_note and not known,
            f"thresholds: not one for each of {known} symptoms": thresholds is not None
            and len(thresholds) != known,
            f"calibration: not one line for each of {known} symptoms": lines
            and not len(lines.a) == len(lines.b) == known,
            f"stride: less than a part in {OVERLAP_MOST} of max_tokens": self.stride is not None
            and self.stride * OVERLAP_MOST < self.max_tokens,
            f"tags: the task {self.task} has none": whole_note and self.tags is not None,
            "tags: none, and no rules": not whole_note and self.tags is None and not self.rules,
            "tags: not 'O', then 'B-' and 'I-' of each assertion": self.tags is not None
            and not _are_tags(self.tags),
            "rules: true without a lexicon": self.rules and self.lexicon is None,
            f"rules: the spans of the task {self.task} are told no assertion": self.rules
            and not whole_note
            and not task_of(self.task).asserts,
            "cues or sections: true without rules": (self.cues or self.sections) and not self.rules,
            "tagger: true without rules, or beside tags": self.tagger
            and not (self.rules and self.tags is None and whole_note),
            "decides or evidence: of a symptom that is not among the symptoms": whole_note
            and not {*self.decides, *self.evidence} <= set(self.symptoms),
            f"fusion: not one entry for each of {known} symptoms": self.fusion is not None
            and len(self.fusion.slope) != known,
            "fusion: without a lexicon, or of spans": self.fusion is not None
            and (self.lexicon is None or not whole_note),
        }
        for problem, there in impossible.items():
            if there:
                raise ValueError(problem)
        return self


def _are_tags(tags: list[str]) -> bool:
    try:
        return bool(classes_of(tags))
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
    try:
        return json.loads(read_settings(path))
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
    try:
        raw = json.loads(read_settings(path))
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
        said = first.get("ctx", {}).get("error", "a name is no text")  # half a pair of surrogates in a key
        where = f"at {place_of(first['loc'])}" if first["loc"] else f"({said})"
        raise InputError(f"{path}: damaged {where}; copy the artifact again") from error


# SHA-256 of the files of an artifact, so that one changed byte is noticed before it answers.
#
# That is integrity, not authenticity: who may change a file may change the list too. A digest of the list
# that came by another way, and that the user gives, tells the one artifact from any other.
#
# The card, README.md, is for people and may be written anew; it is left out.


CHECKSUMS_FILE = "checksums.json"
CHECKSUMS_FORMAT = 1

#: Where an artifact carries a tagger: an artifact of its own, without a list of checksums.
TAGGER_FOLDER = "tagger"
_BESIDE_MODEL = ("extractor.json", "tokenizer.json")
_WHERE_PRESENT = ("forms.json", "lexicon.json", "cues.toml", "sections.toml")
WEIGHTS_FILE = "model.safetensors"
#: What training reads of an artifact beside what the runtime does.
TRAINING_FILES = (
    "config.json",
    WEIGHTS_FILE,
    "provenance.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
_NOT_LISTED = frozenset({CHECKSUMS_FILE, "README.md"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def files_to_run(folder: Path) -> list[str]:
    """Names of the files that decide what the artifact in `folder` answers, in a fixed order.

    Those of a tagger that it carries begin with `tagger/`.
    """
    return [*_needed(folder), *(name for name in _WHERE_PRESENT if (folder / name).is_file())]


def needed_files(folder: Path) -> tuple[str, ...]:
    """What a model cannot run without; the rest may be left out where it is deployed."""
    return (*_BESIDE_MODEL, model_file(folder).name)


def _needed(folder: Path) -> tuple[str, ...]:
    settings = read_extractor(folder)
    if settings.rules_only:
        return ("extractor.json",)
    tagger = needed_files(folder / TAGGER_FOLDER) if settings.tagger else ()
    return needed_files(folder) + tuple(f"{TAGGER_FOLDER}/{name}" for name in tagger)


def write_checksums(folder: Path) -> None:
    """Write `checksums.json` over the files in `folder`; call it when the artifact is complete."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted({path.relative_to(folder).as_posix() for path in paths} - _NOT_LISTED)
    sums = {name: _sha256(folder / name) for name in names}
    write_json(folder / CHECKSUMS_FILE, {"format": CHECKSUMS_FORMAT, "sha256": sums})


def check_files(folder: Path, digest: str | None = None, *, also: Iterable[str] = ()) -> None:
    """Check the files in `folder` against its `checksums.json`.

    Files that are listed but absent matter only where the runtime needs them: a hospital may deploy an
    artifact without its training weights.

    Args:
        folder: of the artifact.
        digest: what the list's own digest must be (`artifact_digest`); None for any.
        also: names of files that are read beside `files_to_run`, where they are there.

    Raises:
        InputError: the list is missing, damaged, newer or not the one of `digest`; a needed file is missing;
            a file that is read is not listed; or a listed file has changed.
    """
    if digest is not None and (found := artifact_digest(folder)) != digest:
        raise InputError(f"{folder}: another artifact than that of the digest given, its own is {found}")
    sums = _read_checksums(folder)
    present = (folder / "extractor.json").is_file()
    for name in _needed(folder) if present else (*_BESIDE_MODEL, MODEL_FILE):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: {name} is missing; copy the artifact again")
    read = {*files_to_run(folder), *(name for name in also if (folder / name).is_file())}
    if unlisted := sorted(read - sums.keys()):
        raise InputError(
            f"{folder / unlisted[0]}: not in {CHECKSUMS_FILE}, so it is not the artifact's; copy it again"
        )
    for name, expected in sums.items():
        path = folder / name
        if path.is_file() and _sha256(path) != expected:
            raise InputError(f"{path}: changed since it was written (its checksum differs); copy it again")


def own_files(folder: Path) -> list[str]:
    """Names of all files in `folder` that belong to the artifact, its list and its card among them.

    What else lies there is not the artifact's, and is neither copied nor shared with it.

    Raises:
        InputError: the list is missing or cannot be read.
    """
    names = [*_read_checksums(folder), *sorted(_NOT_LISTED)]
    return [name for name in names if (folder / name).is_file()]


def artifact_digest(folder: Path) -> str:
    """`sha256:` and the digest of `checksums.json`, and so of every file of the artifact but its card.

    Raises:
        InputError: the list is missing or cannot be read.
    """
    return f"sha256:{_sha256(folder / CHECKSUMS_FILE)}"


def parse_digest(given: str) -> str:
    """The digest that a user gives with `--digest`.

    Raises:
        InputError: it is not one.
    """
    found = given.strip().lower()
    if not _DIGEST.fullmatch(found):
        raise InputError(
            f"--digest {given}: not sha256: and 64 hexadecimal digits, as `sympress pack` prints them"
        )
    return found


def _read_checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS_FILE
    try:
        raw = json.loads(read_settings(path))
    except FileNotFoundError:
        raise InputError(
            f"{path}: missing, so nothing tells whether the files are whole; copy the artifact again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({type(error).__name__}); copy the artifact again") from error
    if isinstance(raw, dict) and isinstance(raw.get("format"), int) and raw["format"] > CHECKSUMS_FORMAT:
        raise InputError(f"{path}: format {raw['format']} is newer than this sympress; upgrade sympress")
    sums = raw.get("sha256") if isinstance(raw, dict) else None
    if not isinstance(sums, dict) or not sums:
        raise InputError(f"{path}: damaged at sha256; copy the artifact again")
    for name, value in sums.items():
        inside = len(name) < 1_000 and not Path(name).is_absolute() and all(map(_is_name, Path(name).parts))
        if not isinstance(value, str) or not inside:
            raise InputError(f"{path}: damaged at sha256; copy the artifact again")
    return dict(sums)


def _is_name(part: str) -> bool:
    """Whether a file in the folder may be called so."""
    return part != ".." and "\0" not in part and len(part.encode("utf-8", "replace")) < 256


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error


MODEL_FILE = "model.onnx"
#: The same file, its bytes Huffman-coded; `gunzip` gives it back.
CODED_FILE = "model.onnx.gz"
#: What protobuf reads at the most, and so the largest model there is.
MOST_BYTES = 2**31 - 1
#: No model is coded to less than this part of its size; a file that says so is made to fill the memory.
MOST_RATIO = 100
#: How much repeats count beside how often bytes occur: weights hardly repeat, names of nodes do.
_STRATEGIES = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED, zlib.Z_HUFFMAN_ONLY)
_GZIP = 16 + zlib.MAX_WBITS
_HEAD, _LENGTH_BYTES = b"\x1f\x8b\x08", 4


def model_file(folder: Path) -> Path:
    """The file in `folder` that holds the model: the coded one where there is no other."""
    plain, coded = folder / MODEL_FILE, folder / CODED_FILE
    return coded if coded.is_file() and not plain.is_file() else plain


def model_source(folder: Path) -> Path | bytes:
    """The model in `folder` as ONNX Runtime takes it: the file's path, or what it decodes to.

    Raises:
        InputError: the file is coded and damaged, or decodes to more than it may.
    """
    path = model_file(folder)
    return path if path.name == MODEL_FILE else decode_model(path)


def model_bytes(folder: Path) -> bytes:
    """The model in `folder` as bytes of an ONNX file; raises as `model_source`, and `OSError`."""
    source = model_source(folder)
    return source if isinstance(source, bytes) else source.read_bytes()


def encode_model(path: Path) -> Path:
    """Replace the file `path` by its coded form beside it, which is returned; the same bytes every time."""
    content, coded = path.read_bytes(), path.with_name(CODED_FILE)
    coded.write_bytes(min((_coded(content, strategy) for strategy in _STRATEGIES), key=len))
    path.unlink()
    return coded


def _coded(content: bytes, strategy: int) -> bytes:
    coder = zlib.compressobj(level=9, wbits=_GZIP, strategy=strategy)
    return coder.compress(content) + coder.flush()


def decode_model(path: Path) -> bytes:
    """What the coded file `path` holds.

    Its last four bytes say how long that is. More is never decoded, whatever the file holds.

    Raises:
        InputError: it is no such file, is damaged, or says that it holds more than a model may.
    """
    refuse_pipe(path)
    try:
        size = path.stat().st_size
        coded = path.read_bytes() if size <= MOST_BYTES else b""
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); copy the artifact again") from error
    length = int.from_bytes(coded[-_LENGTH_BYTES:], "little")
    if size > MOST_BYTES:
        raise InputError(f"{path}: {size:,} bytes, more than a model has; copy the artifact again")
    if not coded.startswith(_HEAD):
        raise InputError(f"{path}: not gzip; copy the artifact again")
    if length > min(MOST_BYTES, MOST_RATIO * len(coded)):
        raise InputError(
            f"{path}: says that {len(coded):,} bytes decode to {length:,}, more than a model's do; "
            "copy the artifact again"
        )
    decoder = zlib.decompressobj(wbits=_GZIP)
    try:
        content = decoder.decompress(coded, length + 1)
    except zlib.error as error:
        raise InputError(f"{path}: damaged ({error}); copy the artifact again") from error
    if len(content) != length or not decoder.eof or decoder.unused_data:
        raise InputError(f"{path}: does not hold the {length:,} bytes that it says; copy the artifact again")
    return content
