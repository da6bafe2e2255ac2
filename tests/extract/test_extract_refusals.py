"""Sources that never end, other encodings, files nested without end and models of NaN: each is one line."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from test_extract import refused, run
from test_extract_input import ended

import sympress
from sympress.errors import InputError
from sympress.notes.read import read_notes
from sympress.runtime.artifact import write_checksums
from sympress.runtime.session import Runtime, checked_logits

RULES = ("-m", "rules", "-j", "1", "-q")
DEEP = 100_000


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["notes.jsonl", "notes.csv", "notes.txt", "notes.parquet"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    assert "no file but a pipe or a device" in refused(tmp_path / name, *RULES)
    (tmp_path / "link.jsonl").symlink_to("/dev/zero")
    assert "no file but a pipe or a device" in refused(tmp_path / "link.jsonl", *RULES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "command",
    [
        *(f"extract in.txt -m rules {option} PIPE" for option in ("--lexicon", "--cues", "--sections")),
        "extract --sql x --url-file PIPE",
        "evaluate rules --gold PIPE",
        "lexicon check PIPE",
        "label PIPE -o out.jsonl",
        "report PIPE",
        "serve --api-key-file PIPE --port 0",
        "serve --tls-certificate PIPE --tls-key in.txt --port 0",
    ],
)
@pytest.mark.parametrize("pipe", ["pipe", "pipe.toml", "/dev/zero"])
def test_a_pipe_or_a_device_is_refused_wherever_a_file_is_named(
    tmp_path: Path,
    command: str,
    pipe: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    Path("in.txt").write_text("fever")
    if not pipe.startswith("/"):
        os.mkfifo(pipe)
    code, said = ended(*command.replace("PIPE", pipe).split(), capsys=capsys)
    assert (code, len(said.splitlines())) == (2, 1)
    assert f"{pipe}: no file but a pipe or a device" in said


@pytest.mark.timeout(20)
def test_what_a_folder_calls_a_note_and_is_none_is_counted_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "notes"
    (folder / "ward").mkdir(parents=True)
    (folder / "a.txt").write_text("fever")
    (folder / "b.txt").symlink_to(tmp_path / "gone")
    os.mkfifo(folder / "ward" / "c.txt")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)  # the path of a socket must be short
        server.bind("d.txt")
    (folder / "e.txt").symlink_to("e.txt")
    (folder / "f.txt").mkdir()
    output = tmp_path / "out.jsonl"
    said = run(folder, *RULES[:-1], "-o", output)[1]
    errors = [json.loads(line) for line in Path(f"{output}.errors.jsonl").read_text().splitlines()]
    assert {one["note_id"]: one["reason"] for one in errors} == {
        "b": "cannot be read (No such file or directory)",
        "ward/c": "no file but a pipe or a device",
        "d": "no file but a pipe or a device",
        "e": "cannot be read (Too many levels of symbolic links)",
    }
    assert "4" in said
    notes = read_notes(folder)
    assert (notes.frame["note_id"].to_list(), notes.counts.rows) == (["a"], 5)
    assert sum(notes.counts.dropped.values()) == 4


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "notes" / "ward").mkdir(parents=True)
    (tmp_path / "notes" / "a.txt").write_text("fever")
    scandir = os.scandir

    def refuse(path: str) -> object:  # root may list anything
        if Path(path).name == "ward":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message = refused(tmp_path / "notes", *RULES)
    assert message == f"{tmp_path / 'notes'}: cannot be read (Permission denied)"


@pytest.mark.timeout(20)
def test_a_table_in_a_folder_that_is_none_is_named(tmp_path: Path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.csv").write_text("note_id,text\n1,fever\n")
    (tmp_path / "notes" / "b.csv").symlink_to(tmp_path / "gone")
    assert "b.csv: no such file or folder" in refused(tmp_path / "notes", *RULES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["extractor.json", "checksums.json", "forms.json", "concepts", "config"])
def test_a_pipe_is_no_file_of_an_artifact_nor_a_setting(
    tiny_tagger: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_tagger, folder)
    (tmp_path / "in.txt").write_text("fever")
    pipe = folder / name
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    command = ["extract", tmp_path / "in.txt", *RULES]
    if name == "concepts":
        command += ["--format", "fhir", "--concepts", pipe]
    elif name == "config":
        command = ["study", "--config", pipe, "-o", tmp_path / "run"]
    else:
        command = ["extract", tmp_path / "in.txt", "-m", folder, "-j", "1"]
    code, said = ended(*command, capsys=capsys)
    assert code == 2
    assert "no file but a pipe or a device" in said


@pytest.mark.timeout(20)
def test_a_file_without_a_size_is_not_read(tmp_path: Path):
    """As /proc/kmsg, which is a file, and waits until the kernel says something."""
    assert "an empty file" in refused("/proc/kmsg", *RULES)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").symlink_to("/proc/kmsg")
    (tmp_path / "texts" / "b.txt").write_text("fever")
    out, err = run(tmp_path / "texts", "-m", "rules")
    assert json.loads(out)["note_id"] == "b"
    assert "note a: no answer, without text" in err


TEXTS = [
    "no fever, cough since Monday\n" * 3,
    "лихорадка и кашель, без сыпи\n" * 9,
    "céphalée légère à l'été\n",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_mark_is_refused(tmp_path: Path, text: str, encoding: str):
    raw = text.encode(encoding)
    assert f"--encoding {encoding}" in refused("-", *RULES, stdin=raw)
    assert f"--encoding {encoding}" in refused("-", "--whole", *RULES, stdin=raw)
    for name in ("a.txt", "a.csv", "a.jsonl"):
        (tmp_path / name).write_bytes(raw)
        assert f"--encoding {encoding}" in refused(tmp_path / name, *RULES)
        (tmp_path / name).unlink()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_bytes(raw)
    (tmp_path / "texts" / "b.txt").write_text("fever")
    out, err = run(tmp_path / "texts", "-m", "rules")
    assert json.loads(out)["note_id"] == "b"
    assert f"note a: no answer, {encoding} without its mark" in err
    assert len(run(tmp_path / "texts" / "a.txt", *RULES, "--encoding", encoding)[0].splitlines()) == 1


@pytest.mark.parametrize("text", ["NUL \x00 inside", "fever\x00", "a,b\x00\n" * 20])
def test_some_nuls_are_no_utf16(text: str):
    assert run("-", "--whole", *RULES, stdin=text.encode())[0]


@pytest.mark.parametrize("name", ["extractor.json", "checksums.json", "forms.json"])
def test_json_nested_without_end_is_one_line(
    tiny_tagger: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_tagger, folder)
    (folder / name).write_text('{"a":' * DEEP, encoding="utf-8")
    if name != "checksums.json":
        write_checksums(folder)
    (tmp_path / "in.txt").write_text("fever")
    code, said = ended("extract", tmp_path / "in.txt", "-m", folder, capsys=capsys)
    assert (code, len(said.splitlines())) == (2, 1)
    assert "damaged" in said


@pytest.mark.parametrize("option", ["--lexicon", "--cues", "--sections"])
def test_toml_nested_without_end_is_one_line(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own.toml").write_text("a = " + "[" * DEEP, encoding="utf-8")
    (tmp_path / "in.txt").write_text("fever")
    code, said = ended("extract", tmp_path / "in.txt", *RULES, option, tmp_path / "own.toml", capsys=capsys)
    assert (code, len(said.splitlines())) == (2, 1)
    code, said = ended("study", "--config", tmp_path / "own.toml", "-o", tmp_path / "run", capsys=capsys)
    assert code == 2
    assert "nested too deeply" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["thresholds", "span_bias", "a", "b"])
def test_settings_that_are_no_number_are_an_error(
    tiny_artifact: Path, tmp_path: Path, field: str, value: float
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    settings = json.loads((folder / "extractor.json").read_text())
    lines = {"a": [1.0, 1.0, 1.0], "b": [0.0, 0.0, 0.0]}
    if field in lines:
        settings["calibration"] = lines | {field: [value, 1.0, 1.0]}
    else:
        settings[field] = value if field == "span_bias" else [0.5, value, 0.5]
    (folder / "extractor.json").write_text(json.dumps(settings))
    (tmp_path / "in.txt").write_text("fever")
    assert "damaged at" in refused(tmp_path / "in.txt", "-m", folder)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"thresholds": [0.5, 0.5]}, "damaged (thresholds: not one for each of 3 symptoms)"),
        ({"thresholds": [0.5, 1.5, 0.5]}, "damaged at thresholds.1"),
        ({"thresholds": [-0.1, 0.5, 0.5]}, "damaged at thresholds.0"),
        ({"calibration": {"a": [1.0, 1.0], "b": [0.0, 0.0, 0.0]}}, "damaged (calibration: not one line"),
        ({"calibration": {"a": [1.0, 1.0, 1.0], "b": []}}, "damaged (calibration: not one line"),
        ({"max_tokens": 0}, "damaged at max_tokens"),
        ({"text_window": 0}, "damaged at text_window"),
        ({"stride": 0}, "damaged at stride"),
        ({"pad_id": -1}, "damaged at pad_id"),
        ({"symptoms": ["fever", "cough", "fever"]}, "damaged (symptoms: one stands there twice)"),
        ({"symptoms": []}, "damaged (symptoms: none, for the task present)"),
        ({"symptoms": ["fever", "cough"]}, "model.onnx gives 3 numbers where extractor.json names 2"),
        ({"rules": True}, "damaged (rules: true without a lexicon)"),
        ({"cues": True}, "damaged (cues or sections: true without rules)"),
        ({"tags": ["O", "B-present", "I-present"]}, "damaged (tags: the task present has none)"),
        ({"task": "mentions"}, "damaged (tags: none, and no rules)"),
        ({"task": "mentions", "tags": ["O", "B-present"]}, "damaged (tags: not 'O', then"),
        ({"decides": {"rash": "model"}}, "damaged (decides or evidence: of a symptom"),
        ({"evidence": {"rash": {"mentions": []}}}, "damaged (decides or evidence: of a symptom"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_everything_that_opens_an_artifact(
    tiny_artifact: Path, tmp_path: Path, settings: dict, problem: str, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    whole = json.loads((folder / "extractor.json").read_text())
    (folder / "extractor.json").write_text(json.dumps(whole | settings))
    write_checksums(folder)
    (tmp_path / "in.txt").write_text("fever")
    message = refused(tmp_path / "in.txt", "-m", folder)
    assert problem in message
    assert message.startswith(str(folder))
    (tmp_path / "gold.jsonl").write_text('{"id": "1", "text": "fever", "spans": [[0, 5, "fever"]]}\n')
    code, said = ended("evaluate", folder, "--gold", tmp_path / "gold.jsonl", capsys=capsys)
    assert (code, problem in said, len(said.splitlines())) == (2, True, 1)
    with pytest.raises(InputError, match=re.escape(problem)):
        sympress.load(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_number_are_a_failure_and_not_no_symptoms(
    tiny_artifact: Path, tmp_path: Path, value: float, capsys: pytest.CaptureFixture[str]
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    model = onnx.load(str(folder / "model.onnx"))
    for weights in model.graph.initializer:
        numbers = numpy_helper.to_array(weights)
        if numbers.dtype == np.float32 and numbers.ndim:
            weights.CopyFrom(numpy_helper.from_array(np.full_like(numbers, value), weights.name))
    onnx.save(model, str(folder / "model.onnx"))
    write_checksums(folder)
    (tmp_path / "in.txt").write_text("fever")
    code, said = ended("extract", tmp_path / "in.txt", "-m", folder, "-j", "1", capsys=capsys)
    assert code == 1
    assert "NaN or infinity" in said
    with pytest.raises(InputError, match="NaN or infinity"):
        Runtime.load(folder).batch_logits([np.array([2, 5, 3])])


def test_one_logit_of_nan_is_enough():
    with pytest.raises(InputError, match="NaN or infinity"):
        checked_logits(np.array([0.0, np.nan, 1.0], dtype=np.float32))


def test_a_fault_of_ours_is_one_line_without_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def explode(*_: object, **__: object) -> None:
        raise LookupError("the note says fever")

    monkeypatch.setattr("sympress.extract.job.cut_chunks", explode)
    (tmp_path / "in.txt").write_text("fever")
    code, said = ended("extract", tmp_path / "in.txt", *RULES, capsys=capsys)
    assert (code, len(said.splitlines())) == (1, 1)
    assert said.startswith("sympress: a fault of sympress (LookupError at ")
    assert "fever" not in said
    monkeypatch.setenv("SYMPRESS_TRACEBACK", "1")
    with pytest.raises(LookupError):
        ended("extract", tmp_path / "in.txt", *RULES, capsys=capsys)


def test_a_key_of_any_length_makes_no_message_of_any_length(tiny_artifact: Path, tmp_path: Path):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    settings = json.loads((folder / "extractor.json").read_text())
    (folder / "extractor.json").write_text(json.dumps(settings | {"k" * 70_000: 1}))
    (tmp_path / "in.txt").write_text("fever")
    message = refused(tmp_path / "in.txt", "-m", folder)
    assert f"damaged at {'k' * 40};" in message
    assert len(message) < 500


@pytest.mark.parametrize("name", ["k" * 300, "\u00fc" * 200, "a\0b", "../a", "/etc/passwd"])
def test_a_checksum_of_what_no_file_is_called_is_damage(tiny_tagger: Path, tmp_path: Path, name: str):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_tagger, folder)
    held = json.loads((folder / "checksums.json").read_text())
    held["sha256"][name] = "0" * 64
    (folder / "checksums.json").write_text(json.dumps(held))
    (tmp_path / "in.txt").write_text("fever")
    assert "damaged at sha256" in refused(tmp_path / "in.txt", "-m", folder)


@pytest.mark.parametrize("place", [-1, 2, 10**30])
def test_a_combined_form_of_no_symptom_is_damage(tiny_tagger: Path, tmp_path: Path, place: int):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_tagger, folder)
    symptoms = [{"name": name, "forms": [name]} for name in ("fever", "cough")]
    held = {"format": 1, "lexicon": {"name": "own", "symptoms": symptoms, "combined": {"f/c": [0, place]}}}
    (folder / "lexicon.json").write_text(json.dumps(held))
    settings = json.loads((folder / "extractor.json").read_text()) | {"lexicon": "lexicon.json"}
    (folder / "extractor.json").write_text(json.dumps(settings))
    write_checksums(folder)
    (tmp_path / "in.txt").write_text("fever")
    assert "damaged at combined" in refused(tmp_path / "in.txt", "-m", folder)
