"""The two rows that a reader asks for: the lexicon rule itself, and TF-IDF with logistic regression."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.deploy.runtime import prepare_text
from sympress.labels.labelset import Task
from sympress.labels.lexicon import load_lexicon
from sympress.measure.asserted import AssertedRule
from sympress.measure.quality import point_quality
from sympress.measure.reference import ReferenceModel, TfidfClassifier, fit_tfidf
from sympress.measure.rule import RuleClassifier
from sympress.study.prepare import StudyData
from sympress.study.rows import Bench
from sympress.study.settle import Settled, calibrates, settle

#: The lexicon whose forms the row `rule-assertion` looks up.
ASSERTED_LEXICON = "clinical"
_RECIPES = {
    "rule": "lexicon rule",
    "rule-assertion": f"lexicon {ASSERTED_LEXICON!r} with assertion",
    "tfidf": "TF-IDF 1-2 grams > logistic regression",
}
LOADERS: dict[str, Callable[[Path], ReferenceModel]] = {
    "rule": RuleClassifier.load,
    "rule-assertion": AssertedRule.load,
    "tfidf": TfidfClassifier.load,
}


def references(task: Task) -> tuple[str, ...]:
    """The reference rows of a study; only `present` asks what a note affirms."""
    return ("rule", "rule-assertion", "tfidf") if task == "present" else ("rule", "tfidf")


def run_reference(bench: Bench, name: str, seed: int) -> ReferenceModel:
    """Build the reference model `name`, predict and store, unless the run folder has it already.

    It sees the same characters of each note as the models do.
    """
    data, config, run = bench.data, bench.config, bench.run
    folder = run.artifact(name, seed)
    if run.read_row(name, seed) is not None:
        return LOADERS[name](folder)
    texts = [prepare_text(text, bench.extractor) for text in data.texts]
    started = time.perf_counter()
    model = _build(data, config, name, seed, texts)
    seconds = time.perf_counter() - started if name == "tfidf" else 0.0
    shutil.rmtree(folder, ignore_errors=True)
    model.save(folder)
    predictions = {
        part: np.asarray(model.predict_proba([texts[row] for row in rows]), dtype=np.float64)
        for part, rows in (("validation", data.split.validation), ("test", data.split.test))
    }
    validation = data.labels.targets[data.split.validation]
    quality = point_quality(config.note_task, predictions["validation"], validation, data.labels.symptoms)
    row: dict[str, Any] = {
        "recipe": _RECIPES[name],
        "epochs": [{"epoch": 1, "quality": quality.model_dump(mode="json")}] if name == "tfidf" else [],
        "train_seconds": seconds,
        "remarks": [],
        "parity_max_difference": None,
        "macs_per_note": model.macs_per_note,
        **_settle(config, name, predictions["validation"], validation).as_json(),
    }
    run.write_row(name, seed, row, predictions)
    return model


def _build(
    data: StudyData, config: StudyConfig, name: str, seed: int, texts: Sequence[str]
) -> ReferenceModel:
    if name == "rule":
        return RuleClassifier.of(
            config.note_task,
            data.labels.symptoms,
            data.lexicon,
            rule=config.rule or "first",
            text_window=None,
        )
    if name == "rule-assertion":
        return AssertedRule.of(data.labels.symptoms, load_lexicon(ASSERTED_LEXICON))
    train, validation = data.split.train, data.split.validation
    return fit_tfidf(
        [texts[row] for row in train],
        data.labels.targets[train],
        config.note_task,
        data.labels.symptoms,
        seed=seed,
        validation=([texts[row] for row in validation], data.labels.targets[validation]),
    )


def _settle(
    config: StudyConfig, name: str, validation: NDArray[np.float64], targets: NDArray[np.uint8]
) -> Settled:
    """Thresholds and calibration of TF-IDF as of every model; rules answer 0 and 1, and stay as they are."""
    if name == "tfidf":
        return settle(config.note_task, validation, targets, calibrate=calibrates(config.protocol))
    return Settled(np.full(targets.shape[1], 0.5) if config.note_task == "present" else None, None)
