"""Tutorials and how-tos as a reader follows them: files are written, commands and code run, in order.

A block of `console` has a `$` before each command; lines below a command are what it must show. A block with
`file=NAME` is saved. A block that is not run says why in a comment above it: `<!-- not run: … -->`.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

from sympress.cli.main import run
from sympress.compression.recipe.steps import STEPS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT / "docs").with_suffix("").as_posix()
    for kind in ("tutorials", "how-to")
    for path in (ROOT / "docs" / kind).glob("*.md")
)
#: Pages that a test of their own follows, because it also looks at what they say.
ELSEWHERE = {
    "how-to/add-a-symptom": "tests/extract/test_own_words_document.py",
    "how-to/evaluate-on-your-gold": "tests/evaluation/test_evaluate_command.py",
    "how-to/use-an-artifact-elsewhere": "tests/api/test_python_document.py",
}
FENCED = re.compile(
    r"(?:^<!-- not run: (?P<why>[^\n]+) -->\n)?"
    r"^```(?P<language>\w+)(?: file=(?P<file>\S+))?\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
#: What a shell is needed for.
SHELL = re.compile(r"[|*<>;]|^(?!sympress )")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `why` says why it is not run."""

    language: str
    file: str | None
    body: str
    why: str | None

    @property
    def is_run(self) -> bool:
        """Whether its lines are commands or code."""
        return self.language in {"console", "python", "py", "sh", "bash"} and self.file is None


def blocks(page: str) -> list[Block]:
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    return [
        Block(found["language"], found["file"], found["body"], found["why"])
        for found in FENCED.finditer(text)
    ]


def steps(body: str) -> Iterator[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that the page shows below it."""
    for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, *shown = step.splitlines()
        yield command, [" ".join(line.split()) for line in shown if line.strip()]


def shown_by(command: str, capfd: pytest.CaptureFixture[str], shims: Path) -> list[str]:
    """What a command prints, each line with single spaces; it must end well."""
    capfd.readouterr()
    if SHELL.search(command.replace("> distill", "").replace("> quantize", "")):
        path = f"{shims}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            env=os.environ | {"PATH": path, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
        code, told = done.returncode, done.stdout + done.stderr
    else:
        with pytest.raises(SystemExit) as ended:
            run(shlex.split(command)[1:])
        captured = capfd.readouterr()
        code, told = int(ended.value.code or 0), captured.out + captured.err
    assert code == 0, (command, told)
    return [" ".join(line.split()) for line in told.splitlines() if line.strip()]


@pytest.fixture(scope="session")
def shims(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs `sympress` and `python` of this environment."""
    folder = tmp_path_factory.mktemp("programs")
    for name, module in (("sympress", "-m sympress "), ("python", "")):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {module}"$@"\n', encoding="utf-8")
        program.chmod(0o755)
    return folder


def prepare(page: str, tokenizer: PreTrainedTokenizerFast) -> None:
    """Make what a page takes for granted: a checkpoint of one's own, and notes."""
    if page != "how-to/import-a-model":
        return
    names = ["cough", "fever"]
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=80,
        id2label=dict(enumerate(names)),
        label2id={name: at for at, name in enumerate(names)},
        problem_type="multi_label_classification",
    )
    BertForSequenceClassification(config).save_pretrained("MY_CHECKPOINT")
    tokenizer.save_pretrained("MY_CHECKPOINT")
    Path("NOTES").mkdir()
    Path("NOTES/1.txt").write_text("c/o fever, denies cough", encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path, roomy_encoder_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in, where the packaged encoder is the tiny one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sympress.models.encoder._BUNDLED_SHA256", {})  # a small one stands in for it
    monkeypatch.setattr("sympress.models.encoder.bundled_encoder_folder", lambda: roomy_encoder_folder)
    monkeypatch.setattr("sympress.training.adapt.bundled_encoder_folder", lambda: roomy_encoder_folder)


@pytest.fixture(autouse=True)
def own_steps() -> Iterator[None]:
    """What a page adds to the table of steps is gone after it."""
    known = dict(STEPS)
    yield
    STEPS.clear()
    STEPS.update(known)


@pytest.mark.usefixtures("place", "memory_unmeasured")
@pytest.mark.parametrize("page", [page for page in PAGES if page not in ELSEWHERE])
def test_a_page_does_what_it_says(
    page: str,
    shims: Path,
    tokenizer: PreTrainedTokenizerFast,
    capfd: pytest.CaptureFixture[str],
):
    prepare(page, tokenizer)
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).parent.mkdir(parents=True, exist_ok=True)
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif block.why is None and block.language == "python":
            exec(compile(block.body, page, "exec"), {"__name__": "page"})
        elif block.why is None and block.language == "console":
            for command, wanted in steps(block.body):
                shown = shown_by(command, capfd, shims)
                assert wanted in ([], shown), command


@pytest.mark.usefixtures("place", "memory_unmeasured")
def test_the_shell_of_the_readme_does_what_it_says(shims: Path, capfd: pytest.CaptureFixture[str]):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, answer = [found["body"] for found in FENCED.finditer(text)][:2]
    install, *commands, serve = first.splitlines()
    assert install.startswith("pip install ")
    assert serve.startswith("sympress serve")
    shown = [shown_by(command, capfd, shims) for command in commands]
    assert shown[0] == [" ".join(line.split()) for line in answer.splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_a_block_is_run_or_says_why_not(page: str):
    for block in blocks(page):
        if not block.is_run or block.why is not None:
            continue
        assert block.language in {"console", "python"}, f"{block.language}: run by nothing"
        if block.language == "console":
            assert block.body.startswith("$ "), block.body


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_that_another_test_follows_is_read_there(page: str):
    test = (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")
    assert f'"{Path(page).name}.md"' in test
