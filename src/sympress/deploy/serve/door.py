"""Taking connections: how many, of whom, and what happens when the system has no more to give.

uvicorn leaves this to asyncio, which accepts without a limit, waits a minute for a TLS handshake, writes a
log line at each try when file descriptors run out, and sets no TCP_NODELAY on what a listener of ours
accepts: small answers on a kept connection then wait 40 ms for an acknowledgement.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from structlog.typing import FilteringBoundLogger

from sympress.deploy.serve.config import ServeConfig
from sympress.deploy.serve.logs import SparingLog
from sympress.deploy.serve.metrics import Metrics

#: TLS handshakes that may be under way; asyncio holds 256 KiB for each. One more cuts the oldest of the
#: client that has most.
_HANDSHAKES = 128
#: A flood of connections must not keep others from being answered.
_AT_ONCE = 32
_PAUSE_SECONDS = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Door:
    """Hands each connection that the system has accepted on `listener` to a protocol, as many as may be open.

    `make_protocol` gets what it must call when its connection is lost.
    """

    def __init__(  # noqa: PLR0917  what it takes from the server
        self,
        listener: socket.socket,
        config: ServeConfig,
        metrics: Metrics,
        log: FilteringBoundLogger,
        make_protocol: Callable[[Callable[[], None]], asyncio.BaseProtocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._listener, self._config, self._metrics = listener, config, metrics
        self._log, self._make_protocol, self._tls = SparingLog(log), make_protocol, tls
        self._open: Counter[str] = Counter()
        self._beginning: dict[asyncio.Task[None], str] = {}  # of which client, the oldest first
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._watch()

    async def close(self) -> None:
        """Take what the system has accepted until now, and close the listener."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._take(math.inf)
        self._listener.close()
        await asyncio.gather(*self._beginning, return_exceptions=True)

    def _watch(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        reason = self._take(_AT_ONCE)
        if reason in _EXHAUSTED:
            self._log.warning("cannot_accept", reason=errno.errorcode[reason])
            self._loop.remove_reader(self._listener)
            self._pause = self._loop.call_later(_PAUSE_SECONDS, self._watch)

    def _take(self, most: float) -> int:
        """Take the connections that wait, `most` at once; what the system said when it gave no more, or 0."""
        taken = 0
        while taken < most:
            try:
                connection, address = self._listener.accept()
            except OSError as error:
                return error.errno or 0
            connection.setblocking(False)
            self._admit(connection, address)
            taken += 1
        return 0

    def _admit(self, connection: socket.socket, address: Any) -> None:
        client = client_of(address[0])
        if self._open.total() >= self._config.connections:
            self._refuse(connection, "too_many")
        elif self._open[client] >= self._config.client_connections:
            self._refuse(connection, "too_many_of_client")
        else:
            self._open[client] += 1
            if len(self._beginning) >= _HANDSHAKES and self._tls is not None:
                self._cut_handshake()
            task = asyncio.create_task(self._begin(connection, self._leave_once(client)))
            self._beginning[task] = client
            task.add_done_callback(lambda done: self._beginning.pop(done, None))

    def _cut_handshake(self) -> None:
        [(busiest, _)] = Counter(self._beginning.values()).most_common(1)
        oldest = next(task for task, client in self._beginning.items() if client == busiest)
        del self._beginning[oldest]
        oldest.cancel()

    async def _begin(self, connection: socket.socket, leave: Callable[[], None]) -> None:
        """Set up a connection, with TLS where that is asked for."""
        with contextlib.suppress(OSError):  # it is lost already, which the transport finds out
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._loop.connect_accepted_socket(
                partial(self._make_protocol, leave),
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._config.header_seconds if self._tls else None,
            )
        except (OSError, asyncio.CancelledError) as error:  # errors of ssl are among those of the system
            leave()
            self._metrics.connections_cut.labels("no_handshake").inc()
            if isinstance(error, asyncio.CancelledError):
                raise

    def _leave_once(self, client: str) -> Callable[[], None]:
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._open[client] -= 1
                self._open += Counter()  # drops those with none

        return leave

    def _refuse(self, connection: socket.socket, reason: str) -> None:
        self._metrics.connections_cut.labels(reason).inc()
        connection.close()


def client_of(host: str) -> str:
    """Whom an address stands for: itself, or of IPv6 the network of 64 bits that one client usually has."""
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.partition("%")[0])
        if isinstance(address, ipaddress.IPv6Address):
            mapped = address.ipv4_mapped
            return str(mapped or ipaddress.ip_network((int(address), 64), strict=False))
    return host
