"""What an attack on the service found: nobody holds it up, fills its memory or its log."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from serving import KEY, Running, WordModel, running

from sympress.errors import InputError
from sympress.evaluation.cost import own_peak_bytes
from sympress.serve.auth import read_keys
from sympress.serve.config import ServeConfig
from sympress.serve.forms import parse_request
from sympress.serve.metrics import Metrics, SparingLog, open_log
from sympress.serve.render import Refusal, Rendered
from sympress.serve.server import Door, client_of, listen

ASK = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def ask(body: bytes, more: bytes = b"") -> bytes:
    return ASK + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


@contextmanager
def connected(service: Running, source: str = "127.0.0.1", **given: Any) -> Iterator[socket.socket]:
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0), **given) as one:
        yield one


def received(connection: socket.socket) -> bytes:
    parts = b""
    try:
        while part := connection.recv(65_536):
            parts += part
    except ConnectionResetError:
        pass
    return parts


def cut(service: Running, reason: str) -> float:
    with service.client() as client:
        text = client.get("/metrics").text
    line = f'sympress_connections_cut_total{{reason="{reason}"}} '
    return float(text.partition(line)[2].split("\n")[0] or 0)


def test_a_small_answer_on_a_kept_connection_does_not_wait_for_an_acknowledgement():
    with running() as service, connected(service) as connection:
        took = []
        for _ in range(15):
            began = time.monotonic()
            connection.sendall(ask(b'{"text":"fever"}'))
            while b"]}" not in connection.recv(65_536):
                pass
            took.append(time.monotonic() - began)
    assert sorted(took)[7] < 0.03  # 44 ms without TCP_NODELAY


def test_one_client_cannot_take_every_connection():
    with running(client_connections=3) as service, ExitStack() as stack:
        many = [stack.enter_context(connected(service, "127.0.0.2")) for _ in range(6)]
        assert [received(one) for one in many[3:]] == [b""] * 3
        with service.client() as client:
            assert client.post("/v1/extract", json={"text": "fever"}).status_code == 200
        assert cut(service, "too_many_of_client") == 3
        many[0].close()
        until = time.monotonic() + 5
        while service.server._door._open["127.0.0.2"] == 3 and time.monotonic() < until:
            time.sleep(0.01)
        with connected(service, "127.0.0.2") as again:
            again.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert received(again).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "2001:db8:1:2::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_client_is_an_address_or_a_network_of_64_bits(host: str, client: str):
    assert client_of(host) == client


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", str(key)]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([openssl, *made, "-out", str(certificate), *name], check=True, capture_output=True)
    return certificate, key


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"nonsense"])
def test_handshakes_that_never_end_are_cut_without_a_word(certificate: tuple[Path, Path], sent: bytes):
    limits = {"header_seconds": 0.5, "client_connections": 100}
    with (
        running(tls_certificate=certificate[0], tls_key=certificate[1], **limits) as service,
        ExitStack() as stack,
    ):
        many = [stack.enter_context(connected(service, f"127.0.0.{2 + at // 40}")) for at in range(120)]
        for one in many:
            one.sendall(sent)
        time.sleep(0.1)
        trusted = ssl.create_default_context(cafile=str(certificate[0]))
        with connected(service) as plain, trusted.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert received(tls).startswith(b"HTTP/1.1 200")
        for one in many:
            received(one)
    events = [event["event"] for event in service.events()]
    assert events == ["request", "stopping", "stopped"]


class Exhausted(socket.socket):
    """A listener for which the system has no file descriptor at the first tries."""

    tries = 0

    def accept(self) -> Any:
        type(self).tries += 1
        if self.tries <= 5:
            raise OSError(errno.EMFILE, "too many open files")
        return super().accept()


def test_without_file_descriptors_the_log_gets_a_line_and_the_service_goes_on(
    monkeypatch: pytest.MonkeyPatch,
):
    log, made = io.StringIO(), []
    monkeypatch.setattr("sympress.serve.server._PAUSE_SECONDS", 0.05)

    def make(leave: Any) -> asyncio.Protocol:
        made.append(leave)
        return asyncio.Protocol()

    async def take(listener: socket.socket) -> None:
        door = Door(listener, ServeConfig(), Metrics(), open_log(log), make, None)
        began = time.monotonic()
        with socket.create_connection(listener.getsockname()):
            while not made:
                await asyncio.sleep(0.01)
        assert time.monotonic() - began >= 0.25
        await door.close()

    with Exhausted(fileno=listen(ServeConfig(port=0)).detach()) as listener:
        listener.setblocking(False)
        asyncio.run(asyncio.wait_for(take(listener), 10))
    (line,) = [json.loads(line) for line in log.getvalue().splitlines()]
    assert (line["event"], line["reason"]) == ("cannot_accept", "EMFILE")


def test_what_is_said_over_and_over_is_written_once_and_counted(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    log = SparingLog(open_log(stream))
    for _ in range(1000):
        log.warning("uvicorn", message="Invalid HTTP request received.")
    log.warning("uvicorn", message="another")
    monkeypatch.setattr("sympress.serve.metrics.SPARING_SECONDS", 0.0)
    log.warning("uvicorn", message="Invalid HTTP request received.")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["message"] for line in lines] == [
        "Invalid HTTP request received.",
        "another",
        "Invalid HTTP request received.",
    ]
    assert [line.get("left_out") for line in lines] == [None, None, 999]


LARGE = Rendered(b'{"text":"' + b"x" * 4_000_000 + b'"}')


@contextmanager
def unreading(service: Running, count: int) -> Iterator[list[socket.socket]]:
    """Clients that ask for a large answer and do not read it."""
    with ExitStack() as stack:
        many = [stack.enter_context(connected(service)) for _ in range(count)]
        for one in many:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(ask(b'{"text":"large"}'))
        yield many


def large_answers(monkeypatch: pytest.MonkeyPatch) -> WordModel:
    model = WordModel()
    real = "serving.render"
    from sympress.serve.render import render

    monkeypatch.setattr(real, lambda result, asked: render(result) if result.symptoms else LARGE)
    return model


def test_clients_that_do_not_read_are_cut_when_their_answers_fill_the_memory(monkeypatch: pytest.MonkeyPatch):
    model = large_answers(monkeypatch)
    limits = {"answers_bytes": 10_000_000, "request_seconds": 10.0}
    with running({"words": model}, **limits) as service, unreading(service, 8):
        most = 0
        until = time.monotonic() + 10
        while cut(service, "unread") < 6 and time.monotonic() < until:
            most = max(most, service.service.answers.held_bytes)
        assert cut(service, "unread") >= 6
        assert most <= 10_000_000
        with service.client() as client:
            assert client.post("/v1/extract", json={"text": "fever"}).status_code == 200
            assert len(client.post("/v1/extract", json={"text": "large"}).content) > 4_000_000


def test_a_stop_does_not_wait_for_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch):
    model = large_answers(monkeypatch)
    with running({"words": model}, unread_seconds=60.0) as service, unreading(service, 3):
        until = time.monotonic() + 5
        while service.service.answers.held_bytes < 12_000_000 and time.monotonic() < until:
            time.sleep(0.01)
        began = time.monotonic()
    assert time.monotonic() - began < 6
    assert [event["event"] for event in service.events()][-1] == "stopped"


def test_an_answer_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch):
    model = large_answers(monkeypatch)
    with running({"words": model}, answer_bytes=7_000_000) as service, service.client() as client:
        notes = [{"id": str(at), "text": "large"} for at in range(2)]
        answer = client.post("/v1/extract", json={"notes": notes})
        assert (answer.status_code, answer.json()["error"]) == (
            413,
            {
                "code": "answer_too_large",
                "message": "the answer is larger than 7000000 bytes; send fewer or shorter notes",
            },
        )
        assert client.post("/v1/extract", json={"notes": notes[:1]}).status_code == 200


def test_two_lengths_are_refused_and_the_connection_ends():
    smuggled = b"2\r\n{}\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running() as service, connected(service) as connection:
        head = ASK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head + smuggled)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"two_lengths"' in answer
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("nested", [b"[" * 500_000, b'{"text":' * 200_000, b'{"notes":[' * 100_000])
def test_a_body_nested_without_end_is_refused(nested: bytes):
    with running() as service, service.client() as client:
        answer = client.post(
            "/v1/extract", content=nested, headers={"Content-Type": "application/json", "Expect": ""}
        )
        assert answer.status_code == 422
        assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda: {"notes": [{}] * 300_000}, "notes.0.text: field required"),
        (lambda: {"text": "a"} | {f"{key:x}": 1 for key in range(300_000)}, "extra inputs"),
        (lambda: {"notes": [{"id": "", "text": ""}] * 100_000}, "notes: more than 256 in one"),
    ],
    ids=["faults", "keys", "notes"],
)
def test_a_body_of_many_faults_takes_no_memory_and_holds_nobody_up(
    asked: Callable[[], dict[str, Any]], said: str
):
    """Each fault took 2 kB: a body of 4 MB ended a service of 1 GiB, and others waited for ten seconds."""
    body = json.dumps(asked()).encode()
    before, began = own_peak_bytes(), time.process_time()
    with pytest.raises(Refusal) as refused:
        parse_request(body, 256)
    assert said in refused.value.message
    assert time.process_time() - began < 1
    assert own_peak_bytes() - before < 150e6


def test_lines_with_a_hash_are_no_keys(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text(f"# {KEY}\n#{KEY}\n{KEY}\n", encoding="utf-8")
    file.chmod(0o600)
    keys = read_keys(file)
    assert len(keys._digests) == 1
    assert keys.warnings == ()
    file.write_text(f"# {KEY}\n", encoding="utf-8")
    with pytest.raises(InputError, match="no API key in it; write one a line"):
        read_keys(file)


def test_a_key_that_is_gone_from_its_file_opens_nothing_after_a_reload(tmp_path: Path):
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    file.chmod(0o600)
    keys = read_keys(file)
    file.write_text("another-key-of-the-hospital\n", encoding="utf-8")
    keys.read_again()
    keys.admit({b"x-api-key": b"another-key-of-the-hospital"})
    with pytest.raises(Refusal):
        keys.admit({b"x-api-key": KEY.encode()})
    file.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        keys.read_again()
    keys.admit({b"x-api-key": b"another-key-of-the-hospital"})  # those that were there stay


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o440, 0), (0o644, 1), (0o604, 1)])
def test_a_key_that_everybody_can_read_is_warned_of(tmp_path: Path, mode: int, warned: int):
    file = tmp_path / "keys"
    file.write_text(KEY, encoding="utf-8")
    file.chmod(mode)
    told = [f"{file}: every user of this machine can read it (mode {mode:o}); chmod o-r it"]
    assert list(read_keys(file).warnings) == told * warned
