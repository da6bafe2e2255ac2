"""Load on a real `sympress serve`: `python -m benchmarks.serve_load --model DIR -o results/serve.json`.

Starts the service as a process of its own on loopback, and measures in turn: how many requests it answers
when 64 clients never pause; 64 clients at half of that, or at `--rate`; three times that rate; whether it
recovers; many slow connections; bodies of a gigabyte; and SIGTERM under load. Notes are of 50 to 5,000
characters, uniformly, cut from synthetic ones. The clients take part of the same cores.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.serve_clients import Outcomes, Target, client, load, read_answer
from sympress.errors import SympressError
from sympress.extract.workers import usable_cores
from sympress.files import write_json
from sympress.notes.synthesize import synthesize
from sympress.provenance import environment

CLIENTS = 64
_SHORTEST, _LONGEST = 50, 5000
REQUEST_HEAD = (
    b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
_HUGE_BYTES = 1_000_000_000


async def slow_connections(
    target: Target, rate: float, count: int = 400, seconds: float = 15
) -> dict[str, Any]:
    """What the 64 clients see while `count` connections send a head one byte a second."""

    async def dribble(at: int) -> bool:
        async with target.connect(11 + at // 100) as (reader, writer):
            with suppress(ConnectionError):
                for byte in REQUEST_HEAD[: int(seconds)]:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    if await _closed(reader, 1.0):
                        return True
        return False

    dribbling = asyncio.gather(*(dribble(at) for at in range(count)))
    seen = await load(target, CLIENTS, rate, seconds)
    return {"connections": count, "cut": sum(await dribbling), "clients": seen}


async def _closed(reader: asyncio.StreamReader, seconds: float) -> bool:
    try:
        return await asyncio.wait_for(reader.read(1), seconds) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def huge_bodies(target: Target) -> dict[str, Any]:
    """What two bodies of a gigabyte do, one announced and one in chunks: the status and the memory."""
    before = target.memory().rss
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    chunked = REQUEST_HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked")
    statuses = [
        await _pour(target, REQUEST_HEAD % _HUGE_BYTES, b" " * 65_536),
        await _pour(target, chunked, chunk),
    ]
    grown = target.memory().rss - before
    return {"bytes": _HUGE_BYTES, "statuses": statuses, "rss_grew_mb": round(grown / 1e6, 1)}


async def _pour(target: Target, head: bytes, part: bytes) -> int:
    async with target.connect() as (reader, writer):
        answer = asyncio.create_task(read_answer(reader))
        writer.write(head)
        for _ in range(_HUGE_BYTES // 65_536):
            if answer.done():
                break
            with suppress(ConnectionError):
                writer.write(part)
                await writer.drain()
        return (await answer)[0]


async def stop_under_load(target: Target, rate: float) -> dict[str, Any]:
    """What clients see of SIGTERM in the middle of their requests; refused connections were not accepted."""
    seen = Outcomes()
    until = time.monotonic() + 6
    clients = [
        asyncio.create_task(client(target, seen, CLIENTS / rate, until, seed)) for seed in range(CLIENTS)
    ]
    await asyncio.sleep(2)
    target.process.send_signal(signal.SIGTERM)
    ended = await asyncio.gather(*clients, return_exceptions=True)
    refused = sum(isinstance(end, ConnectionRefusedError) for end in ended)
    began = time.monotonic()
    code = await asyncio.to_thread(target.process.wait, 40)
    return {
        "answered": dict(seen.statuses),
        "accepted_but_unanswered": seen.unanswered,
        "clients_refused_a_new_connection": refused,
        "other_failures": sum(end is not None for end in ended) - refused,
        "exit_code": code,
        "seconds_until_exit_after_last_answer": round(time.monotonic() - began, 1),
    }


def make_requests(count: int = 2000) -> list[tuple[bytes, int]]:
    """Requests of one note each and the characters of the note, 50 to 5,000, uniformly."""
    chance = random.Random(0)  # noqa: S311  no secret
    text = "\n".join(synthesize(600).frame["text"].to_list())
    made = []
    for _ in range(count):
        length = chance.randint(_SHORTEST, _LONGEST)
        start = chance.randrange(len(text) - length)
        body = json.dumps({"text": text[start : start + length]}, ensure_ascii=False).encode()
        made.append((REQUEST_HEAD % len(body) + body, length))
    return made


def start_service(model: Path, threads: int, *options: str) -> tuple[subprocess.Popen[bytes], int]:
    """`sympress serve` on a free port of loopback, ready to answer.

    Raises:
        SympressError: it ended before it was ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "sympress", "serve", "--model", str(model), "--port", str(port)]
    process = subprocess.Popen(  # noqa: S603  our own command
        [*command, "--threads", str(threads), *options], stderr=subprocess.DEVNULL
    )
    while process.poll() is None:
        with suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), 1):
            return process, port
        time.sleep(0.05)
    raise SympressError(f"{model}: the service ended before it was ready ({process.returncode})")


async def measure(target: Target, rate: float | None, seconds: float) -> dict[str, Any]:
    """Every phase in turn; the last one stops the service."""
    await load(target, 8, None, 2)  # warm up
    results: dict[str, Any] = {"closed_loop": await load(target, CLIENTS, None, 10)}
    stated = rate or round(0.5 * results["closed_loop"]["answered_per_second"], 1)
    phases: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
        "stated": lambda: load(target, CLIENTS, stated, seconds),
        "three_times": lambda: load(target, 3 * CLIENTS, 3 * stated, seconds / 3),
        "recovered": lambda: load(target, CLIENTS, stated, 10),
        "slow_connections": lambda: slow_connections(target, stated),
        "huge_bodies": lambda: huge_bodies(target),
        "stop": lambda: stop_under_load(target, stated),
    }
    for name, phase in phases.items():
        results[name] = await phase()
    return {"rate_per_second": stated} | results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, help="requests a second; half of what was found unless given")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    process, port = start_service(given.model, given.threads)
    try:
        results = asyncio.run(measure(Target(process, port, make_requests()), given.rate, given.seconds))
    finally:
        process.kill()
    where = environment() | {"cores_shared_with_clients": usable_cores(), "threads": given.threads}
    notes = "synthetic, 50 to 5,000 characters"
    write_json(
        given.output,
        {"format": 1, "model": given.model.name, "notes": notes} | results | {"environment": where},
    )


if __name__ == "__main__":
    main()
