"""Running the service: taking connections, uvicorn, TLS, signals, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import signal
import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import uvicorn
from structlog.typing import FilteringBoundLogger

from sympress.errors import InputError
from sympress.files import refuse_pipe
from sympress.labels.own_words import OURS, OwnWords
from sympress.serve.app import Service, build_app
from sympress.serve.auth import KEY_VARIABLE, ApiKeys
from sympress.serve.config import ServeConfig
from sympress.serve.connection import GuardedConnection
from sympress.serve.metrics import Metrics, SparingLog, open_log, open_traces, route_uvicorn
from sympress.serve.models import ServedModel, Shelf, load_model

# Taking connections: how many, of whom, and what happens when the system has no more to give.
#
# uvicorn leaves this to asyncio, which accepts without a limit, waits a minute for a TLS handshake, writes
# a log line at each try when file descriptors run out, and sets no TCP_NODELAY on what a listener of ours
# accepts: small answers on a kept connection then wait 40 ms for an acknowledgement.


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


# Running the service: the socket, uvicorn, TLS, signals, and a stop that loses nothing.


_BACKLOG = 2048
_LARGEST_HEAD_BYTES = 32_768
#: Files that are open beside connections: processes, pipes, libraries, artifacts.
_OTHER_FILES = 128


class GracefulServer(uvicorn.Server):
    """A uvicorn server that answers every request whose connection the system took before the stop."""

    def __init__(self, config: uvicorn.Config, service: Service, listener: socket.socket) -> None:
        super().__init__(config)
        self._service, self._listener = service, listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002  uvicorn's form
        """Start to take connections, and reload keys and models at SIGHUP."""
        await super().startup([])  # uvicorn itself accepts nothing
        loop = asyncio.get_running_loop()
        self._reloading: set[asyncio.Task[None]] = set()
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        if hangup is not None:
            with contextlib.suppress(NotImplementedError, RuntimeError):  # in a thread
                loop.add_signal_handler(hangup, self._reload)
        service = self._service
        self._door = Door(
            self._listener, service.config, service.metrics, service.log, self._make_protocol, self.config.ssl
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take what the system has accepted, close the listener, finish every request."""
        self._service.draining = True
        self._service.log.info("stopping", connections=len(self.server_state.connections))
        await self._door.close()
        await super().shutdown(sockets)
        self._service.log.info("stopped")

    def _make_protocol(self, leave: Callable[[], None]) -> asyncio.BaseProtocol:
        make = cast("Any", self.config.http_protocol_class)
        given = {"config": self.config, "server_state": self.server_state, "app_state": self.lifespan.state}
        return cast("asyncio.BaseProtocol", make(**given, leave=leave))

    def _reload(self) -> None:
        task = asyncio.create_task(self._reload_all())
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    async def _reload_all(self) -> None:
        self._service.read_keys_again()
        for name in self._service.shelf.names():
            with contextlib.suppress(InputError):  # logged and counted; the old one stays
                await self._service.reload_model(name)


def check_exposure(config: ServeConfig, keys: ApiKeys) -> None:
    """Refuse to open the service to other machines without a key.

    Raises:
        InputError: `host` is not loopback and there is no key, or TLS is half given or by a pipe.
    """
    if not config.is_loopback and not keys:
        raise InputError(
            f"--host {config.host} is reachable from other machines: give an API key by --api-key-file FILE "
            f"or the environment variable {KEY_VARIABLE}"
        )
    if (config.tls_certificate is None) != (config.tls_key is None):
        raise InputError("TLS needs both --tls-certificate FILE and --tls-key FILE")
    for path in (config.tls_certificate, config.tls_key):
        if path is not None:
            refuse_pipe(path)


def listen(config: ServeConfig) -> socket.socket:
    """A non-blocking socket on `host` and `port`.

    Raises:
        InputError: the address is unknown or taken.
    """
    try:
        family, *_, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"--host {config.host} --port {config.port}: cannot listen there ({reason}); choose another"
        raise InputError(message) from error
    listener.setblocking(False)
    return listener


def make_server(service: Service, listener: socket.socket) -> GracefulServer:
    """A server for `service` on `listener`; `serve(sockets=[listener])` runs it.

    Raises:
        InputError: the certificate or its key is unusable.
    """
    config = service.config
    guarded = partial(GuardedConnection, limits=config, metrics=service.metrics)
    settings = uvicorn.Config(
        build_app(service),
        loop="asyncio",
        http=cast("Any", guarded),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=config.idle_seconds,
        timeout_graceful_shutdown=config.drain_seconds,
        h11_max_incomplete_event_size=_LARGEST_HEAD_BYTES,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        message = f"{config.tls_certificate}: TLS cannot be set up ({type(error).__name__}); check both files"
        raise InputError(message) from error
    return GracefulServer(settings, service, listener)


def serve(
    config: ServeConfig,
    folders: dict[str, Path],
    keys: ApiKeys,
    read_words: Callable[[], OwnWords] = lambda: OURS,
    digests: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Serve the artifacts in `folders` until SIGTERM or SIGINT; every request that was taken is answered.

    After SIGTERM it returns; SIGINT then raises KeyboardInterrupt.

    Args:
        config: how it listens, and the most that it takes.
        folders: of the artifacts, by name.
        keys: what a request may carry.
        read_words: reads a user's own words, whenever an artifact is loaded.
        digests: of the only artifact that may be loaded, also later, by its name; any where there is none.

    Raises:
        InputError: an artifact, the address, the key or the certificate is unusable.
    """
    check_exposure(config, keys)

    def load(name: str, folder: Path) -> ServedModel:
        return load_model(name, folder, read_words(), config, digests.get(name))

    service_log: FilteringBoundLogger = open_log()
    traces = open_traces(wanted=config.traces)
    _allow_files(config.connections)
    shelf = Shelf(folders, load)
    with contextlib.closing(traces), contextlib.closing(shelf), listen(config) as listener:
        service = Service(config, shelf, keys, Metrics(), service_log, traces=traces)
        service.warn_of_keys()
        server = make_server(service, listener)
        route_uvicorn(service_log)
        # uvicorn handles signals while it runs and raises them after: SIGTERM has done its work by then, and
        # SIGINT is the interruption of a command as of any other
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        url = _url_of(config, listener)
        service_log.info("listening", url=url, models=shelf.names(), key_required=bool(keys))
        if sys.stderr.isatty():
            sys.stderr.write(_greeting(url, key=bool(keys)) + "\n")
        # Windows' own loop cannot watch the listener; elsewhere this is the loop that there is
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(server.serve(sockets=[listener]))


def _greeting(url: str, *, key: bool) -> str:
    """What a person who started the service on a terminal can do now, in a line."""
    header = " -H 'X-API-Key: KEY'" if key else ""
    body = """-H 'Content-Type: application/json' -d '{"text": "c/o fever, denies cough"}'"""
    return f"Open {url} in a browser (Ctrl-C stops), or try:  curl{header} {url}/v1/extract {body}"


def _allow_files(connections: int) -> None:
    """Let this process open as many files as it may need, as far as the system lets it."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on Windows
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        needed = connections + _OTHER_FILES
        if soft < needed:
            most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _url_of(config: ServeConfig, listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if config.tls_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
