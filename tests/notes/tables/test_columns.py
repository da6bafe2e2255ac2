"""The columns of other people's tables: found by their names, or named by the user."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.cli.main import run as command
from sympress.errors import InputError
from sympress.notes.layout import KNOWN, RECOGNISED, TableOptions, encodable_id, layout_of, plain
from sympress.notes.read import read_notes


@pytest.mark.parametrize(
    ("header", "note", "patient", "encounter", "time", "category"),
    [
        ("NoteID,PatientID,EncounterID,NoteDate,NoteType,NoteText", 0, 1, 2, 3, 4),
        ("note id,patient id,visit id,note date,note type,note text", 0, 1, 2, 3, 4),
        ("note-id,MRN,CSN,Note.Date,noteType,text", 0, 1, 2, 3, 4),
        ("NOTE_ID,PAT_ID,PAT_ENC_CSN_ID,CONTACT_DATE,IP_NOTE_TYPE,NOTE_TEXT", 0, 1, 2, 3, 4),
        ("TIUDocumentSID,PatientSID,VisitSID,ReferenceDateTime,TIUStandardTitle,ReportText", 0, 1, 2, 3, 4),
        ("EVENT_ID,PERSON_ID,ENCNTR_ID,EVENT_END_DT_TM,EVENT_TITLE_TEXT,BLOB_CONTENTS", 0, 1, 2, 3, 4),
        ("noteid,uniquepid,patientunitstayid,noteoffset,notetype,notetext", 0, 1, 2, None, 4),
        ("note_id,subject_id,hadm_id,charttime,note_type,text", 0, 1, 2, 3, 4),
        ("ROW_ID,SUBJECT_ID,HADM_ID,CHARTDATE,CATEGORY,TEXT", 0, 1, 2, 3, 4),
        ("note_id,person_id,visit_occurrence_id,note_date,note_title,note_text", 0, 1, 2, 3, 4),
        ("note_id,patient_id,hospitalization_id,note_dttm,note_category,note_text", 0, 1, 2, 3, 4),
        ("Report ID,PATID,ENCOUNTERID,Report_Date,Report Type,Report", 0, 1, 2, 3, 4),
        ("n.note_id,n.patient_num,n.encounter_num,n.start_date,n.category,n.observation_blob", 0, 1, 2, 3, 4),
        ("VAERS_ID,patient,encounter,RECVDATE,specialty,narrative", 0, 1, 2, 3, 4),
        (
            "ClinicalNoteKey,PatientDurableKey,EncounterKey,ServiceInstant,DocumentType,FullText",
            0,
            1,
            2,
            3,
            4,
        ),
    ],
)
def test_the_usual_names_are_found(
    header: str, note: int, patient: int, encounter: int, time: int | None, category: int
) -> None:
    layout = layout_of(header.split(","), RECOGNISED, Path("t"))
    assert (layout.note_id, layout.patient_id, layout.encounter_id) == (note, patient, encounter)
    assert layout.times[:1] == (() if time is None else (time,))
    assert (layout.category, layout.text) == (category, 5)


def test_the_surest_name_wins_and_the_text_is_nothing_else() -> None:
    layout = layout_of(["id", "row_id", "Note-ID", "mrn", "patient_id", "text"], RECOGNISED, Path("t"))
    assert (layout.note_id, layout.patient_id) == (2, 4)
    layout = layout_of(["id", "category"], TableOptions(text="category"), Path("t"))
    assert (layout.text, layout.category) == (1, -1)


def test_no_name_stands_for_two_fields() -> None:
    names = [name for field in KNOWN for name in KNOWN[field]]
    assert len(names) == len(set(names))
    assert all(name == plain(name) for name in names)


def test_columns_that_are_named_are_those_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("note_id,key,who,stay,when,kind,text\n1,k,p,e,2024-01-31,x,fever\n")
    options = TableOptions(None, "key", "WHO", "Stay", "when", "kind")
    frame = read_notes(path, table=options).frame
    assert frame.row(0)[:5] == ("k", "p", "e", frame["time"][0], "x")
    assert str(frame["time"][0]) == "2024-01-31 00:00:00"
    # A column that is named for one field is not found for another.
    layout = layout_of(["note_id", "id", "text"], TableOptions(patient_id="note_id"), path)
    assert (layout.patient_id, layout.note_id) == (0, 1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (
            TableOptions(note_id="kye"),
            "no column 'kye' (did you mean 'key'?); choose the ids with --id-column",
        ),
        (
            TableOptions(time="whn"),
            "no column 'whn' (did you mean 'when'?); choose the time with --time-column",
        ),
        (TableOptions(patient_id="zz"), "no column 'zz'; choose the patient with --patient-column"),
    ],
)
def test_a_named_column_that_is_not_there_is_one_line(
    tmp_path: Path, options: TableOptions, problem: str
) -> None:
    path = tmp_path / "n.csv"
    path.write_text("key,when,text\nk,2024,fever\n")
    with pytest.raises(InputError) as caught:
        read_notes(path, table=options)
    assert str(caught.value) == f"{path}: {problem} NAME (columns: key, when, text)"


def test_the_first_row_is_never_quoted_where_it_may_be_a_note(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("1,Pain in the left secret knee\n2,fever\n")
    with pytest.raises(InputError, match="does not look like a header") as caught:
        read_notes(path, table=TableOptions(note_id="secre"))
    assert "knee" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "NULL", "nan", "None", "\\N"])
def test_an_empty_id_is_called_after_its_row_and_counted(tmp_path: Path, value: str) -> None:
    path = tmp_path / "n.csv"
    path.write_text(f"NoteID,MRN,text\n1,7.0,fever\n{value},{value},cough\n")
    notes = read_notes(path)
    assert notes.frame.select("note_id", "patient_id").rows() == [("1", "7"), ("row-2", None)]
    assert (notes.counts.unnamed, notes.counts.remarks) == (1, [])


def test_binary_ids_are_text_uuids_or_hexadecimal(tmp_path: Path) -> None:
    ids = [b"\0\1" * 8, b"A17", b"\xff\0"]
    pl.DataFrame({"note_id": ids, "text": ["a", "b", "c"]}).write_parquet(tmp_path / "n.parquet")
    found = read_notes(tmp_path / "n.parquet").frame["note_id"].to_list()
    assert found == ["00010001-0001-0001-0001-000100010001", "A17", "ff00"]


def test_ids_that_are_floats_lose_their_fraction(tmp_path: Path) -> None:
    frame = pl.DataFrame({"note_id": [1e17, 2.0, None], "text": ["a", "b", "c"]})
    frame.write_parquet(tmp_path / "n.parquet")
    assert read_notes(tmp_path / "n.parquet").frame["note_id"].to_list() == [str(10**17), "2", "row-3"]


@pytest.mark.parametrize("named", [b"sep=;", b'"sep=;"', b"\xef\xbb\xbfSEP=;"])
def test_what_excel_and_dos_add_is_no_row(tmp_path: Path, named: bytes) -> None:
    path = tmp_path / "n.csv"
    path.write_bytes(named + b"\r\nnote_id;text\r\n1;No fever, cough\r\n2;nul \x00 inside\r\n\x1a")
    notes = read_notes(path)
    assert notes.frame.select("note_id", "text").rows() == [
        ("1", "No fever, cough"),
        ("2", "nul \x00 inside"),
    ]
    assert notes.counts.rows == 2


def test_dates_are_decided_by_their_column_or_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("note_id,date,text\n1,03/04/2024,a\n2,01/31/2024,b\n3,,c\n")
    notes = read_notes(path)
    assert [str(time)[:10] for time in notes.frame["time"]] == ["2024-03-04", "2024-01-31", "None"]
    assert notes.counts.unread_dates == 0
    path.write_text("note_id,date,text\n1,03/04/2024,a\n2,05/06/2024,b\n3,soon,c\n4,2024-01-31,d\n")
    notes = read_notes(path)
    assert [time is None for time in notes.frame["time"]] == [True, True, True, False]
    assert (notes.counts.unread_dates, notes.counts.ambiguous_dates) == (3, 2)
    assert [line.split("; ")[-1] for line in notes.counts.remarks] == [
        "say which with --date-format mdy or dmy",
        "name their form with --date-format, for example %d/%m/%Y",
    ]
    days = read_notes(path, table=TableOptions(date_format="dmy")).frame["time"].to_list()
    assert [str(day)[:10] for day in days] == ["2024-04-03", "2024-06-05", "None", "2024-01-31"]


def test_parquet_and_json_lines_tell_the_order_too(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "NoteDate": ["03/04/2024", "31/12/2024"], "text": ["a", "b"]})
    frame.write_parquet(tmp_path / "n.parquet")
    frame.write_ndjson(tmp_path / "n.jsonl")
    for name in ("n.parquet", "n.jsonl"):
        assert str(read_notes(tmp_path / name).frame["time"][0]) == "2024-04-03 00:00:00"


def test_a_key_that_only_later_objects_have_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text('{"k": 1, "text": "a"}\n{"k": 2, "who": "p", "text": "b"}\n{"who": "q", "text": "c"}\n')
    options = TableOptions(note_id="k", patient_id="who")
    frame = read_notes(path, table=options).frame
    assert frame.select("note_id", "patient_id").rows() == [("1", None), ("2", "p"), ("row-3", "q")]
    with pytest.raises(InputError, match=r"no column 'whom' \(did you mean 'who'\?\)"):
        read_notes(path, table=TableOptions(patient_id="whom"))


def test_label_takes_the_columns_and_says_how_it_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = tmp_path / "n.csv", tmp_path / "out.jsonl"
    path.write_bytes(b"key,label,text\nk1,a,fi\xe8vre fever\nk2,b,No cough\n")
    call = ["label", str(path), "-o", str(output), "--task", "mentions", "--lexicon", "clinical"]
    for more, ids in (([], {"row-1", "row-2"}), (["--id-column", "KEY"], {"k1", "k2"})):
        with pytest.raises(SystemExit) as done:
            command([*call, "--force", *more])
        assert done.value.code == 0
        assert {json.loads(line)["note_id"] for line in output.read_text().splitlines()} == ids
        said = capsys.readouterr().err
        assert "not UTF-8, so it is read as cp1252" in said
        assert ("so rows are numbered" in said) is (not more)


@given(st.lists(st.text(alphabet=[*"\\ud8ax", "\ud800", "\udfff", "é"], max_size=8), unique=True))
def test_no_two_ids_become_one_and_all_can_be_written(ids: list[str]):
    written = [encodable_id(one) for one in ids]
    assert len(set(written)) == len(ids)
    assert all(one.encode().decode() == one for one in written)


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("a\ud800", r"a\ud800"),
        (r"a\ud800", r"a\\ud800"),
        ("a\\\ud800", r"a\\\ud800"),
        (r"C:\notes\ud", r"C:\notes\ud"),
        ("ud800é", "ud800é"),
        ("é", "é"),
    ],
)
def test_half_a_pair_in_an_id_is_written_out(name: str, written: str):
    assert encodable_id(name) == written


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("note_id,note_id,text", "columns of the same name hold the ids; name one with --id-column NAME"),
        ("NoteID,note_id,text", "columns of the same name hold the ids; name one with --id-column NAME"),
        ("a.note_id,b.note_id,text", "columns of the same name hold the ids; name one with --id-column"),
        ("note_id,row_id,row_id,text", "columns of the same name hold the ids; name one with --id-column"),
        (
            "note_id,mrn,MRN,text",
            "columns of the same name hold the patients; name one with --patient-column",
        ),
        ("note_id,date,Date,text", "columns of the same name hold the times; name one with --time-column"),
        ("note_id,sex,sex,text", "columns of the same name hold the sex; rename all but one"),
        ("note_id,text,Text", "several columns may hold the text; choose it with --text-column"),
    ],
)
def test_two_columns_of_one_name_are_refused(tmp_path: Path, header: str, problem: str) -> None:
    path = tmp_path / "n.csv"
    path.write_text(f"{header}\n1,2,3,4\n")
    with pytest.raises(InputError) as caught:
        read_notes(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_which_of_several_known_columns_is_read_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "n.csv"
    path.write_text("id,note_id,SUBJECT_ID,mrn,note.date,date,text\n1,a,7,8,2024-01-31,,fever\n")
    notes = read_notes(path)
    assert notes.frame.select("note_id", "patient_id").row(0) == ("a", "7")
    assert notes.counts.remarks == [
        f"{path}: read 'note_id' for the ids, not 'id'; 'SUBJECT_ID' for the patients, not 'mrn'; "
        "choose another with --id-column, --patient-column"
    ]
    named = read_notes(path, table=TableOptions(note_id="note_id", patient_id="mrn"))
    assert named.counts.remarks == []


def test_a_later_object_with_two_keys_of_one_name_fails_alone(tmp_path: Path) -> None:
    path = tmp_path / "n.jsonl"
    path.write_text(
        '{"id": 1, "text": "a"}\n{"id": 2, "ID": 3, "text": "b"}\n{"id": 4, "mrn": 1, "text": "c"}\n'
    )
    notes = read_notes(path)
    assert notes.frame["note_id"].to_list() == ["1", "4"]
    assert notes.counts.dropped == {"malformed row": 1}
