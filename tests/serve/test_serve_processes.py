"""The processes of a model: one that is late, dies or never loads is given up, and nobody else notices."""

from __future__ import annotations

import concurrent.futures
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

pytest.importorskip("fastapi", reason="needs the extra serve")
import serving

from sympress.errors import InputError
from sympress.labels.own_words import OURS
from sympress.notes.synthesize import synthesize
from sympress.runtime.artifact import BOX_FOLDER, RULES_FOLDER, Extractor, write_checksums, write_extractor
from sympress.serve.config import ServeConfig
from sympress.serve.models import Shelf, load_model
from sympress.serve.render import Question

#: Of 2,048 x 2,048 numbers, a tenth of a second each.
_PRODUCTS = 600
#: Id of the word piece `pain` of a tiny artifact.
_PAIN = 7


def looping_model(path: Path, logits: float = 0.0, slow: int = 12) -> None:
    """A graph whose answer is `logits`; a window with `slow` times `pain` it multiplies for a minute.

    It holds operators of encoders alone: what loops is refused before it is loaded.
    """
    nodes = [
        helper.make_node("Equal", ["input_ids", "pain"], ["is_pain"]),
        helper.make_node("Cast", ["is_pain"], ["one_if_pain"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["one_if_pain"], ["pains"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["pains", "slow"], ["goes_on"]),
        helper.make_node("Where", ["goes_on", "wide", "narrow"], ["size"]),
        helper.make_node("Expand", ["nothing", "size"], ["x0"]),
        *(helper.make_node("MatMul", [f"x{at}", f"x{at}"], [f"x{at + 1}"]) for at in range(_PRODUCTS)),
        helper.make_node("ReduceMax", [f"x{_PRODUCTS}"], ["zero"], keepdims=0),
        helper.make_node("Add", ["start", "zero"], ["logits"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, [1, "n"])
        for name in ("input_ids", "attention_mask")
    ]
    graph = helper.make_graph(
        nodes,
        "looping",
        inputs,
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [
            numpy_helper.from_array(np.array(_PAIN), "pain"),
            numpy_helper.from_array(np.array(slow), "slow"),
            numpy_helper.from_array(np.array([2048, 2048]), "wide"),
            numpy_helper.from_array(np.array([1, 1]), "narrow"),
            numpy_helper.from_array(np.zeros((1, 1), dtype=np.float32), "nothing"),
            numpy_helper.from_array(np.full((1, 3), logits, dtype=np.float32), "start"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


@pytest.fixture
def looping(tiny_artifact: Path, tmp_path: Path) -> Path:
    """An artifact that does not end with a note of ten words and more."""
    folder = tmp_path / "looping"
    shutil.copytree(tiny_artifact, folder)
    looping_model(folder / "model.onnx")
    write_checksums(folder)
    return folder


LONG, SHORT = "pain " * 50, "pain"


def failures(answers: Any) -> list[str | None]:
    return [json.loads(answer.body)["failure"] for answer in answers]


def test_a_note_that_never_ends_costs_its_process_and_those_behind_it_are_answered(looping: Path):
    config = ServeConfig(request_seconds=2.0)
    model = load_model("looping", looping, OURS, config)
    began = time.monotonic()
    late = "no answer within 0.6 s; send it in parts"
    assert failures(model.extract([Question(text) for text in [SHORT, LONG, SHORT, LONG, SHORT]])) == [
        None,
        late,
        None,
        late,
        None,
    ]
    assert time.monotonic() - began < 40
    model.close()


def test_a_process_that_is_killed_is_replaced_unless_the_artifact_has_changed(looping: Path):
    model = load_model("looping", looping)
    assert model.seconds_per_character > 0
    (process,) = model.extract.__self__._processes
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.join()
    assert failures(model.extract([Question(text) for text in [SHORT]])) == [None]
    settings = json.loads((looping / "extractor.json").read_text())
    write_extractor(looping, Extractor(**settings | {"symptoms": ["fever", "cough", "rash"]}))
    write_checksums(looping)
    process.kill()
    with pytest.raises(InputError, match="changed since it was loaded; reload it when it is complete"):
        list(model.extract([Question(text) for text in [SHORT]]))
    assert not model.is_answering()
    model.close()


def test_an_artifact_that_never_answers_is_given_up_and_the_old_one_stays(looping: Path):
    configs = iter([ServeConfig(), ServeConfig(load_seconds=2.0)])
    shelf = Shelf({"looping": looping}, lambda name, folder: load_model(name, folder, OURS, next(configs)))
    old = shelf.pick(None)
    (looping / "model.onnx").unlink()
    looping_model(looping / "model.onnx", slow=0)
    write_checksums(looping)
    with pytest.raises(InputError, match="does not answer within 2 s of loading; make the artifact again"):
        shelf.reload("looping")
    assert shelf.pick(None) is old
    assert failures(old.extract([Question(text) for text in [SHORT]])) == [None]
    shelf.close()


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused_at_load(looping: Path, logit: float):
    looping_model(looping / "model.onnx", logit)
    write_checksums(looping)
    with pytest.raises(InputError, match="the model gives NaN or infinity for logits"):
        load_model("looping", looping)


@pytest.mark.parametrize("thresholds", ["0.5, NaN, 0.5", "0.5, Infinity, 0.5", "0.5, 1.5, 0.5", "0.5"])
def test_thresholds_that_are_none_are_refused_at_load(looping: Path, thresholds: str):
    file = looping / "extractor.json"
    text = file.read_text().replace('"thresholds": null', f'"thresholds": [{thresholds}]')
    assert thresholds in text
    file.write_text(text)
    with pytest.raises(InputError, match=r"damaged .*thresholds"):
        load_model("looping", looping)


@pytest.mark.parametrize("folder", [BOX_FOLDER, RULES_FOLDER], ids=["box", "rules"])
def test_ordinary_notes_are_within_the_limits_that_are_the_default(folder: Path):
    """Rules that were built as notes came took more than a note may have."""
    model = load_model("bundled", folder, OURS, ServeConfig())
    notes = synthesize(80, seed=1).frame["text"].to_list()
    asked = [Question("\n".join(notes[at : at + 4])) for at in range(0, 80, 4)]
    assert min(len(one.text) for one in asked) > 1_000
    assert failures(model.extract(asked)) == [None] * len(asked)
    model.close()


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of data is Linux's")
def test_a_note_that_needs_too_much_memory_fails_alone():
    config = ServeConfig(note_mb=100, most_mentions=1_000_000, request_seconds=90.0)
    model = load_model("rules", RULES_FOLDER, OURS, config)
    first, second = failures(model.extract([Question(text) for text in ["fever " * 400_000, "fever"]]))
    assert first is not None
    assert "memory" in first
    assert second is None
    model.close()


def test_a_note_with_more_mentions_than_allowed_fails_alone():
    model = load_model("rules", RULES_FOLDER, OURS, ServeConfig(most_mentions=10))
    told = failures(model.extract([Question(text) for text in ["fever. " * 11, "fever. " * 10]]))
    assert told == ["more than 10 mentions", None]
    model.close()


def test_nobody_else_sees_more_than_a_wait_while_a_note_never_ends(
    looping: Path, monkeypatch: pytest.MonkeyPatch
):
    config = ServeConfig(request_seconds=6.0)

    def shelf_of(*_: Any) -> Shelf:
        return Shelf({"looping": looping}, lambda name, folder: load_model(name, folder, OURS, config))

    monkeypatch.setattr(serving, "shelf_of", shelf_of)
    with (
        serving.running(request_seconds=6.0) as service,
        service.client() as client,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        slow = pool.submit(client.post, "/v1/extract", json={"text": LONG})
        time.sleep(0.2)
        assert client.post("/v1/extract", json={"text": SHORT}).status_code == 200
        answer = slow.result()
        assert answer.status_code == 200
        assert answer.json()["notes"][0]["failure"] == "no answer within 1.8 s; send it in parts"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_service_ends_soon_and_says_how(looping: Path, number: signal.Signals, code: int):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sympress", "serve", "--model", str(looping), "--port", str(port)]
    with subprocess.Popen(
        [*command, "--request-seconds", "4.5"], stderr=subprocess.PIPE, start_new_session=True
    ) as started:
        assert started.stderr is not None
        while b"listening" not in started.stderr.readline():
            assert started.poll() is None
        with socket.create_connection(("127.0.0.1", port)) as asking:
            body = json.dumps({"text": LONG}).encode()
            head = b"POST /v1/extract HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            asking.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            time.sleep(0.3)
            began = time.monotonic()
            os.killpg(started.pid, number)  # as a terminal and systemd do: every process gets it
            answer = asking.recv(65_536)
            messages = started.stderr.read().decode()
        assert started.wait(20) == code
        assert time.monotonic() - began < 8
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in messages
    assert "stopped" in messages
