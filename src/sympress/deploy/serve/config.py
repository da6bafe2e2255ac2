"""Every limit of the service, with its unit and its default, in one place."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class ServeConfig(BaseModel):
    """How the service listens, and the most that it takes.

    Attributes:
        host: address to listen on; anything that is not loopback needs an API key.
        port: TCP port; 0 takes a free one.
        threads: batches that run at the same time, one core and one process of each model each.
        batch_notes: most notes in a batch.
        batch_characters: most characters in a batch, unless its only note is longer.
        batch_ms: how long a batch may take in the model, judged by the rate of late, unless it is one note.
        queue_notes: most notes that wait for a thread; a request beyond is answered 429.
        queue_characters: most characters that wait. An empty queue takes any request.
        request_notes: most notes in one request.
        body_bytes: largest body of a request.
        uploads_bytes: most bytes of bodies being read at the same time, over all connections.
        answer_bytes: largest answer to a request.
        answers_bytes: most bytes of answers being sent at the same time; beyond, clients that do not read
            theirs are cut.
        note_mentions: most mentions of one note.
        note_bytes: most memory that one note may take beside the loaded artifact.
        load_seconds: most time that an artifact may take to load and to answer once.
        request_seconds: most time from a body's last byte to its answer.
        body_seconds: most time that a body may take to arrive.
        header_seconds: most time that a request's head may take to arrive.
        idle_seconds: how long a connection may lie idle between requests.
        unread_seconds: how long a client may read nothing of an answer that waits for it.
        connections: most open connections; one beyond is closed at once.
        client_connections: most open connections of one client address, or of one IPv6 network of 64 bits.
        drain_seconds: most time a stopping server gives to the requests it took.
        allowed_hosts: names that a request's Host header may carry beside the loopback names.
        certificate: PEM file with the certificate chain; turns TLS on.
        private_key: PEM file with its key.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    threads: PositiveInt = 1
    batch_notes: PositiveInt = 32
    batch_characters: PositiveInt = 65_536
    batch_ms: PositiveFloat = 100.0
    queue_notes: PositiveInt = 128
    queue_characters: PositiveInt = 1_000_000
    request_notes: PositiveInt = 256
    body_bytes: PositiveInt = 4 * 1024 * 1024
    uploads_bytes: PositiveInt = 32 * 1024 * 1024
    answer_bytes: PositiveInt = 16 * 1024 * 1024
    answers_bytes: PositiveInt = 32 * 1024 * 1024
    note_mentions: PositiveInt = 10_000
    note_bytes: PositiveInt = 160_000_000
    load_seconds: PositiveFloat = 60.0
    request_seconds: PositiveFloat = 10.0
    body_seconds: PositiveFloat = 10.0
    header_seconds: PositiveFloat = 5.0
    idle_seconds: PositiveInt = 15
    unread_seconds: PositiveFloat = 5.0
    connections: PositiveInt = 512
    client_connections: PositiveInt = 128
    drain_seconds: PositiveInt = 30
    allowed_hosts: tuple[str, ...] = ()
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def note_seconds(self) -> float:
        """Most time for one note: so short that those behind it are answered in time by the next process."""
        return 0.3 * self.request_seconds

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether `host` names the machine itself: `localhost`, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
