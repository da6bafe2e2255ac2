"""The service over real connections: answers, refusals, limits, keys, reloading, stopping, and silence."""

from __future__ import annotations

import concurrent.futures
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
from serving import KEY, WORDS, Running, WordModel, running

from sympress.errors import InputError
from sympress.serve.auth import ApiKeys, read_keys
from sympress.serve.config import ServeConfig, is_loopback
from sympress.serve.forms import OneNote, parse_line, parse_request
from sympress.serve.models import parse_models
from sympress.serve.server import check_exposure, listen

JSON = {"Content-Type": "application/json"}
CANARY = "Zyxwv-Canary-90210"


@pytest.fixture(scope="module")
def service() -> Any:
    with running({"words": WordModel(), "other": WordModel(version=7)}, body_mb=0.1) as service:
        yield service


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert "\n" not in body["error"]["message"]
    return answer.status_code, body["error"]["code"], body["error"]["message"]


def talk(url: str, sent: bytes, *, wait: float = 5.0) -> bytes:
    """What the server sends until it closes the connection."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(sent)
        received = b""
        try:
            while part := connection.recv(65_536):
                received += part
        except ConnectionResetError:
            pass
        return received


def test_one_note_is_answered_with_symptoms_and_mentions(service: Running):
    with service.client() as client:
        answer = client.post("/v1/extract", json={"text": "fever, denies cough 🤒 chills"})
    assert answer.status_code == 200
    (note,) = answer.json()["notes"]
    assert [(found["symptom"], found["probability"]) for found in note["symptoms"]] == [
        ("fever", 0.9),
        ("chills", 0.9),
    ]
    assert [(found["start"], found["end"], found["assertion"]) for found in note["mentions"]] == [
        (0, 5, "present"),
        (14, 19, "absent"),
        (22, 28, "present"),  # characters, not UTF-16 units
    ]
    assert note["mentions"][0]["code"] == WORDS["fever"]


def test_several_notes_come_back_in_order_with_their_ids(service: Running):
    notes = [{"id": "b", "text": "cough"}, {"id": "a", "text": ""}, {"id": "b", "text": "too strange"}]
    with service.client() as client:
        answer = client.post("/v1/extract", json={"notes": notes, "model": "other"}).json()
    assert answer["model"] == "other"
    assert [note["id"] for note in answer["notes"]] == ["b", "a", "b"]
    assert [len(note["symptoms"]) for note in answer["notes"]] == [1, 0, 0]
    assert [note["failure"] for note in answer["notes"]] == [None, None, "the model failed (ValueError)"]


def test_models_and_probes(service: Running):
    with service.client() as client:
        models = client.get("/v1/models").json()["models"]
        assert [(model["name"], model["fingerprint"]) for model in models] == [
            ("words", "v1"),
            ("other", "v7"),
        ]
        assert client.get("/healthz").json() == {"status": "alive"}
        assert client.get("/readyz").json() == {"status": "ready"}
        metrics = client.get("/metrics").text
    assert 'sympress_requests_total{method="GET",route="/healthz",status="200"} 1.0' in metrics
    assert "sympress_queue_notes 0.0" in metrics


def test_a_models_symptoms_are_counted_in_the_list_of_models_and_named_page_by_page():
    many = {f"HP:{number:07}": f"sign number {number}" for number in range(18_500)}
    with running({"words": WordModel(names=many)}) as service, service.client() as client:
        listed = client.get("/v1/models")
        (model,) = listed.json()["models"]
        assert (model["symptom_count"], len(listed.content) < 1_000) == (18_503, True)
        address, found, pages = model["symptom_list"], [], 0
        while address:
            page = client.get(address).json()
            assert (page["model"], page["total"], page["offset"]) == ("words", 18_503, len(found))
            found, address, pages = found + page["symptoms"], page["next"], pages + 1
        assert pages == 19
        assert found[0] == {"symptom": "fever", "name": "fever"}  # its own come first
        assert {one["symptom"]: one["name"] for one in found} == many | {word: word for word in WORDS}
        behind = client.get("/v1/models/words/symptoms?offset=18503&limit=3").json()
        assert (behind["symptoms"], behind["next"]) == ([], None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=0", "limit: give a whole number from 1 to 1,000"),
        ("limit=1001", "limit: give a whole number from 1 to 1,000"),
        ("limit=1e3", "limit: give a whole number from 1 to 1,000"),
        ("offset=-1", "offset: give a whole number from 0 to 999,999,999"),
        ("offset=" + "9" * 500, "offset: give a whole number from 0 to 999,999,999"),
        ("offset=%D9%A1", "offset: give a whole number from 0 to 999,999,999"),  # a digit, but not of ours
    ],
)
def test_a_page_that_cannot_be_is_refused_without_quoting_it(service: Running, query: str, message: str):
    with service.client() as client:
        assert error_of(client.get(f"/v1/models/words/symptoms?{query}")) == (422, "invalid_request", message)
        assert error_of(client.get("/v1/models/none/symptoms"))[0] == 404


FORM = "; send {'text': …} or {'notes': [{'id', 'text'}]}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "the body is not JSON in UTF-8"),
        (b"", "the body is not JSON in UTF-8"),
        (b'{"text": "\xff"}', "the body is not JSON in UTF-8"),
        (b'{"text": "\\ud800}', "the body is not JSON in UTF-8"),
        (b'{"text": "fever", "text": ""}', "text: stands twice in one object; send it once"),
        (
            b'{"notes": [], "notes": [{"id": "b", "text": ""}]}',
            "notes: stands twice in one object; send it once",
        ),
        (b"{}", "text: field required" + FORM),
        (b"[]", "body: input should be an object" + FORM),
        (b'{"text": 5}', "text: input should be a valid string" + FORM),
        (b'{"text": "a", "Canary": 1}', "(unknown field): extra inputs are not permitted" + FORM),
        (b'{"notes": [{"text": "a"}]}', "notes.0.id: field required" + FORM),
    ],
)
def test_a_wrong_body_is_one_line_that_names_the_place(service: Running, body: bytes, message: str):
    with service.client() as client:
        assert error_of(client.post("/v1/extract", content=body, headers=JSON)) == (
            422,
            "invalid_request",
            message,
        )


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("text", "read"),
    [
        (rb"\ud83d fever", "\ufffd fever"),
        (rb"\udc00\ud83d\ude00\\ud83d", "\ufffd\U0001f600\\ud83d"),
        (rb"\\\ud83d\u00e9", "\\\ufffd\u00e9"),
    ],
)
def test_half_a_surrogate_pair_is_read_as_by_extract(before: bytes, text: bytes, read: str):
    body = before + b'{"text": "' + text + b'"}'
    request = parse_request(body, 1)
    assert isinstance(request, OneNote)
    assert (request.text, parse_line(body, "notes").text) == (read, read)


def test_refusals_are_one_line_each(service: Running):
    with service.client() as client:
        many = {"notes": [{"id": "1", "text": ""}] * 257}
        assert error_of(client.post("/v1/extract", json=many)) == (
            422,
            "too_many_notes",
            "notes: more than 256 in one request; send them apart",
        )
        assert error_of(client.post("/v1/extract", json={"text": "", "model": "?"})) == (
            404,
            "unknown_model",
            "no model has that name; served are: words, other",
        )
        large = {"text": "x" * 100_000}
        too_large = (
            413,
            "body_too_large",
            "the body is larger than 100000 bytes; send fewer or shorter notes",
        )
        assert error_of(client.post("/v1/extract", json=large)) == too_large
        pieces = client.post("/v1/extract", content=iter([b" " * 60_000] * 9), headers=JSON)
        assert error_of(pieces) == too_large
        for headers in ({"Content-Type": "text/plain"}, JSON | {"Content-Encoding": "gzip"}, {}):
            answer = client.post("/v1/extract", content=b"{}", headers=headers)
            assert error_of(answer)[:2] == (415, "not_json")
        assert error_of(client.get("/v1/extract"))[0] == 405
        assert client.get("/v1/extract").headers["Allow"] == "POST"
        assert error_of(client.get("/elsewhere"))[0] == 404
        assert error_of(client.post("/v1/models/words/reload"))[:2] == (403, "no_key")
        rebound = client.get("/v1/models", headers={"Host": "evil.example:80"})
        assert error_of(rebound)[:2] == (421, "unknown_host")
    assert b'{"error":{"code":"not_http"' in talk(service.url, b"nonsense\r\n\r\n")


def test_a_body_of_a_gigabyte_is_refused_before_it_is_read(service: Running):
    head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    began = time.monotonic()
    answer = talk(service.url, head + b"Content-Length: 1000000000\r\n\r\n" + b" " * 70_000)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
    assert time.monotonic() - began < 5


def test_a_browser_is_told_to_be_careful(service: Running):
    with service.client() as client:
        headers = client.get("/").headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers
    assert "server" not in headers


def test_slow_heads_and_bodies_are_cut():
    limits = {"header_seconds": 0.3, "body_seconds": 0.3}
    with running(**limits) as service:
        assert talk(service.url, b"POST /v1/extract HTT") == b""
        head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        answer = talk(service.url, head + b"Content-Length: 50\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408 ")
        with service.client() as client:
            assert 'connections_cut_total{reason="slow_head"} 1.0' in client.get("/metrics").text


def test_connections_beyond_the_limit_are_cut():
    with running(connections=1) as service, service.client() as client:
        client.get("/healthz")
        assert talk(service.url, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""


def post(service: Running, text: str) -> httpx.Response:
    with service.client() as client:
        return client.post("/v1/extract", json={"text": text})


def test_a_full_queue_sheds_and_recovers():
    model = WordModel(seconds=0.2)
    with running({"slow": model}, queue_notes=2, batch_notes=1) as service:
        with concurrent.futures.ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda _: post(service, "fever"), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429}
        shed = next(answer for answer in answers if answer.status_code == 429)
        assert int(shed.headers["Retry-After"]) >= 1
        assert error_of(shed)[1] == "busy"
        assert post(service, "fever").status_code == 200


def test_a_slow_model_sheds_what_it_could_only_answer_too_late():
    model, text = WordModel(note_seconds=0.05), {"text": "fever " * 50}
    with running({"slow": model}, request_seconds=3.0) as service, service.client() as client:
        for _ in range(3):
            assert client.post("/v1/extract", json=text).status_code == 200
        with concurrent.futures.ThreadPoolExecutor(90) as threads:
            asked = [threads.submit(client.post, "/v1/extract", json=text) for _ in range(90)]
            statuses = [ask.result().status_code for ask in asked]
        assert set(statuses) == {200, 429}  # 4.5 s of work at once, and nobody waits 3 s for nothing
        assert statuses.count(200) > 15
        assert max(model.batches) <= 3  # about 100 ms of work each
        assert client.post("/v1/extract", json=text).status_code == 200


@pytest.mark.parametrize(("characters", "statuses"), [(100, {200}), (1000, {200, 429})])
def test_a_service_that_answered_nothing_yet_knows_what_a_note_costs(characters: int, statuses: set[int]):
    model = WordModel(note_seconds=0.02, seconds_per_character=2e-3)
    text = {"text": "fever".ljust(characters, ".")}
    with (
        running({"slow": model}) as service,
        service.client() as client,
        concurrent.futures.ThreadPoolExecutor(12) as threads,
    ):
        asked = [threads.submit(client.post, "/v1/extract", json=text) for _ in range(12)]
        assert {ask.result().status_code for ask in asked} == statuses
    assert max(model.batches) == 1  # each would take more than the 100 ms of a batch


def test_notes_that_wait_run_together():
    model = WordModel(seconds=0.15)
    with (
        running({"slow": model}, batch_ms=10_000) as service,
        concurrent.futures.ThreadPoolExecutor(8) as clients,
    ):
        answers = list(clients.map(lambda _: post(service, "fever"), range(8)))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert sum(model.batches) == 8
    assert max(model.batches) > 1


def test_a_request_that_takes_too_long_ends():
    with running({"slow": WordModel(seconds=0.6)}, request_seconds=0.2) as service:
        assert error_of(post(service, "fever")) == (
            504,
            "too_slow",
            "no answer within 0.2 s; send fewer or shorter notes",
        )


def test_a_service_whose_model_answers_no_more_is_not_ready():
    answering = iter([True, False, True])
    with running() as service, service.client() as client:
        shelf = service.service.shelf
        shelf._models = {"words": replace(shelf.pick(None), is_answering=lambda: next(answering))}
        assert [client.get("/readyz").status_code for _ in range(3)] == [200, 503, 200]


def test_an_artifact_is_swapped_as_a_whole_or_not_at_all():
    model = WordModel()
    with running({"words": model}, key=KEY) as service, service.client(headers={"X-API-Key": KEY}) as client:
        model.version = 2
        assert client.post("/v1/models/words/reload").json()["fingerprint"] == "v2"
        model.version = -1
        assert error_of(client.post("/v1/models/words/reload")) == (
            409,
            "kept_old_model",
            "the old model goes on; words: a damaged artifact; copy it again",
        )
        assert client.get("/v1/models").json()["models"][0]["fingerprint"] == "v2"
        assert client.post("/v1/extract", json={"text": "fever"}).status_code == 200
        assert error_of(client.post("/v1/models/none/reload"))[0] == 404
    assert [event["event"] for event in service.events() if "reload" in event["event"]] == [
        "reloaded",
        "reload_failed",
    ]


def test_without_the_key_only_probes_and_the_page_open():
    with running(key=KEY) as service, service.client() as client:
        for path in ("/", "/page/app.js", "/healthz", "/readyz"):
            assert client.get(path).status_code == 200
        for path in ("/v1/models", "/metrics", "/openapi.json", "/elsewhere"):
            answer = client.get(path)
            assert error_of(answer)[:2] == (401, "key_required")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for wrong in ("", KEY[:-1], KEY + "x", "ü"):
            assert client.get("/v1/models", headers={"X-API-Key": wrong.encode()}).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_keys_come_from_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\n{KEY}2\n", encoding="utf-8")
    monkeypatch.setenv("SYMPRESS_API_KEY", KEY + "3")
    keys = read_keys(file)
    for given in (KEY, KEY + "2", KEY + "3"):
        keys.admit({b"x-api-key": given.encode()})
    monkeypatch.delenv("SYMPRESS_API_KEY")
    assert not read_keys(None)
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="no API key in it; write one a line"):
        read_keys(file)
    file.write_text("short", encoding="utf-8")
    with pytest.raises(InputError, match="an API key is shorter than 16 characters; use a longer one"):
        read_keys(file)


def test_nothing_is_opened_to_others_without_a_key(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        check_exposure(ServeConfig(host="0.0.0.0"), ApiKeys([]))
    assert str(caught.value) == (
        "--host 0.0.0.0 is reachable from other machines: give an API key by --api-key-file FILE "
        "or the environment variable SYMPRESS_API_KEY"
    )
    check_exposure(ServeConfig(host="0.0.0.0"), ApiKeys([KEY]))
    with pytest.raises(InputError, match="TLS needs both"):
        check_exposure(ServeConfig(tls_certificate=tmp_path), ApiKeys([]))
    assert [is_loopback(host) for host in ("localhost", "127.3.2.1", "::1", "0.0.0.0", "::", "a.b")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]


def test_tls_by_flags(tmp_path: Path):
    openssl = shutil.which("openssl") or pytest.skip("no openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-keyout", str(key)]
    subprocess.run([openssl, *made, "-out", str(certificate), *name], check=True, capture_output=True)
    with running(tls_certificate=certificate, tls_key=key) as service:
        trusted = ssl.create_default_context(cafile=str(certificate))
        url = service.url.replace("http:", "https:")
        assert httpx.get(f"{url}/healthz", verify=trusted, trust_env=False).status_code == 200
    key.write_text("nonsense", encoding="utf-8")
    with (
        pytest.raises(InputError, match="TLS cannot be set up"),
        running(tls_certificate=certificate, tls_key=key),
    ):
        pass


def test_a_taken_port_and_bad_names_are_one_line():
    with listen(ServeConfig(port=0)) as taken, pytest.raises(InputError, match="cannot listen there"):
        listen(ServeConfig(port=taken.getsockname()[1]))
    assert parse_models(["a=x", "runs/pocket"]) == {"a": Path("x"), "pocket": Path("runs/pocket")}
    with pytest.raises(InputError, match="'a' stands twice"):
        parse_models(["a=x", "a=y"])
    with pytest.raises(InputError, match="the name may hold letters"):
        parse_models(["a b=x"])


def test_a_stop_under_load_answers_every_request_that_was_sent():
    slow = WordModel(seconds=0.1)
    with (
        running({"slow": slow}, batch_notes=2, request_seconds=20.0) as service,
        concurrent.futures.ThreadPoolExecutor(24) as clients,
    ):
        asked = [clients.submit(post, service, "fever") for _ in range(24)]
        while not slow.batches:
            time.sleep(0.005)
        service.server.handle_exit(signal.SIGTERM, None)
        outcomes = [ask.exception() or ask.result().status_code for ask in asked]
    refused = [outcome for outcome in outcomes if isinstance(outcome, httpx.ConnectError)]
    assert outcomes.count(200) + len(refused) == 24  # a refused connection was never accepted
    assert outcomes.count(200) >= 1
    assert [event["event"] for event in service.events()][-1] == "stopped"


def test_a_stop_answers_what_an_idle_connection_asks_a_second_later():
    with running({"words": WordModel()}) as service, service.client() as client:
        assert client.post("/v1/extract", json={"text": "fever"}).status_code == 200
        service.server.handle_exit(signal.SIGTERM, None)
        time.sleep(1)
        late = client.post("/v1/extract", json={"text": "fever"})
    assert late.status_code == 200
    assert late.headers["Connection"] == "close"
    assert [event["event"] for event in service.events()][-1] == "stopped"


def test_no_log_metric_or_error_shows_what_a_note_says(capfd: pytest.CaptureFixture[str]):
    model = WordModel()
    limits = {"body_mb": 0.002, "request_notes": 2, "body_seconds": 0.3}
    with running({"words": model}, **limits) as service, service.client() as client:
        seen = [client.get("/" + CANARY), client.get("/v1/models?" + CANARY)]
        bodies: list[Any] = [
            {"text": 5, CANARY: CANARY},
            {"text": "x", "model": CANARY},
            {"text": CANARY * 200},
            {"notes": [{"id": CANARY * 20, "text": CANARY}]},
            {"notes": [{"id": "1", "text": CANARY}] * 3},
            [CANARY],
        ]
        seen += [client.post("/v1/extract", json=body) for body in bodies]
        seen.append(client.post("/v1/extract", content=f'{{"text": "{CANARY}', headers=JSON))
        seen.append(client.post("/v1/extract", content=CANARY, headers={"Content-Type": CANARY}))
        seen.append(client.request(CANARY, "/v1/extract", headers={"X-Request-ID": CANARY, "Host": CANARY}))
        fine = client.post("/v1/extract", json={"text": CANARY, "notes": None})
        model.broken = True
        failed = client.post("/v1/extract", json={"text": CANARY})
        seen += [fine, failed]
        late = f"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\n{'Content-Type: application/json'}\r\n"
        received = talk(service.url, f"{late}Content-Length: 99\r\n\r\n{CANARY}".encode())
        received += talk(service.url, f"{CANARY} \x01 {CANARY}\r\n\r\n".encode())
        metrics = client.get("/metrics").text
    assert error_of(failed) == (500, "model_failed", "the model failed; the service's log says where")
    (event,) = [event for event in service.events() if event["event"] == "batch_failed"]
    assert event["error"] == "ValueError"
    assert event["place"].startswith("serving.py:")
    told = [answer.text + str(answer.headers) for answer in seen] + [received.decode(), metrics]
    told += [service.log.getvalue(), *capfd.readouterr()]
    assert not [text for text in told if CANARY.lower() in text.lower()]
    assert {answer.status_code for answer in seen} >= {404, 413, 415, 421, 422, 500}


def test_openapi_describes_every_address(service: Running):
    with service.client() as client:
        document = client.get("/openapi.json").json()
    assert sorted(document["paths"]) == [
        "/healthz",
        "/metrics",
        "/readyz",
        "/v1/extract",
        "/v1/models",
        "/v1/models/{name}/card",
        "/v1/models/{name}/reload",
        "/v1/models/{name}/symptoms",
    ]
    missing = [
        name
        for part in json.dumps(document).split("#/components/schemas/")[1:]
        if (name := part.split('"')[0]) not in document["components"]["schemas"]
    ]
    assert not missing


def test_schemathesis_finds_no_server_error(service: Running):
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")
    from hypothesis import HealthCheck, given, settings
    from schemathesis.checks import not_a_server_error

    schema = schemathesis.openapi.from_url(service.url + "/openapi.json")
    quiet = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    for operation in schema.get_all_operations():
        strategy = operation.ok().as_strategy()

        @quiet
        @given(case=strategy)
        def call(case: Any) -> None:
            case.call_and_validate(checks=[not_a_server_error])

        call()
