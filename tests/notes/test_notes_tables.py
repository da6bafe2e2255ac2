"""Any CSV, TSV, JSON lines, Parquet, or folder of text: choosing the text, and clear mistakes."""

import gzip
import json
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.notes.intake import ReadingCounts
from sympress.notes.read import NOTE_SCHEMA, read_notes, stream_notes


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def message_of(path: Path, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        read_notes(path, **settings)  # type: ignore[arg-type]  # the tests give known names
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_csv_without_ids_is_numbered_by_row(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "\ufeffTranscription,gender,age\nfever,Male,61\n,F,1\ncough,u,old\n")
    notes = read_notes(path)
    assert notes.frame.select("note_id", "sex", "age", "text").rows() == [
        ("row-1", "M", 61.0, "fever"),
        ("row-3", None, None, "cough"),
    ]
    assert notes.counts.remarks == [
        f"{path}: no column holds the ids of the notes, so rows are numbered: row-1, row-2, …; "
        "name it with --id-column NAME (columns: Transcription, gender, age)"
    ]
    assert notes.counts == ReadingCounts(3, 2, 0, {"without text": 1})


@pytest.mark.parametrize(("name", "delimiter"), [("n.tsv", "\t"), ("n.csv", ";"), ("n.txt.csv", "|")])
def test_other_delimiters(tmp_path: Path, name: str, delimiter: str) -> None:
    rows = [["subject_id", "id", "text"], ["p", "1", '"a, b\nc"']]
    path = write(tmp_path / name, "\n".join(delimiter.join(row) for row in rows) + "\n")
    assert read_notes(path).frame.select("note_id", "patient_id", "text").rows() == [("1", "p", "a, b\nc")]


def test_text_column_is_named_by_the_caller(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "id,text,note\n1,a,b\n")
    assert read_notes(path, text_column="note").frame["text"].to_list() == ["b"]
    assert read_notes(path, text_column="TEXT").frame["text"].to_list() == ["a"]
    assert message_of(path) == (
        f"{path}: several columns may hold the text; "
        "choose it with --text-column NAME (columns: id, text, note)"
    )
    assert message_of(path, text_column="texts") == (
        f"{path}: no column 'texts' (did you mean 'text'?); "
        "choose the text with --text-column NAME (columns: id, text, note)"
    )


def test_missing_text_column_names_what_there_is(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "id,body of letter\n1,fever\n")
    assert message_of(path) == (
        f"{path}: no column with a well-known name for the text; "
        "choose it with --text-column NAME (columns: id, body of letter)"
    )


@pytest.mark.parametrize(
    "first", ["1,Pain in the left secret knee", "1,secret pain", "Has secret pain", "secret " * 9]
)
def test_a_table_without_header_does_not_show_its_first_note(tmp_path: Path, first: str) -> None:
    message = message_of(write(tmp_path / "n.csv", f"{first}\n{first}\n"))
    assert "secret" not in message
    assert "does not look like a header" in message


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("n.csv", b"", "an empty file"),
        ("n.csv", b"\n\n", "holds blank lines only"),
        ("n.csv", b"note_id,text\n", "a header without rows"),
        ("n.jsonl", b"\n", "a header without rows"),
        ("n.jsonl", b"{}\n", "no column with a well-known name for the text"),
        ("n.csv", b"\x00\x01\x02", "a binary file"),
        ("n.csv", bytes(range(1, 32)) * 40, "a binary file"),
        ("n.csv", "text\nfieber\n".encode("utf-16-le"), "UTF-16 without its mark; add --encoding"),
        ("n.parquet", b"PAR1 and nothing", "not a readable Parquet file"),
        ("n.json", b'[{"text": "a"}]', "one JSON array"),
        ("n.csv", b"id,text\n1\n2\n", "all of its 2 rows are malformed"),
        ("n.csv", b"id,text\n1,\n2, \n", "no note is left of 2 rows (2 without text)"),
        ("n.zip", b"PK\x05\x06" + bytes(18), "a zip without a …VAERSDATA.csv inside"),
        ("n.zip", b"PK\x03\x04 cut off", "a damaged zip"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    path = write(tmp_path / name, content)
    message = message_of(path)
    assert message.startswith(f"{path}")
    assert problem in message


def test_missing_paths_and_useless_folders(tmp_path: Path) -> None:
    assert "no such file or folder" in message_of(tmp_path / "nothing.csv")
    assert "a folder with nothing that can be read" in message_of(tmp_path)
    write(tmp_path / "a.csv", "text\nx\n")
    write(tmp_path / "README.txt", "not a note")
    assert f"{tmp_path}: a folder with tables (a.csv); give one of these files" in message_of(tmp_path)


def test_stream_checks_its_arguments_at_the_call(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "text\nfever\n")
    with pytest.raises(InputError, match=r"fraction 0\.0: give a number above 0"):
        stream_notes(path, counts=ReadingCounts(), fraction=0.0)
    with pytest.raises(InputError, match="batch_rows 0"):
        stream_notes(path, counts=ReadingCounts(), batch_rows=0)
    with pytest.raises(InputError, match="no such file"):
        stream_notes(tmp_path / "x", counts=ReadingCounts())


def test_nothing_left_by_the_sample_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "n.csv", "patient_id,text\np,fever\n")
    assert "no note is left of 1 rows (1 sampled out: raise the fraction)" in message_of(path, fraction=1e-9)


@pytest.mark.parametrize("packed", [False, True])
def test_json_lines(tmp_path: Path, packed: bool) -> None:
    lines = [
        json.dumps(
            {"sample_id": 29, "specialties": ["Letters", "Urology"], "text": "RE:\n\tpain \U0001f600"}
        ),
        "",
        "not json",
        '["a list"]',
        '{"sample_id": 30, "text": "half a pair \\ud83d"}',
        json.dumps({"time": "2020-02-03T04:05:06+02:00", "sample_id": 31, "text": "x", "codes": ["Pyrexia"]}),
        json.dumps({"sample_id": 32, "text": None}),
        json.dumps({"sample_id": 33}),
        json.dumps({"sample_id": 34, "text": 5}),
    ]
    content = ("\n".join(lines)).encode()
    path = write(tmp_path / "notes.jsonl", gzip.compress(content) if packed else content)
    notes = read_notes(path)
    assert notes.frame.select("note_id", "category", "time", "text", "codes").rows() == [
        ("29", "Letters, Urology", None, "RE:\n\tpain \U0001f600", None),
        ("31", None, datetime(2020, 2, 3, 2, 5, 6), "x", ["Pyrexia"]),
    ]
    assert notes.counts == ReadingCounts(8, 2, 0, {"malformed row": 4, "without text": 2})


def test_an_endless_json_line_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sympress.notes.formats.jsonl.NOTE_LIMIT", 100)
    monkeypatch.setattr("sympress.notes.formats.jsonl.NOTE_BYTES", 400)
    path = write(tmp_path / "n.jsonl", '{"text": "a"}\n' + json.dumps({"text": "secret" * 100}))
    assert message_of(path) == f"{path}: row 2 is longer than 100 characters; write one JSON object a line"


def test_parquet_of_our_own_schema_comes_back_equal(tmp_path: Path) -> None:
    time = datetime(2151, 7, 16, 1, 2, 3)
    columns = {
        "note_id": ["1", "2", "3"],
        "patient_id": ["a", "a", None],
        "encounter_id": [None, "e", None],
        "time": [time, None, None],
        "category": ["x", None, None],
        "sex": ["F", "M", None],
        "age": [0.5, 99.0, None],
        "text": ["one\r\ntwo", "three", " "],
        "codes": [["Pyrexia"], [], None],
    }
    frame = pl.DataFrame(columns, schema=NOTE_SCHEMA)
    path = tmp_path / "notes.parquet"
    frame.write_parquet(path)
    notes = read_notes(path)
    assert notes.frame.equals(frame.head(2))
    assert notes.counts == ReadingCounts(3, 2, 0, {"without text": 1})


def test_parquet_is_read_in_slices_with_any_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sympress.notes.intake.Intake.slice_rows", 10)
    frame = pl.DataFrame(
        {
            "row_id": range(25),
            "subject_id": [float(n) for n in range(25)],
            "charttime": [datetime(2150, 1, 1, tzinfo=UTC)] * 25,
            "chartdate": [date(2150, 1, 2)] * 25,
            "text": pl.Series(["a", "b", "c", "d", "e"] * 5, dtype=pl.Categorical),
            "iserror": [1] + [None] * 24,
        }
    )
    path = tmp_path / "notes.pq"
    frame.write_parquet(path)
    seen: list[tuple[int, int | None]] = []
    notes = read_notes(path, progress=lambda *at: seen.append(at))
    assert notes.counts == ReadingCounts(25, 24, 0, {"retracted by the source": 1})
    assert notes.frame.row(0)[:4] == ("1", "1", None, datetime(2150, 1, 1))
    assert notes.frame["text"].to_list() == (["a", "b", "c", "d", "e"] * 5)[1:]
    assert seen[-1] == (path.stat().st_size,) * 2
    assert "column 'row_id' holds Int64, not text" in message_of(path, text_column="row_id")


def test_a_folder_of_text_keeps_every_character(tmp_path: Path) -> None:
    folder = tmp_path / "letters"
    (folder / "ward").mkdir(parents=True)
    write(folder / "b.txt", b"\xef\xbb\xbfone\r\ntwo\rthree")
    write(folder / "ward" / "a.TXT", "fi\u00e8vre")
    write(folder / "empty.txt", "\n")
    write(folder / "b.ann", "T1\tSign 0 3\tone")
    write(folder / "._b.txt", b"\x00\x05")
    notes = read_notes(folder)
    assert notes.name == "letters"
    assert notes.frame.select("note_id", "text").rows() == [
        ("b", "one\r\ntwo\rthree"),
        ("ward/a", "fi\u00e8vre"),
    ]
    assert notes.counts == ReadingCounts(3, 2, 0, {"without text": 1})
    assert read_notes(folder / "b.txt").frame["note_id"].to_list() == ["b"]


def test_a_note_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", b"fine")
    path = write(tmp_path / "b.txt", b"\xef\xbb\xbfcaf\xe9")
    assert message_of(tmp_path).startswith(f"{path}: byte 6 is not UTF-8; name the encoding with --encoding")
    write(path, b"a\0b")
    assert message_of(tmp_path).startswith(f"{path}: a binary file")
