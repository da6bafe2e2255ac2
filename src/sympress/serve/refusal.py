"""What the service says when it refuses, and how it writes JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

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
