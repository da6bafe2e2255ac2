"""What is stored with a pressed artifact: how it was made, what it costs, and what it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.compress.budget.found import SearchResult
from sympress.compress.recipe.parse import Recipe
from sympress.deploy.runtime import Runtime, to_probabilities
from sympress.labels.labelset import Task
from sympress.measure.change import describe_changes
from sympress.measure.significance import paired_difference
from sympress.provenance import provenance
from sympress.study.assemble import Scored, TestSet, answers
from sympress.study.judge import PRESSED, Judged, headline_f1, predict_yardstick, time_against
from sympress.study.prepare import StudyData
from sympress.study.presser import Presser, read_made
from sympress.study.settle import KEPT
from sympress.study.yardsticks import INT8, PYTORCH

#: What is said instead of `KEPT` where nobody labelled the notes.
KEPT_UNLABELLED = "thresholds and calibration are the teacher's: nobody labelled the notes"


def describe_artifact(
    presser: Presser, artifact: Path, recipe: Recipe, found: SearchResult | None, *, test: bool
) -> dict[str, Any]:
    """Settle thresholds and calibration of `artifact`, measure it, and return its provenance.

    Test notes are read here alone, after everything is chosen, and only if `test`.
    """
    judged = presser.judge(artifact)
    judged.write(artifact)
    texts = presser.texts
    made = provenance(presser.config, "compress", str(recipe), presser.seed, texts.fingerprint)
    pressed = read_made(artifact)
    if judged.settled.kept:
        pressed["remarks"] = [*pressed["remarks"], KEPT if texts.labelled else KEPT_UNLABELLED]
    return made | {
        **pressed,
        **({} if texts.data is not None else {"given": True}),
        "model": presser.origin.folder.resolve().name,
        "data": {"name": texts.name, "labels": texts.labels},
        "table": _table(presser, artifact, judged),
        "threads": presser.config.threads,
        "notes": {
            "train": len(texts.material.training),
            "transfer": len(texts.material.transfer),
            "validation": len(texts.validation),
            "test": len(texts.test),
        },
        "search": None if found is None else _describe_search(found),
        "test": _describe_test(presser, artifact, judged, texts.data) if test and texts.data else None,
    }


def _table(presser: Presser, artifact: Path, judged: Judged) -> dict[str, dict[str, float]]:
    """The teacher both ways and the pressed artifact: bytes, milliseconds, ratios, validation F1."""
    threads = presser.config.threads
    timings = time_against(artifact, presser.yardsticks, presser.texts.validation, threads=threads)
    sizes = {name: presser.yardsticks[name].size_bytes for name in (PYTORCH, INT8)}
    sizes[PRESSED] = (artifact / "model.onnx").stat().st_size
    f1 = {name: one.f1 for name, one in presser.teacher.items()} | {PRESSED: judged.f1}
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


def _describe_test(presser: Presser, artifact: Path, judged: Judged, data: StudyData) -> dict[str, Any]:
    """F1 on test notes, the paired difference to the teacher, and which answers flipped.

    F1 is the micro average of the task `present`, the macro average of `topic`; patients are resampled.
    """
    texts, task = presser.texts, data.labels.task
    test = TestSet.of(data)
    runtime = Runtime.load(artifact, threads=presser.config.threads)
    ours = _settled(task, to_probabilities(task, runtime.predict_logits(texts.test)), judged)
    theirs = _settled(
        task, predict_yardstick(presser.yardsticks[PYTORCH], texts.test), presser.teacher[PYTORCH]
    )
    answered = (answers(task, *ours), answers(task, *theirs))
    truth = test.targets.astype(bool)
    difference, p_value = paired_difference(
        *answered,
        truth,
        average="micro" if task == "present" else "macro",
        groups=test.patients,
        resamples=presser.config.resamples,
    )
    changes = describe_changes(*answered, truth, test.symptoms, test.groups)
    return {
        "f1": headline_f1(task, ours[0], test.targets, test.symptoms, ours[1]),
        "teacher_f1": headline_f1(task, theirs[0], test.targets, test.symptoms, theirs[1]),
        "f1_difference": difference.model_dump(mode="json"),
        "p_value": p_value,
        "changes": changes.model_dump(mode="json"),
    }


def _settled(task: Task, probabilities: NDArray[np.float64], judged: Judged) -> Scored:
    """Calibrated probabilities and their thresholds."""
    return judged.settled.apply(task, probabilities), judged.settled.thresholds
