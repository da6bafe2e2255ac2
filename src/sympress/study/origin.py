"""The artifact that `sympress compress` presses, and the notes of the study that made it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sympress.compress.recipe.material import Material
from sympress.config import StudyConfig, make_config
from sympress.deploy.artifact import Extractor, read_extractor, read_provenance
from sympress.deploy.checksums import TRAINING_FILES, check_files
from sympress.deploy.runtime import prepare_text
from sympress.errors import InputError
from sympress.labels.labelset import Task
from sympress.labels.lexicon import BUILT_IN
from sympress.progress import Reporter
from sympress.study.prepare import StudyData, prepare
from sympress.study.transfer import read_transfer_notes
from sympress.training.model import SymptomModel, load_model

_STORED_INTEGERS = ("MatMulInteger", "QLinearMatMul", "DequantizeLinear", "MatMulNBits")


@dataclass(frozen=True)
class Origin:
    """An artifact of a study: the model, what decides its answers, and how its study was set up."""

    folder: Path
    model: SymptomModel
    tokenizer: PreTrainedTokenizerBase
    extractor: Extractor
    config: StudyConfig
    seed: int
    fingerprint: str


@dataclass(frozen=True)
class Texts:
    """The notes of the origin's study, split as it split them.

    Attributes:
        material: what presses and chooses; none of it is a test note.
        validation: the original texts of the material's validation notes.
        test: original texts of the test notes.
        data: all of it.
    """

    material: Material
    validation: list[str]
    test: list[str]
    data: StudyData

    @property
    def task(self) -> Task:
        """Of the labels."""
        return self.data.labels.task


def read_origin(folder: Path, notes: Path | None, changes: Mapping[str, Any]) -> Origin:
    """Read the artifact `folder`; its study's settings with `notes` and `changes` (None: as they were).

    Raises:
        InputError: it is no artifact of a study, is quantized already, or its study read notes and none
            are given.
    """
    extractor = read_extractor(folder)
    check_files(folder, also=TRAINING_FILES)
    stored = _read_provenance(folder)
    values = dict(stored["config"])
    if notes is None and values.get("notes") is not None:
        raise InputError(f"{folder}: its study read {values['notes']}; give those notes with --notes")
    given = {name: value for name, value in changes.items() if value is not None}
    values |= given | {"notes": notes, "recipes": (), "strategies": ()}
    config = make_config(values)
    if config.lexicon and config.lexicon not in BUILT_IN and not Path(config.lexicon).is_file():
        raise InputError(
            f"{folder}: its study used the lexicon {config.lexicon}, which is not here; run in its folder"
        )
    model = load_model(folder)
    _check_float(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return Origin(
        folder, model, tokenizer, extractor, config, int(stored["seed"]), str(stored["data_fingerprint"])
    )


def _read_provenance(folder: Path) -> dict[str, Any]:
    stored = read_provenance(folder, missing="not an artifact of a study (provenance.json is missing)")
    known = isinstance(stored, dict) and isinstance(stored.get("config"), dict)
    if not known or not {"seed", "data_fingerprint"} <= stored.keys():
        raise InputError(
            f"{folder / 'provenance.json'}: does not say how its study was set up; "
            "press an artifact of sympress study"
        )
    result: dict[str, Any] = stored
    return result


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
    targets, split = data.labels.targets, data.split
    transfer = read_transfer_notes(origin.config, data, reporter)
    texts = data.texts

    def seen(rows: NDArray[np.int64]) -> list[str]:
        return [prepare_text(texts[row], origin.extractor) for row in rows]

    material = Material(
        task=origin.extractor.task,
        training=seen(split.train),
        targets=targets[split.train],
        transfer=[prepare_text(text, origin.extractor) for text in transfer],
        validation=seen(split.validation),
        validation_targets=targets[split.validation],
        max_tokens=origin.extractor.max_tokens,
        weights=data.training_weights,
    )
    validation = [texts[row] for row in split.validation]
    return Texts(material, validation, [texts[row] for row in split.test], data)


def _difference(found: tuple[str, ...], wanted: list[str]) -> str:
    for symptom in wanted:
        if symptom not in found:
            return f"{symptom!r} is missing"
    for symptom in found:
        if symptom not in wanted:
            return f"{symptom!r} is added"
    return "in another order"
