"""One note with an odd date, age or id: it is read as far as it goes, or fails alone, in every format."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from test_extract import run

import sympress.extract.workers as chunks
from sympress.errors import InputError
from sympress.extract.sources import Failure, ItemCounts, find_notes, stream_items
from sympress.notes.intake import Note
from sympress.notes.read import read_notes

RULES = ("-m", "rules", "-j", "1", "-q")
TIMES = [
    "9999-12-31T23:59:59-05:00",
    "9999-12-31T23:59:59-05:00:30",
    "0001-01-01T00:00:00+05:00",
    "0001-01-01T00:00:00+05:00:30",
    "0000-01-01",
    "10000-01-01T00:00:00Z",
    "-0001-01-01",
    "99991231235959-0500",
    1e400,
    10**400,
    float("nan"),
]
ODD = [
    *({"time": time} for time in TIMES),
    {"age": 10**400},
    {"age": "9" * 400},
    {"age": "9" * 5_000},
    {"patient_id": "p\ud800", "encounter_id": "\udfff", "category": "\ud800"},
    {"patient_id": ["\ud800"], "codes": ["\ud800"], "sex": "\ud800"},
    {"patient_id": {"a": {"b": [1e400]}}, "category": [["\ud800"]]},
]
FORMATS = [
    ("notes", "o.jsonl"),
    ("notes", "o.csv"),
    ("notes", "o.parquet"),
    ("fhir", "o.ndjson"),
    ("omop", "o.jsonl"),
    ("omop", "o.csv"),
    ("omop", "o.parquet"),
]


def failed(output: Path) -> list[dict[str, str]]:
    errors = Path(f"{output}.errors.jsonl")
    return [json.loads(line) for line in errors.read_text().splitlines()] if errors.exists() else []


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    rows = [{"note_id": str(at), "patient_id": "p", "text": "fever", **one} for at, one in enumerate(ODD)]
    rows.append({"note_id": "a\ud800", "text": "fever"})
    rows.append({"note_id": "last", "text": "cough"})
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize(("shape", "name"), FORMATS)
@pytest.mark.parametrize("filters", [(), ("--since", "0001-01-01", "--until", "9999-12-31T23:59:59-10:00")])
def test_odd_values_stop_no_job(odd: Path, tmp_path: Path, shape: str, name: str, filters: tuple[str, ...]):
    output = tmp_path / name
    run(odd, *RULES, "--format", shape, "-o", output, *filters)
    assert output.stat().st_size > 0
    named = shape == "omop" and not filters
    assert [one["note_id"] for one in failed(output)] == (["a\\ud800", "last"] if named else [])


def test_parquet_holds_times_that_python_can_read(odd: Path, tmp_path: Path):
    run(odd, *RULES, "-o", tmp_path / "o.parquet")
    times = pl.read_parquet(tmp_path / "o.parquet")["time"].to_list()
    last, first = datetime(9999, 12, 31, 23, 59, 59), datetime(1, 1, 1)
    assert times[:4] == [last, last, first, first]
    assert times[4:7] == [None, None, None]


@pytest.mark.parametrize(
    "kind",
    [
        pl.Datetime("ms"),
        pl.Datetime("us"),
        pl.Datetime("ns"),
        pl.Datetime("us", "UTC"),
        pl.Datetime("us", "America/New_York"),
        pl.Date(),
        pl.Duration("ms"),
    ],
    ids=str,
)
@pytest.mark.parametrize("column", ["time", "note_id", "age", "category", "patient_id"])
def test_parquet_beyond_the_calendar_is_read(tmp_path: Path, kind: pl.DataType, column: str):
    numbers = [0, 2**31 - 1, -(2**31)] if kind == pl.Date() else [0, 2**62, -(2**62)]
    odd = pl.Series(column, numbers).cast(pl.Int32 if kind == pl.Date() else pl.Int64).cast(kind)
    frame = pl.DataFrame({"note_id": ["a", "b", "c"], "text": ["fever", "cough", "rash"]}).with_columns(odd)
    frame.write_parquet(tmp_path / "in.parquet")
    out, err = run(tmp_path / "in.parquet", "-m", "rules", "-j", "1")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 3
    if column == "time" and kind in (pl.Date(), pl.Datetime("ms"), pl.Datetime("us")):
        assert [row["time"] for row in rows] == ["1970-01-01T00:00:00", None, None]
        assert "2 notes have a date that was not read" in err


def test_the_last_day_of_the_calendar_is_a_day(tmp_path: Path):
    frame = pl.DataFrame({"note_id": ["a"], "text": ["fever"], "time": [datetime(9999, 12, 31)]})
    frame.write_parquet(tmp_path / "in.parquet")
    row = json.loads(run(tmp_path / "in.parquet", *RULES)[0])
    assert row["time"] == "9999-12-31T00:00:00"


def test_a_row_that_cannot_be_written_fails_alone(odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    shape = chunks.SHAPES["notes"]

    def explode(note: object, *rest: object) -> object:
        if note.note_id == "3":
            raise OverflowError("the note says fever")
        return shape(note, *rest)

    monkeypatch.setitem(chunks.SHAPES, "notes", explode)
    run(odd, *RULES, "-o", tmp_path / "o.jsonl")
    assert failed(tmp_path / "o.jsonl") == [
        {"note_id": "3", "reason": "its row cannot be written (OverflowError)"}
    ]


# Bytes that are not UTF-8 in what says that it holds text.


def not_utf8(path: Path, rows: int) -> None:
    """A Parquet file of `rows` rows in which the text of `2` and the patient of `0` are no UTF-8."""
    texts = [f"note {at % 7} fever" for at in range(rows)]
    columns = {
        "note_id": [str(at) for at in range(rows)],
        "patient_id": ["@@ p", *["p"] * (rows - 1)],
        "time": pl.Series([datetime(2024, 1, 31, 20)] * rows, dtype=pl.Datetime("us", "America/New_York")),
        "text": [*texts[:2], "@@ cough", *texts[3:]],
    }
    pl.DataFrame(columns).write_parquet(path, compression="uncompressed")
    path.write_bytes(path.read_bytes().replace(b"@@", b"\xff\xfe"))


@pytest.mark.parametrize("rows", [3, 5_000])  # five thousand share a dictionary of seven texts
def test_a_text_of_parquet_that_is_not_utf_8_fails_alone(tmp_path: Path, rows: int) -> None:
    path = tmp_path / "n.parquet"
    not_utf8(path, rows)
    counts = ItemCounts()
    items = list(stream_items(find_notes([str(path)]), counts))
    assert [item.note_id for item in items] == [str(at) for at in range(rows)]
    assert [item for item in items if isinstance(item, Failure)] == [Failure("2", "not UTF-8")]
    notes = [item for item in items if isinstance(item, Note)]
    assert notes[0].patient_id == r"\xff\xfe p"
    assert {str(note.time) for note in notes} == {"2024-01-31 15:00:00-05:00"}
    assert {note.text for note in notes} == {f"note {at} fever" for at in range(min(7, rows - 1))}
    assert counts.remarks == [
        f"{path}: some text is not UTF-8 and refused; write the file again with text in UTF-8"
    ]
    with pytest.raises(InputError, match=r"n\.parquet: text that is not UTF-8 within \d+ rows after row 0;"):
        read_notes(path)


def test_a_text_of_sqlite_that_is_not_utf_8_fails_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table n (note_id text, category text, text text)")
        rows = ((1, b"a", b"fever"), (2, b"a", b"\xffcough"), (3, b"\xffa", "fièvre".encode()))
        lite.executemany("insert into n values (?, cast(? as text), cast(? as text))", rows)
    query = find_notes([], sql="select * from n order by 1", url=f"sqlite:///{tmp_path}/n.db")
    one, two, three = stream_items(query, ItemCounts())
    assert isinstance(one, Note)
    assert two == Failure("2", "not UTF-8")
    assert isinstance(three, Note)
    assert (one.text, three.text, three.category) == ("fever", "fièvre", r"\xffa")


@pytest.mark.parametrize(
    "line",
    [
        '{"note_id": "2", "text": "fever", "text": "no cough"}',
        '{"note_id": "2", "note_id": "3", "text": "fever"}',
        '{"note_id": "2", "text" :"fever","\\u0074ext":"no cough"}',
        '{"resourceType": "DocumentReference", "subject": {"reference": "a", "reference": "b"}}',
    ],
)
def test_an_object_with_a_key_twice_fails_alone(tmp_path: Path, line: str) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text(f'{{"note_id": "1", "text": "fever"}}\n{line}\n{{"note_id": "3", "text": "pain"}}\n')
    items = list(stream_items(find_notes([str(path)]), ItemCounts()))
    assert [item.note_id for item in items] == ["1", "row-2", "3"]
    assert items[1] == Failure("row-2", "a JSON object with a key twice")


def test_an_endless_time_of_duckdb_is_no_time(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "n.duckdb") as duck:
        duck.execute("create table n (note_id text, time timestamp, text text)")
        duck.execute("insert into n values ('1', 'infinity', 'fever'), ('2', '-infinity', 'fever')")
        duck.execute("insert into n values ('3', '9999-12-31', 'fever')")
    counts = ItemCounts()
    query = find_notes([], sql="select * from n order by 1", url=f"duckdb:///{tmp_path}/n.duckdb")
    times = [getattr(item, "time", None) for item in stream_items(query, counts)]
    assert times == [None, None, datetime(9999, 12, 31)]
    assert counts.unread_dates == 2
