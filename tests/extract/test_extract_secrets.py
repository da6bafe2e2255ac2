"""What is said to the user never holds a password, a token, a query or a patient."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from test_extract import CANARY, ids, refused, run

from sympress.errors import InputError
from sympress.extract.sources import find_notes

RULES = ("-m", "rules", "-j", "1", "-q")
QUERY = f"select note_id, text from notes where text <> '{CANARY}' order by note_id"


@pytest.fixture
def database(tmp_path: Path) -> str:
    with sqlite3.connect(tmp_path / "n.db") as lite:
        lite.execute("create table notes (note_id, text)")
        lite.execute("insert into notes values (1, 'fever')")
    lite.close()
    with duckdb.connect(str(tmp_path / "n.duckdb")) as duck:
        duck.execute("create table notes as select 1 as note_id, 'fever' as text")
    return f"sqlite:///{tmp_path}/n.db"


@pytest.mark.parametrize(
    "url",
    [
        f"duckdb://user:{CANARY}@host/file",
        f"duckdb:///md:notes?motherduck_token={CANARY}",
        f"duckdb:///{{}}/n.duckdb?{CANARY}=1",
        f"sqlite:///{{}}/n.db?{CANARY}=1",
        f"sqlite:///{{}}/n.db?timeout={CANARY}",
        f"sqlite:///{CANARY}",
        f"sqlite+{CANARY}:///x",
        f"postgresql://user:{CANARY}@localhost:{CANARY}/x",
        f"{CANARY}",
        f"//{CANARY}@",
    ],
)
def test_a_refused_url_is_not_quoted(database: str, tmp_path: Path, url: str):
    assert refused("--sql", QUERY, "--url", url.format(tmp_path), *RULES).startswith(("--url", "--sql"))


@pytest.mark.parametrize(
    "query",
    [
        f'select "{CANARY}" from notes',
        f'select * from "{CANARY}"',
        f"select '{CANARY}' frm notes",
        f"select cast('{CANARY}' as int) as text, note_id from notes",
        f"select {CANARY.replace('-', '_')}(1) from notes",
    ],
)
@pytest.mark.parametrize("kind", ["sqlite:///{}/n.db", "duckdb:///{}/n.duckdb"])
def test_a_refused_query_is_not_quoted(database: str, tmp_path: Path, query: str, kind: str):
    if kind.startswith("sqlite") and ("cast" in query or 'select "' in query):
        return  # SQLite casts anything, and takes a column that it does not have for a word
    message = refused("--sql", query, "--url", kind.format(tmp_path), *RULES)
    assert CANARY.replace("-", "_") not in message
    assert message.startswith("--sql: the database refused")


def test_the_url_comes_from_a_file_or_the_environment(
    database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    file = tmp_path / "url"
    file.write_text(f"{database}\n")
    asked = ("--sql", "select * from notes", *RULES)
    expected = run(*asked, "--url", database)[0]
    assert ids(expected) == ["1"]
    assert run(*asked, "--url-file", file)[0] == expected
    assert "give one of them" in refused(*asked, "--url-file", file, "--url", database)
    assert "belong together" in refused(*asked)
    monkeypatch.setenv("SYMPRESS_URL", database)
    assert run(*asked)[0] == expected
    (tmp_path / "n.txt").write_text("fever")
    assert run(tmp_path / "n.txt", *RULES)[0]  # the variable alone asks for nothing
    file.write_text("\n")
    assert "empty" in refused(*asked, "--url-file", file)
    assert "cannot be read" in refused(*asked, "--url-file", tmp_path / "gone")


def test_a_password_neither_names_a_job_nor_shows_in_its_object():
    url = f"postgresql://me:{CANARY}@host:5432/notes?sslpassword={CANARY}"
    notes = find_notes([], sql="select 1", url=url)
    assert notes.names() == ["select 1", "postgresql://host:5432/notes"]
    assert CANARY not in repr(notes)


def test_nothing_of_a_url_is_in_a_traceback_or_a_log(database: str, tmp_path: Path):
    command = [sys.executable, "-m", "sympress", "extract", "--sql", QUERY, *RULES]
    for url in (f"{database}?{CANARY}=1", f"duckdb://{CANARY}@/x", f"postgresql://a:{CANARY}@127.0.0.1:1/x"):
        done = subprocess.run([*command, "--url", url], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert CANARY not in done.stderr + done.stdout


@pytest.mark.parametrize(
    "row",
    [
        "Smith,Anna,fever,Boston",
        "smith,anna,cough,boston",
        "Smith,Anna,Report,Boston",
        "Fin,Anna,fever,Boston",
        "Zebrafinch,no fever,denies cough",
    ],
)
@pytest.mark.parametrize("options", [(), ("--text-column", "letter"), ("--id-column", "anne")])
def test_the_first_row_of_a_table_without_a_header_is_not_shown(
    tmp_path: Path, row: str, options: tuple[str, ...]
):
    source = tmp_path / "in.csv"
    source.write_text(f"{row}\n{row}\n")
    try:
        said = "".join(run(source, "-m", "rules", *options))
    except InputError as error:
        said = str(error)
    for value in row.split(","):
        if value != "Report":
            assert value.lower() not in said.lower().replace(str(tmp_path), "")


@pytest.mark.parametrize(
    "header", ["key,letter,note_date", "MRN,letter,who", "id,when,who", "key,Sex,letter"]
)
def test_a_header_is_shown(tmp_path: Path, header: str):
    source = tmp_path / "in.csv"
    source.write_text(f"{header}\n1,2,3\n")
    assert f"(columns: {header.replace(',', ', ')})" in refused(source, *RULES)
    source.write_text("key,letter,who\n1,2,3\n")
    said = refused(source, *RULES, "--text-column", "letter", "--id-column", "keyy")
    assert "did you mean 'key'?" in said  # a column that the user names says that there is a header
