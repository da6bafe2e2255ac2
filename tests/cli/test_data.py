"""`sympress data`: where a data set can be had, and what is wrong with a folder, without any of its rows."""

from __future__ import annotations

import csv
import io
import zipfile
from pathlib import Path

import pytest

from sympress.cli.data import NOTEEVENTS, OPEN_DATA, VAERS_YEARS
from sympress.cli.main import run

SECRET = "Marigold"


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, output and errors of `sympress data`."""
    with pytest.raises(SystemExit) as done:
        run(["data", *map(str, arguments)])
    captured = capsys.readouterr()
    assert SECRET not in captured.out + captured.err
    return int(done.value.code or 0), captured.out, captured.err


def table(*rows: tuple[str, ...]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


REPORTS = table(
    ("VAERS_ID", "RECVDATE", "SEX", "AGE_YRS", "SYMPTOM_TEXT"),
    ("1", "01/02/2004", "F", "30", f"Fever, says {SECRET}"),
    ("2", "01/03/2004", "M", "40", ""),
)
CODES = table(
    ("VAERS_ID", "SYMPTOM1", "SYMPTOM2", "SYMPTOM3", "SYMPTOM4", "SYMPTOM5"),
    ("1", "Pyrexia", "", "", "", ""),
)


def write_year(folder: Path, year: int, reports: str = REPORTS, codes: str | None = CODES) -> None:
    with zipfile.ZipFile(folder / f"{year}VAERSData.zip", "w") as archive:
        archive.writestr(f"{year}VAERSDATA.csv", reports)
        if codes is not None:
            archive.writestr(f"{year}VAERSSYMPTOMS.csv", codes)


@pytest.mark.parametrize("name", OPEN_DATA)
def test_without_a_folder_it_says_what_the_data_is_and_which_files_are_needed(
    name: str, capsys: pytest.CaptureFixture[str]
):
    code, out, _ = told(capsys, name)
    assert code == 0
    for words in (OPEN_DATA[name].title, *OPEN_DATA[name].files, f"sympress data {name} --check FOLDER"):
        assert words in out


def test_every_year_of_vaers_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for year in VAERS_YEARS:
        write_year(tmp_path, year)
    code, out, _ = told(capsys, "vaers", "--check", tmp_path)
    assert code == 0
    assert out.splitlines() == [
        f"ok   {year}VAERSData.zip  2 rows, 1 reports with text, 1 of them coded" for year in VAERS_YEARS
    ]


def test_what_is_wrong_with_a_year_is_said_beside_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for year in VAERS_YEARS:
        write_year(tmp_path, year)
    write_year(tmp_path, 2001, reports=REPORTS.replace("RECVDATE", "WHEN"))
    write_year(tmp_path, 2002, codes=None)
    (tmp_path / "2003VAERSData.zip").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "2004VAERSData.zip").unlink()
    write_year(tmp_path, 2005, codes=CODES.replace("1,Pyrexia", f'"{SECRET},Pyrexia'))
    code, out, err = told(capsys, "vaers", "--check", tmp_path)
    assert code == 2
    bad = {line.split()[1]: line for line in out.splitlines() if line.startswith("BAD")}
    assert list(bad) == [f"{year}VAERSData.zip" for year in range(2001, 2006)]
    for year, words in (
        (2001, "no column 'RECVDATE'"),
        (2002, "2002VAERSSYMPTOMS.csv is missing"),
        (2003, "damaged zip"),
        (2004, "missing"),
        (2005, "never closed"),
    ):
        assert words in bad[f"{year}VAERSData.zip"]
    assert "5 of 16 files missing or damaged; `sympress data vaers` says where" in err


def test_mimic_is_told_by_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert told(capsys, "mimic", "--check", tmp_path)[0] == 2
    file = tmp_path / NOTEEVENTS[1]
    columns = ("ROW_ID", "SUBJECT_ID", "HADM_ID", "CHARTDATE", "CATEGORY", "ISERROR", "TEXT")
    file.write_text(table(columns, ("1", "7", "", "2150-01-01", "Nursing", "", SECRET)), encoding="utf-8")
    code, out, _ = told(capsys, "mimic", "--check", tmp_path)
    assert (code, "1 rows, 1 notes" in out) == (0, True)
    file.write_text(table(("id", "text"), ("1", SECRET)), encoding="utf-8")
    code, out, _ = told(capsys, "mimic", "--check", tmp_path)
    assert code == 2
    assert "no column ROW_ID, SUBJECT_ID, HADM_ID, CHARTDATE, CATEGORY, ISERROR" in out


def test_mtsamples_needs_one_of_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, out, _ = told(capsys, "mtsamples", "--check", tmp_path)
    assert (code, "mtsamples.csv  missing" in out) == (2, True)
    rows = table(("", "description", "transcription"), ("0", "x", f"Fever, {SECRET}"), ("1", "y", "Cough"))
    (tmp_path / "mtsamples.csv").write_text(rows, encoding="utf-8")
    code, out, _ = told(capsys, "mtsamples", "--check", tmp_path)
    assert (code, "2 rows, 2 notes" in out) == (0, True)


def test_maccrobat_needs_spans_of_symptoms_that_stand_where_they_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "1.txt").write_text(f"Fever of {SECRET}.", encoding="utf-8")
    marks = tmp_path / "1.ann"
    marks.write_text("T1\tSign_symptom 0 5\tFever\n", encoding="utf-8")
    code, out, _ = told(capsys, "maccrobat", "--check", tmp_path)
    assert (code, "1 reports, 1 spans, 1 of them Sign_symptom" in out) == (0, True)
    marks.write_text("T1\tDisease 0 5\tFever\n", encoding="utf-8")
    assert "no span is called Sign_symptom" in told(capsys, "maccrobat", "--check", tmp_path)[1]
    marks.write_text("T1\tSign_symptom 9 14\tFever\n", encoding="utf-8")
    assert told(capsys, "maccrobat", "--check", tmp_path)[0] == 2


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = told(capsys, "vaers", "--check", tmp_path / "no")
    assert (code, "no such folder" in err) == (2, True)
