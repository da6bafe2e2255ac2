"""Requests of NDJSON: answers in order as they come, errors a line each, and limits of their own."""

from __future__ import annotations

import concurrent.futures
import json
import signal
import socket
import threading
import time
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from serving import Running, WordModel, running

NDJSON = {"Content-Type": "application/x-ndjson"}
CANARY = "Zyxwv-Canary-90210"


def lines_of(*notes: Any) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in notes)


def send(service: Running, body: bytes, **headers: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/v1/extract", content=body, headers=NDJSON | headers)


def read(answer: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.text.splitlines()]


def test_each_line_is_answered_in_order_and_a_failed_line_has_its_own_error():
    with running({"words": WordModel(), "other": WordModel()}) as service:
        body = lines_of(
            {"id": "a", "text": "fever"},
            b"",
            {"text": "denies cough", "model": "other"},
            b"nonsense",
            {"id": "c", "text": 5},
            {"id": "d", "text": "", "model": "?"},
            {"id": "e", "text": "too strange"},
        ).rstrip()
        answer = send(service, body)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson")
        found = read(answer)
        with service.client() as client:
            metrics = client.get("/metrics").text
    assert [one["id"] for one in found] == ["a", None, None, None, "d", "e"]
    assert [one.get("model") for one in found[:2]] == ["words", "other"]
    assert [one["mentions"][0]["assertion"] for one in found[:2]] == ["present", "absent"]
    assert [one["error"] for one in found[2:]] == [
        {"code": "invalid_line", "message": "line 4: the line is not JSON in UTF-8"},
        {
            "code": "invalid_line",
            "message": "line 5: text: input should be a valid string; send {'id', 'text'}",
        },
        {"code": "unknown_model", "message": "line 6: no model has that name; served are: words, other"},
        {"code": "note_failed", "message": "line 7: the model failed (ValueError)"},
    ]
    assert 'sympress_line_errors_total{code="invalid_line"} 2.0' in metrics


def test_an_answer_is_sent_before_the_next_note_is_answered():
    gate = threading.Event()

    class Waiting(WordModel):
        def answer(self, note: str) -> Any:
            if "second" in note:
                assert gate.wait(10)
            return super().answer(note)

    with running({"words": Waiting()}, batch_notes=1) as service, service.client() as client:
        body = lines_of({"text": "fever"}, {"text": "second cough"})
        with client.stream("POST", "/v1/extract", content=body, headers=NDJSON) as answer:
            lines = answer.iter_lines()
            assert json.loads(next(lines))["symptoms"][0]["symptom"] == "fever"
            gate.set()
            assert json.loads(next(lines))["symptoms"][0]["symptom"] == "cough"


def test_many_notes_pass_a_small_queue_and_others_are_answered_between_them():
    model = WordModel(note_seconds=0.004)
    with (
        running({"words": model}, queue_notes=16) as service,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        service.client() as client,
    ):
        long = pool.submit(send, service, lines_of(*({"id": str(at), "text": "fever"} for at in range(300))))
        took = []
        while not long.done():
            began = time.monotonic()
            assert client.post("/v1/extract", json={"text": "cough"}).status_code == 200
            took.append(time.monotonic() - began)
        found = read(long.result())
    assert [one["id"] for one in found] == [str(at) for at in range(300)]
    assert not [one for one in found if "error" in one]
    assert sorted(took)[len(took) // 2] < 0.25


def test_refusals_of_a_whole_request_have_a_status():
    with running(lines=2, line_requests=1, body_mb=0.001, queue_notes=1) as service:
        assert send(service, b"\n \n").json()["error"]["code"] == "invalid_request"
        assert send(service, b"{}\n" * 3).json()["error"]["code"] == "too_many_notes"
        assert send(service, b" " * 1001).status_code == 413
    with (
        running({"slow": WordModel(seconds=0.5)}, line_requests=1) as service,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(send, service, lines_of({"text": "fever"}, {"text": "fever"}))
        time.sleep(0.2)
        second = send(service, lines_of({"text": "fever"}))
        assert (second.status_code, second.headers["Retry-After"]) == (429, "1")
        assert first.result().status_code == 200


def test_a_note_that_takes_too_long_costs_its_line_alone():
    class Slow(WordModel):
        def __call__(self, notes: Any) -> Any:
            time.sleep(0.8 if "slow" in notes[0] else 0)
            return super().__call__(notes)

    with running({"words": Slow()}, request_seconds=0.4, batch_notes=1, queue_notes=16) as service:
        found = read(send(service, lines_of({"text": "slow"}, {"text": "fever"}, {"text": "cough"})))
    assert found[0]["error"]["code"] == "too_slow"
    assert "error" not in found[-1] or found[-1]["error"]["code"] == "too_slow"
    assert len(found) == 3


def test_what_is_not_reached_in_time_or_before_a_stop_says_so():
    many = lines_of(*({"text": "fever"} for _ in range(100)))
    with running({"slow": WordModel(note_seconds=0.05)}, line_seconds=0.5) as service:
        codes = [one.get("error", {}).get("code") for one in read(send(service, many))]
    assert (codes[0], codes[-1], len(codes)) == (None, "too_slow", 100)
    with (
        running({"slow": WordModel(note_seconds=0.05)}) as service,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(send, service, many)
        time.sleep(0.4)
        service.server.handle_exit(signal.SIGTERM, None)
        codes = [one.get("error", {}).get("code") for one in read(asked.result())]
    assert (codes[0], codes[-1], len(codes)) == (None, "stopping", 100)


def test_a_client_that_goes_away_leaves_no_work_behind():
    model = WordModel(note_seconds=0.05)
    with running({"slow": model}) as service:
        body = lines_of(*({"text": "fever"} for _ in range(400)))
        head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n"
        port = int(service.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as connection:
            connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            connection.recv(100)
        time.sleep(1.0)
        answered = sum(model.batches)
        time.sleep(0.5)
        assert sum(model.batches) == answered < 100
        assert service.service.uploads.held_bytes == 0


def test_bodies_of_lines_leave_half_of_the_memory_to_others():
    with (
        running({"slow": WordModel(note_seconds=0.2)}, uploads_bytes=2000) as service,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        assert send(service, lines_of({"text": "x" * 1100})).status_code == 429
        asked = pool.submit(send, service, lines_of({"text": "x" * 700}, {"text": "fever"}))
        time.sleep(0.1)
        with service.client() as client:
            assert client.post("/v1/extract", json={"text": "x" * 900}).status_code == 200
        assert asked.result().status_code == 200


def test_no_log_metric_or_error_shows_a_line(capfd: pytest.CaptureFixture[str]):
    with running() as service:
        body = lines_of(
            CANARY.encode(), {"text": CANARY, CANARY: 1}, {"text": "", "model": CANARY}, {"time": CANARY}
        )
        seen = [send(service, body, Accept=kind).text for kind in ("*/*", "application/fhir+ndjson")]
        with service.client() as client:
            seen.append(client.get("/metrics").text)
    seen += [service.log.getvalue(), *capfd.readouterr()]
    assert not [text for text in seen if CANARY.lower() in text.lower()]
