"""The comparison with a pipeline in its smallest form: the same windows, whole notes, rates that add up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.throughput import PIPELINE, cut_windows, main
from sympress.runtime.extractor import Extractor

TEXT = "Patient reports fever, chills and cough. No rash after the dose. " * 6


def test_windows_hold_every_word_and_are_read_whole(tiny_artifact: Path):
    windows = cut_windows([TEXT, "fever", ""], tiny_artifact)
    assert "".join("".join(windows).split()) == "".join((TEXT + "fever").split())
    assert not any(result.truncated for result in Extractor.load(tiny_artifact)(windows))


@pytest.mark.filterwarnings("ignore")  # of transformers' own pipeline
def test_every_contender_is_measured(tiny_artifact: Path, encoder_folder: Path, tmp_path: Path):
    notes, output = tmp_path / "notes.jsonl", tmp_path / "throughput.json"
    notes.write_text(json.dumps({"text": TEXT}) + "\n", encoding="utf-8")
    asked = ["--notes", str(notes), "--encoder", str(encoder_folder), "--artifact", f"fp32={tiny_artifact}"]
    main([*asked, "--cores", "1", "--most", "5", "-o", str(output)])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["windows"] == 5
    assert set(found["rows"]) == {PIPELINE, "fp32"}
    for row in found["rows"].values():
        assert row["windows_per_second"] * row["seconds"] == pytest.approx(5)
        seconds = found["rows"][PIPELINE]["seconds"]
        assert row["times_as_fast"] == pytest.approx(seconds / row["seconds"])
    assert "processor" in found["environment"]
