"""Rows of NOTE_NLP in a database with the CDM's own table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_extract import refused, run

from sympress.errors import InputError
from sympress.extract import job
from sympress.extract.concepts import ConceptMap, Vocabulary
from sympress.extract.shapes import INTEGER_MOST, OMOP_COLUMNS, id_fault, numbered, omop_rows
from sympress.extract.workers import CHUNK_NOTES, csv_lines, json_lines
from sympress.labels.mentions import ASSERTIONS, Reason
from sympress.notes.intake import Note
from sympress.runtime.note_result import FoundMention, FoundSymptom, NoteResult

#: OHDSI, OMOP CDM v5.4, NOTE_NLP, as for DuckDB.
DDL = """
CREATE TABLE note_nlp (
    note_nlp_id integer NOT NULL PRIMARY KEY,
    note_id integer NOT NULL,
    section_concept_id integer NULL,
    snippet varchar(250) NULL,
    "offset" varchar(50) NULL,
    lexical_variant varchar(250) NOT NULL,
    note_nlp_concept_id integer NULL,
    note_nlp_source_concept_id integer NULL,
    nlp_system varchar(250) NULL,
    nlp_date date NOT NULL,
    nlp_datetime TIMESTAMP NULL,
    term_exists varchar(1) NULL,
    term_temporal varchar(50) NULL,
    term_modifiers varchar(2000) NULL)
"""
TEXT = "Fever, chills.\nDenies cough"
NOTE = Note("7", "p1", None, None, None, None, None, TEXT, None)
DENIES = Reason("cue", "denies", 15, 21)
MENTIONED = NoteResult(
    (FoundSymptom("nausea", "HP:0002018", 0.75),),
    (
        FoundMention(0, 5, "fever", "HP:0001945", "present", None),
        FoundMention(
            7, 27, "cough", "SNOMED:49727002", "absent", 0.8, "both", Reason("cue", "denies", 15, 21)
        ),
    ),
)
BEGAN = "2026-11-28T15:44:09"


def rows(**more: Any) -> list[dict[str, Any]]:
    return omop_rows(NOTE, MENTIONED, "sympress tiny", BEGAN, **{"vocabulary": Vocabulary(), **more})


def test_rows_have_the_columns_of_note_nlp_and_the_notes_own_words():
    fever, cough, nausea = rows(vocabulary=Vocabulary(names={"nausea": "feeling sick"}))
    assert tuple(fever) == OMOP_COLUMNS
    assert (fever["note_id"], fever["offset"], fever["lexical_variant"]) == (7, "0", "Fever")
    assert (fever["nlp_date"], fever["nlp_datetime"]) == ("2026-11-28", BEGAN)
    assert cough["lexical_variant"] == "chills. Denies cough"  # a row is one line
    assert fever["term_modifiers"] == "assertion=present,source=rules,code=HP:0001945"
    assert cough["term_modifiers"] == (
        "assertion=absent,source=both,reason=cue,probability=0.800000,code=SNOMED:49727002"
    )
    assert (nausea["offset"], nausea["lexical_variant"]) == (None, "feeling sick")
    assert {row["snippet"] for row in (fever, cough, nausea)} == {None}


def test_a_term_exists_only_where_the_patient_has_or_had_it():
    mentions = tuple(FoundMention(0, 5, "fever", None, one, None) for one in ASSERTIONS)
    found = omop_rows(NOTE, NoteResult((), mentions), "x", BEGAN, vocabulary=Vocabulary())
    said = {
        one: (row["term_exists"], row["term_temporal"]) for one, row in zip(ASSERTIONS, found, strict=True)
    }
    assert said == {
        "present": ("Y", "Present"), "historical": ("Y", "Past"), "absent": ("N", None),
        "possible": ("N", None), "hypothetical": ("N", None), "family": ("N", None),
    }  # fmt: skip


def test_concept_ids_come_from_the_map_and_are_0_without_it():
    concepts = ConceptMap(concept_ids={"fever": 437663}, source_concept_ids={"cough": 5})
    fever, cough, _ = rows(vocabulary=Vocabulary(concepts=concepts))
    assert (fever["note_nlp_concept_id"], fever["note_nlp_source_concept_id"]) == (437663, 0)
    assert (cough["note_nlp_concept_id"], cough["note_nlp_source_concept_id"]) == (0, 5)
    assert fever["section_concept_id"] == 0


@pytest.mark.parametrize(("characters", "expected"), [(3, "Fever, c"), (100, "Fever, chills. Denies cough")])
def test_a_snippet_has_so_many_characters_to_each_side(characters: int, expected: str):
    assert rows(snippet=characters)[0]["snippet"] == expected


def test_texts_fit_their_columns():
    long = NOTE._replace(text="a\x00\t" * 200)
    result = NoteResult((), (FoundMention(0, 600, "fever", None, "present", None),))
    [row] = omop_rows(long, result, "s" * 300, BEGAN, vocabulary=Vocabulary(), snippet=100)
    assert {len(row[name]) for name in ("snippet", "lexical_variant", "nlp_system")} == {249}
    assert row["lexical_variant"].isprintable()


@pytest.mark.parametrize(
    ("note_id", "good"),
    [("1", True), ("-5", True), ("2147483647", True), ("2147483648", False), ("n1", False),
     ("0012", False), ("-0", False), ("0", True), ("\uff11\uff12", False),
     ("1.5", False), ("", False), ("9" * 30, False), ("10000032-DS-21", False), ("\u0661\ud83d", False)],
)  # fmt: skip
def test_a_note_id_is_an_integer_of_32_bits(note_id: str, good: bool):
    assert (id_fault(note_id) is None) == good


@pytest.mark.parametrize("csv", [False, True])
def test_ids_go_on_where_the_rows_before_end_and_fit_into_32_bits(csv: bool):
    encoded = (csv_lines if csv else json_lines)(rows())
    written = numbered(encoded, 41, csv=csv).decode().splitlines()
    found = [int(line.split(",")[0]) if csv else json.loads(line)["note_nlp_id"] for line in written]
    assert found == [42, 43, 44]
    assert numbered(b"", 5, csv=csv) == b""
    assert numbered(encoded, INTEGER_MOST - 3, csv=csv).count(b"2147483647") == 1
    with pytest.raises(InputError, match=r"^more than 2,147,483,647 rows: .* in several jobs$"):
        numbered(encoded, INTEGER_MOST - 2, csv=csv)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More notes than the 2,048 after which ids of 20 bits a note left 32 bits, in several chunks."""
    source = tmp_path_factory.mktemp("omop") / "in.jsonl"
    with source.open("w") as file:
        for at in range(2_100):
            text = "=Fever,\r\n chills \u201cand\u201d cough" if at % 3 else "seen, no\ncomplaints"
            file.write(json.dumps({"note_id": 1_000_000 + at, "patient_id": "p", "text": text}) + "\n")
    assert CHUNK_NOTES < 2_100 / 2
    return source


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_the_cdms_table_takes_the_rows_of_more_than_2_048_notes(many: Path, tmp_path: Path, suffix: str):
    output, concepts = tmp_path / f"out.{suffix}", tmp_path / "map.csv"
    concepts.write_text("symptom,concept_id\nfever,437663\n")
    run(many, "-m", "rules", "--format", "omop", "-o", output, "-q", "-j", 1, "--concepts", concepts,
        "--snippet", 20)  # fmt: skip
    database = duckdb.connect()
    database.execute(DDL)
    reader = {"csv": "read_csv", "parquet": "read_parquet", "jsonl": "read_json"}[suffix]
    database.execute(f"INSERT INTO note_nlp SELECT * FROM {reader}('{output}')")
    count, least, most = database.execute(
        "SELECT count(*), min(note_nlp_id), max(note_nlp_id) FROM note_nlp"
    ).fetchone()  # type: ignore[misc]
    assert (count, least, most) == (4_200, 1, 4_200)
    assert database.execute(
        "SELECT count(DISTINCT note_id), min(note_id), max(note_id) FROM note_nlp"
    ).fetchone() == (1_400, 1_000_001, 1_002_099)
    found = database.execute(
        'SELECT lexical_variant, "offset", note_nlp_concept_id, nlp_datetime::date = nlp_date, term_exists '
        "FROM note_nlp WHERE note_id = 1000001 ORDER BY note_nlp_id"
    ).fetchall()
    assert found == [
        ("Fever", "1", 437663, True, "Y"),
        ("chills", "10", 0, True, "Y"),
        ("cough", "23", 0, True, "Y"),
    ]
    [(snippet,)] = database.execute(
        "SELECT DISTINCT snippet FROM note_nlp WHERE lexical_variant = 'chills'"
    ).fetchall()
    assert snippet.lstrip("'") == "=Fever,   chills \u201cand\u201d cough"


def test_parquet_has_the_types_of_the_cdm(many: Path, tmp_path: Path):
    output = tmp_path / "out.parquet"
    run(many, "-m", "rules", "--format", "omop", "-o", output, "-q", "-j", 1)
    types = dict(
        duckdb.execute(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{output}')").fetchall()
    )
    assert {name for name, kind in types.items() if kind == "INTEGER"} == {
        name for name in OMOP_COLUMNS if name.endswith("_id")
    }
    assert (types["nlp_date"], types["nlp_datetime"]) == ("DATE", "TIMESTAMP")
    assert types["offset"] == types["lexical_variant"] == "VARCHAR"


def test_workers_and_the_stream_number_rows_alike(tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_text(
        "".join(json.dumps({"note_id": at, "text": "fever, chills"}) + "\n" for at in range(300))
    )
    printed, _ = run(source, "-m", "rules", "--format", "omop", "-q", "-j", 2)
    found = [json.loads(line) for line in printed.splitlines()]
    assert [row["note_nlp_id"] for row in found] == list(range(1, 601))
    assert [row["note_id"] for row in found] == [at // 2 for at in range(600)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_job_that_was_interrupted_goes_on_with_the_next_id(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
):
    output = tmp_path / f"out.{suffix}"
    call = (many, "-m", "rules", "--format", "omop", "-o", output, "-q", "-j", 1)
    calls = iter(range(5))

    def interrupted(rows: bytes, before: int, *, csv: bool) -> bytes:
        if next(calls, None) is None:
            raise SystemExit(1)
        return numbered(rows, before, csv=csv)

    with monkeypatch.context() as patched:
        patched.setattr(job, "numbered", interrupted)
        with pytest.raises(AssertionError):
            run(*call)
    assert not output.exists()
    run(*call)
    reader = {"csv": "read_csv", "jsonl": "read_json"}[suffix]
    found = duckdb.execute(f"SELECT note_nlp_id, note_id FROM {reader}('{output}')").fetchall()
    assert [one for one, _ in found] == list(range(1, 4_201))
    assert [one for _, one in found] == sorted(one for _, one in found)


def test_ids_that_are_no_integers_are_one_line_or_failures_of_their_notes(tmp_path: Path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    source.write_text('{"note_id": "n1", "text": "fever"}\n')
    assert refused(source, "-m", "rules", "--format", "omop", "-o", output) == (
        "note 'n1': note_id of NOTE_NLP is an integer of 32 bits; give the notes the note_id that they have "
        "in the table NOTE, or use --format notes"
    )
    assert list(tmp_path.iterdir()) == [source]
    source.write_text('{"note_id": "1", "text": "fever"}\n{"note_id": "n2", "text": "fever"}\n')
    run(source, "-m", "rules", "--format", "omop", "-o", output, "-q")
    [failure] = [json.loads(line) for line in (tmp_path / "out.csv.errors.jsonl").read_text().splitlines()]
    assert failure == {
        "note_id": "n2",
        "reason": "its id is no integer of 32 bits, which note_id of NOTE_NLP is "
        "(up to 2,147,483,647, no leading zeros)",
    }


def test_a_snippet_is_asked_for_with_omop_only(many: Path, tmp_path: Path):
    assert refused(many, "-m", "rules", "-o", tmp_path / "o.csv", "--snippet", 5) == (
        "--snippet goes with --format omop; other rows hold no words of a note"
    )
