"""What Prometheus reads: counts, times and sizes. No label ever holds what a client sent."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NOTES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The service's own registry, so that two services in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "sympress_requests_total", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.seconds = Histogram(
            "sympress_request_seconds",
            "Time from a request's head to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.notes = Counter("sympress_notes_total", "Notes answered.", ["model"], registry=registry)
        self.characters = Counter(
            "sympress_characters_total", "Characters of the notes answered.", ["model"], registry=registry
        )
        self.failures = Counter(
            "sympress_note_failures_total", "Notes that a model failed on.", ["model"], registry=registry
        )
        self.expired = Counter(
            "sympress_expired_notes_total", "Notes dropped because nobody waits any more.", registry=registry
        )
        self.batch_notes = Histogram(
            "sympress_batch_notes", "Notes in a batch.", ["model"], buckets=_NOTES, registry=registry
        )
        self.batch_seconds = Histogram(
            "sympress_batch_seconds",
            "Time that a batch took in the model.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.shed = Counter(
            "sympress_shed_total", "Requests answered 429, by what was full.", ["full"], registry=registry
        )
        self.reloads = Counter(
            "sympress_reloads_total", "Reloads of an artifact.", ["model", "outcome"], registry=registry
        )
        self.connections_cut = Counter(
            "sympress_connections_cut_total",
            "Connections that were cut, by reason.",
            ["reason"],
            registry=registry,
        )

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read whenever Prometheus asks."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template of ours, never a path that a client wrote."""
        known = method if method in METHODS else "other"
        self.requests.labels(route, known, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def render(self) -> tuple[bytes, str]:
        """The exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
