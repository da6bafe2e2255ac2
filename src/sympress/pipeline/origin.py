"""The artifact that `sympress compress` presses, and the notes of the study that made it, if one did."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sympress.compression.recipe.material import Material
from sympress.config import StudyConfig, as_stored, make_config
from sympress.errors import InputError, nearest
from sympress.evaluation.gold import Gold, GoldNote, Vocabulary
from sympress.labels.lexicon import BUILT_IN
from sympress.labels.mentions import AnnotatedNote
from sympress.labels.task import task_of
from sympress.models.model import SymptomModel, load_model
from sympress.notes.synthesize import synthesize
from sympress.pipeline.order import Given
from sympress.progress import Reporter
from sympress.provenance import fingerprint_annotated, fingerprint_texts
from sympress.runtime.artifact import (
    TRAINING_FILES,
    check_files,
    model_bytes,
    model_file,
    read_extractor,
    read_provenance,
)
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.extractor import Extractor
from sympress.runtime.session import prepare_text
from sympress.runtime.tokens import classes_of
from sympress.studies.data import StudyData, prepare, read_transfer_notes
from sympress.studies.judge import predict_mentions
from sympress.studies.rows import material_of
from sympress.studies.train import Labelled, check_classes, make_material

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
    extractor: Settings
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
    if not (folder / "model.safetensors").is_file():
        raise InputError(
            f"{folder}: without model.safetensors, its weights: what is deployed alone cannot be pressed; "
            "give the artifact as it was trained or imported"
        )
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


def _of_model(extractor: Settings, stored: Mapping[str, Any], changed: Mapping[str, Any]) -> StudyConfig:
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


def _check_float(folder: Path) -> None:
    """The teacher's file must be fp32: what is quantized cannot be pressed, or stand for the uncompressed."""
    import onnx

    try:
        nodes = onnx.load_model_from_string(model_bytes(folder)).graph.node
    except InputError:
        raise
    except Exception as error:  # a missing file, or protobuf's own error
        raise InputError(f"{model_file(folder)}: missing or damaged; copy the artifact again") from error
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
    missing = [f"{symptom!r} is missing" for symptom in wanted if symptom not in found]
    added = [f"{symptom!r} is added" for symptom in found if symptom not in wanted]
    return (missing + added or ["in another order"])[0]


#: Share of the patients, or notes, that are held out for validation where none are given.
HELD_OUT = 0.2
#: Notes below which none can be held out.
LEAST_NOTES = 5
#: Synthetic notes on which a model is timed, and kernels are compared, where no notes are given.
SYNTHETIC_NOTES = 60


def given_texts(origin: Origin, given: Given, seed: int) -> Texts:
    """What presses and judges `origin`, of notes that a caller gave.

    Notes that nobody labelled are labelled by the model itself, so that every recipe has labels to learn from
    and the pressed model is judged by how far it agrees with its teacher. Without validation notes a fifth of
    the patients (of the notes, where nobody says whose they are) is held out. Without any note synthetic ones
    time the model.

    Raises:
        InputError: there are too few notes, or a label is none of the model's.
    """
    label = Labeller(origin.folder)
    people = given.validation is not None or given.train is not None
    if given.train is not None:
        learnt, judged = two_sides(given.train, given.validation, seed)
    elif given.validation is not None:
        learnt, judged = _by_model(given.unlabelled), given.validation
    elif given.unlabelled:
        learnt, judged = two_sides(_by_model(given.unlabelled), None, seed)
    else:
        texts = synthesize(SYNTHETIC_NOTES, seed=0).frame["text"].to_list()
        learnt, judged = None, _by_model(tuple(texts))
    train = label(learnt, by_people=given.train is not None)
    validation = label(judged, by_people=people)
    transfer = given.unlabelled if given.train is not None else ()
    source = "by people" if people else "by the model itself"
    return Texts(
        make_material(origin.extractor, train, validation, transfer, max_windows=origin.config.max_windows),
        validation.texts,
        name=given.train.name if given.train is not None else "notes" if not given.empty else "synthetic",
        labels=f"given: {source}",
        fingerprint=_fingerprint(train, validation),
        inputs={
            "notes": fingerprint_texts([*train.texts, *validation.texts]),
            "labels": _fingerprint(train, validation),
        },
        labelled=people,
        synthetic=given.empty,
    )


def _by_model(texts: Sequence[str]) -> Gold | None:
    """Notes that the model is going to label."""
    if not texts:
        return None
    notes = [GoldNote(str(number), text, frozenset()) for number, text in enumerate(texts, 1)]
    return Gold(tuple(notes), "notes", spans=False, asserted=False)


def two_sides(train: Gold | None, validation: Gold | None, seed: int) -> tuple[Gold | None, Gold | None]:
    """Notes to learn from and notes to judge by, some held out where none are given."""
    if validation is not None or train is None:
        return train, validation
    notes = train.notes
    if len(notes) < LEAST_NOTES:
        raise InputError(
            f"{len(notes)} notes and no validation notes; give {LEAST_NOTES} at least, or validation notes"
        )
    owners = [note.patient_id or f"note/{note.note_id}" for note in notes]
    held = _held_out(notes, owners, seed)
    sides = [
        tuple(note for note, owner in zip(notes, owners, strict=True) if (owner in held) == judged)
        for judged in (False, True)
    ]
    return replace(train, notes=sides[0]), replace(train, notes=sides[1])


def _held_out(notes: Sequence[GoldNote], owners: Sequence[str], seed: int) -> set[str]:
    """The patients whose notes judge, drawn by `seed`; none whose symptom nobody else would teach."""
    names = sorted(set(owners))
    if len(names) < 2:
        raise InputError("all notes are of one patient, so none can be held out; give validation notes")
    symptoms: dict[str, set[str]] = {name: set() for name in names}
    for note, owner in zip(notes, owners, strict=True):
        symptoms[owner] |= note.affirmed
    left = Counter(symptom for of_owner in symptoms.values() for symptom in of_owner)
    wanted, held = max(1, round(HELD_OUT * len(names))), set[str]()
    for at in np.random.default_rng(seed).permutation(len(names)):
        own = symptoms[names[at]]
        if len(held) < wanted and all(left[symptom] > 1 for symptom in own):
            held.add(names[at])
            left.subtract(own)
    if not held:
        rare = min(left, key=lambda symptom: (left[symptom], symptom))
        raise InputError(
            f"every patient has a symptom that no other has, such as {rare[:60]!r}, so none can be held out; "
            "give validation notes, or leave the rare ones out"
        )
    return held


class Labeller:
    """Labels as the model has them: of people by its names, of nobody by its answers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.extractor = folder, Extractor.load(folder)
        self.settings = self.extractor.settings
        self.columns = {name: column for column, name in enumerate(self.settings.symptoms)}
        self.vocabulary = Vocabulary.of(self.extractor)

    def __call__(self, gold: Gold | None, *, by_people: bool) -> Labelled:
        """The notes with what people said of them, or with what the model answers.

        Raises:
            InputError: a label is none of the model's.
        """
        found = () if gold is None else gold.notes
        notes = [AnnotatedNote(one.note_id, one.text, one.mentions) for one in found]
        if not task_of(self.settings.task).finds_spans:
            of_note: Callable[[GoldNote], NDArray[np.uint8]] = self._targets if by_people else self._answered
            rows = [of_note(one) for one in found]
            targets = np.array(rows, dtype=np.uint8).reshape(len(notes), len(self.columns))
            return Labelled([replace(note, mentions=()) for note in notes], targets)
        targets = np.zeros((len(notes), 0), dtype=np.uint8)
        if gold is not None and not by_people:
            answers = predict_mentions(self.folder, [note.text for note in notes])
            notes = [replace(note, mentions=own) for note, own in zip(notes, answers, strict=True)]
        elif gold is not None:
            if not any(note.mentions for note in notes):
                raise InputError(
                    f"{gold.name}: no spans, which this model finds; give (start, end, name) a note"
                )
            check_classes(classes_of(self.settings.tags or ()), notes, gold.name, "the model")
        return Labelled(notes, targets)

    def _targets(self, note: GoldNote) -> NDArray[np.uint8]:
        targets = np.zeros(len(self.columns), dtype=np.uint8)
        for name in note.affirmed:
            symptom = self.vocabulary.symptom(name)
            if symptom is None or symptom not in self.columns:
                raise InputError(
                    f"note {note.note_id!r}: the model has no symptom {name[:60]!r}"
                    f"{nearest(name, self.columns)}; leave it out, or train a model that has it"
                )
            targets[self.columns[symptom]] = 1
        if task_of(self.settings.task).labels == "one" and targets.sum() != 1:
            raise InputError(
                f"note {note.note_id!r}: {int(targets.sum())} symptoms; this model tells exactly one a note "
                "(task topic)"
            )
        return targets

    def _answered(self, note: GoldNote) -> NDArray[np.uint8]:
        logits, _, _ = self.extractor.note_logits(note.text)
        beliefs = self.extractor.beliefs(logits)
        return np.array([beliefs[name].affirms for name in self.columns], dtype=np.uint8)


def _fingerprint(*sides: Labelled) -> str:
    """SHA-256 of the notes of all sides, then of their targets."""
    digest = hashlib.sha256(fingerprint_annotated([note for side in sides for note in side.notes]).encode())
    for side in sides:
        digest.update(side.targets.tobytes())
    return digest.hexdigest()
