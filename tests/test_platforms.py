"""Other systems, simulated: without what only POSIX or Linux has, everything imports, extracts and serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

#: What Windows lacks, and macOS a part of it; /proc is Linux's. SIGKILL stays: PyTorch asks for it by
#: platform.
PROGRAM = """
import asyncio, contextlib, os, pathlib, signal, sys

with contextlib.suppress(ImportError):
    import psutil  # elsewhere it needs none of these

for module in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[module] = None
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "pthread_sigmask", "pthread_kill"):
    if hasattr(signal, name):
        delattr(signal, name)
for name in ("fork", "forkpty", "sched_getaffinity", "getuid", "geteuid", "getgid", "killpg", "O_NOFOLLOW"):
    if hasattr(os, name):
        delattr(os, name)

real = pathlib.Path.read_text
def read_text(path, *arguments, **more):
    if path.is_relative_to("/proc"):
        raise FileNotFoundError(2, "no such file", str(path))
    return real(path, *arguments, **more)
pathlib.Path.read_text = read_text

def add_signal_handler(*_):
    raise NotImplementedError
asyncio.SelectorEventLoop.add_signal_handler = add_signal_handler
"""
IMPORT_ALL = """
import importlib, pkgutil, sympress
for found in pkgutil.walk_packages(sympress.__path__, "sympress."):
    if not found.name.endswith("__main__"):
        try:
            importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] in ("sympress", "resource", "fcntl"):
                raise
            print("without", error.name)
print("done")
"""


def elsewhere(program: str, *arguments: object, **given: Any) -> subprocess.Popen[str]:
    """A process that runs `program` on such a system."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM + textwrap.dedent(program)]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        **given,
    )


def finished(process: subprocess.Popen[str], stdin: str = "") -> str:
    out, err = process.communicate(stdin, timeout=120)
    assert process.returncode == 0, err
    return out


def test_every_module_is_imported():
    assert finished(elsewhere(IMPORT_ALL)).splitlines()[-1] == "done"


RUN = "from sympress.cli.main import run; run()"


def test_notes_are_answered_and_a_job_is_written_and_continued(tiny_artifact: Path, tmp_path: Path):
    line = finished(elsewhere(RUN, "extract", "-", "-m", tiny_artifact, "-q"), "fever and chills\n")
    assert json.loads(line)["note_id"] == "1"
    source, output = tmp_path / "in.csv", tmp_path / "out.jsonl"
    source.write_text("note_id,text\na,fever\nb,no cough\n", encoding="utf-8")
    for _ in range(2):
        finished(elsewhere(RUN, "extract", source, "-m", tiny_artifact, "-o", output, "--force"))
    assert [json.loads(one)["note_id"] for one in output.read_bytes().splitlines()] == ["a", "b"]
    assert b"\r" not in output.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="stops by a signal of POSIX")
def test_the_service_answers(tiny_artifact: Path):
    httpx = pytest.importorskip("httpx", reason="needs httpx")
    pytest.importorskip("fastapi", reason="needs the extra serve")
    process = elsewhere(RUN, "serve", "--model", tiny_artifact, "--port", 0)
    try:
        assert process.stderr is not None
        told = process.stderr.readline()
        assert "listening" in told, told + process.stderr.read()
        url = json.loads(told)["url"]
        answer = httpx.post(f"{url}/v1/extract", json={"text": "fever"}, timeout=20, trust_env=False)
        assert answer.json()["notes"][0]["failure"] is None
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_an_output_that_lacks_a_character_gets_a_question_mark():
    environment = os.environ | {"PYTHONIOENCODING": "cp1252:strict", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "sympress", "serve", "--help"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "in 10? bytes" in " ".join(done.stdout.decode("cp1252").replace("|", " ").split())
