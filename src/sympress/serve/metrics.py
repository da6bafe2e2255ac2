"""Structured logs, Prometheus metrics and traces; none ever holds note text or what a client sent."""

from __future__ import annotations

import importlib.util
import logging
import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import structlog
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from structlog.typing import FilteringBoundLogger

from sympress.errors import MissingExtraError
from sympress.labels.mentions import Assertion

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer


# Structured logs, one JSON object a line. Never note text, nor a path or a header that a client chose.


#: How often the same warning of uvicorn, asyncio or the listener is written at most.
SPARING_SECONDS = 10.0


def open_log(stream: TextIO | None = None) -> FilteringBoundLogger:
    """A logger that writes to `stream`, standard error unless told otherwise."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream or sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return logger


def failure_place(error: BaseException) -> dict[str, str]:
    """The type of `error` and the line that raised it. Not its message, which may quote a note."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "unknown"
    return {"error": type(error).__name__, "place": place}


class UvicornHandler(logging.Handler):
    """Passes on what uvicorn logs: the fixed part of its warnings, and where an error arose.

    The values that fill a message are left out, since a client may have chosen them.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._log = SparingLog(log)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        raised = record.exc_info[1] if record.exc_info else None
        shown = "failed" if raised else str(record.msg).split("\n", maxsplit=1)[0]
        self._log.warning("uvicorn", message=shown, **(failure_place(raised) if raised else {}))


class SparingLog:
    """Writes what is said over and over once in `SPARING_SECONDS`, with how often it was left out since."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._said: dict[tuple[Any, ...], float] = {}
        self._left_out: Counter[tuple[Any, ...]] = Counter()

    def warning(self, event: str, **fields: Any) -> None:
        """Write `event`, or count it; the values of `fields` must be few."""
        key, now = (event, *sorted(fields.items())), time.monotonic()
        if now - self._said.get(key, -math.inf) < SPARING_SECONDS:
            self._left_out[key] += 1
            return
        self._said[key] = now
        left_out = self._left_out.pop(key, 0)
        self._log.warning(event, **fields, **({"left_out": left_out} if left_out else {}))


def route_uvicorn(log: FilteringBoundLogger) -> None:
    """Let everything that uvicorn, asyncio and OpenTelemetry log go through `log`, and nowhere else."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "opentelemetry"):
        logger = logging.getLogger(name)
        logger.handlers = [] if name.startswith("uvicorn.") else [UvicornHandler(log)]
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(logging.WARNING)


# What Prometheus reads: counts, times and sizes. No label ever holds what a client sent.


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
#: Symptoms of a model that are counted by name, so that a lexicon of thousands makes no thousands of series.
SYMPTOMS_MOST = 512
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NOTES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The service's own registry, so that two services in one process do not share counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        count = partial(PrometheusCounter, registry=registry)
        spread = partial(Histogram, registry=registry)
        self.requests = count("sympress_requests_total", "Requests answered.", ["route", "method", "status"])
        self.seconds = spread(
            "sympress_request_seconds",
            "Time from a request's head to its answer.",
            ["route"],
            buckets=_SECONDS,
        )
        self.notes = count("sympress_notes_total", "Notes answered.", ["model"])
        self.characters = count("sympress_characters_total", "Characters of the notes answered.", ["model"])
        self.failures = count("sympress_note_failures_total", "Notes that a model failed on.", ["model"])
        self.findings = count(
            "sympress_findings_total",
            "What was found in the notes answered, by symptom and assertion.",
            ["model", "symptom", "assertion"],
        )
        self._symptoms: dict[str, set[str]] = {}
        self.line_errors = count(
            "sympress_line_errors_total", "Lines of NDJSON answered with an error.", ["code"]
        )
        self.expired = count("sympress_expired_notes_total", "Notes dropped because nobody waits any more.")
        self.batch_notes = spread("sympress_batch_notes", "Notes in a batch.", ["model"], buckets=_NOTES)
        self.batch_seconds = spread(
            "sympress_batch_seconds", "Time that a batch took in the model.", ["model"], buckets=_SECONDS
        )
        self.shed = count("sympress_shed_total", "Requests answered 429, by what was full.", ["full"])
        self.reloads = count("sympress_reloads_total", "Reloads of an artifact.", ["model", "outcome"])
        self.connections_cut = count(
            "sympress_connections_cut_total", "Connections that were cut, by reason.", ["reason"]
        )

    def watch(self, name: str, documentation: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read whenever Prometheus asks."""
        Gauge(name, documentation, registry=self.registry).set_function(read)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer; `route` is a template of ours, never a path that a client wrote."""
        known = method if method in METHODS else "other"
        self.requests.labels(route, known, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def count_findings(self, model: str, found: Iterable[tuple[str | None, Assertion, int]]) -> None:
        """Count what was found in a note; of more than `SYMPTOMS_MOST` symptoms a model, as `other`.

        Symptoms are those of an artifact's own list, never words of a note.
        """
        known = self._symptoms.setdefault(model, set())
        for symptom, assertion, count in found:
            if symptom is not None and symptom not in known and len(known) < SYMPTOMS_MOST:
                known.add(symptom)
            name = "unnamed" if symptom is None else symptom if symptom in known else "other"
            self.findings.labels(model, name, assertion).inc(count)

    def render(self) -> tuple[bytes, str]:
        """The exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


# OpenTelemetry traces: a span for each request and each wait for the model, without a word of a client.
# Attributes are the method, a route of ours, the status, the name of a served model, and counts. Of a
# client's headers only the ids and the flags of `traceparent` are read (W3C Trace Context); exceptions, whose
# messages may quote a note, are not recorded.


_SERVICE = "sympress"


class Traces:
    """Makes spans, or nothing where no provider is given.

    Attributes:
        provider: of the spans; None for no traces.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self.provider = provider
        self._tracer: Tracer | None = None
        if provider is not None:
            self._tracer = provider.get_tracer(_SERVICE, metadata.version("sympress"))

    @contextmanager
    def request(self, method: str, headers: Mapping[bytes, bytes]) -> Iterator[Span | None]:
        """The span of a request, a child of what its `traceparent` names."""
        if self._tracer is None:
            yield None
            return
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = headers.get(b"traceparent", b"").decode("latin-1")
        context = TraceContextTextMapPropagator().extract({"traceparent": parent})
        with self._tracer.start_as_current_span(
            method,
            context,
            SpanKind.SERVER,
            {"http.request.method": method},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def answered(self, span: Span | None, method: str, route: str, status: int) -> None:
        """Note how the request of `span` was answered."""
        if span is None:
            return
        from opentelemetry.trace import Status, StatusCode

        span.update_name(f"{method} {route}")
        span.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))

    @contextmanager
    def step(self, name: str, **counts: str | int) -> Iterator[None]:
        """A span within the request's; `counts` become attributes, as `sympress.notes`."""
        if self._tracer is None:
            yield
            return
        attributes: dict[str, Any] = {f"sympress.{key}": value for key, value in counts.items()}
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ):
            yield

    def close(self) -> None:
        """Send what was not sent yet."""
        if self.provider is not None:
            self.provider.shutdown()


def open_traces(*, wanted: bool) -> Traces:
    """Traces that go where `OTEL_EXPORTER_OTLP_ENDPOINT` says (OTLP over HTTP), if they are wanted.

    The other variables of OpenTelemetry hold too, such as `OTEL_TRACES_SAMPLER` and `OTEL_SERVICE_NAME`.

    Raises:
        MissingExtraError: the extra `otel` is not installed.
    """
    if not wanted:
        return Traces()
    for module, package in (
        ("opentelemetry.sdk.trace", "opentelemetry-sdk"),
        ("opentelemetry.exporter.otlp.proto.http", "opentelemetry-exporter-otlp-proto-http"),
    ):
        if not _is_installed(module):
            raise MissingExtraError("otel", package)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource({SERVICE_NAME: _SERVICE}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Traces(provider)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
