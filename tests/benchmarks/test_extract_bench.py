"""The bench of extraction in its smallest form: it measures what it says, and a killed job is whole."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.extraction import main


def test_every_phase_is_measured(tiny_artifact: Path, tmp_path: Path):
    output = tmp_path / "extract.json"
    tiny = ["--times", "1", "--sizes", "100", "200", "--kill-notes", "150", "--kills", "1", "--cores", "1"]
    main(["--model", str(tiny_artifact), "-o", str(output), *tiny])
    found = json.loads(output.read_text(encoding="utf-8"))
    assert 0 < found["first"]["first_result_ms_median"] <= found["first"]["whole_command_ms_median"]
    assert [(row["notes"], row["workers"]) for row in found["memory"]] == [(100, 1), (200, 1), (100, 1)]
    assert all(20e6 < row["peak_rss_bytes"] < 1e9 for row in found["memory"])
    assert found["kill"]["same_bytes"] is found["kill"]["same_bytes_sorted"] is True
    assert len(found["kill"]["notes_safe_at_each_kill"]) == 1
    assert found["kill"]["rows"] == 150 - 2  # two lines are broken
    assert {"python", "processor", "cores"} <= set(found["environment"])
