"""The same job on a Ray cluster started here: the same bytes, also if a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_extract import refused, run

from sympress.deploy.extract import cluster
from sympress.deploy.extract.chunks import Answered, Chunk, cut_chunks
from sympress.deploy.extract.shapes import COLUMNS, Header
from sympress.notes.intake import Note

pytest.importorskip("ray", reason="needs the extra ray")
ORDER = cluster.Order("notes", csv=False, header=Header(COLUMNS, "tiny", "2026-01-31"))


def chunks() -> Iterator[Chunk]:
    notes = (Note(str(at), None, None, None, None, None, None, f"fever {at}", None) for at in range(100))
    return cut_chunks(notes, notes=8)


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_a_killed_worker_changes_nothing(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    mark = tmp_path / "killed"

    class MortalWorker(cluster.ClusterWorker):
        """Ends its own process, as SIGKILL does, at the chunk that begins with note 40, once."""

        def answer(self, chunk: Chunk) -> Answered:
            if chunk.first == 40 and not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().answer(chunk)

    monkeypatch.setattr(cluster, "ClusterWorker", MortalWorker)
    with cluster.open_cluster(tiny_artifact, ORDER, cluster.LOCAL) as answer:
        found = b"".join(answered.data for _, answered in answer(chunks()))
    assert mark.exists()
    worker = cluster.Extractor.load(tiny_artifact)
    assert found == b"".join(cluster.answer_chunk(worker, chunk, ORDER).data for chunk in chunks())


@pytest.mark.filterwarnings("ignore")
def test_the_command_writes_the_same_bytes(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": f"fever {at}"}) + "\n" for at in range(300)))
    for name, more in (("here", ()), ("cluster", ("--ray", "local"))):
        run(source, "-m", tiny_artifact, "-o", tmp_path / f"{name}.jsonl", "-q", *more)
    assert (tmp_path / "here.jsonl").read_bytes() == (tmp_path / "cluster.jsonl").read_bytes()


@pytest.mark.filterwarnings("ignore")
def test_no_cluster_is_one_line(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fever"}\n')
    assert refused(source, "-m", tiny_artifact, "--ray", "127.0.0.1:1") == (
        "--ray 127.0.0.1:1: no Ray cluster answers there (ConnectionRefusedError)"
    )
