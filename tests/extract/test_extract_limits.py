"""What would fill the memory is refused while it is read; a note's own excess is a failure of that note."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path

import polars as pl
import pytest
from test_extract import refused, run

from sympress.evaluation.cost import own_peak_bytes
from sympress.extract.sources import EveryNote, ItemCounts
from sympress.notes.formats.parquet import parquet_notes
from sympress.notes.intake import NOTE_LIMIT, TOO_LONG
from sympress.notes.layout import RECOGNISED
from sympress.runtime.artifact import artifact_folder
from sympress.runtime.extractor import MENTIONS_MOST, Extractor

RULES = ("-m", "rules", "-j", "1", "-q")
MEGABYTE = 2**20


def gzipped(path: Path, parts: Iterable[bytes]) -> Path:
    """A gzip file of parts of which there is never more than one in memory."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for part in parts:
            file.write(packer.compress(part))
        file.write(packer.flush())
    return path


def failures(output: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in Path(f"{output}.errors.jsonl").read_text().splitlines()]


HEAD = b"note_id,text\n1,fever\n"
ENDLESS = {
    "a header": (b"note_id,text", b"a" * MEGABYTE, b"\n1,fever\n"),
    "columns": (b"note_id,text", b",a" * (MEGABYTE // 2), b"\n1,fever\n"),
    "a quoted field": (HEAD + b'2,"', b"a" * MEGABYTE, b'"\n3,cough\n'),
    "lines in quotes": (HEAD + b'2,"', (b"a" * 999 + b"\n") * 1_000, b'"\n3,cough\n'),
    "quoted fields": (HEAD + b'2,"', b'a","' * (MEGABYTE // 4), b'"\n3,cough\n'),
    "one line": (b"", b"a" * MEGABYTE, b""),
}


@pytest.mark.parametrize("shape", ENDLESS)
def test_a_csv_record_without_end_is_one_line_and_little_memory(tmp_path: Path, shape: str):
    begin, part, end = ENDLESS[shape]
    path = gzipped(tmp_path / "in.csv.gz", [begin, *[part] * 256, end])
    before = own_peak_bytes()
    message = refused(path, *RULES)
    assert "is longer than 33,554,432 characters or has more than 1,000,000 fields" in message
    assert len(message) < 500
    assert own_peak_bytes() - before < 250e6


@pytest.mark.parametrize("part", [b"a" * MEGABYTE, b",a" * (MEGABYTE // 2)])
@pytest.mark.parametrize("end", [b"\n3,cough\n", b""])
def test_a_csv_row_without_quotes_that_is_too_long_fails_alone(tmp_path: Path, part: bytes, end: bytes):
    path = gzipped(tmp_path / "in.csv.gz", [HEAD, b"2,", *[part] * 40, end])
    output = tmp_path / "out.jsonl"
    run(path, *RULES, "-o", output)
    assert failures(output) == [{"note_id": "2", "reason": TOO_LONG}]
    assert len(output.read_text().splitlines()) == (2 if end else 1)


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_csv_note_that_is_too_long_fails_by_its_id(tmp_path: Path, quote: str):
    text = "a" * (NOTE_LIMIT + 1)
    path = tmp_path / "in.csv.gz"
    path.write_bytes(gzip.compress(f"text,note_id\n{quote}{text}{quote},7\ncough,8\n".encode(), 1))
    run(path, *RULES, "-o", tmp_path / "out.jsonl")
    assert failures(tmp_path / "out.jsonl") == [{"note_id": "7", "reason": TOO_LONG}]


def test_a_header_with_too_many_columns_is_refused(tmp_path: Path):
    (tmp_path / "in.csv").write_text("text," + ",".join(f"c{at}" for at in range(10_000)) + "\nfever\n")
    assert "more than 10,000 columns" in refused(tmp_path / "in.csv", *RULES)
    names = {f"c{at}": ["x"] for at in range(10_001)}
    pl.DataFrame(names).write_parquet(tmp_path / "in.parquet")
    assert "more than 10,000 columns" in refused(tmp_path / "in.parquet", *RULES)


def test_a_message_names_some_of_many_columns(tmp_path: Path):
    (tmp_path / "in.csv").write_text("note_id,patient_id," + ",".join(f"c{at}" for at in range(900)) + "\n")
    message = refused(tmp_path / "in.csv", *RULES)
    assert "columns: note_id, patient_id, c0" in message
    assert len(message) < 600


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "fever", "x": [' + "{}," * 2_000_000 + "{}]}",
        '{"text": "fever", "x": [' + "[]," * 2_000_000 + "[]]}",
        '{"text": "fever", "x": [' + "1," * 2_000_000 + "1]}",
        json.dumps({"text": "fever"} | {f"k{at}": at for at in range(10_000)}),
    ],
    ids=["objects", "lists", "numbers", "keys"],
)
def test_json_of_too_many_values_is_a_malformed_row(tmp_path: Path, line: str):
    path = tmp_path / "in.jsonl"
    path.write_text(f'{{"text": "cough"}}\n{line}\n{{"text": "rash"}}\n')
    run(path, *RULES, "-o", tmp_path / "out.jsonl")
    assert failures(tmp_path / "out.jsonl") == [{"note_id": "row-2", "reason": "malformed row"}]


def repeated(path: Path, value: str, column: str, rows: int) -> Path:
    """A Parquet file whose dictionary holds one value for all rows."""
    one = pl.DataFrame({column: [value]}).select(pl.all().gather([0] * rows)).with_row_index("note_id")
    one.select(
        "note_id",
        text=pl.col(column) if column == "text" else pl.lit("fever"),
        **({} if column == "text" else {column: pl.col(column)}),
    ).write_parquet(path)
    return path


def test_one_long_text_for_many_rows_of_parquet_takes_the_memory_of_few(tmp_path: Path):
    path = repeated(tmp_path / "in.parquet", "x" * 2_000_000, "text", 400)
    assert path.stat().st_size < 10_000
    before = own_peak_bytes()
    notes = parquet_notes(path, RECOGNISED, EveryNote(ItemCounts(), None, None))
    assert [len(note.text) for note in notes] == [2_000_000] * 400
    assert own_peak_bytes() - before < 250e6


@pytest.mark.parametrize(
    ("column", "size", "reason"),
    [
        ("text", 4 * NOTE_LIMIT + 1, TOO_LONG),
        ("text", NOTE_LIMIT + 1, TOO_LONG),
        ("patient_id", 2**20 + 1, "malformed row"),
        ("category", 2**20 + 1, "malformed row"),
    ],
)
def test_what_is_too_long_in_parquet_fails_by_its_row(tmp_path: Path, column: str, size: int, reason: str):
    path = repeated(tmp_path / "in.parquet", "x" * size, column, 3)
    more = pl.DataFrame({"note_id": [9], "text": ["cough"]}, schema_overrides={"note_id": pl.UInt32})
    pl.concat([pl.read_parquet(path), more], how="diagonal").write_parquet(path)
    run(path, *RULES, "-o", tmp_path / "out.jsonl")
    found = failures(tmp_path / "out.jsonl")
    assert [one["reason"] for one in found] == [reason] * 3
    assert [json.loads(line)["note_id"] for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        "9"
    ]
    if column == "text":
        assert [one["note_id"] for one in found] == ["0", "1", "2"]


def test_values_of_every_type_have_a_size(tmp_path: Path):
    nested = {"reference": ["Patient/1", "x" * (2**20 + 1), None]}
    frame = pl.DataFrame(nested).select(
        text=pl.Series(["fever", "cough", "rash"], dtype=pl.Categorical()),
        note_id=pl.struct("reference"),
        codes=pl.concat_list("reference"),
        patient_id=pl.col("reference").cast(pl.Binary),
        age=pl.Series([1, None, 3]),
    )
    frame.write_parquet(tmp_path / "in.parquet")
    run(tmp_path / "in.parquet", *RULES, "-o", tmp_path / "out.jsonl")
    assert [one["reason"] for one in failures(tmp_path / "out.jsonl")] == ["malformed row"]
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])["note_id"] == "Patient/1"


def test_a_note_with_too_many_mentions_fails_and_is_not_cut(tmp_path: Path):
    rows = [{"note_id": "many", "text": "fever, " * 4}, {"note_id": "few", "text": "fever, " * 3}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(tmp_path / "in.jsonl", *RULES, "-o", tmp_path / "out.jsonl", "--most-mentions", "3")
    assert failures(tmp_path / "out.jsonl") == [{"note_id": "many", "reason": "more than 3 mentions"}]
    (row,) = map(json.loads, (tmp_path / "out.jsonl").read_text().splitlines())
    assert len(row["mentions"]) == 3


def test_a_model_too_has_no_more_mentions_than_asked_for(tiny_tagger: Path):
    extractor = Extractor.load(tiny_tagger)
    text = "fever cough " * 20
    found = extractor.answer(text)
    assert len(found.mentions) > 1
    few = extractor.answer(text, most_mentions=len(found.mentions) - 1)
    assert few.failure == f"more than {len(found.mentions) - 1:,} mentions"
    assert extractor.answer(text, most_mentions=len(found.mentions)) == found


@pytest.mark.parametrize(
    ("model", "megabytes"), [("rules", 4), (None, 0.5)]
)  # the models read a megabyte in 3 s
def test_a_note_of_megabytes_of_mentions_takes_little(model: str | None, megabytes: float):
    extractor = Extractor.load(model or artifact_folder(None))
    before = own_peak_bytes()
    result = extractor.answer("tic " * int(megabytes * 250_000))
    assert result.failure == f"more than {8 * MENTIONS_MOST:,} forms and headings"
    assert own_peak_bytes() - before < megabytes * 100e6
