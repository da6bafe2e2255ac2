"""Notes of many requests run together: a bounded queue, batches with a deadline, a few threads."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from sympress.errors import InputError, SympressError
from sympress.serve.config import ServeConfig
from sympress.serve.metrics import Metrics, failure_place
from sympress.serve.models import ServedModel
from sympress.serve.render import Question, Refusal, Rendered

_LONGEST_RETRY_SECONDS = 30
#: What a batch counts for when the next one is done, in the rate of late.
_FADE = 0.9
#: As many characters as were answered before the first, in the rate of late.
_FIRST_CHARACTERS = 1000.0


class BatchFailedError(SympressError):
    """The model failed on a whole batch; what went wrong is in the log."""


@dataclass(slots=True, eq=False)
class _Waiting:
    model: ServedModel
    question: Question
    answer: asyncio.Future[Rendered]


class Batcher:
    """Collects waiting notes into batches of one model and runs them on `config.threads` threads.

    What a note is answered does not depend on its batch: the extractor guarantees that.
    """

    def __init__(
        self,
        config: ServeConfig,
        metrics: Metrics,
        log: FilteringBoundLogger,
        *,
        seconds_per_character: float = 0.0,
    ) -> None:
        """Judge by `seconds_per_character`, of one thread, until notes were answered; 0 for not known."""
        self._config, self._metrics, self._log = config, metrics, log
        self._queue: deque[_Waiting] = deque()
        self._queued_characters = 0
        # Characters answered, and seconds that they took one thread, fading out.
        self._lately = (_FIRST_CHARACTERS, _FIRST_CHARACTERS * seconds_per_character)
        self._arrived = asyncio.Event()
        self._free_threads = asyncio.Semaphore(config.threads)
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="batch")
        self._running: set[asyncio.Task[None]] = set()
        self._large_running = 0
        metrics.watch("sympress_queue_notes", "Notes that wait.", lambda: len(self._queue))
        metrics.watch("sympress_queue_characters", "Characters that wait.", lambda: self._queued_characters)

    def check_room(self, notes: int = 1, characters: int = 0) -> None:
        """Let a request pass if its notes fit into the queue; an empty queue takes any request.

        While a long note runs, of more than `batch_characters`, a request must fit also into an empty queue:
        who came behind two long ones would be answered too late.

        A queue that will take more than half of `request_seconds`, judged by the rate of late, is full too:
        most of what came behind it would be answered too late, for nothing.

        Raises:
            Refusal: 429, the queue is full; `Retry-After` says when it should have run dry.
        """
        what = self.full(notes, characters)
        if what is not None:
            raise self._refusal(what)

    def full(self, notes: int, characters: int) -> str | None:
        """What keeps so many notes out of the queue: `notes`, `characters`, `time`, or None."""
        if not self._queue and not self._large_running:
            return None
        if len(self._queue) + notes > self._config.queue_notes:
            return "notes"
        if self._queued_characters + characters > self._config.queue_characters:
            return "characters"
        if self._seconds_of(self._queued_characters) > self._config.request_seconds / 2:
            return "time"
        return None

    def submit(self, model: ServedModel, questions: Sequence[Question]) -> list[asyncio.Future[Rendered]]:
        """Queue `questions`; the answer to each, in order, or `BatchFailedError`.

        A future that is cancelled leaves the queue without running.

        Raises:
            Refusal: 429, the queue is full; nothing of the request is queued.
        """
        characters = sum(len(question.text) for question in questions)
        self.check_room(len(questions), characters)
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(model, question, loop.create_future()) for question in questions]
        self._queue.extend(waiting)
        self._queued_characters += characters
        self._arrived.set()
        return [note.answer for note in waiting]

    async def run(self) -> None:
        """Run batches until cancelled; then finish those that run."""
        try:
            while True:
                await self._arrived.wait()
                await self._free_threads.acquire()
                batch = self._take()
                task = asyncio.create_task(self._answer(batch))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
        finally:
            await asyncio.gather(*self._running, return_exceptions=True)
            self._pool.shutdown()

    def _take(self) -> list[_Waiting]:
        """The next batch: the oldest note and those behind it of the same model, as far as it may grow."""
        batch: list[_Waiting] = []
        left: deque[_Waiting] = deque()
        characters = 0
        for note in self._queue:
            if note.answer.done():
                self._queued_characters -= len(note.question.text)
                self._metrics.expired.inc()
            elif not batch or self._fits(batch, characters, note):
                batch.append(note)
                characters += len(note.question.text)
            else:
                left.append(note)
        self._queue = left
        self._queued_characters -= characters
        if not left:
            self._arrived.clear()
        return batch

    def _fits(self, batch: list[_Waiting], characters: int, note: _Waiting) -> bool:
        grown = characters + len(note.question.text)
        return (
            note.model is batch[0].model
            and len(batch) < self._config.batch_notes
            and grown <= self._config.batch_characters
            and self._seconds_of(grown) * self._config.threads <= self._config.batch_ms / 1000
        )

    def _seconds_of(self, characters: int) -> float:
        """How long all threads should take for so many characters."""
        done, seconds = self._lately
        return characters * seconds / done / self._config.threads

    async def _answer(self, batch: list[_Waiting]) -> None:
        try:
            if batch:
                await self._run_batch(batch)
        finally:
            self._free_threads.release()

    async def _run_batch(self, batch: list[_Waiting]) -> None:
        model, began = batch[0].model, time.monotonic()
        large = sum(len(note.question.text) for note in batch) > self._config.batch_characters
        loop = asyncio.get_running_loop()
        self._large_running += large
        try:
            answers = await loop.run_in_executor(self._pool, _answer_in_order, loop, model, batch)
        except Exception as error:  # a failure of ours: the extractor itself answers for what a note holds
            self._fail(batch, error)
            return
        finally:
            self._large_running -= large
        self._measure(model, batch, time.monotonic() - began)
        self._metrics.failures.labels(model.name).inc(sum(one.failure is not None for one in answers))
        for one in answers:
            self._metrics.count_findings(model.name, one.found)

    def _fail(self, batch: list[_Waiting], error: Exception) -> None:
        model = batch[0].model.name
        reason = {"reason": str(error)} if isinstance(error, InputError) else {}
        self._log.error("batch_failed", model=model, notes=len(batch), **failure_place(error), **reason)
        self._metrics.failures.labels(model).inc(len(batch))
        for note in batch:
            if not note.answer.done():
                note.answer.set_exception(BatchFailedError())

    def _measure(self, model: ServedModel, batch: list[_Waiting], seconds: float) -> None:
        characters = sum(len(note.question.text) for note in batch)
        self._metrics.batch_notes.labels(model.name).observe(len(batch))
        self._metrics.batch_seconds.labels(model.name).observe(seconds)
        self._metrics.notes.labels(model.name).inc(len(batch))
        self._metrics.characters.labels(model.name).inc(characters)
        done, taken = self._lately
        self._lately = (_FADE * done + characters, _FADE * taken + seconds)

    def _refusal(self, what: str) -> Refusal:
        self._metrics.shed.labels(what).inc()
        seconds = math.ceil(self._seconds_of(self._queued_characters))
        wait = str(min(max(seconds, 1), _LONGEST_RETRY_SECONDS))
        return Refusal(429, "busy", f"the queue is full; try again in {wait} s", {"Retry-After": wait})


def _answer_in_order(
    loop: asyncio.AbstractEventLoop, model: ServedModel, batch: Sequence[_Waiting]
) -> list[Rendered]:
    """Answer the notes of `batch` one after another; what they were answered, without the bytes. Blocks."""
    answered = []
    for note, answer in zip(batch, model.extract([note.question for note in batch]), strict=True):
        loop.call_soon_threadsafe(_settle, note, answer)
        answered.append(replace(answer, body=b""))
    return answered


def _settle(note: _Waiting, answer: Rendered) -> None:
    if not note.answer.done():
        note.answer.set_result(answer)
