"""The published split: 90 % train, nothing is held out to choose by, the test notes score every epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.quality import score_quality
from sympress.models.encoder import load_encoder
from sympress.progress import Reporter
from sympress.studies.data import prepare
from sympress.studies.folder import RunFolder
from sympress.studies.rows import NoteTask

SMALL: dict[str, Any] = {
    "synthetic_notes": 300,
    "top_k": 3,
    "epochs": 1,
    "max_tokens": 32,
    "text_window": 120,
    "learning_rate": 1e-3,
}


def test_the_validation_notes_train_and_the_test_notes_stay_the_same() -> None:
    configs = (StudyConfig(**SMALL, encoder="bundled", validation_notes=keep) for keep in (None, False))
    held, whole = (prepare(config.resolved(), Reporter(quiet=True)) for config in configs)
    np.testing.assert_array_equal(whole.split.test, held.split.test)
    both = np.concatenate([held.split.train, held.split.validation])
    np.testing.assert_array_equal(whole.split.train, np.sort(both))
    np.testing.assert_array_equal(whole.split.validation, whole.split.test)
    assert whole.description.validation == whole.description.split.validation == 0
    assert whole.description.train == len(both)
    assert any("no validation notes, as published" in warning for warning in whole.warnings)
    assert whole.inputs != held.inputs


@pytest.mark.parametrize(
    "settings",
    [
        {"protocol": "clinical"},
        {"split": "patient"},
        {"select": "best"},
        {"recipes": ("pocket",)},
        {"task": "present"},
        {"task": "mentions", "labels": "gold"},
    ],
)
def test_what_would_choose_by_the_test_notes_is_refused(settings: dict[str, Any]) -> None:
    config = StudyConfig(**{**SMALL, "encoder": "bundled", "validation_notes": False, **settings}).resolved()
    with pytest.raises(InputError, match="--no-validation-notes"):
        NoteTask.prepare(config, Reporter(quiet=True)) if config.task != "mentions" else _mentions(config)


def _mentions(config: StudyConfig) -> None:
    from sympress.studies.mentions import MentionsTask

    MentionsTask.prepare(config, Reporter(quiet=True))


def test_an_epoch_is_scored_on_the_test_notes(tmp_path: Path, encoder_folder: Path, in_32_bits: None) -> None:
    config = StudyConfig(**SMALL, encoder=str(encoder_folder), validation_notes=False).resolved()
    task = NoteTask.set_up(
        config, load_encoder(str(encoder_folder)), RunFolder(tmp_path), Reporter(quiet=True)
    )
    task.train(0, lambda *_: None)
    task.refer("tfidf", 0)
    test = task.test_set()
    answered = task.run.predictions("baseline", 0, "test")
    found = score_quality("topic", answered, test.truth, test.symptoms, resamples=0)
    stored = task.run.read_row("baseline", 0)["epochs"][-1]["quality"]
    assert stored["f1"]["value"] == pytest.approx(found.f1.value)
    assert stored["auroc"]["value"] == pytest.approx(found.auroc.value, abs=1e-3)
