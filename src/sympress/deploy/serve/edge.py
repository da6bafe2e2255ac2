"""The outermost layer of the service: who may pass, security headers, a log line and a count a request."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from sympress.deploy.serve.auth import ApiKeys, check_host
from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.logs import failure_place
from sympress.deploy.serve.metrics import METHODS, Metrics
from sympress.deploy.serve.refusals import Refusal

#: Open without a key: probes, and the page, which holds no data.
_OPEN_PATHS = frozenset({"/", "/healthz", "/readyz"})
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


@dataclass(slots=True)
class Draining:
    """Whether the service is stopping: it answers what it took, and asks clients to go elsewhere."""

    begun: bool = False


class Edge:
    """An ASGI layer around `app`; nothing passes it unseen, nothing it logs or counts comes from a client."""

    def __init__(
        self,
        app: ASGIApp,
        config: ServeConfig,
        *,
        keys: ApiKeys,
        metrics: Metrics,
        log: FilteringBoundLogger,
        draining: Draining,
    ) -> None:
        self._app, self._config, self._keys = app, config, keys
        self._metrics, self._log, self._draining = metrics, log, draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, and account for it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
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
            self._log.error("request_failed", request_id=request_id, **failure_place(error))
        finally:
            self._account(scope, request_id, status or _CLIENT_WENT_AWAY, time.monotonic() - began)

    def _admit(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if b"content-length" in headers and b"transfer-encoding" in headers:
            message = "a request has a Content-Length or a Transfer-Encoding, not both"
            raise Refusal(400, "two_lengths", message, close=True)
        check_host(headers, loopback=self._config.is_loopback, allowed=self._config.allowed_hosts)
        path = scope["path"]
        if path not in _OPEN_PATHS and not path.startswith(_OPEN_FOLDER):
            self._keys.admit(headers)

    def _marks(self, request_id: str) -> list[tuple[bytes, bytes]]:
        marks = [*_HEADERS, (b"x-request-id", request_id.encode())]
        return [*marks, (b"connection", b"close")] if self._draining.begun else marks

    def _account(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(route, method, status, seconds)
        self._log.info(
            "request",
            request_id=request_id,
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
        )
