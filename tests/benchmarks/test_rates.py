"""Rates on real notes: every artifact on one core and on all, and what a corpus takes at them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.document_tables import capacity_table
from benchmarks.rates import bytes_of_models, main
from sympress.errors import InputError
from sympress.runtime.artifact import BOX_FOLDER


def test_the_tagger_counts_among_the_models_of_an_artifact(tiny_artifact: Path):
    assert bytes_of_models(tiny_artifact) == (tiny_artifact / "model.onnx").stat().st_size
    both = [(folder / "model.onnx").stat().st_size for folder in (BOX_FOLDER, BOX_FOLDER / "tagger")]
    assert bytes_of_models(BOX_FOLDER) == sum(both)


def test_every_artifact_is_measured_and_its_plan_adds_up(tiny_artifact: Path, tmp_path: Path):
    notes, output = tmp_path / "notes.jsonl", tmp_path / "rates.json"
    notes.write_text("".join(json.dumps({"text": "fever " * n}) + "\n" for n in (1, 3)), encoding="utf-8")
    artifacts = ["--artifact", f"tiny={tiny_artifact}", "--artifact", "rules"]
    main([str(notes), *artifacts, "--times", "1", "--cores", "2", "-o", str(output)])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["notes"] == {"name": "notes.jsonl", "count": 2, "characters_mean": 12}
    assert list(found["rows"]) == ["tiny", "rules"]
    assert found["rows"]["tiny"]["size_bytes"] == (tiny_artifact / "model.onnx").stat().st_size
    for row in found["rows"].values():
        hours = 2_000_000 / (row["notes_per_second_all_cores"] / 2) / 3600
        assert row["core_hours"]["2000000"] == pytest.approx(hours, rel=0.02)
    lines = capacity_table(found)
    assert lines[0].startswith(
        "| artifact | model MB | notes/s, 1 core | notes/s, 2 cores | core-hours for 2,000,000"
    )
    assert len([line for line in lines if line.startswith("| ")]) == 2 + 2
    assert "2 notes of notes.jsonl, 12 characters on average" in lines[-1]


def test_notes_without_text_are_refused(tiny_artifact: Path, tmp_path: Path):
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(InputError):
        main(
            [
                str(tmp_path / "empty.jsonl"),
                "--artifact",
                f"t={tiny_artifact}",
                "-o",
                str(tmp_path / "o.json"),
            ]
        )
