"""What bodies and answers take: never more memory than allowed, never longer than allowed, JSON only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.metrics import Metrics
from sympress.deploy.serve.refusals import Refusal

#: A body up to this size is let through to its end even if its request is refused: the connection lives on.
SMALL_BODY_BYTES = 65_536
#: So much of an answer is given to a connection at once.
_PART_BYTES = 65_536


class Uploads:
    """The bytes of all bodies that are in memory but not yet queued."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self.held_bytes = 0
        metrics.watch("sympress_upload_bytes", "Bytes of bodies in memory.", lambda: self.held_bytes)

    @contextmanager
    def hold(self) -> Iterator[_Hold]:
        """Count what one body takes until the block ends."""
        hold = _Hold(self)
        try:
            yield hold
        finally:
            self.held_bytes -= hold.taken_bytes

    def take(self, count: int) -> None:
        """Count `count` bytes more.

        Raises:
            Refusal: 429, other bodies fill the memory that is meant for them.
        """
        if self.held_bytes + count > self._config.uploads_bytes:
            self._metrics.shed.labels("uploads").inc()
            raise Refusal(
                429, "busy", "too many large requests; try again in 1 s", {"Retry-After": "1"}, close=True
            )
        self.held_bytes += count


class _Hold:
    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self.taken_bytes = 0

    def take(self, count: int) -> None:
        self._uploads.take(count)
        self.taken_bytes += count


class Reader(Protocol):
    """The connection of a client that an answer is sent to."""

    @property
    def unread(self) -> bool:
        """Whether the client does not read what waits for it."""

    def cut(self, reason: str) -> None:
        """Close it at once, and count why."""


class Answers:
    """The bytes of all answers that are being sent."""

    def __init__(self, config: ServeConfig, metrics: Metrics) -> None:
        self._config, self._metrics = config, metrics
        self._held: dict[Reader, int] = {}  # the oldest first
        self.held_bytes = 0
        metrics.watch("sympress_answer_bytes", "Bytes of answers in memory.", lambda: self.held_bytes)

    @contextmanager
    def hold(self, reader: Reader, count: int) -> Iterator[None]:
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

    def _release(self, reader: Reader) -> None:
        self.held_bytes -= self._held.pop(reader, 0)


class HeldResponse(Response):
    """JSON that counts among `answers`, given to the connection a part at a time as the client reads it."""

    media_type = "application/json"

    def __init__(self, body: bytes, answers: Answers, reader: Reader) -> None:
        super().__init__(body, headers={"Cache-Control": "no-store"})
        self._answers, self._reader = answers, reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the form of ASGI
        """Send the answer."""
        with self._answers.hold(self._reader, len(self.body)):
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            for at in range(0, len(self.body), _PART_BYTES):
                part = bytes(self.body[at : at + _PART_BYTES])
                more = at + _PART_BYTES < len(self.body)
                await send({"type": "http.response.body", "body": part, "more_body": more})


async def read_body(request: Request, hold: _Hold, config: ServeConfig) -> bytes:
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
                hold.take(len(part))
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


def _check_type(request: Request) -> None:
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    charset = parameters.replace(" ", "").replace('"', "")
    plain = request.headers.get("content-encoding", "identity").lower() == "identity"
    if kind.strip() != "application/json" or charset not in ("", "charset=utf-8") or not plain:
        raise Refusal(
            415,
            "not_json",
            "send the body as JSON in UTF-8, uncompressed, with the header 'Content-Type: application/json'",
            close=not is_small(request),
        )


def _too_large(config: ServeConfig) -> Refusal:
    message = f"the body is larger than {config.body_bytes} bytes; send fewer or shorter notes"
    return Refusal(413, "body_too_large", message, close=True)
