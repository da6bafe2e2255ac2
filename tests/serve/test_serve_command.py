"""`sympress serve` as a user starts it, and its real artifacts."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from sympress.cli.main import run
from sympress.errors import InputError, MissingExtraError, require_serving
from sympress.runtime.artifact import RULES_FOLDER
from sympress.serve.config import ServeConfig
from sympress.serve.models import Shelf
from sympress.serve.render import Question


def test_a_real_artifact_is_served_and_reloaded_atomically(tiny_artifact: Path, tmp_path: Path):
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_artifact, folder)
    shelf = Shelf({"tiny": folder})
    first = shelf.pick(None)
    assert (first.task, first.symptoms) == ("present", ("fever", "cough", "pain"))
    [answer] = first.extract([Question("fever and cough")])
    assert json.loads(answer.body)["failure"] is None
    again = shelf.reload("tiny")
    assert (again.fingerprint, again is not first) == (first.fingerprint, True)
    (folder / "model.onnx").write_bytes(b"broken")
    with pytest.raises(InputError):
        shelf.reload("tiny")
    assert shelf.pick("tiny") is again


def test_without_a_model_the_rules_answer():
    shelf = Shelf({"rules": RULES_FOLDER})
    model = shelf.pick("rules")
    assert model.task == "mentions"
    assert model.size_bytes == 0
    assert "fever" in model.symptoms


def test_a_missing_extra_names_its_command(monkeypatch: pytest.MonkeyPatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else find(name))
    with pytest.raises(MissingExtraError) as caught:
        require_serving()
    assert str(caught.value) == "uvicorn is not installed: run  pip install 'sympress[serve]'"


def test_the_limit_of_mentions_is_a_flag(monkeypatch: pytest.MonkeyPatch):
    seen: list[ServeConfig] = []
    monkeypatch.setattr("sympress.serve.server.serve", lambda config, *_: seen.append(config))
    for given in ([], ["--most-mentions", "7"]):
        with pytest.raises(SystemExit) as done:
            run(["serve", *given])
        assert done.value.code == 0
    assert [config.most_mentions for config in seen] == [10_000, 7]
    with pytest.raises(SystemExit) as done:
        run(["serve", "--most-mentions", "0"])
    assert done.value.code == 2


def test_the_main_process_takes_no_memory_for_what_only_models_need():
    program = "import sympress.serve.server, sys; print({'onnxruntime', 'polars'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")
