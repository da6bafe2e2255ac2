"""Press one model by any recipe and measure what comes out, each once; what is stored with it."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sympress.compression.distill import Distill
from sympress.compression.recipe.language import Recipe
from sympress.compression.recipe.material import FurtherTeacher, Material, encode_notes
from sympress.compression.search import SearchResult
from sympress.config import StudyConfig
from sympress.evaluation.cost import peak_memory_bytes
from sympress.evaluation.quality import describe_changes
from sympress.evaluation.significance import paired_difference
from sympress.files import write_json
from sympress.labels.task import task_of
from sympress.models.model import SymptomModel
from sympress.pipeline.origin import Origin, Texts
from sympress.progress import Reporter
from sympress.provenance import provenance
from sympress.runtime.artifact import model_file
from sympress.runtime.extractor import DEFAULT_THRESHOLD
from sympress.runtime.session import Runtime, open_session
from sympress.studies.costs import INT8, MEMORY_NOTES, PYTORCH, Yardstick
from sympress.studies.data import StudyData
from sympress.studies.judge import (
    KEPT,
    PRESSED,
    Judged,
    OperatingPoint,
    calibrates,
    headline_f1,
    judge,
    judge_file,
    predict_yardstick,
    scorer_of,
    time_against,
)
from sympress.studies.press import press, train_settings
from sympress.studies.task import NoteTestSet, Scored
from sympress.studies.train import macs_per_note
from sympress.training.data import EncodedNotes

# Press one model by any recipe and measure what comes out, each once: a killed run finds what is done.


#: A short training sees this share of the training notes, but no fewer than `SHORT_LEAST`.
SHORT_SHARE = 0.2
SHORT_LEAST = 500


@dataclass(frozen=True)
class Compressor:
    """What all recipes of one command share.

    Attributes:
        origin: the teacher.
        texts: its study's notes.
        teachers: more teachers.
        kernel: of the int8 file, whatever the recipe says; None for the recipe's.
        trains: False forbids steps that train.
        seed: of every training.
        work: folder for what is under way and what is made.
        yardsticks: the teacher as PyTorch and as int8.
        teacher: both, judged on validation notes.
        read: the validation notes in the origin's word pieces.
        memory: whether peak memory is measured, which takes a fresh process.
        reporter: where progress goes.
    """

    origin: Origin
    texts: Texts
    teachers: tuple[FurtherTeacher, ...]
    kernel: str | None
    trains: bool
    seed: int
    work: Path
    yardsticks: dict[str, Yardstick]
    teacher: dict[str, Judged]
    read: EncodedNotes
    memory: bool
    reporter: Reporter

    @property
    def config(self) -> StudyConfig:
        """The origin's study, with what the call changed."""
        return self.origin.config

    @property
    def tokens(self) -> int:
        """Word pieces of the median window of the validation notes."""
        return int(np.median(self.read.lengths))

    def _macs(self, model: SymptomModel, read: EncodedNotes) -> int:
        return macs_per_note(model, read, len(self.texts.material.validation))

    def __call__(self, recipe: Recipe, *, short: bool) -> dict[str, float]:
        """Press by `recipe`, with little training if `short`, and measure on validation notes."""
        return self.measure(self.press(recipe, short=short))

    def press(self, recipe: Recipe, *, short: bool = False) -> Path:
        """The folder of the artifact that `recipe` makes; `made.json` in its parent says how."""
        key = hashlib.sha256(str(recipe).encode()).hexdigest()[:12] + ("-short" if short else "")
        made = self.work / "made" / key
        if (made / "made.json").is_file():
            return made / "artifact"
        material = self._short_material() if short else self.texts.material
        settings = train_settings(self.config, self.seed)
        if short:
            settings, recipe = replace(settings, epochs=1), _shorter(recipe)
        steps = self.work / "pressing" / key
        torch.manual_seed(self.seed)
        shutil.rmtree(made, ignore_errors=True)
        pressed = press(
            self.origin.folder,
            recipe,
            material,
            settings,
            self.origin.extractor,
            work=steps,
            draft=made / "artifact",
            score=scorer_of(self.texts.material, self.origin.extractor.symptoms),
            trains=self.trains,
            teachers=self.teachers,
            kernel=self.kernel,
            threads=self.config.threads,
            step=self.reporter.step,
        )
        state, read = pressed.state, self.read
        if state.max_tokens is not None:
            read = encode_notes(state.tokenizer, material.validation, state.reads(material))
        write_json(made / "made.json", pressed.as_json(self._macs(state.model, read)))
        shutil.rmtree(steps, ignore_errors=True)
        return made / "artifact"

    def measure(self, artifact: Path) -> dict[str, float]:
        """Costs and F1 of `artifact` on validation notes: every key of a budget, `f1`, `latency_ms_p50`."""
        stored = artifact.parent / "measured.json"
        if stored.is_file():
            known: dict[str, float] = json.loads(stored.read_text(encoding="utf-8"))
            return known
        threads = self.config.threads
        timing = time_against(artifact, self.yardsticks, self.texts.validation, threads=threads)[PRESSED]
        f1 = self.judge(artifact).f1
        size = model_file(artifact).stat().st_size
        measured = {
            "size_mb": size / 1e6,
            **timing,
            "macs_ratio": read_made(artifact)["macs_per_note"] / self._macs(self.origin.model, self.read),
            "f1": f1,
            "f1_drop": self.teacher[PYTORCH].f1 - f1,
        }
        if self.memory:
            notes = self.texts.validation[:MEMORY_NOTES]
            measured["memory_mb"] = peak_memory_bytes(artifact, notes) / 1e6
        write_json(stored, measured)
        return measured

    def judge(self, artifact: Path) -> Judged:
        """What validation notes settle of `artifact`, and its F1 there."""
        runtime = Runtime.load(artifact, threads=self.config.threads)
        return judge_artifact(self.origin, self.texts, runtime, self.teacher[PYTORCH])

    def _short_material(self) -> Material:
        """A part of the labelled notes, drawn by the seed, and no transfer notes."""
        material = self.texts.material
        notes = len(material.training)
        count = min(notes, max(SHORT_LEAST, round(SHORT_SHARE * notes)))
        rows = np.sort(np.random.default_rng(self.seed).permutation(notes)[:count])
        return replace(
            material,
            training=[material.training[row] for row in rows],
            targets=material.targets[rows],
            weights=None if material.weights is None else material.weights[rows],
            answers=None if material.answers is None else material.answers[rows],
            tagging=material.tagging
            and replace(material.tagging, training=[material.tagging.training[row] for row in rows]),
            transfer=(),
        )


def judge_teacher(
    origin: Origin, texts: Texts, yardsticks: Mapping[str, Yardstick], int8: Path
) -> dict[str, Judged]:
    """What validation notes settle of the teacher, as PyTorch and as the file `int8`, and its F1 there."""
    material = texts.material
    if task_of(material.task).finds_spans:
        whole = Runtime.load(origin.folder)
        sessions = {PYTORCH: whole.session, INT8: open_session(int8, threads=1)}
        return {
            name: judge_artifact(origin, texts, Runtime(whole.extractor, whole.tokenizer, session))
            for name, session in sessions.items()
        }
    return {
        name: judge(
            material.task,
            predict_yardstick(yardsticks[name], texts.validation),
            material.validation_targets,
            origin.extractor.symptoms,
            calibrate=calibrates(origin.config.protocol),
            kept=None if texts.labelled else _kept(origin),
        )
        for name in (PYTORCH, INT8)
    }


def judge_artifact(origin: Origin, texts: Texts, runtime: Runtime, teacher: Judged | None = None) -> Judged:
    """What validation notes settle of a deployed file, and its F1 there.

    `runtime` is that file: the origin's own, its int8 form or a pressed one; `teacher` is the origin, judged.
    """
    return judge_file(
        runtime,
        texts.validation,
        texts.material,
        calibrate=calibrates(origin.config.protocol),
        teacher=None if teacher is None else teacher.probabilities,
        kept=None if texts.labelled else _kept(origin),
    )


def _kept(origin: Origin) -> OperatingPoint:
    """What the origin answers by: of notes that nobody labelled nothing better is known."""
    extractor = origin.extractor
    if not task_of(extractor.task).has_thresholds:
        return OperatingPoint(None, extractor.calibration, kept=True)
    cuts = extractor.thresholds or [DEFAULT_THRESHOLD] * len(extractor.symptoms)
    return OperatingPoint(np.array(cuts, dtype=np.float64), extractor.calibration, kept=True)


def _shorter(recipe: Recipe) -> Recipe:
    """`recipe` with no more than `SHORT_SHARE` of the updates that its students ask for."""
    return Recipe(
        tuple(
            step.model_copy(update={"updates": math.ceil(SHORT_SHARE * step.updates)})
            if isinstance(step, Distill) and step.updates is not None
            else step
            for step in recipe.steps
        )
    )


def read_made(artifact: Path) -> dict[str, Any]:
    """How `artifact` was made: remarks, epochs, kernel, parity, multiply-accumulates."""
    record: dict[str, Any] = json.loads((artifact.parent / "made.json").read_text(encoding="utf-8"))
    return record


# What is stored with a pressed artifact: how it was made, what it costs, and what it changed.


#: What is said instead of `KEPT` where nobody labelled the notes.
KEPT_UNLABELLED = "thresholds and calibration are the teacher's: nobody labelled the notes"


def describe_artifact(
    compressor: Compressor, artifact: Path, recipe: Recipe, found: SearchResult | None, *, test: bool
) -> dict[str, Any]:
    """Settle thresholds and calibration of `artifact`, measure it, and return its provenance.

    Test notes are read here alone, after everything is chosen, and only if `test`.
    """
    judged = compressor.judge(artifact)
    judged.write(artifact)
    texts = compressor.texts
    made = provenance(compressor.config, "compress", str(recipe), compressor.seed, texts.fingerprint)
    pressed = read_made(artifact)
    if judged.operating_point.kept:
        pressed["remarks"] = [*pressed["remarks"], KEPT if texts.labelled else KEPT_UNLABELLED]
    return made | {
        **pressed,
        **({} if texts.data is not None else {"given": True}),
        "model": compressor.origin.folder.resolve().name,
        "data": {"name": texts.name, "labels": texts.labels},
        "table": _table(compressor, artifact, judged),
        "threads": compressor.config.threads,
        "notes": {
            "train": len(texts.material.training),
            "transfer": len(texts.material.transfer),
            "validation": 0 if texts.synthetic else len(texts.validation),
            "test": len(texts.test),
            **({"synthetic": len(texts.validation)} if texts.synthetic else {}),
        },
        "search": None if found is None else _describe_search(found),
        "test": _describe_test(compressor, artifact, judged, texts.data) if test and texts.data else None,
    }


def _table(compressor: Compressor, artifact: Path, judged: Judged) -> dict[str, dict[str, float]]:
    """The teacher both ways and the pressed artifact: bytes, milliseconds, ratios, validation F1."""
    threads = compressor.config.threads
    timings = time_against(artifact, compressor.yardsticks, compressor.texts.validation, threads=threads)
    sizes = {name: compressor.yardsticks[name].size_bytes for name in (PYTORCH, INT8)}
    sizes[PRESSED] = model_file(artifact).stat().st_size
    f1 = {name: one.f1 for name, one in compressor.teacher.items()} | {PRESSED: judged.f1}
    return {
        name: {"size_bytes": sizes[name], **timings[name], "validation_f1": f1[name]}
        for name in (PYTORCH, INT8, PRESSED)
    }


def _describe_search(found: SearchResult) -> dict[str, Any]:
    return {
        "budget": str(found.budget),
        "meets": found.meets,
        "sentence": found.sentence(),
        "tried": len(found.tried),
    }


def _describe_test(compressor: Compressor, artifact: Path, judged: Judged, data: StudyData) -> dict[str, Any]:
    """F1 on test notes, the paired difference to the teacher, and which answers flipped.

    F1 is the micro average of the task `present`, the macro average of `topic`; patients are resampled.
    """
    texts, task = compressor.texts, data.labels.task
    test = NoteTestSet.of(data)
    runtime = Runtime.load(artifact, threads=compressor.config.threads)
    ours = _settled(task, task_of(task).probabilities(runtime.predict_logits(texts.test)), judged)
    theirs = _settled(
        task, predict_yardstick(compressor.yardsticks[PYTORCH], texts.test), compressor.teacher[PYTORCH]
    )
    answered = (task_of(task).affirmed(*ours), task_of(task).affirmed(*theirs))
    truth = test.truth.astype(bool)
    difference, p_value = paired_difference(
        *answered,
        truth,
        average=task_of(task).average,
        groups=test.patients,
        resamples=compressor.config.resamples,
    )
    changes = describe_changes(*answered, truth, test.symptoms, test.groups)
    return {
        "f1": headline_f1(task, ours[0], test.truth, test.symptoms, ours[1]),
        "teacher_f1": headline_f1(task, theirs[0], test.truth, test.symptoms, theirs[1]),
        "f1_difference": difference.model_dump(mode="json"),
        "p_value": p_value,
        "changes": changes.model_dump(mode="json"),
    }


def _settled(task: str, probabilities: NDArray[np.float64], judged: Judged) -> Scored:
    """Calibrated probabilities and their thresholds."""
    return judged.operating_point.apply(task, probabilities), judged.operating_point.thresholds
