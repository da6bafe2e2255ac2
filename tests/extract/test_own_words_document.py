"""How to add a symptom, as a reader follows it: its files are written and its commands run, in order."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from sympress.cli.main import run
from sympress.labels.lexicon_file import MOST_FORMS, MOST_FORMS_TOGETHER
from sympress.labels.user_files import LARGEST_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "add-a-symptom.md").read_text("utf-8")
FENCED = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(body: str) -> Iterator[tuple[list[str], list[str]]]:
    """The commands of a block, each with the lines that the page shows below it."""
    for step in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        command, *shown = step.splitlines()
        yield shlex.split(command), [" ".join(line.split()) for line in shown]


def test_the_page_does_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    told = []
    for language, file, body in FENCED.findall(PAGE):
        if file:
            Path(file).write_text(body, encoding="utf-8")
            continue
        assert language == "console", body
        for command, shown in steps(body):
            assert command[0] == "sympress"
            with pytest.raises(SystemExit) as done:
                run(command[1:])
            captured = capfd.readouterr()
            lines = [" ".join(line.split()) for line in (captured.out + captured.err).splitlines()]
            assert done.value.code == (2 if "broken.toml" in command else 0), lines
            assert shown in ([], lines), command
            told.append(lines)
    first, *_ = told
    before = dict(line.split()[1:3] for line in first)
    assert (before.get("brain-zaps"), before["hiccups"], before["snoring"]) == (None, "present", "possible")
    assert Path("found.jsonl").stat().st_size > 0
    assert Path("mentions.jsonl").stat().st_size > 0


def test_the_limits_on_the_page_are_those_of_the_code():
    megabytes = LARGEST_BYTES // 10**6
    assert f"{MOST_FORMS:,} forms, a file for {MOST_FORMS_TOGETHER:,} and be {megabytes} MB" in PAGE
