"""Processes that work for us: what those on this machine keep to, and the actors of a Ray cluster."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import itertools
import logging
import os
import pickle
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from sympress.errors import InputError, MissingExtraError, SympressError

# What processes that we start keep to: who hears Ctrl-C, and none outlives the one that started it.


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """Processes that start in the block never get this signal; here it waits until the block ends.

    Ctrl-C reaches every process of a terminal. The one that started the others decides what becomes of them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, then end it; to be run in a thread."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # SIGKILL of the parent tells nobody


def release_freed() -> None:
    """Give back to the system what the C library keeps of freed memory, where it can be asked to (glibc)."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


# Nothing that runs here tells the makers of a library that it did.


#: What keeps each library silent. ONNX Runtime (its Privacy.md) and MLflow upload events unless told not to,
#: a Ray cluster that is started here does, and a hub is told which of its clients asks.
SILENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def silence() -> None:
    """Keep the libraries that work here, and their processes, from telling that they were used.

    To be called before any of them is imported. An environment variable that is set already stays as it is.
    An ONNX Runtime that was imported before has made its device identifier; its events are turned off.
    """
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    runtime = sys.modules.get("onnxruntime")
    if runtime is not None and os.environ["ORT_DISABLE_TELEMETRY"] == "1":
        runtime.disable_telemetry_events()


# Reach a Ray cluster, or start one that only this machine reaches, so that a failure is one line.
#
# `ray.init` waits for minutes at a port that is no cluster's, in C++ that no signal reaches. So the port is
# asked first what it speaks, and `ray.init` runs in a thread: the signals are for the one that waits for
# it.


LOCAL = "local"
#: How long a port may take to say that it is Ray's.
PROBE_SECONDS = 10.0
#: How long a cluster may take to take this process in, or to start here.
CONNECT_SECONDS = 120.0
#: Calls that only Ray knows, if only to ask for its token: of its control store, and its Ray Client server.
_CALLS = {"": "/ray.rpc.NodeInfoGcsService/GetClusterId", "ray://": "/ray.rpc.RayletDriver/ClusterInfo"}
#: What gRPC reports of a port that does not speak it, or that does not know the call.
_NOT_RAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "UNIMPLEMENTED"})
#: Makes Ray take the loopback address for this machine's and listen nowhere else, as on macOS and Windows.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_TLS_FILES = ("RAY_TLS_CA_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_SERVER_CERT")


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield the module `ray` while this process belongs to the cluster at `address`; `local` starts one here.

    Raises:
        InputError: no cluster answers there, or not in time.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    for package in ("ray", "grpc"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("ray", package)
    _check_reachable(address)
    if address == LOCAL:
        os.environ.update(_LOOPBACK_ONLY)
    ray: Any = importlib.import_module("ray")  # it has no types
    _keep_standard_output()
    with _initialized(ray, address):
        if address == LOCAL:
            _check_loopback(ray)
        else:
            _warn_unencrypted(address)
        yield ray


def node_died(ray: Any) -> bool:
    """Whether the node through which this process belongs to its cluster is gone."""
    try:
        node = _our_node(ray)
    except Exception:  # whatever Ray raises where it cannot even ask
        return True
    return not node["Alive"] or refuses(node["RayletSocketName"])


def node_socket(ray: Any) -> str:
    """The Unix socket of the node through which this process belongs to its cluster; see `refuses`."""
    return str(_our_node(ray)["RayletSocketName"])


def _our_node(ray: Any) -> dict[str, Any]:
    ours = ray.get_runtime_context().get_node_id()
    found: dict[str, Any] = next(node for node in ray.nodes() if node["NodeID"] == ours)
    return found


def refuses(path: str) -> bool:
    """Whether nobody listens any more at a Unix socket of this machine.

    A cluster notices the death of a node after ten seconds and more, and then Ray ends the processes that
    belong to it without a word. Who looks at the node's socket knows before.
    """
    with socket.socket(socket.AF_UNIX) as knocking:
        try:
            knocking.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False  # behind `ray://` it is another machine's
    return False


@contextmanager
def _initialized(ray: Any, address: str) -> Iterator[None]:
    """Run `ray.init` in a thread, so that SIGINT and SIGTERM are heard meanwhile; shut down in the end.

    The thread stays: what it starts dies with it, as Linux ties Ray's processes to the thread they are from.
    """
    more = {"include_dashboard": False} if address == LOCAL else {}
    failures: list[BaseException] = []
    ready, over = threading.Event(), threading.Event()

    def init() -> None:
        try:
            ray.init(address, **more, log_to_driver=False, logging_level=logging.ERROR)
        except BaseException as error:
            failures.append(error)
        ready.set()
        over.wait()

    threading.Thread(target=init, daemon=True).start()
    try:
        if not ready.wait(CONNECT_SECONDS):
            raise InputError(f"--ray {address}: no Ray cluster let us in within {CONNECT_SECONDS:.0f} s")
        if failures:
            raise InputError(
                f"--ray {address}: no Ray cluster answers there ({type(failures[0]).__name__})"
            ) from failures[0]
        try:
            yield
        finally:
            if not node_died(ray):  # without its node, shutting down ends this process without a word
                ray.shutdown()
    finally:
        over.set()


def _check_reachable(address: str) -> None:
    """Ask `HOST:PORT` or `ray://HOST:PORT` whether a cluster is there.

    Raises:
        InputError: nothing listens there, it is not Ray, or it wants a token.
    """
    scheme = "ray://" if address.startswith("ray://") else ""
    target = address.removeprefix("ray://")
    host, _, port = target.rpartition(":")
    if not (host and port.isdecimal()):
        return  # `local`, `auto`: Ray's own words
    try:
        socket.create_connection((host.strip("[]"), int(port)), PROBE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--ray {address}: no Ray cluster answers there ({type(error).__name__})") from error
    status = _probe(target, _CALLS[scheme])
    if status in _NOT_RAY:
        raise InputError(
            f"--ray {address}: something listens there, but it is not Ray ({status}); give HOST:PORT of "
            "`ray start`, or ray://HOST:PORT of its Ray Client server"
        )
    if status == "UNAUTHENTICATED" and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise InputError(
            f"--ray {address}: the cluster wants a token; set RAY_AUTH_MODE=token, as Ray documents it"
        )


def _probe(target: str, call: str) -> str:
    """The status by gRPC of an empty `call` at `target`; it carries no token."""
    grpc: Any = importlib.import_module("grpc")
    with _open_channel(grpc, target) as channel:
        try:
            channel.unary_unary(call)(b"", timeout=PROBE_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"


def _open_channel(grpc: Any, target: str) -> Any:
    """Open a channel to `target`, by TLS where Ray's own variables ask for it."""
    options = [("grpc.enable_http_proxy", 0)]
    if not uses_tls():
        return grpc.insecure_channel(target, options=options)
    try:
        root, key, chain = (Path(os.environ[name]).read_bytes() for name in _TLS_FILES)
    except (KeyError, OSError) as error:
        raise InputError(
            f"RAY_USE_TLS is set, but not every file of {', '.join(_TLS_FILES)} can be read; set all three"
        ) from error
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(root, key, chain), options=options)


def uses_tls() -> bool:
    """Whether Ray's processes are told to speak TLS with each other."""
    return os.environ.get("RAY_USE_TLS", "0").lower() in {"1", "true"}


def _warn_unencrypted(address: str) -> None:
    if not uses_tls():
        sys.stderr.write(
            f"--ray {address}: notes cross the network unencrypted, as RAY_USE_TLS is not set; see "
            "docs/how-to/ray-and-spark.md\n"
        )


def _check_loopback(ray: Any) -> None:
    """Refuse a cluster of ours that others reach: Ray was imported before it was told where to listen.

    Raises:
        SympressError: it listens on other addresses too.
    """
    here = ray.util.get_node_ip_address()
    if not ip_address(here).is_loopback:
        name, value = next(iter(_LOOPBACK_ONLY.items()))
        raise SympressError(
            f"--ray local: the cluster would listen on {here}; set {name}={value} before Ray is imported"
        )


def _keep_standard_output() -> None:
    """Keep Ray from printing what its processes report to standard output, where results go."""
    worker: Any = importlib.import_module("ray._private.worker")
    worker.print_to_stdstream = lambda *_, **__: None


# Units of work on a Ray cluster: an actor a core that loads once, answers in order.
#
# The driver (the process of the command) reads the units, hands them to the actors in turn, a bounded
# number ahead of the answers, and keeps the order. Ray starts an actor that died again, on another machine
# if its own is gone, and gives it its units again.


#: Units an actor that may be without an answer.
AHEAD = 3
#: How often a unit is given to an actor again after the actor died of it, or beside it.
RETRIES = 3
#: Most bytes that go along with each worker.
_INLINE_BYTES = 50_000
#: How often is looked whether our own node is alive, while an answer is waited for.
_LOOK_SECONDS = 1.0
_DIED = (
    "the Ray node of this command died (its raylet ended, or its connection did); see Ray's logs, then run "
    "the same command again"
)

Unit = TypeVar("Unit")
Answer = TypeVar("Answer")
#: Called once in each worker; returns what answers units there. It is pickled.
Load = Callable[[], Callable[[Unit], Answer]]
#: Answers units, in their order, each with the unit that it belongs to.
AnswerAll = Callable[[Iterator[Unit]], Iterator[tuple[Unit, Answer]]]


@contextmanager
def open_here(load: Load[Unit, Answer]) -> Iterator[AnswerAll[Unit, Answer]]:
    """Yield what answers units in this process."""
    answer = load()
    yield lambda units: ((unit, answer(unit)) for unit in units)


@contextmanager
def open_cluster(load: Load[Unit, Answer], address: str) -> Iterator[AnswerAll[Unit, Answer]]:
    """Yield what answers units on every core of the Ray cluster at `address`; `local` starts one here.

    The answers raise `SympressError` if the cluster fails again and again, or our node of it dies.

    Raises:
        InputError: no cluster answers there.
        MissingExtraError: a part of the extra `ray` is not installed.
    """
    with connected(address) as ray:
        yield lambda units: _in_order(ray, load, units)


def _in_order(ray: Any, load: Load[Unit, Answer], units: Iterator[Unit]) -> Iterator[tuple[Unit, Answer]]:
    """Hand the units to the actors in turn and take their answers, a bounded number behind."""
    # In a list Ray leaves a reference one. It is kept here, for workers that start again. What is small goes
    # along with each worker: to recover a lost object Ray asks a node that may be the one that died.
    packed = ray.cloudpickle.dumps(load)
    loaded = [packed if len(packed) <= _INLINE_BYTES else ray.put(packed)]
    workers, socket = _start(ray, loaded), node_socket(ray)
    waiting: deque[tuple[Unit, Any]] = deque()
    for unit, worker in zip(units, itertools.cycle(workers)):
        waiting.append((unit, worker.answer.remote(pickle.dumps(unit))))
        if len(waiting) >= AHEAD * len(workers):
            first, reference = waiting.popleft()
            yield first, _take(ray, reference, socket)
    for first, reference in waiting:
        yield first, _take(ray, reference, socket)


def _start(ray: Any, loaded: list[Any]) -> list[Any]:
    """Start a worker for each core, on the node that has it; if that is gone, it starts again elsewhere."""
    on_node = importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
    kind = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=RETRIES)(Worker)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return [
        kind.options(scheduling_strategy=on_node(node["NodeID"], soft=True)).remote(loaded)
        for node in nodes
        for _ in range(int(node["Resources"].get("CPU", 0)))
    ] or [kind.remote(loaded)]


def _take(ray: Any, reference: Any, socket: str) -> Any:
    """Wait for an answer, and look meanwhile whether our own node is alive.

    Raises:
        SympressError: there is none, although Ray tried again, or the node of this process died.
    """
    while True:
        try:
            return pickle.loads(ray.get(reference, timeout=_LOOK_SECONDS))  # noqa: S301
        except ray.exceptions.GetTimeoutError:
            if refuses(socket):
                raise SympressError(_DIED) from None
        except (ray.exceptions.RayError, ConnectionError) as error:
            # Without its node, what is asked of Ray ends this process without a word: the socket comes first.
            if refuses(socket) or node_died(ray):
                raise SympressError(_DIED) from error
            raise SympressError(
                f"the Ray cluster failed ({type(error).__name__}); see its logs, "
                "then run the same command again"
            ) from error


class Worker:
    """Answers units in a process of the cluster, which need not share a disk with the driver."""

    def __init__(self, load: list[Any]) -> None:
        ray: Any = importlib.import_module("ray")
        packed = load[0] if isinstance(load[0], bytes) else ray.get(load[0])
        self._answer = pickle.loads(packed)()  # noqa: S301  the driver pickled it

    def answer(self, unit: bytes) -> bytes:
        """Answer one unit, both pickled.

        Raises:
            RuntimeError: named after what went wrong; Ray logs it, and its own words could hold a note's.
        """
        try:
            return pickle.dumps(self._answer(pickle.loads(unit)))  # noqa: S301
        except Exception as error:
            raise RuntimeError(type(error).__name__) from None
