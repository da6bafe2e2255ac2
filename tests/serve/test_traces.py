"""OpenTelemetry traces: what a span says, and that no client has a word in one."""

from __future__ import annotations

import sys
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("opentelemetry.sdk.trace", reason="needs the extra otel")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from serving import WordModel, running

from sympress.errors import MissingExtraError
from sympress.serve.metrics import Traces, open_traces
from sympress.serve.server import _greeting

CANARY = "Zyxwv-Canary-90210"
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Any:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return exporter, Traces(provider)


def test_a_request_is_a_span_with_the_wait_for_the_model_within(spans: Any):
    exporter, traces = spans
    with running(traces=traces) as service, service.client() as client:
        client.post("/v1/extract", json={"text": "fever"}, headers={"traceparent": PARENT})
    model, request = exporter.get_finished_spans()
    assert (model.name, request.name) == ("model", "POST /v1/extract")
    assert dict(model.attributes) == {
        "sympress.model": "words",
        "sympress.notes": 1,
        "sympress.characters": 5,
    }
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/extract",
        "http.response.status_code": 200,
    }
    assert model.parent.span_id == request.context.span_id
    assert f"{request.context.trace_id:032x}" == PARENT.split("-")[1]


def test_no_span_shows_what_a_client_sent(spans: Any):
    exporter, traces = spans
    model = WordModel()
    headers = {"traceparent": CANARY, "tracestate": f"a={CANARY}", "baggage": f"a={CANARY}"}
    with running({"words": model}, traces=traces) as service, service.client(headers=headers) as client:
        client.get(f"/{CANARY}?{CANARY}")
        client.request(CANARY, "/v1/extract")
        client.post("/v1/extract", json={"text": CANARY, "id": CANARY}, headers={"traceparent": PARENT})
        line = f'{{"text": "{CANARY}"}}'.encode()
        client.post("/v1/extract", content=line, headers={"Content-Type": "application/x-ndjson"})
        model.broken = True
        client.post("/v1/extract", json={"text": CANARY})
    told = [span.to_json() for span in exporter.get_finished_spans()]
    assert len(told) == 8
    assert not [one for one in told if CANARY.lower() in one.lower()]
    assert exporter.get_finished_spans()[-1].status.is_ok is False


def test_without_the_extra_the_command_is_named(monkeypatch: pytest.MonkeyPatch):
    assert open_traces(wanted=False).provider is None
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto", None)
    with pytest.raises(MissingExtraError, match=r"run  pip install 'sympress\[otel\]'"):
        open_traces(wanted=True)


def test_a_person_at_a_terminal_is_told_in_a_line_what_to_do():
    line = _greeting("http://127.0.0.1:8000", key=True)
    assert "\n" not in line
    assert line.startswith("Open http://127.0.0.1:8000 in a browser")
    assert "-H 'X-API-Key: KEY' http://127.0.0.1:8000/v1/extract" in line
