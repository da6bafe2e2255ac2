"""Ctrl-C: a command that was interrupted never ends as if it were done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many notes that no command is done with them before it is interrupted."""
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    line = json.dumps({"note_id": "n", "text": "no fever, cough and rash " * 40})
    path.write_text("".join(line.replace('"n"', f'"{at}"') + "\n" for at in range(20_000)), encoding="utf-8")
    return path


def interrupted(arguments: list[str], ready: Path | None, stdout: int) -> tuple[int | None, str]:
    """Exit code and messages of a command that gets SIGINT as soon as `ready` is there, or it prints."""
    command = [sys.executable, "-m", "sympress", *arguments]
    with subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE) as started:
        if ready is None:
            assert started.stdout is not None
            assert started.stdout.read(1)
        else:
            while not list(ready.parent.glob(ready.name)) and started.poll() is None:
                time.sleep(0.01)
        assert started.poll() is None
        started.send_signal(signal.SIGINT)
        _, messages = started.communicate(timeout=60)
        return started.returncode, messages.decode()


MESSAGE = "sympress: interrupted; run the same command again to go on"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_extract_to_a_file_ends_with_130_and_leaves_no_file(notes: Path, tmp_path: Path, workers: str):
    output = tmp_path / "out.jsonl"
    asked = ["extract", str(notes), "-m", "rules", "-j", workers, "-o", str(output)]
    state = tmp_path / "out.jsonl.partial" / "state.json"
    code, messages = interrupted(asked, state, subprocess.DEVNULL)
    assert (code, messages.splitlines()[-1]) == (130, MESSAGE)
    assert "Traceback" not in messages
    assert not output.exists()


def test_extract_to_standard_output_ends_with_130(notes: Path):
    asked = ["extract", str(notes), "-m", "rules", "-j", "1"]
    code, messages = interrupted(asked, None, subprocess.PIPE)
    assert (code, messages.splitlines()[-1]) == (130, MESSAGE)


def test_label_ends_with_130_and_leaves_nothing(notes: Path, tmp_path: Path):
    output = tmp_path / "out" / "mentions.jsonl"
    asked = ["label", str(notes), "--task", "mentions", "--lexicon", "clinical", "-o", str(output)]
    code, messages = interrupted(asked, output.parent / ".mentions*", subprocess.DEVNULL)
    assert (code, messages.splitlines()[-1]) == (130, MESSAGE)
    assert list(output.parent.iterdir()) == []
