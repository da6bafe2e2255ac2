"""Who may ask, and the outermost layer: security headers, a log line and a count for each request."""

from __future__ import annotations

import hmac
import os
import stat
import time
import uuid
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sympress.errors import InputError
from sympress.files import refuse_pipe
from sympress.serve.metrics import METHODS, failure_place
from sympress.serve.render import Refusal

if TYPE_CHECKING:
    from sympress.serve.app import Service

# Who may ask: API keys, compared in constant time, and the host names that a request may use.


KEY_VARIABLE = "SYMPRESS_API_KEY"
SHORTEST_KEY = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class ApiKeys:
    """The keys that open the service; only their SHA-256 digests are kept.

    `warnings` say, a line each, what is unsafe about where they come from.
    """

    def __init__(self, keys: Iterable[str], warnings: Iterable[str] = (), file: Path | None = None) -> None:
        self.warnings, self._file = tuple(warnings), file
        self._digests = [sha256(key.encode()).digest() for key in keys]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def read_again(self) -> None:
        """Take the keys that their file holds now: one that is gone opens nothing any more.

        Raises:
            InputError: the file cannot be used; the keys stay.
        """
        if self._file is not None:
            fresh = read_keys(self._file)
            self.warnings, self._digests = fresh.warnings, fresh._digests

    def admit(self, headers: Mapping[bytes, bytes]) -> None:
        """Let a request with a known key pass, or any if there are no keys.

        Every key is compared, each in constant time, so that the time taken says nothing.

        Raises:
            Refusal: 401, no known key in `Authorization: Bearer KEY` or `X-API-Key: KEY`.
        """
        if not self._digests:
            return
        scheme, _, bearer = headers.get(b"authorization", b"").partition(b" ")
        given = bearer.strip() if scheme.lower() == b"bearer" else headers.get(b"x-api-key", b"")
        digest = sha256(given).digest()
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        if not any(matches):
            raise Refusal(
                401,
                "key_required",
                "this service needs its API key: send it as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'",
                {"WWW-Authenticate": "Bearer"},
            )


def read_keys(file: Path | None) -> ApiKeys:
    """Keys from `file`, one a line, and from the environment variable `SYMPRESS_API_KEY`.

    Empty lines of the file and those that begin with `#` hold none. A file that every user of the machine can
    read is warned of; a container's secret often is such a file.

    Raises:
        InputError: the file cannot be read or holds no key, or a key is too short to be safe.
    """
    keys = [key for key in [os.environ.get(KEY_VARIABLE, "").strip()] if key]
    warnings = []
    if file is not None:
        refuse_pipe(file)
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
            mode = stat.S_IMODE(file.stat().st_mode)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file}: the API key cannot be read ({type(error).__name__})") from error
        found = [line for line in lines if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file}: no API key in it; write one a line")
        keys += found
        if mode & stat.S_IROTH and os.name == "posix":
            warnings.append(f"{file}: every user of this machine can read it (mode {mode:o}); chmod o-r it")
    if any(len(key) < SHORTEST_KEY for key in keys):
        raise InputError(f"an API key is shorter than {SHORTEST_KEY} characters; use a longer one")
    return ApiKeys(keys, warnings, file)


def check_host(headers: Mapping[bytes, bytes], *, loopback: bool, allowed: Iterable[str]) -> None:
    """Let a request for a name of this service pass; a page elsewhere cannot reach it by rebinding DNS.

    On loopback only the loopback names and `allowed` pass; otherwise any, unless `allowed` names some.

    Raises:
        Refusal: 421, the Host header names something else.
    """
    names = {name.lower() for name in allowed}
    if not loopback and not names:
        return
    host = headers.get(b"host", b"").decode("latin-1").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if name not in names | LOOPBACK_NAMES:
        raise Refusal(
            421,
            "unknown_host",
            "this service does not answer to that host name; start it with --allowed-host NAME",
            close=True,
        )


# The outermost layer of the service: who may pass, security headers, a log line and a count a request.


#: Open without a key: probes, and the pages, which hold no data; they ask for what they show with a key.
_OPEN_PATHS = frozenset({"/", "/docs", "/healthz", "/readyz"})
_OPEN_FOLDER = "/page/"
_CLIENT_WENT_AWAY = 499
_CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Edge:
    """An ASGI layer around `app`; nothing passes it unseen, nothing it logs or counts comes from a client."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in METHODS else "other"
        traces = self._service.traces
        with traces.request(method, dict(scope["headers"])) as span:
            status = await self._answer(scope, receive, send, method)
            traces.answered(span, method, _route_of(scope), status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, method: str) -> int:
        """Pass a request on, log and count it; the status that it was answered with."""
        began, request_id = time.monotonic(), uuid.uuid4().hex
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *self._marks(request_id)]}
            await send(message)

        try:
            self._admit(scope)
            await self._app(scope, receive, send_marked)
        except Refusal as refusal:
            await refusal.response()(scope, receive, send_marked)
        except ClientDisconnect:
            status = _CLIENT_WENT_AWAY
        except Exception as error:  # the inner layer has answered 500
            self._service.log.error("request_failed", request_id=request_id, **failure_place(error))
        finally:
            status = status or _CLIENT_WENT_AWAY
            self._account(scope, method, request_id, status, time.monotonic() - began)
        return status

    def _admit(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if b"content-length" in headers and b"transfer-encoding" in headers:
            message = "a request has a Content-Length or a Transfer-Encoding, not both"
            raise Refusal(400, "two_lengths", message, close=True)
        config = self._service.config
        check_host(headers, loopback=config.is_loopback, allowed=config.allowed_host)
        path = scope["path"]
        if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER):
            self._service.keys.admit(headers)

    def _marks(self, request_id: str) -> list[tuple[bytes, bytes]]:
        marks = [*_HEADERS, (b"x-request-id", request_id.encode())]
        return [*marks, (b"connection", b"close")] if self._service.draining else marks

    def _account(self, scope: Scope, method: str, request_id: str, status: int, seconds: float) -> None:
        route = _route_of(scope)
        self._service.metrics.answered(route, method, status, seconds)
        self._service.log.info(
            "request",
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )


def _route_of(scope: Scope) -> str:
    """The template of ours that a request matched, never the path that a client wrote."""
    return str(getattr(scope.get("route"), "path", "other"))
