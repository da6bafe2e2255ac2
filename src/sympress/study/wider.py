"""Artifacts judged by more test notes than those of the sample that they were made from."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.deploy.runtime import Runtime
from sympress.errors import InputError, LeakError
from sympress.files import atomic_path
from sympress.labels.coded import label_coded_present
from sympress.labels.labelset import Task
from sympress.progress import Reporter
from sympress.study.assemble import answers
from sympress.study.prepare import StudyData, prepare

#: The files of an artifact that decide its answers.
_DECIDING = ("extractor.json", "model.onnx", "tokenizer.json")
#: Notes that are answered before progress is told.
_PART = 256


def widen(config: StudyConfig, data: StudyData, fraction: float, reporter: Reporter) -> StudyData:
    """The same study with the test notes of a larger share of patients; nothing else of it is used.

    A test note of the smaller share is not among them if the larger one holds an earlier copy of it.

    Raises:
        InputError: the study is of another task, or `fraction` is no larger share than its own.
        LeakError: a note that was learnt from is among the further test notes.
    """
    if config.task != "present" or data.labels.provenance != "coded" or config.split != "time":
        raise InputError("--test-fraction is for artifacts of the task present, of coded notes split by time")
    if not config.fraction < fraction <= 1:
        raise InputError(
            f"--test-fraction {fraction:g}: give more than {config.fraction:g}, the share that the artifacts "
            "were made from, and at most 1"
        )
    reporter.say(f"reading the share {fraction:g} and looking for copies in it: minutes for 100,000 notes")
    wider = prepare(config.model_copy(update={"fraction": fraction}), reporter)
    learnt = data.frame["note_id"][np.concatenate([data.split.train, data.split.validation])]
    if wider.frame["note_id"][wider.split.test].is_in(learnt.implode()).any():
        raise LeakError("a note that the artifacts learnt from is among the further test notes")
    labels = label_coded_present(wider.frame, symptoms=data.labels.symptoms)
    return replace(wider, labels=labels)


def answers_of(
    task: Task, artifact: Path, texts: list[str], reporter: Reporter, *, store: Path | None = None
) -> NDArray[np.bool_]:
    """What an artifact answers `(notes, K)` at its own thresholds.

    Args:
        task: whose answers.
        artifact: an artifact's folder.
        texts: the notes.
        reporter: told how far it is.
        store: a folder that keeps the answers by what decides them and by the notes, so that they are
            computed once; no text is in it.
    """
    kept = None if store is None else store / f"{_mark(artifact, texts)}.npy"
    if kept is not None and kept.is_file():
        stored: NDArray[np.bool_] = np.load(kept, allow_pickle=False)
        return stored
    runtime = Runtime.load(artifact)
    parts = []
    for start in range(0, len(texts), _PART):
        parts.append(runtime.predict(texts[start : start + _PART]))
        reporter.step(f"{artifact.name} answers", min(start + _PART, len(texts)), len(texts))
    cuts = runtime.extractor.thresholds
    found = answers(task, np.concatenate(parts), None if cuts is None else np.array(cuts))
    if kept is not None:
        with atomic_path(kept) as draft, draft.open("wb") as stream:
            np.save(stream, found, allow_pickle=False)
    return found


def _mark(artifact: Path, texts: list[str]) -> str:
    digest = hashlib.sha256()
    for name in _DECIDING:  # a new card changes no answer
        digest.update(hashlib.sha256((artifact / name).read_bytes()).digest())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return digest.hexdigest()[:32]
