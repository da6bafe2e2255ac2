"""Thresholds judged by notes that did not choose them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import thresholds
from sympress.errors import InputError
from sympress.studies.folder import RunFolder

RANDOM = np.random.default_rng(7)
SCORES = RANDOM.random((120, 2))
#: The first symptom is told perfectly by its score, the second is a coin.
TRUTH = np.stack([SCORES[:, 0] > 0.7, RANDOM.random(120) < 0.5], axis=1).astype(np.uint8)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = RunFolder(tmp_path / "run")
    folder.write_row("small", 0, {}, {"validation": SCORES})
    labels = SimpleNamespace(symptoms=("fever", "cough"), targets=TRUTH)
    data = SimpleNamespace(labels=labels, split=SimpleNamespace(validation=np.arange(120)))
    study = SimpleNamespace(run=folder, config=SimpleNamespace(note_task="present"), data=data)
    monkeypatch.setattr(thresholds, "reread", lambda _: study)
    return folder.path


def test_every_way_is_judged_by_the_notes_left_out(run: Path, tmp_path: Path):
    output = tmp_path / "thresholds.json"
    thresholds.main([str(run), "--row", "small", "-o", str(output)])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert (found["notes"], found["parts"], found["repeats"]) == (120, thresholds.PARTS, thresholds.REPEATS)
    row = found["rows"]["small-seed0"]
    for way in (thresholds.ALONE, thresholds.EXPECTED):
        # perfect on one symptom; every second note right on the other, at any threshold
        assert 0.75 < row[way]["macro"] < 0.9
    for kind in ("micro", "macro"):
        assert row["gain"][kind] == pytest.approx(
            row[thresholds.EXPECTED][kind] - row[thresholds.ALONE][kind]
        )
        assert row["gain_deviation"][kind] >= 0


def test_a_row_that_is_not_there_and_a_task_without_thresholds(run: Path, tmp_path: Path):
    with pytest.raises(InputError, match="no row 'other' with seed 0"):
        thresholds.main([str(run), "--row", "other", "-o", str(tmp_path / "thresholds.json")])
    study = thresholds.reread(run)
    study.config.note_task = "topic"
    with pytest.raises(InputError, match="only the task present has thresholds"):
        thresholds.judge_cuts(study, [("small", 0)])
