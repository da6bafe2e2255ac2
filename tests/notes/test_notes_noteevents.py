"""NOTEEVENTS, byte for byte of the form that PhysioNet distributes."""

import csv
import gzip
import io
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.notes.intake import ReadingCounts, keep_patient
from sympress.notes.read import NOTE_SCHEMA, read_notes, stream_notes

HEADER = "ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CHARTTIME,STORETIME,CATEGORY,DESCRIPTION,CGID,ISERROR,TEXT"
COLUMNS = HEADER.split(",")
LETTER = 'Admission Date:  [**2151-7-16**]\n\nHe said "no, thanks",\r\nthen left.\n'
ROWS = [
    ["174", "22532", "167853", "2151-08-04", "", "", "Discharge summary", "Report", "", "", LETTER],
    [
        "175",
        "13702",
        "107527",
        "2118-06-14",
        "2118-06-14 09:30:00",
        "",
        "Physician ",
        "Note",
        "7",
        "1",
        "Wrong.",
    ],
    [
        "176",
        "13702",
        "",
        "2119-05-25",
        "2119-05-25 11:02:00",
        "",
        "Nursing/other",
        "Report",
        "7",
        "",
        "Fever.",
    ],
    ["177", "13702", "", "2119-05-26", "", "", "Physician ", "Note", "7", "", " \n "],
]


def noteevents(rows: list[list[str]], columns: list[str] = COLUMNS) -> bytes:
    """Return the table as bytes: header and texts quoted, lines ended by a newline."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")


def many(patients: int, notes_each: int) -> list[list[str]]:
    return [
        [str(1 + p * notes_each + n), str(p), "", "2150-01-01", "", "", "Nursing", "", "", "", f"p{p}\nn{n}"]
        for p in range(patients)
        for n in range(notes_each)
    ]


def adds_up(counts: ReadingCounts) -> bool:
    return counts.rows == counts.kept + counts.sampled_out + sum(counts.dropped.values())


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_reads_plain_and_gzip_with_either_header(tmp_path: Path, lower: bool, packed: bool) -> None:
    raw = noteevents(ROWS, [name.lower() for name in COLUMNS] if lower else COLUMNS)
    path = tmp_path / ("NOTEEVENTS.csv.gz" if packed else "NOTEEVENTS.csv")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    notes = read_notes(path)
    assert notes.name == path.name
    assert notes.frame.schema == pl.Schema(NOTE_SCHEMA)
    assert notes.frame.rows() == [
        ("174", "22532", "167853", datetime(2151, 8, 4), "Discharge summary", None, None, LETTER, None),
        ("176", "13702", None, datetime(2119, 5, 25, 11, 2), "Nursing/other", None, None, "Fever.", None),
    ]
    assert notes.counts == ReadingCounts(4, 2, 0, {"retracted by the source": 1, "without text": 1})
    assert adds_up(notes.counts)


def test_gzip_is_told_by_its_bytes_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_bytes(gzip.compress(noteevents(ROWS)))
    assert read_notes(path).counts.kept == 2


def test_ids_that_pandas_wrote_as_floats_are_whole_numbers(tmp_path: Path) -> None:
    row = ["1", "22532", "167853.0", "2151-08-04", "", "", "x", "", "", "1.0", "a"]
    path = tmp_path / "n.csv"
    path.write_bytes(noteevents([row, ["2", *row[1:9], "0.0", "b"]]))
    notes = read_notes(path)
    assert notes.frame["encounter_id"].to_list() == ["167853"]
    assert notes.counts.dropped == {"retracted by the source": 1}


def test_rows_with_another_number_of_fields_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(noteevents([ROWS[0], ROWS[2][:10], [*ROWS[2], "more"], ROWS[2]]) + b"\n\n")
    counts = read_notes(path).counts
    assert counts == ReadingCounts(4, 2, 0, {"malformed row": 2})
    assert adds_up(counts)


def test_a_sample_holds_whole_patients_and_lies_within_a_larger_one(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(noteevents(many(300, 3)))
    small, large = (read_notes(path, fraction=fraction) for fraction in (0.2, 0.5))
    expected = {str(p) for p in range(300) if keep_patient(str(p), 0.2)}
    assert set(small.frame["patient_id"]) == expected
    assert small.counts.kept == 3 * len(expected)
    assert set(small.frame["note_id"]) < set(large.frame["note_id"])
    assert adds_up(small.counts)
    assert adds_up(large.counts)


def test_streams_in_batches_and_reports_progress(tmp_path: Path) -> None:
    path = tmp_path / "n.csv.gz"
    path.write_bytes(gzip.compress(noteevents(many(1_000, 5))))
    counts, seen = ReadingCounts(), []
    frames = list(stream_notes(path, counts=counts, batch_rows=1_500, progress=lambda *at: seen.append(at)))
    assert [frame.height for frame in frames] == [1_500, 1_500, 1_500, 500]
    assert all(frame.schema == pl.Schema(NOTE_SCHEMA) for frame in frames)
    assert counts == ReadingCounts(5_000, 5_000, 0, {})
    size = path.stat().st_size
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert pl.concat(frames).equals(read_notes(path).frame)


def test_a_truncated_gzip_says_after_how_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "NOTEEVENTS.csv.gz"
    packed = gzip.compress(noteevents(many(2_000, 3)))
    path.write_bytes(packed[: len(packed) // 2])
    counts = ReadingCounts()
    with pytest.raises(InputError) as caught:
        list(stream_notes(path, counts=counts))
    assert 0 < counts.rows < 6_000
    assert str(caught.value) == (
        f"{path} is truncated: the gzip stream ends early after {counts.rows} rows; copy it again"
    )


def test_a_damaged_gzip_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "n.csv.gz"
    packed = bytearray(gzip.compress(noteevents(ROWS)))
    packed[-8] ^= 0xFF  # the checksum
    path.write_bytes(packed)
    with pytest.raises(
        InputError, match=r"n\.csv\.gz is damaged: it cannot be decompressed beyond row \d; copy"
    ):
        read_notes(path)
    path.write_bytes(packed[:12])
    with pytest.raises(InputError, match="a gzip stream without content"):
        read_notes(path)


def test_a_quote_that_is_never_closed_names_the_line_of_its_record(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(b'ROW_ID,TEXT\n1,"two\nlines"\n2,"never closed\n3,secret\n')
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert str(caught.value) == (
        f"{path}: the record that starts at line 4 has a quoted field that is never closed; close its quote"
    )


def test_a_quote_that_is_not_doubled_stops_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(b'ROW_ID,TEXT\n1,fine\n2,"said\n"secret" loudly"\n3,fine\n')
    with pytest.raises(InputError, match="starts at line 3 breaks the rules of quoting at line 4") as caught:
        read_notes(path)
    assert "secret" not in str(caught.value)


def test_an_unclosed_quote_cannot_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = csv.field_size_limit()
    monkeypatch.setattr("sympress.notes.formats.delimited.RECORD_LIMIT", 1_000)
    path = tmp_path / "n.csv"
    path.write_bytes(b'ROW_ID,TEXT\n1,"open' + b" word\n" * 500)
    csv.field_size_limit(100)
    try:
        with pytest.raises(InputError, match="starts at line 2 is longer than 1,000 characters"):
            read_notes(path)
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("filler", [0, 20_000])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_bytes_that_are_not_utf8_are_found(tmp_path: Path, filler: int, mark: bytes) -> None:
    path = tmp_path / "n.csv"
    start = mark + b"ROW_ID,TEXT\n" + b"".join(b"%d,fever\n" % n for n in range(filler)) + "x,é caf".encode()
    path.write_bytes(start + b"\xe9 secret\ny,z\n")
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert f"{path}: byte {len(start)} is not UTF-8 (after row " in str(caught.value)
    assert "iconv" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_repeated_id_is_never_merged(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(b"note_id,text\n7,a\n8,b\n7,c\n")
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert str(caught.value) == (
        f"{path}: row 3 has note_id '7', as an earlier row has; "
        "remove the repeated rows, or name another column with --id-column"
    )


def test_fingerprint_follows_ids_and_texts_only(tmp_path: Path) -> None:
    def fingerprint(content: bytes, name: str) -> str:
        (tmp_path / name).write_bytes(content)
        return read_notes(tmp_path / name).fingerprint

    same = fingerprint(b"note_id,text\n1,ab\n2,c\n", "a.csv")
    assert same == fingerprint(b"text,category,note_id\nab,x,1\nc,y,2\n", "b.csv")
    assert same != fingerprint(b"note_id,text\n1,a\n2,bc\n", "c.csv")
    assert len(same) == 32
    assert int(same, 16) > 0
