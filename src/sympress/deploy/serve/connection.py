"""A connection that nobody can hold open for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.metrics import Metrics
from sympress.deploy.serve.refusals import Refusal

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
