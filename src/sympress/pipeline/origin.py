"""The artifact that `sympress compress` presses, and the notes of the study that made it, if one did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sympress.compression.recipe.material import Material
from sympress.config import StudyConfig, as_stored, make_config
from sympress.errors import InputError
from sympress.labels.lexicon import BUILT_IN
from sympress.labels.task import task_of
from sympress.models.model import SymptomModel, load_model
from sympress.progress import Reporter
from sympress.runtime.artifact import TRAINING_FILES, Extractor, check_files, read_extractor, read_provenance
from sympress.runtime.session import prepare_text
from sympress.studies.data import StudyData, prepare, read_transfer_notes
from sympress.studies.rows import material_of

#: Settings of a training that the next one takes over.
_OF_TRAINING = (
    "epochs",
    "batch_size",
    "learning_rate",
    "head_rate_ratio",
    "weight_decay",
    "warmup_share",
    "schedule",
    "select",
    "others_weight",
)
_STORED_INTEGERS = ("MatMulInteger", "QLinearMatMul", "DequantizeLinear", "MatMulNBits")


@dataclass(frozen=True)
class Origin:
    """An artifact with its weights: the model, what decides its answers, and how it was trained.

    Attributes:
        folder: of the artifact.
        model: its weights.
        tokenizer: its own.
        extractor: what decides its answers.
        config: of its study; of any other model what suits its encoder and task.
        seed: of its training.
        fingerprint: of its study's notes; None where no study made it, so that notes have to be given.
    """

    folder: Path
    model: SymptomModel
    tokenizer: PreTrainedTokenizerBase
    extractor: Extractor
    config: StudyConfig
    seed: int
    fingerprint: str | None


@dataclass(frozen=True)
class Texts:
    """The notes that press a model and judge it.

    Attributes:
        material: what presses and chooses; none of it is a test note.
        validation: the original texts of the material's validation notes.
        name: of the notes.
        labels: who labelled them, in words.
        fingerprint: SHA-256 of notes and labels.
        inputs: fingerprints of what decides the result, by what it is.
        labelled: whether people, or a study's labellers, labelled the validation notes; else the model itself
            did, and F1 says how far the pressed model agrees with it.
        test: original texts of the test notes.
        data: of a study, all of it.
        synthetic: nobody gave notes, and `validation` holds some that were made to time the model on.
    """

    material: Material
    validation: list[str]
    name: str
    labels: str
    fingerprint: str
    inputs: Mapping[str, str]
    labelled: bool = True
    test: list[str] = field(default_factory=list)
    data: StudyData | None = None
    synthetic: bool = False


def read_origin(
    folder: Path, notes: Path | None, changes: Mapping[str, Any], *, given: bool = False
) -> Origin:
    """Read the artifact `folder`; its study's settings with `notes` and `changes` (None: as they were).

    Args:
        folder: of an artifact with its weights.
        notes: those of its study.
        changes: settings that differ.
        given: notes are given with their labels, or not at all: those of its study are not read.

    Raises:
        InputError: it has no weights, is quantized already, or its study read notes and none are given.
    """
    extractor = read_extractor(folder)
    if extractor.rules_only:
        raise InputError(f"{folder}: rules alone, without a model; give an artifact that has one")
    _check_weights(folder)
    check_files(folder, also=TRAINING_FILES)
    stored = _read_stored(folder)
    changed = {name: value for name, value in changes.items() if value is not None}
    if _is_of_study(stored) and not given:
        config = _of_study(folder, stored["config"], notes, changed)
        fingerprint = str(stored["data_fingerprint"])
    else:
        config, fingerprint = _of_model(extractor, stored, changed), None
    model = load_model(folder)
    _check_float(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Origin(folder, model, tokenizer, extractor, config, int(stored.get("seed") or 0), fingerprint)


def of_study(folder: Path) -> bool:
    """Whether a study of whole notes made the artifact `folder`, so that its notes can be prepared again."""
    return _is_of_study(_read_stored(folder))


def _read_stored(folder: Path) -> dict[str, Any]:
    stored = read_provenance(folder, missing="provenance.json is missing; copy the artifact again")
    return stored if isinstance(stored, dict) else {}


def _is_of_study(stored: Mapping[str, Any]) -> bool:
    config, data = stored.get("config"), stored.get("data_fingerprint")
    return (
        isinstance(config, dict)
        and not task_of(str(config.get("task", "topic"))).finds_spans
        and data is not None
        and "given" not in stored
    )


def _of_study(
    folder: Path, stored: Mapping[str, Any], notes: Path | None, changed: Mapping[str, Any]
) -> StudyConfig:
    if notes is None and stored.get("notes") is not None:
        raise InputError(f"{folder}: its study read {stored['notes']}; give those notes with --notes")
    config = make_config({**as_stored(stored), **changed, "notes": notes, "recipes": (), "strategies": ()})
    if config.lexicon and config.lexicon not in BUILT_IN and not Path(config.lexicon).is_file():
        raise InputError(
            f"{folder}: its study used the lexicon {config.lexicon}, which is not here; run in its folder"
        )
    return config


def _of_model(extractor: Extractor, stored: Mapping[str, Any], changed: Mapping[str, Any]) -> StudyConfig:
    """How a model trains whose notes no study prepared: as it was trained, where its provenance says."""
    if "transfer_fraction" in changed:
        raise InputError("--transfer-fraction needs the notes of a study; give further notes with --notes")
    source, before = stored.get("source"), stored.get("config") or stored.get("tagger") or {}
    kept = {name: before[name] for name in _OF_TRAINING if before.get(name) is not None}
    name = source.get("name") if isinstance(source, dict) else before.get("encoder")
    values = {
        **kept,
        **changed,
        "encoder": str(name or "of the model"),
        "task": extractor.task,
        "protocol": "clinical",
        "max_tokens": extractor.max_tokens,
        "published_variants": False,
    }
    return make_config(values).resolved()


def _check_weights(folder: Path) -> None:
    if not (folder / "model.safetensors").is_file():
        raise InputError(
            f"{folder}: without model.safetensors, its weights: what is deployed alone cannot be pressed; "
            "give the artifact as it was trained or imported"
        )


def _check_float(folder: Path) -> None:
    """The teacher's file must be fp32: what is quantized cannot be pressed, or stand for the uncompressed."""
    import onnx

    try:
        nodes = onnx.load(folder / "model.onnx", load_external_data=False).graph.node
    except Exception as error:  # a missing file, or protobuf's own error
        raise InputError(f"{folder / 'model.onnx'}: missing or damaged; copy the artifact again") from error
    if any(node.op_type in _STORED_INTEGERS for node in nodes):
        raise InputError(f"{folder}: quantized already; press the artifact it was made from")


def read_texts(origin: Origin, reporter: Reporter) -> Texts:
    """Read, label and split the notes as the origin's study did.

    Raises:
        InputError: the notes cannot be read, or do not have the artifact's symptoms.
    """
    data = prepare(origin.config, reporter)
    if list(data.labels.symptoms) != origin.extractor.symptoms:
        raise InputError(
            f"{origin.config.notes or 'the synthetic notes'}: their symptoms are not those of "
            f"{origin.folder} ({_difference(data.labels.symptoms, origin.extractor.symptoms)}); "
            "give the notes of its study"
        )
    if data.description.fingerprint != origin.fingerprint:
        reporter.say("note: these are not the very notes that MODEL was trained on; its F1 may differ")
    transfer = read_transfer_notes(origin.config, data, reporter)
    seen = [prepare_text(text, origin.extractor) for text in transfer]
    texts, split = data.texts, data.split
    validation = [texts[row] for row in split.validation]
    return Texts(
        material_of(data, origin.extractor, seen, origin.config.max_windows),
        validation,
        name=data.description.name,
        labels=data.description.labels,
        fingerprint=data.description.fingerprint,
        inputs=data.inputs,
        test=[texts[row] for row in split.test],
        data=data,
    )


def _difference(found: tuple[str, ...], wanted: list[str]) -> str:
    for symptom in wanted:
        if symptom not in found:
            return f"{symptom!r} is missing"
    for symptom in found:
        if symptom not in wanted:
            return f"{symptom!r} is added"
    return "in another order"
