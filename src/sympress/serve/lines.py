"""Requests of NDJSON: a note a line, each answered by a line as soon as it is there, in order.

A line that cannot be answered has an error of its own. The body is read first, then answered, so that a
client that writes before it reads never waits for itself. Only a few notes of a request are in the queue at a
time: others are answered between them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sympress.serve.batching import BatchFailedError
from sympress.serve.connection import is_small, read_body, send_parts
from sympress.serve.forms import MEDIA_TYPES, assemble_line, line_error, parse_line, shape_of
from sympress.serve.models import ServedModel
from sympress.serve.render import Question, Refusal, Rendered, Shape

if TYPE_CHECKING:
    from sympress.serve.app import Service

#: A request whose next note does not fit into the queue looks again after so long.
_AGAIN_SECONDS = 0.05


class LineAnswers:
    """Counts requests of NDJSON: `config.line_requests` are answered at the same time."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._running = 0

    @contextmanager
    def place(self, request: Request) -> Iterator[None]:
        """Count one request until the block ends.

        Raises:
            Refusal: 429, there are as many as there may be.
        """
        if self._running >= self.service.config.line_requests:
            self.service.metrics.shed.labels("lines").inc()
            message = "too many requests of NDJSON; try again in 1 s"
            raise Refusal(429, "busy", message, {"Retry-After": "1"}, close=not is_small(request))
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1


class LineResponse(Response):
    """The response to a request of NDJSON, whose body is read when it is sent."""

    def __init__(self, lines: LineAnswers, request: Request) -> None:
        self._lines, self._service, self._request = lines, lines.service, request
        self._shape = shape_of(request.headers.get("accept", ""))
        super().__init__(media_type=MEDIA_TYPES[self._shape].lines, headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the form of ASGI
        """Read the lines, then answer them; a client that went away is answered no further."""
        service, connection = self._service, self._request.state.connection
        config = service.config
        with self._lines.place(self._request), service.uploads.hold(config.uploads_bytes // 2) as hold:
            body = await read_body(self._request, hold, config)
            if body.count(b"\n") > config.lines:
                message = f"more than {config.lines} lines in one request; send them apart"
                raise Refusal(422, "too_many_notes", message)
            notes = _Notes(service, body, self._shape)
            connection.allow(config.line_seconds + config.request_seconds)
            answers = notes.answers()
            try:
                first = await anext(answers)  # which may be refused as a whole
                start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
                await send(start)
                await self._send(send, first)
                async for answer in answers:
                    if connection.gone:
                        return
                    await self._send(send, answer)
            finally:
                await answers.aclose()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, line: bytes) -> None:
        with self._service.answers.hold(self._request.state.connection, len(line)):
            await send_parts(send, line, more=True)


@dataclass(slots=True)
class _Asked:
    """A line that waits for its answer, or has none for `error`."""

    number: int
    note_id: str | None = None
    model: ServedModel | None = None
    question: Question | None = None
    answer: asyncio.Future[Rendered] | None = None
    error: Refusal | None = None


class _Notes:
    """The notes of one request."""

    def __init__(self, service: Service, body: bytes, shape: Shape) -> None:
        self._service, self._config, self._shape = service, service.config, shape
        self._lines = enumerate(BytesIO(body), start=1)
        self._due = asyncio.get_running_loop().time() + self._config.line_seconds
        self._waiting: deque[_Asked] = deque()
        self._next: _Asked | None = None  # read, and not yet queued
        self._rows = 0
        at_once = self._config.queue_notes // (4 * self._config.line_requests)
        self._most = max(1, min(self._config.batch_notes, at_once))

    async def answers(self) -> AsyncGenerator[bytes]:
        """Yield the answer to each line, in order.

        Raises:
            Refusal: before the first: 429, the queue is full; 422, there is no line.
        """
        self._fill()
        if not self._waiting:
            if self._next is None:
                raise Refusal(422, "invalid_request", "the body holds no line; send {'id', 'text'} in each")
            self._service.batcher.check_room(1, _size(self._next))
        try:
            while self._waiting or self._next is not None:
                if self._waiting:
                    yield await self._answer(self._waiting[0])
                    self._waiting.popleft()
                else:
                    await asyncio.sleep(_AGAIN_SECONDS)
                self._fill()
        finally:
            for answer in (asked.answer for asked in self._waiting):  # nobody waits for them any more
                if answer is not None and not answer.cancel() and not answer.cancelled():
                    answer.exception()

    def _fill(self) -> None:
        """Queue notes while the queue and this request's share of it have room."""
        characters = sum(map(_size, self._waiting))
        while len(self._waiting) < self._most and characters < self._config.batch_characters:
            self._next = self._next or self._read()
            if self._next is None or not self._ask(self._next):
                return
            characters += _size(self._next)
            self._waiting.append(self._next)
            self._next = None

    def _read(self) -> _Asked | None:
        """The next line that is not blank; None at the end."""
        for number, line in self._lines:
            if line.strip():
                asked = _Asked(number)
                try:
                    note = parse_line(line, self._shape)
                    asked.note_id, asked.question = note.id, note.question(self._shape)
                    asked.model = self._service.shelf.pick(note.model)
                except Refusal as error:
                    asked.error = error
                return asked
        return None

    def _ask(self, asked: _Asked) -> bool:
        """Queue a note, unless its line has an error already; whether there was room."""
        if asked.error is not None or asked.model is None or asked.question is None:
            return True
        if self._service.draining:
            asked.error = Refusal(503, "stopping", "the service is stopping; send it again")
        elif asyncio.get_running_loop().time() > self._due:
            late = f"not reached within {self._config.line_seconds:g} s; send it again"
            asked.error = Refusal(504, "too_slow", late)
        elif self._service.batcher.full(1, _size(asked)) is not None:
            return False
        else:
            [asked.answer] = self._service.batcher.submit(asked.model, [asked.question])
        return True

    async def _answer(self, asked: _Asked) -> bytes:
        try:
            return await self._found(asked)
        except Refusal as error:
            self._service.metrics.line_errors.labels(error.code).inc()
            return line_error(asked.note_id, error.code, f"line {asked.number}: {error.message}", self._shape)

    async def _found(self, asked: _Asked) -> bytes:
        """The lines of a note; a `Refusal` where it has no answer."""
        if asked.error is not None or asked.answer is None or asked.model is None:
            raise asked.error or Refusal(500, "failed", "the service failed; its log says where")
        try:
            with self._service.traces.step("model", model=asked.model.name, notes=1, characters=_size(asked)):
                async with asyncio.timeout(self._config.request_seconds):
                    answer = await asked.answer
        except TimeoutError:
            late = f"no answer within {self._config.request_seconds:g} s; send it in parts"
            raise Refusal(504, "too_slow", late) from None
        except BatchFailedError:
            raise Refusal(500, "model_failed", "the model failed; the service's log says where") from None
        if answer.failure is not None:
            raise Refusal(422, "note_failed", answer.failure)
        if len(answer.body) > self._config.answer_bytes:
            most = f"the answer is larger than {self._config.answer_bytes} bytes; send it in parts"
            raise Refusal(413, "answer_too_large", most)
        lines = assemble_line(asked.model, asked.note_id, answer, self._shape, self._rows)
        self._rows += lines.count(b"\n")
        return lines


def _size(asked: _Asked) -> int:
    return len(asked.question.text) if asked.question is not None else 0
