"""The clients of both benchmarks: requests over plain connections, and what came of them."""

from __future__ import annotations

import asyncio
import random
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psutil

#: Clients of one address; the service limits them.
_PER_ADDRESS = 64


class Memory(NamedTuple):
    """Bytes of all processes of the service: `rss` counts pages that they share in each, `pss` once."""

    rss: int
    pss: int


@dataclass
class Outcomes:
    """What the clients saw: statuses, the latencies of the answers 200, requests without an answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    unanswered: int = 0
    characters: int = 0
    memory: list[Memory] = field(default_factory=list)

    def summary(self, seconds: float) -> dict[str, Any]:
        """Rates, quantiles and memory as plain values."""
        ordered = sorted(self.latencies_ms)
        quantiles = {
            f"p{share * 100:g}_ms": round(ordered[min(int(share * len(ordered)), len(ordered) - 1)], 1)
            for share in (0.5, 0.95, 0.99, 1.0)
            if ordered
        }
        return {
            "seconds": round(seconds, 1),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "answered_per_second": round(self.statuses[200] / seconds, 1),
            "characters_per_second": round(self.characters / seconds),
            "server_errors": sum(count for status, count in self.statuses.items() if status >= 500),
            "unanswered": self.unanswered,
            **quantiles,
            "rss_mb": _course([one.rss for one in self.memory]),
            "pss_mb": _course([one.pss for one in self.memory]),
        }


def _course(seen: Sequence[int]) -> dict[str, float]:
    """Memory at first, at last and at most, in 10⁶ bytes."""
    course = {"first": seen[0], "last": seen[-1], "peak": max(seen)}
    return {name: round(value / 1e6, 1) for name, value in course.items()}


@dataclass
class Target:
    """The running service and the requests to send."""

    process: subprocess.Popen[bytes]
    port: int
    requests: list[tuple[bytes, int]]
    tls: ssl.SSLContext | None = None

    def memory(self) -> Memory:
        """Resident memory now of all processes of the service."""
        root, rss, pss = psutil.Process(self.process.pid), 0, 0
        for one in (root, *root.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                told = one.memory_full_info()
                rss, pss = rss + told.rss, pss + told.pss
        return Memory(rss, pss)

    @asynccontextmanager
    async def connect(
        self, source: int = 1, *, plain: bool = False
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection from the address 127.0.0.`source`, closed at the end; `plain` begins no TLS."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=None if plain else self.tls, local_addr=(f"127.0.0.{source}", 0)
        )
        try:
            yield reader, writer
        finally:
            writer.close()


class Answer(NamedTuple):
    """An answer, and whether the connection ends with it."""

    status: int
    closing: bool
    body: bytes


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lower = head.lower()
    body = await reader.readexactly(int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    return Answer(int(head[9:12]), b"connection: close" in lower, body)


async def client(target: Target, seen: Outcomes, pace_seconds: float, until: float, seed: int) -> None:
    """Send requests, one every `pace_seconds` (or as fast as they are answered) until the clock `until`."""
    chance = random.Random(seed)  # noqa: S311  no secret
    due = time.monotonic() + chance.random() * pace_seconds
    while due < until:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        async with target.connect(1 + seed // _PER_ADDRESS) as (reader, writer):
            closing = False
            while not closing and due < until and not reader.at_eof():
                closing = await _ask(target, seen, reader, writer, chance)
                due = max(due + pace_seconds, time.monotonic() - pace_seconds)
                await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _ask(
    target: Target,
    seen: Outcomes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    chance: random.Random,
) -> bool:
    request, characters = chance.choice(target.requests)
    began = time.monotonic()
    writer.write(request)
    try:
        status, closing, _ = await read_answer(reader)
    except (asyncio.IncompleteReadError, ConnectionError):
        seen.unanswered += 1
        return True
    seen.statuses[status] += 1
    if status == 200:
        seen.latencies_ms.append((time.monotonic() - began) * 1000)
        seen.characters += characters
    return closing


async def load(target: Target, clients: int, rate: float | None, seconds: float) -> dict[str, Any]:
    """What `clients` see in `seconds`, at `rate` requests a second over all of them, or without a pause."""
    seen, began = Outcomes(), time.monotonic()
    pace = clients / rate if rate else 0.0
    watching = asyncio.create_task(watch_memory(target, seen))
    await asyncio.gather(*(client(target, seen, pace, began + seconds, seed) for seed in range(clients)))
    watching.cancel()
    offered = {"clients": clients, "offered_per_second": round(rate, 1) if rate else None}
    return offered | seen.summary(time.monotonic() - began)


async def watch_memory(target: Target, seen: Outcomes) -> None:
    """Note the memory of the service until cancelled."""
    while True:
        seen.memory.append(target.memory())
        await asyncio.sleep(0.2)
