"""Extraction jobs: every source and output, kills, bad input; a note's words are in no log and no error."""

from __future__ import annotations

import csv
import io
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from functools import partial
from importlib import metadata
from pathlib import Path

import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner

from sympress.cli.extract import extract
from sympress.errors import InputError
from sympress.extract.job import Pace
from sympress.extract.workers import answer_chunk, csv_lines, cut_chunks

CANARY = "zebrafinch-4711"
NOTES = [
    {"note_id": f"n{at}", "patient_id": "p1", "category": kind, "time": day, "text": f"{text} {CANARY}"}
    for at, (kind, day, text) in enumerate(
        [
            ("Nursing", "2150-01-01", "fever and cough"),
            ("Radiology", "2150-06-01T12:00:00", "no pain"),
            ("Nursing", None, "chills, rash after the dose"),
        ]
    )
]


def run(*arguments: object, stdin: bytes = b"") -> tuple[str, str]:
    """Standard output and standard error of `sympress extract`."""
    import typer

    app = typer.Typer()
    app.command()(extract)
    done = CliRunner().invoke(app, [str(one) for one in arguments], input=stdin)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.stderr
    return done.stdout, done.stderr


def refused(*arguments: object, stdin: bytes = b"") -> str:
    with pytest.raises(InputError) as caught:
        run(*arguments, stdin=stdin)
    assert "\n" not in str(caught.value)
    assert CANARY not in str(caught.value)
    return str(caught.value)


def ids(lines: str) -> list[str]:
    return [json.loads(line)["note_id"] for line in lines.splitlines()]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(json.dumps(note) + "\n" for note in NOTES), encoding="utf-8")
    return path


def test_every_source_gives_the_same_rows(tiny_artifact: Path, notes: Path, tmp_path: Path):
    frame = pl.DataFrame(NOTES)
    frame.write_csv(tmp_path / "notes.csv")
    frame.write_parquet(tmp_path / "notes.parquet")
    with sqlite3.connect(tmp_path / "notes.db") as lite:
        lite.execute("create table notes (note_id, patient_id, category, time, text)")
        lite.executemany("insert into notes values (?, ?, ?, ?, ?)", [tuple(note.values()) for note in NOTES])
    lite.close()
    with duckdb.connect(str(tmp_path / "notes.duckdb")) as duck:
        duck.execute(f"create table notes as select * from '{tmp_path / 'notes.parquet'}'")
    expected, _ = run(notes, "-m", tiny_artifact, "-q")
    assert ids(expected) == ["n0", "n1", "n2"]
    assert json.loads(expected.splitlines()[1])["time"] == "2150-06-01T12:00:00"
    for source in ("notes.csv", "notes.parquet", "no*.csv"):
        assert run(tmp_path / source, "-m", tiny_artifact, "-q")[0] == expected
    for url in (f"sqlite:///{tmp_path}/notes.db", f"duckdb:///{tmp_path}/notes.duckdb"):
        query = "select * from notes order by note_id"
        assert run("--sql", query, "--url", url, "-m", tiny_artifact, "-q")[0] == expected
    assert run("-", "-m", tiny_artifact, "-q", stdin=notes.read_bytes())[0] == expected


def test_lines_of_standard_input_are_notes_and_bad_ones_are_failures(tiny_artifact: Path):
    stdin = b"fever\n\n \xff broken\n" + "cough é".encode()
    out, err = run("-", "-m", tiny_artifact, stdin=stdin)
    assert ids(out) == ["1", "3"]
    assert "note 2: no answer, not UTF-8\n" in err
    assert "3 rows, 2 notes answered" in err
    assert ids(run("-", "--whole", "-m", tiny_artifact, stdin=b"fever\n\ncough")[0]) == ["1"]
    assert refused("-", "-m", tiny_artifact) == "standard input is empty; pipe notes into it, one a line"


def test_failures_go_to_a_file_without_text_and_the_job_goes_on(tiny_artifact: Path, tmp_path: Path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    lines = [
        json.dumps({"id": 1, "text": f"fever {CANARY}"}).encode(),
        f'{{"id": 2, "text": "{CANARY}'.encode(),
        f'{{"id": 3, "text": "\xff{CANARY}"}}'.encode("latin-1"),
        json.dumps({"id": 4, "text": " \n "}).encode(),
        json.dumps({"id": 5, "text": f"\ud800 {CANARY} \x00"}).encode(),
    ]
    source.write_bytes(b"\n".join(lines))
    _, err = run(source, "-m", tiny_artifact, "-o", output)
    assert ids(output.read_text()) == ["1", "5"]
    failures = (tmp_path / "out.jsonl.errors.jsonl").read_text()
    assert [tuple(json.loads(line).values()) for line in failures.splitlines()] == [
        ("row-2", "malformed row"),
        ("3", "not UTF-8"),
        ("4", "without text"),
    ]
    assert CANARY not in failures + err + output.read_text()
    assert not (tmp_path / "out.jsonl.partial").exists()


def test_a_row_of_csv_that_is_not_utf8_fails_alone(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.csv"
    source.write_bytes("note_id,text\na,fever\nb,caf\udce9\nc,toux légère\n".encode(errors="surrogateescape"))
    out, err = run(source, "-m", tiny_artifact)
    assert ids(out) == ["a", "c"]
    assert "note b: no answer, not UTF-8" in err
    assert f"{source}: some rows are not UTF-8 and are refused; name the encoding" in err


def test_folders_give_one_note_a_file_and_several_tables_name_their_rows(tiny_artifact: Path, tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("fever")
    (folder / "b.txt").write_bytes(b"\x81")
    out, err = run(folder, "-m", tiny_artifact)
    assert ids(out) == ["a"]
    assert "note b: no answer, not UTF-8" in err
    tables = tmp_path / "tables"
    tables.mkdir()
    for name in ("x.csv", "y.csv"):
        (tables / name).write_text("text\nfever\ncough\n")
    assert ids(run(tables, "-m", tiny_artifact, "-q")[0]) == ["x.csv:1", "x.csv:2", "y.csv:1", "y.csv:2"]


def test_filters_and_columns(tiny_artifact: Path, notes: Path):
    base = (notes, "-m", tiny_artifact)
    out, err = run(*base, "--category", "nursing", "--columns", "category")
    assert ids(out) == ["n0", "n2"]
    assert list(json.loads(out.splitlines()[0]))[:3] == ["note_id", "category", "symptoms"]
    assert "1 left out by the filters" in err
    assert ids(run(*base, "--since", "2150-01-02")[0]) == ["n1"]
    assert ids(run(*base, "--until", "2150-06-01")[0]) == ["n0", "n1"]
    assert refused(*base, "--since", "soon") == "--since soon: no date; write it as 2026-01-31"
    assert refused(*base, "--columns", "categry") == (
        "--columns: no column 'categry' (did you mean 'category'?); "
        "choose from patient_id, encounter_id, time, category"
    )


def test_parquet_and_csv_hold_what_json_lines_hold(tiny_artifact: Path, notes: Path, tmp_path: Path):
    for name in ("o.jsonl", "o.parquet", "o.csv"):
        run(notes, "-m", tiny_artifact, "-o", tmp_path / name, "-q")
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    frame = pl.read_parquet(tmp_path / "o.parquet")
    assert frame["time"].to_list() == [datetime(2150, 1, 1), datetime(2150, 6, 1, 12), None]
    assert [row | {"time": None} for row in frame.to_dicts()] == [row | {"time": None} for row in rows]
    with (tmp_path / "o.csv").open() as file:
        flat = list(csv.DictReader(file))
    assert {(row["note_id"], row["symptom"]) for row in flat if row["symptom"]} == {
        (row["note_id"], found["symptom"]) for row in rows for found in row["symptoms"]
    }
    assert {row["note_id"] for row in flat} == {"n0", "n1", "n2"}  # also those without a finding


def test_workers_do_not_change_a_byte(tiny_artifact: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps({"text": f"fever {at} " * (at % 9)}) + "\n" for at in range(400)))
    for workers in (1, 3):
        run(source, "-m", tiny_artifact, "-o", tmp_path / f"{workers}.jsonl", "-j", workers, "-q")
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "3.jsonl").read_bytes()
    assert len(ids((tmp_path / "1.jsonl").read_text())) == 400 - 45


def test_rules_are_answered_here_until_processes_are_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source, chunks, notes = tmp_path / "in.jsonl", 47, 8
    lines = [json.dumps({"text": f"no fever, cough {at}"}) for at in range(chunks * notes)]
    source.write_text("\n".join(lines))
    monkeypatch.setattr("sympress.extract.job.cut_chunks", partial(cut_chunks, notes=notes))
    run(source, "-m", "rules", "-o", tmp_path / "1.jsonl", "-j", 1, "-q")
    here = []

    def slowly(*arguments: object) -> object:
        here.append(None)
        time.sleep(0.5)
        return answer_chunk(*arguments)

    monkeypatch.setattr("sympress.extract.workers.answer_chunk", slowly)
    monkeypatch.setattr("sympress.extract.workers.ALONE_SECONDS", 0.5)
    run(source, "-m", "rules", "-o", tmp_path / "2.jsonl", "-j", 2, "-q")
    assert 1 <= len(here) < chunks
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert len(ids((tmp_path / "1.jsonl").read_text())) == len(lines)


def test_a_short_job_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class StartedError(Exception): ...

    def start(*_: object) -> None:
        raise StartedError

    monkeypatch.setattr("concurrent.futures.ProcessPoolExecutor", start)
    few, many = tmp_path / "few.jsonl", tmp_path / "many.jsonl"
    few.write_text('{"text": "no fever"}\n')
    many.write_text("".join(json.dumps({"text": f"no fever, cough {at}"}) + "\n" for at in range(400)))
    for source, notes in ((few, 1), (many, 400)):
        run(source, "-m", "rules", "-o", tmp_path / "found.jsonl", "-j", 2, "-q")
        assert len(ids((tmp_path / "found.jsonl").read_text())) == notes
        (tmp_path / "found.jsonl").unlink()
    monkeypatch.setattr("sympress.extract.workers.ALONE_SECONDS", 0.0)
    with pytest.raises(StartedError):
        run(many, "-m", "rules", "-o", tmp_path / "more.jsonl", "-j", 2, "-q")


def _start(source: Path, artifact: Path, output: Path) -> subprocess.Popen[bytes]:
    program = """
import sys, typer
from sympress.cli.extract import extract
import sympress.extract.checkpoint as checkpoint
checkpoint._SECONDS_BETWEEN = 0.0
app = typer.Typer(); app.command()(extract); app()
"""
    command = [sys.executable, "-c", program, str(source), "-m", str(artifact), "-o", str(output), "-j", "1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_job_that_is_killed_goes_on_and_writes_the_same_bytes(tiny_artifact: Path, tmp_path: Path):
    source, output, undisturbed = tmp_path / "in.jsonl", tmp_path / "out.jsonl", tmp_path / "whole.jsonl"
    lines = [json.dumps({"text": f"fever and pain {at} {CANARY} " * 9}) for at in range(6_000)]
    lines[100] = "broken"
    source.write_text("\n".join(lines))
    run(source, "-m", tiny_artifact, "-o", undisturbed, "-j", 1, "-q")
    state = tmp_path / "out.jsonl.partial" / "state.json"
    reached = 0
    for _ in range(2):
        job = _start(source, tiny_artifact, output)
        while job.poll() is None and _items(state) <= reached:
            time.sleep(0.005)
        job.send_signal(signal.SIGKILL)
        job.communicate()
        assert not output.exists()
        reached = _items(state)
    assert 0 < reached < 6_000
    err = run(source, "-m", tiny_artifact, "-o", output, "-j", 1)[1]
    assert f"going on after {reached:,} notes of an earlier run" in err
    assert output.read_bytes() == undisturbed.read_bytes()
    assert Path(f"{output}.errors.jsonl").read_bytes() == Path(f"{undisturbed}.errors.jsonl").read_bytes()


def _items(state: Path) -> int:
    try:
        return int(json.loads(state.read_text())["items"])
    except (FileNotFoundError, ValueError):
        return 0


@pytest.fixture
def interrupted(tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A job that broke off after its first chunk: source and output."""
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps({"text": f"fever {at}"}) + "\n" for at in range(300)))
    with monkeypatch.context() as patched:

        def stop(self: Pace, notes: int) -> None:
            raise KeyboardInterrupt

        patched.setattr(Pace, "done", stop)
        with pytest.raises((KeyboardInterrupt, SystemExit, AssertionError)):
            run(source, "-m", tiny_artifact, "-o", output, "-j", 1)
    assert _items(tmp_path / "out.jsonl.partial" / "state.json") == 128
    return source, output


def test_an_unfinished_job_is_not_mixed_with_another(tiny_artifact: Path, interrupted: tuple[Path, Path]):
    source, output = interrupted
    assert refused(source, "-m", tiny_artifact, "-o", output, "--category", "x") == (
        f"{output}: an unfinished job with other notes, options or artifact, or of another version of "
        "sympress, stands in out.jsonl.partial; give its command again, name another output, or add --force "
        "to begin anew"
    )
    source.write_text(source.read_text().replace("fever 7\\n", "cough 7").replace('"fever 5"', '"cough 5"'))
    assert refused(source, "-m", tiny_artifact, "-o", output) == (
        "the notes have changed since this job began (or the query has no ORDER BY); "
        "add --force to begin anew"
    )
    run(source, "-m", tiny_artifact, "-o", output, "--force")
    assert len(ids(output.read_text())) == 300


def test_another_version_or_name_of_the_model_does_not_go_on(
    tiny_artifact: Path, interrupted: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, output = interrupted
    renamed = tmp_path / "renamed"  # rows of OMOP and FHIR name it
    shutil.copytree(tiny_artifact, renamed)
    assert "an unfinished job with other notes, options or artifact" in refused(
        source, "-m", renamed, "-o", output
    )
    with monkeypatch.context() as patched:
        patched.setattr(metadata, "version", lambda _: "0.0.1")
        assert "or of another version of sympress" in refused(source, "-m", tiny_artifact, "-o", output)
    run(source, "-m", tiny_artifact, "-o", output)
    assert len(ids(output.read_text())) == 300


def test_bad_calls_are_one_line(tiny_artifact: Path, notes: Path, tmp_path: Path):
    base = (notes, "-m", tiny_artifact)
    taken = tmp_path / "taken.jsonl"
    taken.write_text("")
    assert refused(*base, "-o", taken) == (
        f"{taken}: exists already; name another file, or add --force to overwrite it"
    )
    below = taken / "below.jsonl"
    assert refused(*base, "-o", below).startswith(f"{below}: cannot be written (Not a directory); free space")
    assert refused(*base, "-o", tmp_path / "o.xlsx") == (
        f"{tmp_path}/o.xlsx: the name must end in .parquet, .jsonl, .ndjson, .csv; or give - to print"
    )
    assert refused(*base, "--format", "fihr") == (
        "--format fihr: unknown (did you mean 'fhir'?); choose from notes, omop, fhir, table"
    )
    assert "FHIR bundles are JSON" in refused(*base, "--format", "fhir", "-o", tmp_path / "o.csv")
    plain = tmp_path / "plain.parquet"
    pl.DataFrame({"a": ["x"], "b": [1]}).write_parquet(plain)
    output = tmp_path / "new.jsonl"
    assert refused(plain, "-m", tiny_artifact, "-o", output) == (
        f"{plain}: no column with a well-known name for the text; "
        "choose it with --text-column NAME (columns: a, b)"
    )
    assert not (tmp_path / "new.jsonl.partial").exists()
    assert refused("-m", tiny_artifact).startswith("no notes: name files")
    assert refused(tmp_path / "no*.gone", "-m", tiny_artifact).endswith("no file matches this pattern")
    assert refused("--sql", "select 1", "-m", tiny_artifact).startswith("--sql and --url (or --url-file, ")
    gone = f"sqlite:///{tmp_path}/gone.db"
    assert refused("--sql", "select 1", "--url", gone, "-m", tiny_artifact) == (
        "--url: no such SQLite file; write sqlite:///FILE"
    )


def test_cells_that_a_spreadsheet_would_run_are_quoted():
    raw = csv_lines([{"note_id": "=1+1", "category": "@x", "symptom": 'a "b", c', "score": 0.5, "end": None}])
    assert next(csv.reader(io.StringIO(raw.decode()))) == ["'=1+1", "'@x", 'a "b", c', "0.5", ""]


def test_pace_says_rate_and_estimate():
    pace = Pace(quiet=True)
    pace.start(100)
    assert pace.line(300, 2.0) == "300 notes, 100 a second"
    pace.read(25, 100)
    assert pace.line(300, 2.0) == "300 notes, 100 a second, 25% read, about 6 s left"


def test_a_bad_artifact_is_found_before_any_note_is_read(tmp_path: Path, notes: Path):
    assert refused(notes, "-m", tmp_path) == f"{tmp_path}: no artifact here (extractor.json is missing)"
