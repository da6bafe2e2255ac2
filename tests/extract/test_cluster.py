"""The same jobs on a Ray cluster started here: the same bytes, also if any of its processes is killed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from test_extract import refused, run
from typer.testing import CliRunner

from sympress import processes
from sympress.cli.notes import label
from sympress.errors import InputError, SympressError
from sympress.extract.shapes import COLUMNS, Header
from sympress.extract.workers import (
    Answered,
    Chunk,
    LoadArtifact,
    Order,
    answer_chunk,
    cut_chunks,
    open_extraction,
)
from sympress.notes.intake import Note
from sympress.processes import LOCAL
from sympress.runtime.extractor import Extractor

pytestmark = [  # Ray is not to be imported before a cluster is: by then it is told where to listen
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
    pytest.mark.filterwarnings("ignore"),  # of Ray's own
]
ORDER = Order("notes", csv=False, header=Header(COLUMNS, "tiny", "2026-01-31"))


def chunks() -> Iterator[Chunk]:
    notes = (Note(str(at), None, None, None, None, None, None, f"fever {at}", None) for at in range(100))
    return cut_chunks(notes, notes=8)


def killer(folder: Path) -> Callable[[str], None]:
    """What ends its own process, as SIGKILL does, once a name."""

    def die_once(name: str) -> None:
        if not (folder / name).exists():
            (folder / name).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    return die_once  # within functions Ray's pickle takes code along; workers cannot import this module


def test_a_killed_worker_changes_nothing(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    die_once = killer(tmp_path)
    healthy = LoadArtifact.__call__

    def load(self: LoadArtifact) -> Callable[[Chunk], Answered]:
        answer = healthy(self)

        def mortal(chunk: Chunk) -> Answered:
            if chunk.first == 40:
                die_once("worker")
            return answer(chunk)

        return mortal

    class MortalArtifact(LoadArtifact):
        __call__ = load

    monkeypatch.setattr("sympress.extract.workers.LoadArtifact", MortalArtifact)
    with open_extraction(tiny_artifact, ORDER, LOCAL) as answer:
        found = b"".join(answered.data for _, answered in answer(chunks()))
    assert (tmp_path / "worker").exists()
    here = Extractor.load(tiny_artifact)
    assert found == b"".join(answer_chunk(here, chunk, ORDER).data for chunk in chunks())


def test_whatever_dies_every_unit_is_answered_in_order(tmp_path: Path):
    die_once = killer(tmp_path)

    def load() -> Callable[[int], int]:
        (tmp_path / f"loaded-{os.getpid()}").touch()

        def square(unit: int) -> int:
            if unit in {6, 31}:
                die_once(f"worker-{unit}")
            return unit * unit

        return square

    read: list[int] = []
    units = (read.append(unit) or unit for unit in range(60))
    cores = os.cpu_count() or 1
    with processes.open_cluster(load, LOCAL) as answer:
        for at, answered in enumerate(answer(units)):
            assert answered == (at, at * at)
            assert len(read) - at <= processes.AHEAD * cores  # bounded memory
    assert at == 59
    assert {"worker-6", "worker-31"} <= {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.glob("loaded-*"))) <= cores + 2  # once a worker, and of those that died


@pytest.mark.parametrize("kills", [False, True])
def test_work_that_always_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, kills: bool):
    monkeypatch.setattr(processes, "RETRIES", 1)

    def load() -> Callable[[str], str]:
        def fail(unit: str) -> str:
            if kills:
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(unit)

        return fail

    with (
        pytest.raises(SympressError) as caught,
        processes.open_cluster(load, LOCAL) as answer,
    ):
        list(answer(iter(["zebrafinch"])))
    assert str(caught.value).startswith("the Ray cluster failed (")
    if not kills:
        assert "RuntimeError: ValueError" in str(caught.value.__cause__)
    for error in (caught.value, caught.value.__cause__):
        assert "zebrafinch" not in str(error)


def test_the_command_writes_the_same_bytes(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": f"fever {at}"}) + "\n" for at in range(300)))
    for name, more in (("here", ()), ("cluster", ("--ray", "local"))):
        run(source, "-m", tiny_artifact, "-o", tmp_path / f"{name}.jsonl", "-q", *more)
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "cluster.jsonl").read_bytes()


def labelled(*arguments: object) -> str:
    """What `sympress label` prints."""
    app = typer.Typer()
    app.command()(label)
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    if done.exception is not None:
        raise done.exception
    return done.stdout


@pytest.mark.parametrize("task", ["topic", "present", "mentions"])
def test_labels_are_the_same_bytes(tmp_path: Path, task: str):
    source = tmp_path / "in.jsonl"
    texts = ["fever, no cough", "cough", "well", "denies fever; chills and nausea", "fever"] * 80
    rows = [{"note_id": str(at), "text": f"{text} {at}"} for at, text in enumerate(texts)]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = []
    for more in ((), ("--ray", "local")):
        output = tmp_path / f"labels-{len(more)}.jsonl"
        arguments = (source, "-o", output, "--task", task, "--lexicon", "clinical", "--top-k", 2)
        said.append(labelled(*arguments, *more).replace(output.name, "OUT"))
    assert said[0] == said[1]
    assert (tmp_path / "labels-0.jsonl").read_bytes() == (tmp_path / "labels-2.jsonl").read_bytes()


def test_no_cluster_is_one_line(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fever"}\n')
    message = "--ray 127.0.0.1:1: no Ray cluster answers there (ConnectionRefusedError)"
    assert refused(source, "-m", tiny_artifact, "--ray", "127.0.0.1:1") == message
    with pytest.raises(InputError) as caught:
        labelled(source, "-o", tmp_path / "out.jsonl", "--ray", "127.0.0.1:1")
    assert str(caught.value) == message
    assert not (tmp_path / "out.jsonl").exists()
