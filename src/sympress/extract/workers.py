"""Units of work and who does them: threads, processes, or actors of a Ray cluster."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

from sympress.errors import SympressError
from sympress.extract.concepts import vocabulary_of
from sympress.extract.shapes import SHAPES, Header, Shape, id_fault
from sympress.extract.sources import Failure, Item
from sympress.labels.own_words import OURS, OwnWords
from sympress.notes.intake import Note
from sympress.processes import end_with_parent, open_cluster, unheard
from sympress.runtime.artifact import CHECKSUMS_FILE, files_to_run
from sympress.runtime.extractor import MENTIONS_MOST, Extractor

# Rows as bytes: JSON lines and CSV.


#: A spreadsheet takes a cell that starts so as a formula (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """One JSON object a line, UTF-8; half a surrogate pair becomes `?`, but see `encodable_id`."""
    text = "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows)
    return text.encode("utf-8", "replace")


def csv_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    """One RFC 4180 record a row, without header; cells that a spreadsheet would run start with `'`."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row.values()])
    return buffer.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "'" + value if isinstance(value, str) and value.startswith(_FORMULA) else value


# The unit of work: some notes in, their rows as bytes out. What runs in every worker.


#: A chunk ends with whichever comes first, so that memory depends on neither notes nor their length.
CHUNK_NOTES = 128
CHUNK_CHARACTERS = 500_000
#: Before the name of a markup in a tally: how many notes were written in it.
MARKUP = "markup:"


@dataclass(frozen=True)
class Chunk:
    """Items `first`, `first + 1`, ... of a job."""

    first: int
    items: list[Item]

    @property
    def end(self) -> int:
        """One past its last item."""
        return self.first + len(self.items)


@dataclass(frozen=True)
class Order:
    """How notes are answered and the results written; the same in every worker.

    Attributes:
        shape: of a note's rows.
        csv: whether they are CSV, else JSON lines.
        header: what all rows share.
        most_mentions: a note with more of them fails.
        words: a user's own, in place of those that the artifact reads by.
        digest: of the one artifact that may run; None for whichever is there.
    """

    shape: Shape
    csv: bool
    header: Header
    most_mentions: int = MENTIONS_MOST
    words: OwnWords = OURS
    digest: str | None = None

    def load(self, folder: Path | str) -> Extractor:
        """Load the artifact in `folder` to answer by this order.

        Raises:
            InputError: it cannot be used, is not that of `digest`, or not with `words`.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the cores have their work already
        return Extractor.load(folder, words=self.words, digest=self.digest)


@dataclass
class Answered:
    """The output of a chunk, and what to count.

    Attributes:
        end: one past the last item of the chunk.
        data: rows, encoded.
        errors: one JSON object a failure: id and reason.
        tally: notes written and failed, rows written, notes truncated, findings, windows, characters, notes
            in a markup.
        places: in the chunk, of the notes that `data` is about.
    """

    end: int
    data: bytes
    errors: bytes
    tally: dict[str, int] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)


def answer_chunk(extractor: Extractor, chunk: Chunk, order: Order) -> Answered:
    """Answer every note of `chunk`; its output depends on nothing but the arguments."""
    encode = csv_lines if order.csv else json_lines
    vocabulary = vocabulary_of(extractor, order.header.vocabulary.concepts)
    header = replace(order.header, vocabulary=vocabulary)
    failures: dict[int, Failure] = {}
    data: list[bytes] = []
    places: list[int] = []
    tally = dict.fromkeys(("notes", "failed", "written", "truncated", "findings", "windows", "characters"), 0)
    asked: list[tuple[int, Note]] = []
    for serial, item in enumerate(chunk.items, start=chunk.first):
        if isinstance(item, Failure):
            failures[serial] = item
        elif order.shape == "omop" and (fault := id_fault(item.note_id)):
            failures[serial] = Failure(item.note_id, fault)
        else:
            asked.append((serial, item))
    results = extractor.answers((note.text for _, note in asked), most_mentions=order.most_mentions)
    for (serial, item), result in zip(asked, results, strict=True):
        if result.failure is not None:
            failures[serial] = Failure(item.note_id, result.failure)
            continue
        try:
            rows = SHAPES[order.shape](item, result, header, serial)
            data.append(encode(rows))
        except Exception as error:  # whatever is odd in one note, the others go on
            reason = f"its row cannot be written ({type(error).__name__})"
            failures[serial] = Failure(item.note_id, reason)
            continue
        places.append(serial - chunk.first)
        tally["notes"] += 1
        tally["written"] += len(rows)
        tally["truncated"] += result.truncated
        tally["findings"] += len(result.mentions or result.symptoms)
        tally["windows"] += result.windows
        tally["characters"] += len(item.text)
        if result.markup is not None:
            counted = MARKUP + result.markup
            tally[counted] = tally.get(counted, 0) + 1
    tally["failed"] = len(failures)
    told = [failure for _, failure in sorted(failures.items(), key=itemgetter(0))]
    errors = json_lines([{"note_id": failure.note_id, "reason": failure.reason} for failure in told])
    return Answered(chunk.end, b"".join(data), errors, tally, places)


def cut_chunks(items: Iterable[Item], first: int = 0, notes: int = CHUNK_NOTES) -> Iterator[Chunk]:
    """Cut `items`, whose first is number `first`, into chunks of `notes` or `CHUNK_CHARACTERS` at most."""
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.text) if isinstance(item, Note) else 0
        if len(batch) >= notes or characters >= CHUNK_CHARACTERS:
            yield Chunk(first, batch)
            first, batch, characters = first + len(batch), [], 0
    if batch:
        yield Chunk(first, batch)


class Digest:
    """A running digest of items: two streams that agree so far have the same one."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, item: Item) -> None:
        """Take one more item in."""
        for part in (item.note_id, *_parts(item)):
            raw = b"" if part is None else b"=" + part.encode("utf-8", "surrogatepass")
            self._hash.update(len(raw).to_bytes(8, "little"))
            self._hash.update(raw)

    def value(self) -> str:
        """The digest of what was added so far."""
        return self._hash.hexdigest()


def _parts(item: Item) -> tuple[str | None, ...]:
    """What the rows of an item are made of, beside its id."""
    if isinstance(item, Failure):
        return (item.reason,)
    time = None if item.time is None else item.time.isoformat()
    return (item.text, item.patient_id, item.encounter_id, time, item.category)


# All cores on one machine: threads up to a few, processes beyond and for rules.


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
def open_workers(folder: Path, order: Order, workers: int) -> Iterator[Answer]:
    """Yield what answers chunks on `workers` cores with the artifact in `folder`, loaded once a process.

    Raises:
        InputError: as `Order.load`.
    """
    extractor = order.load(folder)  # also with processes: a bad artifact is found before any starts

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
                answers = _by_processes(answer, chunks, (folder, order), workers)
                closing.callback(answers.close)
                return answers

            yield by_processes


def _by_processes(
    answer: Callable[[Chunk], Answered],
    chunks: Iterator[Chunk],
    job: tuple[Path, Order],
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


def _start_process(folder: Path, order: Order) -> None:
    """Load the artifact into a new process, which ends when the one that started it does."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    _here["job"] = (order.load(folder), order)


def _is_ready() -> None:
    """Done once a process is there that has the artifact."""


def _answer_in_process(chunk: Chunk) -> Answered:
    extractor, order = _here["job"]
    return answer_chunk(extractor, chunk, order)


# The same extraction on a Ray cluster, with the artifact loaded once an actor.
#
# The driver reads the notes, keeps the order and writes the checkpoint, as on one machine, so the output is
# the same.


@dataclass(frozen=True)
class LoadArtifact:
    """Loads an artifact from the bytes of its files: a worker need not share a disk with the driver."""

    files: dict[str, bytes]
    order: Order

    def __call__(self) -> Callable[[Chunk], Answered]:
        """Return what answers chunks."""
        with tempfile.TemporaryDirectory() as folder:
            for name, content in self.files.items():
                (Path(folder) / name).parent.mkdir(exist_ok=True)
                (Path(folder) / name).write_bytes(content)
            extractor = self.order.load(folder)
        return lambda chunk: answer_chunk(extractor, chunk, self.order)


def open_extraction(folder: Path, order: Order, address: str) -> AbstractContextManager[Answer]:
    """Open what answers chunks on every core of the Ray cluster at `address`; `local` starts one here.

    Raises:
        InputError: as `Order.load`, or no cluster answers there.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    order.load(folder)  # a bad artifact is found before anything starts
    files = {name: (folder / name).read_bytes() for name in [*files_to_run(folder), CHECKSUMS_FILE]}
    return open_cluster(LoadArtifact(files, order), address)
