"""Every limit of the service in one place, and what it says when it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# What the service refuses: a status, a code for programs and one clear line for people. Never note text.


_LINGER_SECONDS = 2.0


class Refusal(Exception):  # noqa: N818  most are no errors of ours
    """A request is answered with `status` and `{"error": {"code", "message"}}`.

    `close` says that the rest of the request's body is not read, so that the connection ends with it.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        *,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.close = status, code, message, close
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """The answer, ready to be sent."""
        headers = self.headers | ({"Connection": "close"} if self.close else {})
        answer = {"error": {"code": self.code, "message": self.message}}
        kind = LingeringResponse if self.close else Response
        return json_response(answer, self.status, headers, kind)


class LingeringResponse(Response):
    """A response to a body that is not wanted: sent at once; then what still comes is read and dropped.

    Closing at once would reset the connection before the client, still sending, has read the answer.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  the form of ASGI
        """Answer, then drop what comes for `_LINGER_SECONDS` at most."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        await send({"type": "http.response.body", "body": self.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def json_response(
    value: Any,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    kind: type[Response] = Response,
) -> Response:
    """`value` as compact UTF-8 JSON that no cache keeps."""
    body = encode_json(value)
    kept = {"Cache-Control": "no-store", **(headers or {})}
    return kind(body, status, kept, media_type="application/json")


def encode_json(value: Any) -> bytes:
    """`value` as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


# Every limit of the service, with its unit and its default, in one place.


class ServeConfig(BaseModel):
    """How the service listens, and the most that it takes.

    Attributes:
        host: address to listen on; anything that is not loopback needs an API key.
        port: TCP port; 0 takes a free one.
        threads: batches that run at the same time, one core and one process of each model each.
        batch_notes: most notes in a batch.
        batch_characters: most characters in a batch, unless its only note is longer.
        batch_ms: how long a batch may take in the model, judged by the rate of late, unless it is one note.
        queue_notes: most notes that wait for a thread; a request beyond is answered 429.
        queue_characters: most characters that wait. An empty queue takes any request.
        request_notes: most notes in one request.
        body_bytes: largest body of a request.
        uploads_bytes: most bytes of bodies being read at the same time, over all connections.
        answer_bytes: largest answer to a request.
        answers_bytes: most bytes of answers being sent at the same time; beyond, clients that do not read
            theirs are cut.
        note_mentions: most mentions of one note.
        note_bytes: most memory that one note may take beside the loaded artifact.
        load_seconds: most time that an artifact may take to load and to answer once.
        request_seconds: most time from a body's last byte to its answer.
        body_seconds: most time that a body may take to arrive.
        header_seconds: most time that a request's head may take to arrive.
        idle_seconds: how long a connection may lie idle between requests.
        unread_seconds: how long a client may read nothing of an answer that waits for it.
        connections: most open connections; one beyond is closed at once.
        client_connections: most open connections of one client address, or of one IPv6 network of 64 bits.
        drain_seconds: most time a stopping server gives to the requests it took.
        allowed_hosts: names that a request's Host header may carry beside the loopback names.
        certificate: PEM file with the certificate chain; turns TLS on.
        private_key: PEM file with its key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    threads: PositiveInt = 1
    batch_notes: PositiveInt = 32
    batch_characters: PositiveInt = 65_536
    batch_ms: PositiveFloat = 100.0
    queue_notes: PositiveInt = 128
    queue_characters: PositiveInt = 1_000_000
    request_notes: PositiveInt = 256
    body_bytes: PositiveInt = 4 * 1024 * 1024
    uploads_bytes: PositiveInt = 32 * 1024 * 1024
    answer_bytes: PositiveInt = 16 * 1024 * 1024
    answers_bytes: PositiveInt = 32 * 1024 * 1024
    note_mentions: PositiveInt = 10_000
    note_bytes: PositiveInt = 160_000_000
    load_seconds: PositiveFloat = 60.0
    request_seconds: PositiveFloat = 10.0
    body_seconds: PositiveFloat = 10.0
    header_seconds: PositiveFloat = 5.0
    idle_seconds: PositiveInt = 15
    unread_seconds: PositiveFloat = 5.0
    connections: PositiveInt = 512
    client_connections: PositiveInt = 128
    drain_seconds: PositiveInt = 30
    allowed_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def note_seconds(self) -> float:
        """Most time for one note: so short that those behind it are answered in time by the next process."""
        return 0.3 * self.request_seconds

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether `host` names the machine itself: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
