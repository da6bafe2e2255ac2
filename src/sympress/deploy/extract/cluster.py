"""The same extraction on a Ray cluster: one actor a core, each with the artifact loaded once.

The driver reads the notes, keeps the order and writes the checkpoint, as on one machine, so the output is
the same. An actor whose process dies is started again elsewhere and its chunk is answered again.
"""

from __future__ import annotations

import importlib
import logging
import os
import socket
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sympress.deploy.checksums import files_to_run
from sympress.deploy.extract.chunks import Answered, Chunk, Order, answer_chunk
from sympress.deploy.extract.workers import Answer
from sympress.deploy.extractor import Extractor
from sympress.errors import InputError, MissingExtraError

LOCAL = "local"
#: Chunks that an actor has waiting, so that it never waits for the driver.
_AHEAD = 2
_KNOCK_SECONDS = 10.0


class ClusterWorker:
    """Answers chunks in a process of the cluster, which need not share a disk with the driver."""

    def __init__(self, files: dict[str, bytes], order: Order) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self._extractor = Extractor.load(folder)
        self._order = order

    def answer(self, chunk: Chunk) -> Answered:
        """Answer the notes of `chunk`."""
        return answer_chunk(self._extractor, chunk, self._order)


@contextmanager
def open_cluster(folder: Path, order: Order, address: str) -> Iterator[Answer]:
    """Yield what answers chunks on every core of the Ray cluster at `address`; `local` starts one here.

    Raises:
        InputError: the artifact cannot be used, or no cluster answers there.
        MissingExtraError: ray is not installed.
    """
    try:
        ray: Any = importlib.import_module("ray")  # it has no types
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    Extractor.load(folder)  # a bad artifact is found before anything starts
    _check_reachable(address)
    where = {"include_dashboard": False} if address == LOCAL else {"address": address}
    try:
        ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # ray raises bare Exception where a node does not start
        raise InputError(f"--ray {address}: no Ray cluster answers there ({type(error).__name__})") from error
    try:
        kind = ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)(ClusterWorker)
        files = ray.put({name: (folder / name).read_bytes() for name in files_to_run(folder)})
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        workers = [kind.remote(files, order) for _ in range(cores)]
        yield lambda chunks: _in_order(ray.get, workers, chunks)
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Knock at `HOST:PORT` or `ray://HOST:PORT` first: Ray itself waits for minutes before it gives up."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return  # `local`, `auto`: Ray's own words
    try:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there ({type(error).__name__})") from error


def _in_order(get: Any, workers: list[Any], chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Answered]]:
    """Hand the chunks around and take the answers in their order, a bounded number ahead."""
    running: deque[tuple[Chunk, Any]] = deque()
    for at, chunk in enumerate(chunks):
        running.append((chunk, workers[at % len(workers)].answer.remote(chunk)))
        if len(running) > _AHEAD * len(workers):
            first, future = running.popleft()
            yield first, get(future)
    while running:
        first, future = running.popleft()
        yield first, get(future)
