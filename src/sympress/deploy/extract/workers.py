"""All cores on one machine: threads up to a few, processes beyond and for rules."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from pathlib import Path

from sympress.deploy.extract.chunks import Answered, Chunk, Order, answer_chunk
from sympress.deploy.extractor import Extractor
from sympress.errors import SympressError

#: Workers that share a process. ONNX Runtime and the tokenizer let go of Python's lock, and threads share one
#: model; what holds the lock (a sixth of the time of `pocket`) keeps more of them from helping. Rules hold it
#: all the time: with them each worker is a process.
THREADS_MOST = 4

#: Answers chunks, in their order, each with the chunk that it belongs to.
Answer = Callable[[Iterator[Chunk]], Iterator[tuple[Chunk, Answered]]]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def open_workers(folder: Path, order: Order, workers: int) -> Iterator[Answer]:
    """Yield what answers chunks on `workers` cores with the artifact in `folder`, loaded once a process.

    Raises:
        InputError: the artifact cannot be used.
    """
    extractor = Extractor.load(folder)  # also with processes: a bad artifact is found before any starts
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the cores have their work already

    def answer(chunk: Chunk) -> Answered:
        return answer_chunk(extractor, chunk, order)

    if workers == 1:
        yield lambda chunks: ((chunk, answer(chunk)) for chunk in chunks)
    elif workers <= THREADS_MOST and not extractor.settings.rules:
        with ThreadPoolExecutor(workers) as pool:
            yield lambda chunks: _in_order(pool, answer, chunks, workers)
    else:
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, _start_process, (folder, order)) as processes:
            try:
                yield lambda chunks: _first_here(
                    answer, chunks, lambda rest: _in_order(processes, _answer_in_process, rest, workers)
                )
            except BrokenProcessPool as error:
                raise SympressError(
                    "a worker process died, most likely for want of memory; run the same command again with "
                    "fewer --workers"
                ) from error


def _first_here(
    answer: Callable[[Chunk], Answered], chunks: Iterator[Chunk], others: Answer
) -> Iterator[tuple[Chunk, Answered]]:
    """Answer the first chunk in this process: a job of a line need not wait for others to start."""
    for chunk in chunks:
        yield chunk, answer(chunk)
        yield from others(chunks)


def _in_order(
    pool: Executor,
    answer: Callable[[Chunk], Answered],
    chunks: Iterator[Chunk],
    workers: int,
) -> Iterator[tuple[Chunk, Answered]]:
    """Submit `chunks` a little ahead of what is asked for; the reading never runs away from the work."""
    running: deque[tuple[Chunk, Future[Answered]]] = deque()
    try:
        for chunk in chunks:
            running.append((chunk, pool.submit(answer, chunk)))
            if len(running) > 2 * workers:
                first, future = running.popleft()
                yield first, future.result()
        while running:
            first, future = running.popleft()
            yield first, future.result()
    finally:
        for _, future in running:
            future.cancel()


_here: dict[str, tuple[Extractor, Order]] = {}


def _start_process(folder: Path, order: Order) -> None:
    """Load the artifact into a new process, which ends when the one that started it does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _here["job"] = (Extractor.load(folder), order)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # SIGKILL of the parent tells nobody


def _answer_in_process(chunk: Chunk) -> Answered:
    extractor, order = _here["job"]
    return answer_chunk(extractor, chunk, order)
