"""OpenTelemetry traces: a span for each request and each wait for the model, without a word of a client.

Attributes are the method, a route of ours, the status, the name of a served model, and counts. Of a client's
headers only the ids and the flags of `traceparent` are read (W3C Trace Context); exceptions, whose messages
may quote a note, are not recorded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any

from sympress.errors import MissingExtraError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

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
