"""VAERS as it is downloaded: zips, loose tables, Latin-1, several rows of codes a report."""

import os
import struct
import zipfile
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sympress.errors import InputError
from sympress.notes.intake import ReadingCounts, keep_patient
from sympress.notes.read import read_notes

DATA_HEADER = "VAERS_ID,RECVDATE,STATE,AGE_YRS,CAGE_YR,CAGE_MO,SEX,RPT_DATE,SYMPTOM_TEXT,DIED\r\n"
CODES_HEADER = "VAERS_ID," + ",".join(f"SYMPTOM{n},SYMPTOMVERSION{n}" for n in range(1, 6)) + "\r\n"
DATA = (
    DATA_HEADER
    + '025001,07/02/1990,WI,0.2,,,F,,"C/O fever, ""hot""\r\nno rash; 38\xb0C",\r\n'
    + "025003,07/03/1990,NY,,,,U,,,\r\n"
    + "025004,bad,NY,8,,,M,,crying,\r\n"
    + "025005,07/05/1990,NY,8,,,M,,short\r\n"
)
CODES = (
    CODES_HEADER
    + "025001,Pyrexia,8.10,Agitation,8.10,Rash,8.10,Cough,8.10,Chills,8.10\r\n"
    + "025003,Pyrexia,8.10,,,,,,,,\r\n"
    + "025001,Agitation,8.10,Injection site \xf6dema,8.10,,,,,,\r\n"
)
ROWS = [
    (
        "025001",
        "025001",
        None,
        datetime(1990, 7, 2),
        None,
        "F",
        0.2,
        'C/O fever, "hot"\r\nno rash; 38\xb0C',
        ["Pyrexia", "Agitation", "Rash", "Cough", "Chills", "Injection site \xf6dema"],
    ),
    ("025004", "025004", None, None, None, "M", 8.0, "crying", []),
]
COUNTS = ReadingCounts(4, 2, 0, {"without text": 1, "malformed row": 1})


def archive(
    path: Path, prefix: str = "1990", data: str = DATA, codes: str | None = CODES, **more: str
) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{prefix}VAERSVAX.csv", "VAERS_ID,VAX_TYPE\r\n025001,DTP\r\n")
        if codes is not None:
            packed.writestr(f"{prefix}VAERSSYMPTOMS.csv", codes.encode("latin-1"))
        packed.writestr(f"{prefix}VAERSDATA.csv", data.encode("latin-1"))
        for name, content in more.items():
            packed.writestr(name, content)
    return path


def test_one_zip(tmp_path: Path) -> None:
    notes = read_notes(archive(tmp_path / "1990VAERSData.zip"))
    assert notes.name == "vaers"
    assert notes.frame.rows() == ROWS
    assert notes.counts == COUNTS


def test_a_zip_under_any_name_that_is_no_csv_by_suffix(tmp_path: Path) -> None:
    assert read_notes(archive(tmp_path / "download")).frame.rows() == ROWS


def test_a_folder_of_zips_goes_by_year(tmp_path: Path) -> None:
    archive(
        tmp_path / "1991VAERSData.zip", "1991", DATA.replace("0250", "0350"), CODES.replace("0250", "0350")
    )
    archive(tmp_path / "1990VAERSDATA.ZIP")
    seen: list[tuple[int, int | None]] = []
    notes = read_notes(tmp_path, progress=lambda *at: seen.append(at))
    assert notes.frame["note_id"].to_list() == ["025001", "025004", "035001", "035004"]
    assert notes.frame["codes"].list.len().to_list() == [6, 0, 6, 0]
    assert notes.counts.rows == 8
    total = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert seen == sorted(seen)
    assert seen[-1] == (total, total)


def test_unzipped_tables_in_a_folder_or_alone(tmp_path: Path) -> None:
    (tmp_path / "1990vaersdata.CSV").write_bytes(DATA.encode("latin-1"))
    with pytest.raises(InputError, match=r"1990VAERSSYMPTOMS\.csv is missing beside 1990vaersdata\.CSV"):
        read_notes(tmp_path)
    alone = read_notes(tmp_path / "1990vaersdata.CSV")
    assert alone.name == "vaers"
    assert alone.frame["codes"].to_list() == [None, None]
    (tmp_path / "1990VaersSymptoms.csv").write_bytes(CODES.encode("latin-1"))
    assert read_notes(tmp_path).frame.rows() == ROWS
    assert read_notes(tmp_path / "1990vaersdata.CSV").frame.rows() == ROWS
    with pytest.raises(
        InputError, match=r"coded symptoms of VAERS without the reports; give the …VAERSDATA\.csv"
    ):
        read_notes(tmp_path / "1990VaersSymptoms.csv")


def test_the_same_year_twice_is_refused(tmp_path: Path) -> None:
    archive(tmp_path / "1990VAERSData.zip")
    (tmp_path / "1990VAERSDATA.csv").write_bytes(DATA.encode("latin-1"))
    (tmp_path / "1990VAERSSYMPTOMS.csv").write_bytes(CODES.encode("latin-1"))
    with pytest.raises(InputError, match="are the same year; keep one of them"):
        read_notes(tmp_path)


def test_copies_converted_to_utf8_read_the_same(tmp_path: Path) -> None:
    (tmp_path / "1990VAERSDATA.csv").write_bytes(DATA.encode("utf-8-sig"))
    (tmp_path / "1990VAERSSYMPTOMS.csv").write_bytes(CODES.encode("utf-8-sig"))
    assert read_notes(tmp_path).frame.rows() == ROWS


def test_a_sample_keeps_codes_with_their_reports(tmp_path: Path) -> None:
    ids = [f"{n:06d}" for n in range(400)]
    data = DATA_HEADER + "".join(f"{i},01/02/1999,NY,1,,,M,,fever {i},\r\n" for i in ids)
    codes = CODES_HEADER + "".join(f"{i},Code {i},8.10,,,,,,,,\r\n" for i in ids)
    notes = read_notes(archive(tmp_path / "a.zip", data=data, codes=codes), fraction=0.25)
    expected = [i for i in ids if keep_patient(i, 0.25)]
    assert notes.frame["note_id"].to_list() == expected
    assert notes.frame["codes"].to_list() == [[f"Code {i}"] for i in expected]
    assert notes.counts == ReadingCounts(400, len(expected), 400 - len(expected), {})


def test_a_damaged_table_of_codes_is_not_read_as_no_symptoms(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", codes=CODES + "025004,Cough\r\n")
    with pytest.raises(InputError, match=r"1990VAERSSYMPTOMS\.csv: row 4 has 2 fields, the header 11"):
        read_notes(path)
    with pytest.raises(InputError, match=r"1990VAERSSYMPTOMS\.csv is missing"):
        read_notes(archive(tmp_path / "b.zip", codes=None))
    with pytest.raises(InputError, match=r"no column 'SYMPTOM_TEXT'"):
        read_notes(archive(tmp_path / "c.zip", data=DATA.replace("SYMPTOM_TEXT", "TEXTE")))


def declare(path: Path, member: str, size: int) -> None:
    """Change the unpacked size that the directory of a zip declares for `member`."""
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(member.encode()))
    raw[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(raw)


def test_a_zip_bomb_is_refused_and_the_limit_said(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip")
    declare(path, "1990VAERSDATA.csv", 3_000_000_000)
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert "1990VAERSDATA.csv would unpack to 3,000,000,000 bytes" in str(caught.value)
    assert "the limits are 8,589,934,592 bytes and 200 times" in str(caught.value)


def test_a_member_that_does_not_match_its_checksum_is_damage(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    at = raw.rindex(b"PK\x01\x02", 0, raw.rindex(b"1990VAERSDATA.csv"))
    raw[at + 16] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"a\.zip is damaged: it cannot be decompressed beyond row \d"):
        read_notes(path)


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip")
    raw = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        at = raw.rindex(sign)
        raw[at + offset] |= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r"1990VAERSDATA\.csv is encrypted"):
        read_notes(path)


def shared(folder: str) -> Path:
    root = Path(os.environ.get("SYMPRESS_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    if not (root / folder).is_dir():
        pytest.skip(f"no {folder} in {root}; set SYMPRESS_DATA to the folder with the open data")
    return root / folder


def test_real_vaers_of_1990_to_2005() -> None:
    notes = read_notes(shared("vaers"))
    assert notes.counts == ReadingCounts(186_114, 185_844, 0, {"without text": 270})
    assert notes.frame["note_id"].n_unique() == 185_844
    assert notes.frame.filter(pl.col("codes").list.contains("Pyrexia")).height == 44_701
    assert notes.frame["time"].null_count() == 0


def test_real_mtsamples_prefers_the_sectioned_copy() -> None:
    folder = shared("mtsamples")
    sectioned = read_notes(folder)
    assert sectioned.name == "mtsamples (sectioned)"
    assert sectioned.counts == ReadingCounts(2_377, 2_377, 0, {})
    flat = read_notes(folder / "mtsamples.csv.gz")
    assert flat.counts == ReadingCounts(4_999, 4_966, 0, {"without text": 33})
    assert flat.frame["category"].null_count() == 0
