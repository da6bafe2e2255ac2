"""A port that is no cluster's, a cluster that never lets in, one whose node dies: one line, no waiting."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path

import pytest

from sympress import processes
from sympress.errors import InputError
from sympress.processes import connected

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray")


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """A port that takes connections, and says `answer` and closes; None never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                held.append(client)
                if answer is not None:
                    client.sendall(answer)
                    client.close()

        with ThreadPoolExecutor(1) as pool:
            pool.submit(serve)
            yield server.getsockname()[1]
            server.shutdown(socket.SHUT_RDWR)
        for client in held:
            client.close()


@contextmanager
def speaking_grpc(*known: str) -> Iterator[int]:
    """A server of gRPC that answers the calls `known` with nothing, and refuses the others."""
    grpc = pytest.importorskip("grpc")

    class Known(grpc.GenericRpcHandler):
        def service(self, details: object) -> object:
            if details.method in known:
                return grpc.unary_unary_rpc_method_handler(lambda *_: b"")
            return None

    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Known(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield port
    server.stop(None).wait()


def refusal(address: str) -> str:
    began = time.monotonic()
    with pytest.raises(InputError) as caught, connected(address):
        pass
    assert time.monotonic() - began < 10
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize(
    ("answer", "status"), [(None, "DEADLINE_EXCEEDED"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "UNAVAILABLE")]
)
def test_a_port_that_is_not_rays_is_one_line(
    monkeypatch: pytest.MonkeyPatch, scheme: str, answer: bytes | None, status: str
):
    monkeypatch.setattr(processes, "PROBE_SECONDS", 0.5)
    with listening(answer) as port:
        assert refusal(f"{scheme}127.0.0.1:{port}") == (
            f"--ray {scheme}127.0.0.1:{port}: something listens there, but it is not Ray ({status}); give "
            "HOST:PORT of `ray start`, or ray://HOST:PORT of its Ray Client server"
        )


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_another_service_by_grpc_is_not_ray(scheme: str):
    with speaking_grpc("/grpc.health.v1.Health/Check") as port:
        assert "it is not Ray (UNIMPLEMENTED)" in refusal(f"{scheme}127.0.0.1:{port}")


def test_tls_without_its_files_is_one_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.delenv("RAY_TLS_CA_CERT", raising=False)
    with listening(None) as port:
        assert refusal(f"127.0.0.1:{port}").startswith("RAY_USE_TLS is set, but not every file of RAY_TLS_CA")


def started(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own: `ray.init` that never ends cannot be taken back."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )


JOIN = """
import sys
from sympress import processes
processes.CONNECT_SECONDS = float(sys.argv[2])
initialized = processes._initialized
def saying(*arguments):
    print("joining", flush=True)
    return initialized(*arguments)
processes._initialized = saying
from sympress.cli.main import run
run(["label", sys.argv[3], "-o", sys.argv[3] + ".jsonl", "--ray", sys.argv[1]])
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "in.jsonl").write_text('{"text": "fever"}\n', encoding="utf-8")
    return tmp_path / "in.jsonl"


def test_a_cluster_that_never_lets_in_is_given_up(notes: Path):
    with speaking_grpc("/ray.rpc.NodeInfoGcsService/GetClusterId") as port:
        process = started(JOIN, f"127.0.0.1:{port}", 2, notes)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"sympress: --ray 127.0.0.1:{port}: no Ray cluster let us in within 2 s\n" in err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130)])
def test_a_signal_ends_the_wait_for_a_cluster(notes: Path, number: signal.Signals, code: int):
    with speaking_grpc("/ray.rpc.NodeInfoGcsService/GetClusterId") as port:
        process = started(JOIN, f"127.0.0.1:{port}", 60, notes)
        assert process.stdout is not None
        assert process.stdout.readline() == "joining\n"
        time.sleep(1)
        process.send_signal(number)
        _, err = process.communicate(timeout=20)
    assert process.returncode == code, err


LOCAL = """
import sys, psutil
from sympress.processes import open_cluster
from sympress.errors import SympressError
def load():
    import time
    return lambda unit: time.sleep(0.02) or unit * unit
with open_cluster(load, "local") as answer:
    answers = answer(iter(range(1_000_000)))
    next(answers)
    processes = psutil.Process().children(recursive=True) + [psutil.Process()]
    print(*sorted({c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"}))
    try:
        next(p for p in processes if p.name() == "raylet").kill()
        for _ in answers:
            pass
    except SympressError as error:
        print(error, flush=True)
        raise SystemExit(error.exit_code)
"""


def test_a_local_cluster_listens_on_the_loopback_only_and_the_death_of_its_node_is_one_line():
    pytest.importorskip("psutil")
    process = started(LOCAL)
    out, err = process.communicate(timeout=120)
    addresses, *said = out.splitlines()
    assert set(addresses.split()) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}, addresses
    assert said == [
        "the Ray node of this command died (its raylet ended, or its connection did); see Ray's logs, then "
        "run the same command again"
    ], err
    assert process.returncode == 1


@pytest.mark.parametrize(("tls", "warned"), [("0", True), ("1", False)])
def test_notes_that_cross_the_network_unencrypted_are_warned_of(
    tls: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RAY_USE_TLS", tls)
    for step in ("_check_reachable", "_keep_standard_output", "_check_loopback"):
        monkeypatch.setattr(processes, step, lambda *_: None)
    monkeypatch.setattr(processes, "_initialized", lambda *_: nullcontext())
    for address in ("10.0.0.1:6379", processes.LOCAL):
        with connected(address):
            pass
        said = capsys.readouterr().err
        assert said.startswith(f"--ray {address}: notes cross the network unencrypted, as RAY_USE_TLS") == (
            warned and address != processes.LOCAL
        )
