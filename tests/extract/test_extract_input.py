"""Bad input to an extraction job: each kind as the design says, one line or one failure, and nothing lost."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from test_extract import CANARY, ids, refused, run

from sympress.cli.main import run as command
from sympress.runtime.artifact import write_checksums
from sympress.runtime.extractor import Extractor

HUGE = "fever " * (50_000_000 // 6)  # 50 MB
TOO_LONG = "longer than 16,777,216 characters"


def failures(output: Path) -> list[tuple[str, str]]:
    lines = Path(f"{output}.errors.jsonl").read_text(encoding="utf-8").splitlines()
    return [tuple(json.loads(line).values()) for line in lines]


def ended(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and all output of a command."""
    with pytest.raises(SystemExit) as done:
        command([str(one) for one in arguments])
    return int(str(done.value.code)), "".join(capsys.readouterr())


def as_jsonl(folder: Path, texts: list[str]) -> Path:
    rows = [json.dumps({"note_id": f"n{at}", "text": text}) for at, text in enumerate(texts)]
    (folder / "in.jsonl").write_text("\n".join(rows), encoding="utf-8")
    return folder / "in.jsonl"


def as_parquet(folder: Path, texts: list[str]) -> Path:
    frame = pl.DataFrame({"note_id": [f"n{at}" for at in range(len(texts))], "text": texts})
    frame.write_parquet(folder / "in.parquet")
    return folder / "in.parquet"


def as_folder(folder: Path, texts: list[str]) -> Path:
    (folder / "in").mkdir()
    for at, text in enumerate(texts):
        (folder / "in" / f"n{at}.txt").write_text(text, encoding="utf-8")
    return folder / "in"


@pytest.mark.parametrize("written", [as_jsonl, as_parquet, as_folder])
def test_a_note_of_50_mb_fails_alone(
    tiny_artifact: Path, tmp_path: Path, written: Callable[[Path, list[str]], Path]
):
    source, output = written(tmp_path, ["fever", HUGE, "cough"]), tmp_path / "out.jsonl"
    run(source, "-m", tiny_artifact, "-o", output, "-q")
    assert ids(output.read_text()) == ["n0", "n2"]
    assert failures(output) == [("n1", TOO_LONG)]


def test_a_line_of_50_mb_on_standard_input_fails_alone(tiny_artifact: Path):
    out, err = run("-", "-m", tiny_artifact, stdin=f"fever\n{HUGE}\ncough\n".encode())
    assert ids(out) == ["1", "3"]
    assert f"note 2: no answer, {TOO_LONG}\n" in err


@pytest.mark.parametrize("written", [as_jsonl, as_parquet, as_folder])
def test_spaces_and_nul_bytes(
    tiny_artifact: Path, tmp_path: Path, written: Callable[[Path, list[str]], Path]
):
    source, output = written(tmp_path, [" \n\t\u00a0", "NUL \x00 inside", "\x00"]), tmp_path / "out.jsonl"
    run(source, "-m", tiny_artifact, "-o", output, "-q")
    assert ids(output.read_text()) == ["n1", "n2"]
    assert failures(output) == [("n0", "without text")]


def test_lone_surrogates_are_answered_and_nothing_breaks(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    lines = [
        rf'{{"note_id": "{name}", "text": "\udc80 fever \ud83d"}}' + "\n"
        for name in (r"a\ud800", r"a\ud801", r"a\\ud800", "a?")
    ]
    source.write_text("".join(lines), encoding="utf-8")
    for name in ("out.jsonl", "out.csv", "out.parquet"):
        run(source, "-m", tiny_artifact, "-o", tmp_path / name, "-q")
        assert not (tmp_path / f"{name}.errors.jsonl").exists()
    assert pl.read_parquet(tmp_path / "out.parquet")["note_id"].to_list() == [
        r"a\ud800",
        r"a\ud801",
        r"a\\ud800",
        "a?",
    ]


def test_a_parquet_without_the_column_names_those_it_has(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.parquet"
    pl.DataFrame({"note_id": ["1"], "text": [CANARY], "body": [CANARY]}).write_parquet(source)
    assert refused(source, "-m", tiny_artifact, "--text-column", "bdy") == (
        f"{source}: no column 'bdy' (did you mean 'body'?); "
        "choose the text with --text-column NAME (columns: note_id, text, body)"
    )


def test_a_folder_that_cannot_be_written_is_one_line_before_any_note_is_read(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = as_jsonl(tmp_path, ["fever"])

    def refuse(self: Path, *_: Any, **__: Any) -> None:  # root may write anywhere
        raise PermissionError(13, "Permission denied", str(self))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refuse)
        output = tmp_path / "locked" / "out.parquet"
        assert refused(source, "-m", tiny_artifact, "-o", output) == (
            f"{output}: cannot be written (Permission denied); free space or choose another folder, "
            "then run the same command again"
        )


def _changed(folder: Path) -> str:
    raw = bytearray((folder / "tokenizer.json").read_bytes())
    raw[-2] ^= 1
    (folder / "tokenizer.json").write_bytes(raw)
    return f"{folder}/tokenizer.json: changed since it was written (its checksum differs); copy it again"


def _newer(folder: Path) -> str:
    path = folder / "extractor.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}), encoding="utf-8")
    write_checksums(folder)
    return f"{path}: format 2 is newer than this sympress; upgrade sympress"


def _missing(folder: Path) -> str:
    (folder / "model.onnx").unlink()
    return f"{folder}: model.onnx is missing; copy the artifact again"


@pytest.mark.parametrize("damage", [_changed, _newer, _missing])
def test_a_damaged_artifact_is_one_line_and_exit_code_2(
    tiny_artifact: Path,
    tmp_path: Path,
    damage: Callable[[Path], str],
    capsys: pytest.CaptureFixture[str],
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    write_checksums(folder)
    message = damage(folder)
    output = tmp_path / "out.jsonl"
    with pytest.raises(SystemExit) as ended:
        command(["extract", str(as_jsonl(tmp_path, ["fever"])), "-m", str(folder), "-o", str(output)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"sympress: {message}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["artifact", "in.jsonl"]


def test_what_a_model_says_of_a_note_is_in_no_error(
    tiny_artifact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    def explode(_: Extractor, text: str, **_further: object) -> None:
        raise ValueError(f"cannot read {text!r}")

    monkeypatch.setattr(Extractor, "note_logits", explode)
    source, output = as_jsonl(tmp_path, [f"fever {CANARY}"]), tmp_path / "out.jsonl"
    code, printed = ended("extract", source, "-m", tiny_artifact, "-o", output, capsys=capsys)
    assert code == 1
    assert failures(output) == [("n0", "the model failed (ValueError)")]
    code, again = ended("extract", source, "-m", tiny_artifact, capsys=capsys)
    assert code == 1
    assert "note n0: no answer, the model failed (ValueError)" in again
    assert again.endswith("sympress: not one note of 1 rows was answered: 1 failed\n")
    assert CANARY not in printed + again + Path(f"{output}.errors.jsonl").read_text()


def test_what_a_database_says_of_a_note_is_in_no_error(tiny_artifact: Path, tmp_path: Path):
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table notes (note_id, text)")
        lite.execute("insert into notes values (1, ?)", [CANARY])
    lite.close()
    with duckdb.connect(str(tmp_path / "n.duckdb")) as duck:
        duck.execute("create table notes as select 1 as note_id, ? as text", [CANARY])
    urls = (f"sqlite:///{tmp_path}/n.db", f"duckdb:///{tmp_path}/n.duckdb")
    for query in ("select nothing from notes", "select cast(text as int) as text from notes", "selec"):
        for url in urls:
            if "cast" in query and url.startswith("sqlite"):
                continue  # SQLite casts anything
            assert refused("--sql", query, "--url", url, "-m", tiny_artifact).startswith("--sql: ")
