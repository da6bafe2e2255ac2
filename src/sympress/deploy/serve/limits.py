"""Reading a request's body: never more than allowed, never longer than allowed, JSON only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from starlette.requests import Request

from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.metrics import Metrics
from sympress.deploy.serve.refusals import Refusal

#: A body up to this size is let through to its end even if its request is refused: the connection lives on.
SMALL_BODY_BYTES = 65_536


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
