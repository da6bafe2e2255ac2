"""An attack on a real `sympress serve`: `python -m benchmarks.serve_attack -o FILE`.

Starts the service with TLS as a process of its own on loopback, finds what it answers, and attacks it in turn
with three times that, with TLS handshakes that never end, clients that do not read their answers, one client
with a thousand connections, and a note of 4 MB. Meanwhile a client of another address asks on one kept
connection: what it sees is what counts, beside the memory of all processes. Every part is bounded in count
and time, and none leaves 127.0.0.0/8. Needs the command `openssl` for a certificate.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from benchmarks.serve_clients import Outcomes, Target, load, read_answer, watch_memory
from benchmarks.serve_load import CLIENTS, REQUEST_HEAD, make_requests, start_service
from sympress.extract.workers import usable_cores
from sympress.files import write_json
from sympress.provenance import environment
from sympress.runtime.artifact import BOX_FOLDER

#: The last parts of the addresses that the attackers and the other client have; the load takes 1 and above.
_OTHER, _MANY, _LONG, _UNREADING, _HANDSHAKES = 100, 101, 102, 110, 120
_SECONDS = 8.0
_PACE_SECONDS = 0.1
#: How a client notices that its connection is refused or cut.
_REFUSED = (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, TimeoutError)


def request(text: str) -> bytes:
    """A request for one note."""
    body = json.dumps({"text": text}).encode()
    return REQUEST_HEAD % len(body) + body


@asynccontextmanager
async def _other_client(target: Target, seen: Outcomes) -> AsyncIterator[None]:
    """Somebody who asks for a short note every `_PACE_SECONDS` on a kept connection, until the block ends."""
    ended = asyncio.Event()

    async def ask() -> None:
        short = request("c/o fever and chills, denies cough")
        while not ended.is_set():
            try:
                async with target.connect(_OTHER) as (reader, writer):
                    closing = False
                    while not closing and not ended.is_set():
                        began = time.monotonic()
                        writer.write(short)
                        status, closing, _ = await read_answer(reader)
                        seen.statuses[status] += 1
                        if status == 200:
                            seen.latencies_ms.append((time.monotonic() - began) * 1000)
                        await asyncio.sleep(_PACE_SECONDS)
            except _REFUSED:
                seen.unanswered += 1
                await asyncio.sleep(_PACE_SECONDS)

    asking, watching = asyncio.create_task(ask()), asyncio.create_task(watch_memory(target, seen))
    try:
        yield
    finally:
        watching.cancel()
        ended.set()
        await asking


async def no_attack() -> dict[str, Any]:
    """Nothing: what the other client sees without an attack."""
    await asyncio.sleep(_SECONDS)
    return {}


async def overload(target: Target, rate: float) -> dict[str, Any]:
    """Three times as many requests as the service answers."""
    return await load(target, 3 * CLIENTS, 3 * rate, _SECONDS)


async def unfinished_handshakes(target: Target, count: int = 1750) -> dict[str, Any]:
    """Connections that begin a TLS handshake, or not even that, and never end it."""
    async with AsyncExitStack() as stack:
        opened = 0
        for at in range(count):
            source = _HANDSHAKES + at // 100
            with suppress(*_REFUSED):
                _, writer = await stack.enter_async_context(target.connect(source, plain=True))
                writer.write(b"\x16\x03\x01\x02" * (at % 2))
                opened += 1
        await asyncio.sleep(_SECONDS)
    return {"connections": opened}


async def unread_answers(target: Target, count: int = 71) -> dict[str, Any]:
    """Clients that ask for a large answer and read none of it."""
    large = request("fever, cough, chills and rash. " * 4000)

    async def ask(at: int) -> None:
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            with suppress(*_REFUSED):
                async with target.connect(_UNREADING + at % 4) as (reader, writer):
                    cast("asyncio.ReadTransport", writer.transport).pause_reading()
                    writer.write(large)
                    while time.monotonic() < until and not reader.at_eof():
                        await asyncio.sleep(0.5)

    await asyncio.gather(*(ask(at) for at in range(count)))
    return {"connections": count, "note_characters": len("fever, cough, chills and rash. ") * 4000}


async def idle_connections(target: Target, count: int = 1000) -> dict[str, Any]:
    """Connections of one client that say nothing."""
    async with AsyncExitStack() as stack:
        opened = 0
        for _ in range(count):
            with suppress(*_REFUSED):
                await stack.enter_async_context(target.connect(_MANY, plain=True))
                opened += 1
        await asyncio.sleep(_SECONDS)
    return {"connections": opened}


async def long_notes(target: Target, texts: Sequence[str]) -> dict[str, Any]:
    """Notes of nearly 4 MB, one after another: what each is answered, and how soon."""
    answers = []
    for text in texts:
        began = time.monotonic()
        try:
            async with target.connect(_LONG) as (reader, writer):
                writer.write(request(text))
                answer = await read_answer(reader)
        except _REFUSED:
            told: dict[str, Any] = {"status": None}
        else:
            failure = json.loads(answer.body)["notes"][0]["failure"] if answer.status == 200 else None
            told = {"status": answer.status, "failure": failure}
        answers.append({"text": text[:8]} | told | {"seconds": round(time.monotonic() - began, 1)})
    return {"characters": len(texts[0]), "answers": answers}


async def attack(target: Target) -> dict[str, Any]:
    """Every part in turn, and SIGTERM while a long note runs and answers are unread."""
    found = await load(target, CLIENTS, None, 4)
    rate = found["answered_per_second"]
    worst = [(text * 3_900_000)[:3_900_000] for text in ("tic ", "no fever ", "fever, ", "a ")]
    parts: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "no_attack": no_attack,
        "three_times": lambda: overload(target, rate),
        "unfinished_handshakes": lambda: unfinished_handshakes(target),
        "unread_answers": lambda: unread_answers(target),
        "thousand_connections": lambda: idle_connections(target),
        "long_notes": lambda: long_notes(target, worst),
    }
    results: dict[str, Any] = {"rate_per_second": rate}
    for name, part in parts.items():
        seen, began = Outcomes(memory=[target.memory()]), time.monotonic()
        async with _other_client(target, seen):
            told = await part()
        results[name] = told | {"other_client": seen.summary(time.monotonic() - began)}
    return results | {"stop": await _stop(target, worst[1])}


async def _stop(target: Target, text: str) -> dict[str, Any]:
    running = asyncio.create_task(long_notes(target, [text]))
    unread = asyncio.create_task(unread_answers(target, 8))
    await asyncio.sleep(2)
    target.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    code = await asyncio.to_thread(target.process.wait, 60)
    seconds = round(time.monotonic() - began, 1)
    await asyncio.gather(running, unread, return_exceptions=True)
    return {"exit_code": code, "seconds": seconds}


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody signed, and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    names = [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run([*made, *names], check=True, capture_output=True)  # noqa: S603  our own command
    return certificate, key


def main(arguments: Sequence[str] | None = None) -> None:
    """Attack and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BOX_FOLDER)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = make_certificate(Path(folder))
        options = ["--tls-certificate", str(certificate), "--tls-key", str(key)]
        process, port = start_service(given.model, 1, *options)
        trusted = ssl.create_default_context(cafile=str(certificate))
        try:
            results = asyncio.run(attack(Target(process, port, make_requests(), trusted)))
        finally:
            process.kill()
            process.wait()
    where = environment() | {"cores_shared_with_clients": usable_cores(), "threads": 1}
    write_json(given.output, {"format": 1, "model": given.model.name} | results | {"environment": where})


if __name__ == "__main__":
    main()
