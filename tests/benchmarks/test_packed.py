"""A packed artifact judged as packed: what it, its model and its rules affirm, counted apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import packed
from benchmarks.document_tables import packed_table
from sympress.compression.export import export_checked
from sympress.errors import InputError
from sympress.models.model import build_model
from sympress.runtime.artifact import Extractor as Settings
from sympress.runtime.artifact import write_checksums, write_extractor

TEXTS = ["not a test note", "fever, no cough", "cough", "nothing here"]
#: Of the last three, for fever, cough and headache.
TRUTH = np.array([[1, 0, 1], [0, 1, 1], [0, 0, 1]], dtype=bool)


@pytest.fixture
def artifact(make_encoder, tokenizer, tmp_path: Path) -> Path:
    """Its model affirms headache of every note and nothing else; its rules are those of the lexicon."""
    folder = tmp_path / "artifact"
    folder.mkdir()
    tokenizer.save_pretrained(folder)
    export_checked(
        build_model(make_encoder("bert"), 3, "mean", seed=0).eval(),
        folder / "model.onnx",
        [np.array([2, 5, 3])],
    )
    fixed = {"task": "present", "symptoms": ["fever", "cough", "headache"], "max_tokens": 16, "pad_id": 0}
    rules = {"thresholds": [1.0, 1.0, 0.0], "lexicon": "clinical", "rules": True}
    write_extractor(folder, Settings.model_validate(fixed | rules))
    write_checksums(folder)
    return folder


@pytest.fixture(autouse=True)
def study(monkeypatch: pytest.MonkeyPatch) -> None:
    split = SimpleNamespace(test=np.array([1, 2, 3]))
    labels = SimpleNamespace(symptoms=("fever", "cough", "headache"))
    data = SimpleNamespace(
        split=split,
        labels=labels,
        patients=np.arange(4),
        texts_of=lambda rows: [TEXTS[row] for row in rows],
    )
    monkeypatch.setattr(packed, "reread", lambda _: SimpleNamespace(data=data, truth=TRUTH))


def test_as_packed_it_affirms_what_words_name_and_each_part_is_scored_without_the_other(
    artifact: Path, tmp_path: Path
):
    packed.main([str(tmp_path), str(artifact), "-o", str(tmp_path / "box.json")])
    found = json.loads((tmp_path / "box.json").read_text(encoding="utf-8"))
    micro = {name: one["micro_f1"]["value"] for name, one in found["models"].items()}
    # of 5 the model affirms 3 that no words name, and none wrong; words name the other 2
    assert micro == {
        packed.AS_PACKED: pytest.approx(2 * 2 / (2 + 5)),
        packed.MODEL: pytest.approx(2 * 3 / (3 + 5)),
        packed.RULES: pytest.approx(2 * 2 / (2 + 5)),
    }
    assert found["size_bytes"] > (artifact / "model.onnx").stat().st_size
    lines = packed_table(found)
    assert lines[2].startswith("| as packed | 0.571")
    assert "3 test notes, the 3 of 3 symptoms" in lines[-1]


def test_another_artifact_is_refused(artifact: Path, tmp_path: Path):
    other = tmp_path / "other"
    shutil.copytree(artifact, other)
    fixed = {"task": "topic", "symptoms": ["fever", "cough", "pain"], "max_tokens": 16, "pad_id": 0}
    write_extractor(other, Settings.model_validate(fixed))
    write_checksums(other)
    with pytest.raises(InputError, match="not an artifact of the task present"):
        packed.judge_packed(tmp_path, other)
