"""Press one model by any recipe and measure what comes out, each once: a killed run finds what is done."""

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

from sympress.compress.recipe.material import FurtherTeacher, Material
from sympress.compress.recipe.parse import Recipe
from sympress.compress.recipe.steps import Distill
from sympress.config import StudyConfig
from sympress.deploy.extractor import DEFAULT_THRESHOLD
from sympress.deploy.kernels import open_session
from sympress.deploy.probe import peak_memory_bytes
from sympress.deploy.runtime import Runtime, to_probabilities
from sympress.files import write_json
from sympress.measure.macs import count_macs
from sympress.progress import Reporter
from sympress.study.costs import MEMORY_NOTES
from sympress.study.judge import (
    PRESSED,
    Judged,
    answerer,
    epoch_score,
    judge,
    judge_spans,
    predict_yardstick,
    time_against,
)
from sympress.study.origin import Origin, Texts
from sympress.study.press import Pressed, describe_choice, press, train_settings
from sympress.study.settle import Settled, calibrates
from sympress.study.tagger import answer_note
from sympress.study.yardsticks import INT8, PYTORCH, Yardstick

#: A short training sees this share of the training notes, but no fewer than `SHORT_LEAST`.
SHORT_SHARE = 0.2
SHORT_LEAST = 500


@dataclass(frozen=True)
class Presser:
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
        tokens: word pieces of the median validation note.
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
    tokens: int
    memory: bool
    reporter: Reporter

    @property
    def config(self) -> StudyConfig:
        """The origin's study, with what the call changed."""
        return self.origin.config

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
            score=self._score,
            trains=self.trains,
            teachers=self.teachers,
            kernel=self.kernel,
            threads=self.config.threads,
            step=self.reporter.step,
        )
        write_json(made / "made.json", _record(pressed, self.tokens))
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
        size = (artifact / "model.onnx").stat().st_size
        measured = {
            "size_mb": size / 1e6,
            **timing,
            "macs_ratio": read_made(artifact)["macs_per_note"] / count_macs(self.origin.model, self.tokens),
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
            tagging=material.tagging
            and replace(material.tagging, training=[material.tagging.training[row] for row in rows]),
            transfer=(),
        )

    def _score(self, logits: NDArray[np.float32]) -> tuple[float, dict[str, Any]]:
        material = self.texts.material
        if material.task == "mentions":
            raise ValueError("a tagger is judged by its spans")
        symptoms = self.origin.extractor.symptoms
        return epoch_score(material.task, logits, material.validation_targets, symptoms)[0], {}


def judge_teacher(
    origin: Origin, texts: Texts, yardsticks: Mapping[str, Yardstick], int8: Path
) -> dict[str, Judged]:
    """What validation notes settle of the teacher, as PyTorch and as the file `int8`, and its F1 there."""
    material = texts.material
    if material.task == "mentions":
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

    Args:
        origin: the model that is pressed.
        texts: its notes.
        runtime: the file: the origin's own, its int8 form or a pressed one.
        teacher: the origin, judged; None for the origin itself.
    """
    material, answer = texts.material, answerer(runtime)
    if material.task == "mentions":
        gold = material.tagging.validation if material.tagging is not None else ()
        answers = [(*answer_note(runtime, text), text) for text in texts.validation]
        return judge_spans(answers, gold, origin.extractor.tags or ())
    logits = np.concatenate([answer(text) for text in texts.validation])
    return judge(
        material.task,
        to_probabilities(material.task, logits),
        material.validation_targets,
        origin.extractor.symptoms,
        calibrate=calibrates(origin.config.protocol),
        teacher=None if teacher is None else teacher.probabilities,
        kept=None if texts.labelled else _kept(origin),
    )


def _kept(origin: Origin) -> Settled:
    """What the origin answers by: of notes that nobody labelled nothing better is known."""
    extractor = origin.extractor
    if extractor.task == "topic":
        return Settled(None, extractor.calibration, kept=True)
    cuts = extractor.thresholds or [DEFAULT_THRESHOLD] * len(extractor.symptoms)
    return Settled(np.array(cuts, dtype=np.float64), extractor.calibration, kept=True)


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


def _record(pressed: Pressed, tokens: int) -> dict[str, Any]:
    piece = pressed.piece
    return {
        "remarks": piece.remarks,
        "epochs": piece.epochs,
        "train_seconds": piece.train_seconds,
        "kernel": describe_choice(pressed.choice),
        "parity_max_difference": pressed.parity,
        "macs_per_note": count_macs(piece.model, tokens),
    }
