"""What the pages on many machines, the service and capacity show is true: code runs, commands exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from benchmarks import capacity
from sympress.cli.main import build_app
from sympress.serve.config import ServeConfig

ROOT = Path(__file__).parents[2]
PAGES = {
    "clusters": "how-to/ray-and-spark",
    "serving": "how-to/serve",
    "service": "reference/service",
    "capacity": "how-to/plan-capacity",
}
TEXTS = {name: (ROOT / "docs" / f"{page}.md").read_text("utf-8") for name, page in PAGES.items()}
BLOCKS = [
    (name, language, body)
    for name, text in TEXTS.items()
    for language, body in re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
]
LINES = [
    line.removeprefix("$ ")
    for _, language, body in BLOCKS
    if language == "console"
    for line in body.splitlines()
]


def options_of(line: str) -> list[str]:
    return [word.partition("=")[0] for word in shlex.split(line) if re.match(r"--?[a-z]", word)]


@pytest.mark.parametrize(
    "line", [line for line in LINES if "sympress " in line and "-m sympress" not in line]
)
def test_a_command_exists_with_its_options(line: str):
    called = line.rpartition("| ")[2]
    if called.startswith("pip install"):
        return
    _, name, *_ = shlex.split(called)
    known = get_command(build_app([name])).commands[name].params
    assert set(options_of(called)) <= {option for one in known for option in one.opts}


@pytest.mark.parametrize("line", [line for line in LINES if "python -m " in line])
def test_a_module_takes_its_options(line: str, capsys: pytest.CaptureFixture[str]):
    module = pytest.importorskip(line.partition("python -m ")[2].split()[0])
    with pytest.raises(SystemExit):
        module.main(["--help"])
    told = capsys.readouterr().out
    assert [option for option in options_of(line) if option not in {*told.split(), "-m", "-o"}] == []


def test_the_spark_example_runs_on_the_batches_that_spark_gives(tiny_artifact: Path):
    (code,) = [body for name, language, body in BLOCKS if (name, language) == ("clusters", "python")]
    pandas = pytest.importorskip("pandas", reason="needs pandas, as Spark does")
    defined: dict[str, object] = {}
    exec(code.partition("notes.mapInPandas")[0].replace("/dbfs/ARTIFACT", str(tiny_artifact)), defined)
    batch = pandas.DataFrame({"note_id": ["a", "b"], "text": ["fever", "no cough"], "more": [1, 2]})
    (found,) = defined["extract"](iter([batch]))
    assert list(found.columns) == ["note_id", "symptoms"]
    assert all(isinstance(one, list) for one in found["symptoms"])


def test_the_limits_that_the_page_on_serving_states_are_the_defaults():
    limits = ServeConfig()
    assert (
        f"A head has {limits.header_seconds:g} s to arrive, a body {limits.body_seconds:g} s, "
        f"an idle connection {limits.idle_seconds} s; {limits.connections:,} connections may be open, "
        f"{limits.client_connections} of one client address"
    ) in TEXTS["service"]
    assert f"take at most {limits.uploads_bytes >> 20} MiB" in TEXTS["service"]
    assert limits.answers_bytes == limits.uploads_bytes
    assert f"an answer of more than {limits.answer_bytes >> 20} MiB" in TEXTS["service"]
    assert f"reads nothing of its answer for {limits.unread_seconds:g} s" in TEXTS["service"]
    assert f"does not answer within {limits.load_seconds:g} s" in TEXTS["service"]
    assert f"more than {limits.most_mentions:,} mentions" in TEXTS["service"]
    assert limits.note_seconds == pytest.approx(0.3 * limits.request_seconds)
    assert "one note at most 160 MB more (`--note-mb`)" in TEXTS["serving"]
    assert limits.note_bytes == 160_000_000


def test_the_corpora_of_the_plan_are_those_of_the_page():
    assert capacity.CORPORA == (2_000_000, 1_000_000_000)
    assert "2 million notes (MIMIC-III)" in TEXTS["capacity"]
