"""Synthetic notes as files, and the command that writes them."""

from __future__ import annotations

import csv
import gzip
import io
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from sympress.cli.notes import synth
from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.mentions import UNSAID, symptom_labels, to_annotated
from sympress.labels.lexicon import load_lexicon
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.synthesize import synthesize
from sympress.notes.synthesize.writer import write_notes

COLUMNS = [
    "ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CHARTTIME", "STORETIME",
    "CATEGORY", "DESCRIPTION", "CGID", "ISERROR", "TEXT",
]  # fmt: skip


def rows_of(path: Path) -> list[dict[str, str]]:
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    reader = csv.DictReader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True)
    rows = list(reader)
    assert reader.fieldnames == COLUMNS
    return rows


@pytest.mark.parametrize("name", ["NOTEEVENTS.csv", "NOTEEVENTS.csv.gz"])
def test_noteevents_reads_back_as_the_same_notes(tmp_path: Path, name: str) -> None:
    written = write_notes(tmp_path / name, 700, seed=3)
    rows = rows_of(tmp_path / name)
    kept = [row for row in rows if row["ISERROR"] != "1"]
    notes = synthesize(700, seed=3)
    assert [row["TEXT"] for row in kept] == notes.frame["text"].to_list()
    assert [row["ROW_ID"] for row in kept] == notes.frame["note_id"].to_list()
    assert [row["SUBJECT_ID"] for row in kept] == notes.frame["patient_id"].to_list()
    assert [row["HADM_ID"] or None for row in kept] == notes.frame["encounter_id"].to_list()
    assert [row["CATEGORY"].strip() for row in kept] == notes.frame["category"].to_list()
    times = [datetime.fromisoformat(row["CHARTTIME"] or row["CHARTDATE"]) for row in kept]
    assert times == notes.frame["time"].to_list()
    assert (written.notes, written.rows, written.mentions) == (700, len(rows), notes.mentions.height)
    assert 0 < len(rows) - 700 < 25
    assert len({row["ROW_ID"] for row in rows}) == len(rows)


def test_noteevents_text_needs_its_quoting(tmp_path: Path) -> None:
    write_notes(tmp_path / "notes.csv", 400)
    raw = (tmp_path / "notes.csv").read_text(encoding="utf-8")
    assert raw.startswith('"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE",')
    assert raw.count("\n") > 1500
    assert '""I just wanted' in raw
    assert '"Physician "' in raw


@pytest.mark.parametrize("name", ["a.csv.gz", "a.jsonl", "a.parquet"])
def test_the_gold_file_is_read_by_gold_with_every_note_and_mention(tmp_path: Path, name: str) -> None:
    note_format = {"a.jsonl": "jsonl", "a.parquet": "parquet"}.get(name, "noteevents")
    written = write_notes(tmp_path / name, 300, note_format=note_format)
    assert written.gold_path == tmp_path / "a.gold.jsonl"
    gold = read_gold(written.gold_path)
    expected = synthesize(300)
    columns = expected.frame.select("note_id", "text").rows()
    assert [(one.note_id, one.text) for one in gold.documents] == columns
    found = [
        (one.note_id, *span.fragments[0], span.label, dict(span.attributes)["assertion"])
        for one in gold.documents
        for span in one.spans
    ]
    told = expected.mentions.select("note_id", "start", "end", "symptom", "assertion").rows()
    assert found == told
    assert len(told) == written.mentions
    labels = symptom_labels(gold.documents, load_lexicon("clinical"), source="gold")
    assert set(labels) == set(expected.mentions["symptom"])
    assert all(labels.values())  # each names a symptom of the lexicon
    notes, counts = to_annotated(gold.documents, labels=labels)
    assert len(notes) == 300
    assert {one.assertion for note in notes for one in note.mentions} == set(expected.mentions["assertion"])
    assert counts[UNSAID] == 0


@pytest.mark.parametrize("name", ["notes.jsonl", "notes.jsonl.gz", "notes.parquet"])
def test_frames_read_back_equal(tmp_path: Path, name: str) -> None:
    steps: list[int] = []
    note_format = "parquet" if name.endswith("parquet") else "jsonl"
    write_notes(tmp_path / name, 120, seed=1, note_format=note_format, advance=steps.append)
    path = tmp_path / name
    if note_format == "parquet":
        frame = pl.read_parquet(path)
    else:
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        frame = pl.read_ndjson(text, schema={**NOTE_SCHEMA, "time": pl.String()}).with_columns(
            pl.col("time").str.to_datetime(time_unit="us")
        )
    assert frame.equals(synthesize(120, seed=1).frame)
    assert sum(steps) == 120
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["notes.gold.jsonl", name]


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.csv.gz", "b.csv.gz"):
        write_notes(tmp_path / name, 50)
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()


def test_an_ending_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"format noteevents is written to a file that ends in \.csv or"):
        write_notes(tmp_path / "notes.parquet", 5)
    with pytest.raises(InputError, match="at least 1 synthetic note"):
        write_notes(tmp_path / "notes.csv", 0)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def app() -> typer.Typer:
    application = typer.Typer()
    application.command("synth")(synth)
    return application


def test_command_writes_and_names_the_next_step(tmp_path: Path, app: typer.Typer) -> None:
    path = tmp_path / "my [red]notes.csv"
    result = CliRunner().invoke(app, ["-n", "40", "--seed", "4", "-o", str(path)])
    assert result.exit_code == 0, result.output
    assert len([row for row in rows_of(path) if row["ISERROR"] != "1"]) == 40
    assert str(path) in result.stdout
    assert f"next: sympress study --notes '{path}' -o RUN" in result.stdout
    gold = tmp_path / "my [red]notes.gold.jsonl"
    assert f" gold mentions -> {gold}, which --gold reads\n" in result.stdout


def test_command_refuses_to_overwrite(tmp_path: Path, app: typer.Typer) -> None:
    path = tmp_path / "notes.parquet"
    path.write_text("mine", encoding="utf-8")
    call = ["-n", "5", "--format", "parquet", "-o", str(path)]
    result = CliRunner().invoke(app, call)
    assert isinstance(result.exception, InputError)
    assert str(result.exception) == (
        f"{path}: exists already; name another file, or add --force to overwrite it"
    )
    assert path.read_text(encoding="utf-8") == "mine"
    assert CliRunner().invoke(app, [*call, "--force"]).exit_code == 0
    assert pl.read_parquet(path).height == 5
