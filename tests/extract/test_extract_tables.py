"""Other people's tables through `sympress extract`: what is recognised, what is said, and how it ends."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path

import duckdb
import polars as pl
import pytest
from test_extract import CANARY, ids, refused, run

from sympress.cli.main import run as command
from sympress.errors import SympressError
from sympress.extract.sources import read_wanted
from sympress.notes.intake import Note

ZONED = "2024-01-31T20:00:00-05:00"
RULES = ("-m", "rules")


def rows(output: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.splitlines()]


def unanswered(*arguments: object) -> str:
    """Why not one note was answered."""
    with pytest.raises(SympressError) as caught:
        run(*arguments)
    assert caught.value.exit_code == 1
    return str(caught.value)


def write(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def test_every_kind_of_table_takes_the_same_columns(tmp_path: Path):
    frame = pl.DataFrame(
        {
            "Key": ["k1"],
            "Who": ["p1"],
            "Stay": ["e1"],
            "When": ["31.01.2024 14:05"],
            "Sort": ["x"],
            "T": ["fever"],
        }
    )
    frame.write_csv(tmp_path / "n.csv")
    frame.write_csv(tmp_path / "n.tsv", separator="\t")
    frame.write_ndjson(tmp_path / "n.jsonl")
    frame.write_parquet(tmp_path / "n.parquet")
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table n (Key, Who, Stay, [When], Sort, T)")
        lite.execute("insert into n values (?, ?, ?, ?, ?, ?)", frame.row(0))
    lite.close()
    with duckdb.connect(str(tmp_path / "n.duckdb")) as duck:
        duck.execute(f"create table n as select * from '{tmp_path / 'n.parquet'}'")
    options = [
        "--text-column",
        "t",
        "--id-column",
        "key",
        "--patient-column",
        "WHO",
        "--encounter-column",
        "stay",
    ]
    options += ["--time-column", "when", "--category-column", "sort", *RULES]
    sources: list[tuple[object, ...]] = [
        (tmp_path / f"n.{kind}",) for kind in ("csv", "tsv", "jsonl", "parquet")
    ]
    urls = (f"sqlite:///{tmp_path}/n.db", f"duckdb:///{tmp_path}/n.duckdb")
    sources += [("--sql", "select * from n", "--url", url) for url in urls]
    for source in sources:
        out, err = run(*source, *options)
        assert list(rows(out)[0].values())[:5] == ["k1", "p1", "e1", "2024-01-31T14:05:00", "x"]
        assert "numbered" not in err
        assert "no column 'ky' (did you mean 'Key'?)" in refused(
            *source, *RULES, "--text-column", "T", "--id-column", "ky"
        )


def test_a_row_number_is_never_passed_off_as_an_id(tmp_path: Path):
    source = write(tmp_path / "n.csv", "label,text\na,fever\nb,cough\n")
    out, err = run(source, *RULES, "-q")
    assert ids(out) == ["row-1", "row-2"]
    assert err == (
        f"{source}: no column holds the ids of the notes, so rows are numbered: row-1, row-2, …; "
        "name it with --id-column NAME (columns: label, text)\n"
    )


def test_a_refused_note_keeps_its_id(tmp_path: Path):
    notes = [{"NoteID": "A", "text": "fever"}, {"NoteID": "B", "text": None}, {"NoteID": "C", "text": " "}]
    lines = [json.dumps(note) for note in notes]
    write(tmp_path / "n.jsonl", "\n".join([*lines, '{"NoteID": "D", "text": 5}']))
    pl.DataFrame(notes).write_parquet(tmp_path / "n.parquet")
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table n (NoteID, text)")
        lite.executemany("insert into n values (?, ?)", [*(tuple(note.values()) for note in notes), ("D", 5)])
        lite.execute("insert into n values ('E', ?)", [b"caf\xe9"])
    lite.close()
    empty = ["note B: no answer, without text", "note C: no answer, without text"]
    number = "note D: no answer, malformed row"
    assert run(tmp_path / "n.jsonl", *RULES)[1].splitlines()[:-1] == [*empty, number]
    assert run(tmp_path / "n.parquet", *RULES)[1].splitlines()[:-1] == empty
    query = ("--sql", "select * from n order by NoteID", "--url", f"sqlite:///{tmp_path}/n.db")
    assert run(*query, *RULES)[1].splitlines()[:-1] == [*empty, number, "note E: no answer, not UTF-8"]
    assert ids(run(*query, *RULES, "--encoding", "cp1252")[0]) == ["A", "E"]


def test_dates_that_cannot_be_read_are_counted_apart_from_those_outside(tmp_path: Path):
    source = write(
        tmp_path / "n.csv",
        "note_id,date,text\n1,03/04/2024,fever\n2,soon,cough\n3,,rash\n4,2019-01-01,pain\n5,2024-05-01,chills\n",
    )
    out, err = run(source, *RULES, "--since", "2020-01-01")
    assert ids(out) == ["5"]
    assert "1 left out by the filters; 3 left out because their date is missing or unreadable" in err
    assert "2 notes have a date that was not read, 1 of them because day or month may come first" in err
    assert "say which with --date-format mdy or dmy" in err
    out, err = run(source, *RULES, "--since", "2020-01-01", "--date-format", "dmy")
    assert [row["time"] for row in rows(out)] == ["2024-04-03T00:00:00", "2024-05-01T00:00:00"]
    assert refused(source, *RULES, "--date-format", "mdyy").startswith(
        "--date-format mdyy: no format of a date"
    )


def test_a_query_tells_the_order_of_its_dates_by_its_first_rows(tmp_path: Path):
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table n (note_id, date, text)")
        lite.executemany(
            "insert into n values (?, ?, 'fever')", [(1, "03/04/2024"), (2, "12/25/2024"), (3, 20240131)]
        )
    lite.close()
    out, _ = run("--sql", "select * from n order by 1", "--url", f"sqlite:///{tmp_path}/n.db", *RULES)
    assert [str(row["time"])[:10] for row in rows(out)] == ["2024-03-04", "2024-12-25", "2024-01-31"]


def test_a_time_keeps_its_zone_and_parquet_holds_utc(tmp_path: Path):
    times = [ZONED, "2024-01-31 20:00:00", "9999-12-31T23:59:59-05:00", "0001-01-01", None]
    lines = [json.dumps({"id": at, "time": time, "text": "fever"}) for at, time in enumerate(times)]
    source = write(tmp_path / "n.jsonl", "\n".join(lines))
    written = [row["time"] for row in rows(run(source, *RULES)[0])]
    assert written == [ZONED, "2024-01-31T20:00:00", times[2], "0001-01-01T00:00:00", None]
    run(source, *RULES, "-o", tmp_path / "o.parquet")
    held = pl.read_parquet(tmp_path / "o.parquet")["time"]
    assert held.dtype == pl.Datetime("us")
    assert held[0] == datetime(2024, 2, 1, 1)
    assert held[1] == datetime(2024, 1, 31, 20)
    assert held.dt.year().to_list()[2:] in ([9999, 1, None], [10000, 1, None])


@pytest.mark.parametrize(
    ("since", "until", "fate"),
    [
        ("2024-01-31", "2024-01-31", "wanted"),  # the day as the note has it
        ("2024-02-01", None, "filtered"),
        ("2024-02-01T00:30:00+00:00", None, "wanted"),  # the same moment
        (None, "2024-02-01T00:30:00+00:00", "filtered"),
        (None, "9999-12-31", "wanted"),
        ("0001-01-01", None, "wanted"),
    ],
)
def test_a_filter_without_a_zone_means_the_day_of_the_note(since: str | None, until: str | None, fate: str):
    note = Note("1", None, None, datetime.fromisoformat(ZONED), None, None, None, "fever", None)
    assert read_wanted([], since, until).fate(note) == fate


def test_no_note_answered_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write(tmp_path / "n.csv", f"note_id,date,text\n1,x,{CANARY}\n2,,\n")
    for more, why in (
        (("--category", "letter"), "1 failed; 1 left out by the filters"),
        (
            ("--since", "2020-01-01"),
            "1 failed; 1 left out because their date is missing or unreadable",
        ),
    ):
        assert unanswered(source, *RULES, "-q", *more) == f"not one note of 2 rows was answered: {why}"
    with pytest.raises(SystemExit) as done:
        command(["extract", str(source), *RULES, "-o", str(tmp_path / "o.jsonl"), "--category", "x"])
    assert done.value.code == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("sympress: not one note of 2 rows")
    assert (tmp_path / "o.jsonl.errors.jsonl").read_text() == '{"note_id":"2","reason":"without text"}\n'


def test_no_rows_at_all_is_one_line(tmp_path: Path):
    source = write(tmp_path / "n.csv", "note_id,text\n")
    for more in ((), ("-o", tmp_path / "o.jsonl")):
        assert refused(source, *RULES, *more) == f"{source}: no rows; give a source with one row per note"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.csv"]
    with duckdb.connect(str(tmp_path / "n.duckdb")) as duck:
        duck.execute("create table n (note_id int, text text)")
    query = ("--sql", "select * from n", "--url", f"duckdb:///{tmp_path}/n.duckdb")
    assert refused(*query, *RULES).startswith("--sql: the query selects no row")


def test_cp1252_is_read_the_same_by_every_way_in(tmp_path: Path):
    text = "The patient’s fever – 39 °C"
    (tmp_path / "n.csv").write_bytes(f'note_id,text\nn,"{text}"\n'.encode("cp1252"))
    (tmp_path / "n.txt").write_bytes(text.encode("cp1252"))
    expected = rows(run("-", *RULES, stdin=text.encode())[0])[0]["mentions"]
    for source, stdin in ((tmp_path / "n.csv", b""), (tmp_path / "n.txt", b""), ("-", text.encode("cp1252"))):
        out, err = run(source, *RULES, stdin=stdin)
        assert rows(out)[0]["mentions"] == expected
        assert err.count("read as cp1252") == 1
    for encoding in ("utf-16", "utf-16-le", "mac-roman"):
        raw = json.dumps({"id": "n", "text": text}, ensure_ascii=False).encode(encoding)
        out, _ = run("-", *RULES, "--encoding", encoding, stdin=raw)
        assert rows(out)[0]["mentions"] == expected
    assert "no text encoding (did you mean 'cp1252'?)" in refused("-", *RULES, "--encoding", "cp-1252x")


def test_an_option_that_has_no_meaning_is_refused(tmp_path: Path):
    folder = tmp_path / "texts"
    folder.mkdir()
    write(folder / "a.txt", "fever")
    assert "text files have no columns; leave out --id-column" in refused(folder, *RULES, "--id-column", "x")
    told = "which has no columns; leave out --time-column, or give JSON objects"
    assert told in refused("-", *RULES, "--time-column", "x", stdin=b"fever")
    assert told in refused("-", "--whole", *RULES, "--time-column", "x", stdin=b"fever")
    pl.DataFrame({"text": ["fever"]}).write_parquet(tmp_path / "n.parquet")
    assert "leave out --encoding" in refused(tmp_path / "n.parquet", *RULES, "--encoding", "cp1252")
    vaers = write(tmp_path / "v.csv", "VAERS_ID,RECVDATE,AGE_YRS,SEX,SYMPTOM_TEXT\n1,01/31/2024,9,F,fever\n")
    assert "VAERS tables have fixed columns" in refused(vaers, *RULES, "--date-format", "mdy")


@pytest.mark.parametrize(
    "more",
    [("--id-column", "k"), ("--date-format", "mdy"), ("--encoding", "utf-8"), ("--category-column", "k")],
)
def test_a_job_is_not_gone_on_with_by_other_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: tuple[str, str]
):
    from sympress.extract.job import Pace

    lines = "".join(json.dumps({"id": at, "k": at, "text": "fever"}) + "\n" for at in range(300))
    source, output = write(tmp_path / "n.jsonl", lines), tmp_path / "o.jsonl"
    with monkeypatch.context() as patched:

        def stop(self: Pace, notes: int) -> None:
            raise OSError

        patched.setattr(Pace, "done", stop)
        with pytest.raises(SympressError):
            run(source, *RULES, "-o", output, "-j", 1)
    assert (tmp_path / "o.jsonl.partial").exists()
    assert "an unfinished job with other notes, options" in refused(source, *RULES, "-o", output, *more)
