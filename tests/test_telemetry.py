"""No library leaves a device identifier or an upload behind, whoever imports it first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sympress.processes import SILENT

ANSWER = "import sympress; sympress.Extractor.load({box!r})('c/o fever, denies cough')"


def run(code: str, home: Path, **variables: str) -> str:
    """Run `code` with an empty home folder and none of the variables but `variables`."""
    kept = {name: value for name, value in os.environ.items() if name not in SILENT}
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables},
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout


@pytest.fixture
def box() -> str:
    import sympress

    return str(Path(sympress.__file__).parent / "runtime" / "box")


def test_answering_leaves_nothing_at_home(box: str, tmp_path: Path):
    run(ANSWER.format(box=box), tmp_path)
    assert not list(tmp_path.rglob("*"))


def test_a_runtime_that_was_imported_before_is_turned_off(tmp_path: Path):
    code = (
        "import onnxruntime; off = []; onnxruntime.disable_telemetry_events = lambda: off.append(1); "
        "import sympress; print(len(off))"
    )
    assert run(code, tmp_path).strip() == "1"


def test_what_the_user_set_stays(tmp_path: Path):
    names = ["RAY_USAGE_STATS_ENABLED", "ORT_DISABLE_TELEMETRY"]
    code = f"import sympress, os; print(*(os.environ[name] for name in {names}))"
    assert run(code, tmp_path, RAY_USAGE_STATS_ENABLED="1").split() == ["1", "1"]
