"""Limits of bodies, answers and connections: never more memory than allowed, never longer than allowed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from sympress.serve.config import ServeConfig
from sympress.serve.metrics import Metrics
from sympress.serve.render import Refusal

# What bodies and answers take: never more memory than allowed, never longer than allowed, JSON only.


#: A body up to this size is let through to its end even if its request is refused: the connection lives on.
SMALL_BODY_BYTES = 65_536
#: So much of an answer is given to a connection at once.
_PART_BYTES = 65_536
#: Names of NDJSON.
_LINE_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})


class Uploads:
    """The bytes of all bodies that are in memory but not yet queued."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self.held_bytes = 0
        metrics.watch("sympress_upload_bytes", "Bytes of bodies in memory.", lambda: self.held_bytes)

    @contextmanager
    def hold(self, most: int | None = None) -> Iterator[Callable[[int], None]]:
        """Yield what counts the bytes of one body until the block ends.

        It raises a `Refusal`, 429, where all bodies would take more than `most`.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if self.held_bytes + count > (most or self._config.uploads_bytes):
                self._metrics.shed.labels("uploads").inc()
                message = "too many large requests; try again in 1 s"
                raise Refusal(429, "busy", message, {"Retry-After": "1"}, close=True)
            self.held_bytes += count
            taken += count

        try:
            yield take
        finally:
            self.held_bytes -= taken


class Answers:
    """The bytes of all answers that are being sent."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self._held: dict[GuardedConnection, int] = {}  # the oldest first
        self.held_bytes = 0
        metrics.watch("sympress_answer_bytes", "Bytes of answers in memory.", lambda: self.held_bytes)

    @contextmanager
    def hold(self, reader: GuardedConnection, count: int) -> Iterator[None]:
        """Count an answer of `count` bytes until the block ends.

        Where it does not fit beside the others, clients that do not read theirs are cut, the oldest first.

        Raises:
            Refusal: 429, the others are being read and fill the memory that is meant for them.
        """
        while self.held_bytes + count > self._config.answers_bytes and self._held:
            idle = next((one for one in self._held if one.unread), None)
            if idle is None:
                self._metrics.shed.labels("answers").inc()
                message = "too many large answers; try again in 1 s"
                raise Refusal(429, "busy", message, {"Retry-After": "1"})
            self._release(idle)
            idle.cut("unread")
        self._held[reader] = count
        self.held_bytes += count
        try:
            yield
        finally:
            self._release(reader)

    def _release(self, reader: GuardedConnection) -> None:
        self.held_bytes -= self._held.pop(reader, 0)


class HeldResponse(Response):
    """A body that counts among `answers`, given to the connection a part at a time as the client reads it."""

    def __init__(
        self, body: bytes, answers: Answers, reader: GuardedConnection, *, media_type: str, status: int = 200
    ) -> None:
        super().__init__(body, status, {"Cache-Control": "no-store"}, media_type)
        self._answers, self._reader = answers, reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the form of ASGI
        """Send the answer."""
        with self._answers.hold(self._reader, len(self.body)):
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            await send_parts(send, bytes(self.body), more=False)


async def send_parts(send: Send, body: bytes, *, more: bool) -> None:
    """Give `body` to the connection a part at a time; `more` of the answer comes after it."""
    for at in range(0, len(body), _PART_BYTES):
        part = body[at : at + _PART_BYTES]
        more_body = more or at + _PART_BYTES < len(body)
        await send({"type": "http.response.body", "body": part, "more_body": more_body})


async def read_body(request: Request, take: Callable[[int], None], config: ServeConfig) -> bytes:
    """The body of `request`, at most `config.body_bytes` of it.

    Raises:
        Refusal: 415, it is not plain JSON in UTF-8; 413, it is larger; 408, it takes too long to arrive.
        ClientDisconnect: the client went away.
    """
    _check_type(request)
    if announced_bytes(request) > config.body_bytes:
        raise _too_large(config)
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(config.body_seconds):
            async for part in _limited(request, config):
                take(len(part))
                parts.append(part)
    except TimeoutError:
        message = f"the body did not arrive within {config.body_seconds:g} s"
        raise Refusal(408, "body_too_slow", message, close=True) from None
    return b"".join(parts)


def announced_bytes(request: Request) -> int:
    """What `Content-Length` says; 0 where there is none. h11 lets only digits through."""
    return int(request.headers.get("content-length", "0"))


def is_small(request: Request) -> bool:
    """Whether the body is known to be small enough to be read to its end, whatever the answer."""
    chunked = "transfer-encoding" in request.headers
    return not chunked and announced_bytes(request) <= SMALL_BODY_BYTES


async def _limited(request: Request, config: ServeConfig) -> AsyncIterator[bytes]:
    read_bytes = 0
    async for part in request.stream():
        read_bytes += len(part)
        if read_bytes > config.body_bytes:
            raise _too_large(config)
        yield part


def is_lines(request: Request) -> bool:
    """Whether the body is NDJSON, a note a line."""
    return _type_of(request)[0] in _LINE_TYPES


def _type_of(request: Request) -> tuple[str, str]:
    """The media type of the body, and its parameters without blanks and quotes."""
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    return kind.strip(), parameters.replace(" ", "").replace('"', "")


def _check_type(request: Request) -> None:
    kind, parameters = _type_of(request)
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    if kind not in {"application/json", *_LINE_TYPES} or parameters not in ("", "charset=utf-8") or not plain:
        raise Refusal(
            415,
            "not_json",
            "send the body as JSON in UTF-8, uncompressed, with the header 'Content-Type: application/json', "
            "or a note a line with 'application/x-ndjson'",
            close=not is_small(request),
        )


def _too_large(config: ServeConfig) -> Refusal:
    message = f"the body is larger than {config.body_bytes} bytes; send fewer or shorter notes"
    return Refusal(413, "body_too_large", message, close=True)


# A connection that nobody can hold open for nothing.


#: A stopping server leaves an idle connection open for so long, so that a request on its way is answered.
LINGER_SECONDS = 2.0
_SLACK_SECONDS = 5.0


class GuardedConnection(H11Protocol):
    """An HTTP/1.1 connection with a clock for every state that it can be in.

    Head: `header_seconds`. Body and answer: the sum of their limits and `_SLACK_SECONDS`. An answer that the
    client does not read: `unread_seconds`. Idle: `idle_seconds`, after a request by uvicorn's keep-alive. A
    connection whose clock runs out is cut.

    It is a subclass because uvicorn 0.54 has a clock for the idle time after a request and none for the
    first byte, a head or an unread answer, and because it closes idle connections at once when it stops. A
    reverse proxy can do this in its stead, but the service is also run without one.
    """

    def __init__(
        self, *, limits: ServeConfig, metrics: Metrics, leave: Callable[[], None], **given: Any
    ) -> None:
        super().__init__(**given)
        self._limits, self._metrics, self._leave = limits, metrics, leave
        self.app_state = {**self.app_state, "connection": self}  # for what sends an answer
        self._clock: asyncio.TimerHandle | None = None
        self._unread_clock: asyncio.TimerHandle | None = None
        self._watched: str | None = None
        self._stopping = False

    @property
    def unread(self) -> bool:
        """Whether the client does not read what waits for it."""
        return self._unread_clock is not None

    @property
    def gone(self) -> bool:
        """Whether nothing that is sent arrives any more."""
        return self.transport.is_closing()

    def allow(self, seconds: float) -> None:
        """Give the request that runs so much time from now, in place of what its kind has."""
        if self._watched == "request" and self._clock is not None:
            self._clock.cancel()
            self._clock = self.loop.call_later(seconds + _SLACK_SECONDS, self.cut, "slow_request")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock for the first byte."""
        super().connection_made(transport)
        self._watch("idle", self._limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks and make room for another."""
        self._watch(None, 0)
        super().connection_lost(exc)
        self._set_unread(None)
        self._leave()

    def pause_writing(self) -> None:
        """Start the clock of an answer that is not read."""
        super().pause_writing()
        self._set_unread(LINGER_SECONDS if self._stopping else self._limits.unread_seconds)

    def resume_writing(self) -> None:
        """Stop it."""
        super().resume_writing()
        self._set_unread(None)

    def data_received(self, data: bytes) -> None:
        """Take what came, then set the clock for the state that it led to."""
        super().data_received(data)
        self._follow()

    def on_response_complete(self) -> None:
        """Set the clock for what comes after an answer."""
        super().on_response_complete()
        self._follow()

    def shutdown(self) -> None:
        """Finish the request that runs; an idle connection may still bring one for `LINGER_SECONDS`."""
        self._stopping = True
        if self.unread or self.transport.is_closing():
            self._set_unread(LINGER_SECONDS)
        if self._busy:
            super().shutdown()
        else:
            self.loop.call_later(LINGER_SECONDS, self._close_if_idle)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with JSON, as every other refusal; `msg` is uvicorn's own."""
        refusal = Refusal(400, "not_http", msg.rstrip(".").lower(), close=True).response()
        event = h11.Response(status_code=400, headers=refusal.raw_headers)
        self.transport.write(self.conn.send(event) or b"")
        self.transport.write(self.conn.send(h11.Data(data=bytes(refusal.body))) or b"")
        self.transport.write(self.conn.send(h11.EndOfMessage()) or b"")
        self.transport.close()

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _follow(self) -> None:
        if self.transport.is_closing():
            self._set_unread(LINGER_SECONDS if self._stopping else self._limits.unread_seconds)
            return
        if self._busy:
            if self._stopping:
                self.cycle.keep_alive = False
            limits = self._limits
            seconds = limits.body_seconds + limits.request_seconds + _SLACK_SECONDS
            self._watch("request", seconds)
        elif self.conn.trailing_data[0]:
            self._watch("head", self._limits.header_seconds)
        elif self.conn.our_state is h11.DONE:  # answered, but the body still comes and is dropped
            self._watch("rest", self._limits.body_seconds)
        else:
            self._watch(None, 0)

    def _watch(self, state: str | None, seconds: float) -> None:
        """Set the clock when the state changes; more bytes of the same state gain no time."""
        if state == self._watched:
            return
        if self._clock is not None:
            self._clock.cancel()
        self._watched = state
        self._clock = self.loop.call_later(seconds, self.cut, f"slow_{state}") if state else None

    def _set_unread(self, seconds: float | None) -> None:
        if self._unread_clock is not None:
            self._unread_clock.cancel()
        self._unread_clock = None if seconds is None else self.loop.call_later(seconds, self.cut, "unread")

    def cut(self, reason: str) -> None:
        """Close it at once, and count why."""
        self._metrics.connections_cut.labels(reason).inc()
        self.transport.abort()

    def _close_if_idle(self) -> None:
        if self._busy:
            self.cycle.keep_alive = False
        elif not self.conn.trailing_data[0] and not self.transport.is_closing():
            super().shutdown()
