"""All cores on one machine: threads up to a few, processes beyond and for rules."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path

from sympress.child_processes import end_with_parent, unheard
from sympress.deploy.extract.chunks import Answered, Chunk, Order, answer_chunk
from sympress.deploy.extractor import Extractor
from sympress.errors import SympressError
from sympress.labels.own_words import OURS, OwnWords

#: Workers that share a process. ONNX Runtime and the tokenizer let go of Python's lock, and threads share one
#: model; what holds the lock (a sixth of the time of `pocket`) keeps more of them from helping. Rules hold it
#: all the time: with them each worker is a process.
THREADS_MOST = 4

#: A job is answered in this process for so long before others start. Each takes seconds of a core to load the
#: rules: on two cores a job of five was slower with them, and a long one loses little by waiting.
ALONE_SECONDS = 10.0

#: Answers chunks, in their order, each with the chunk that it belongs to.
Answer = Callable[[Iterator[Chunk]], Iterator[tuple[Chunk, Answered]]]


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def open_workers(
    folder: Path, order: Order, workers: int, words: OwnWords = OURS, digest: str | None = None
) -> Iterator[Answer]:
    """Yield what answers chunks on `workers` cores with the artifact in `folder`, loaded once a process.

    Raises:
        InputError: the artifact cannot be used, is not that of `digest`, or not with `words`.
    """
    # Also with processes: a bad artifact is found before any starts.
    extractor = Extractor.load(folder, words=words, digest=digest)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the cores have their work already

    def answer(chunk: Chunk) -> Answered:
        return answer_chunk(extractor, chunk, order)

    if workers == 1:
        yield lambda chunks: ((chunk, answer(chunk)) for chunk in chunks)
    elif workers <= THREADS_MOST and not extractor.settings.rules:
        with ThreadPoolExecutor(workers) as pool:
            yield lambda chunks: _in_order(pool, answer, chunks, workers)
    else:
        with ExitStack() as closing:

            def by_processes(chunks: Iterator[Chunk]) -> Iterator[tuple[Chunk, Answered]]:
                answers = _by_processes(answer, chunks, (folder, order, words, digest), workers)
                closing.callback(answers.close)
                return answers

            yield by_processes


def _by_processes(
    answer: Callable[[Chunk], Answered],
    chunks: Iterator[Chunk],
    job: tuple[Path, Order, OwnWords, str | None],
    workers: int,
) -> Generator[tuple[Chunk, Answered]]:
    """Answer by processes, and here until they are ready; a job of `ALONE_SECONDS` starts none."""
    began = time.monotonic()
    for chunk in chunks:
        if time.monotonic() - began > ALONE_SECONDS:
            break
        yield chunk, answer(chunk)
    else:
        return
    from concurrent.futures import ProcessPoolExecutor  # a tenth of a second that a line need not wait for
    from multiprocessing import get_context

    left = chain([chunk], chunks)
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_process, job) as processes:
        try:
            with unheard(signal.SIGINT):
                starting = [processes.submit(_is_ready) for _ in range(workers)]
            for chunk in left:
                if all(one.done() for one in starting):
                    yield from _in_order(processes, _answer_in_process, chain([chunk], left), workers)
                    return
                yield chunk, answer(chunk)
        except BrokenExecutor as error:
            raise SympressError(
                "a worker process died, most likely for want of memory; run the same command again with "
                "fewer --workers"
            ) from error


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


def _start_process(folder: Path, order: Order, words: OwnWords, digest: str | None) -> None:
    """Load the artifact into a new process, which ends when the one that started it does."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _here["job"] = (Extractor.load(folder, words=words, digest=digest), order)


def _is_ready() -> None:
    """Done once a process is there that has the artifact."""


def _answer_in_process(chunk: Chunk) -> Answered:
    extractor, order = _here["job"]
    return answer_chunk(extractor, chunk, order)
