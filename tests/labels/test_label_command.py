import csv
import json
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from sympress.cli.notes import label
from sympress.errors import InputError

APP = typer.Typer()
APP.command()(label)
TEXTS = ["Secret fever"] * 14 + ["Secret cough"] * 12 + ["well"] * 3


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    path = tmp_path / "my notes.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["note_id", "text"], *([f"n{i}", text] for i, text in enumerate(TEXTS))])
    return path


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    path = tmp_path / "coded.parquet"
    codes = [["A", "B"], [], ["B"], ["C"]]
    frame = {"note_id": list("wxyz"), "text": ["Secret"] * 4, "codes": codes}
    pl.DataFrame(frame, schema_overrides={"codes": pl.List(pl.String)}).write_parquet(path)
    return path


def call(*arguments: object) -> str:
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_topics_are_written_without_text(notes: Path, tmp_path: Path, suffix: str) -> None:
    output = tmp_path / f"labels.{suffix}"
    said = call(notes, "-o", output, "--top-k", 2, "--no-balance")
    read = {"jsonl": pl.read_ndjson, "csv": pl.read_csv, "parquet": pl.read_parquet}[suffix](output)
    assert read.columns == ["note_id", "symptom", "provenance"]
    assert read.rows() == [(f"n{i}", "fever" if i < 14 else "cough", "silver") for i in range(26)]
    assert b"Secret" not in output.read_bytes()
    assert "26 labelled notes -> " in said
    assert "3  without a symptom" in said
    assert f"next: sympress study --notes '{notes}' --task topic --labels lexicon --top-k 2 -o RUN" in said


def test_topics_are_balanced_unless_told_otherwise(notes: Path, tmp_path: Path) -> None:
    assert "24  after balancing" in call(notes, "-o", tmp_path / "labels.jsonl", "--top-k", 2)


def test_coded_symptoms(coded: Path, tmp_path: Path) -> None:
    options = ("--task", "present", "--labels", "coded", "--top-k", 2)
    call(coded, "-o", tmp_path / "labels.jsonl", *options)
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert {row["note_id"]: row["symptoms"] for row in rows} == {
        "w": ["B", "A"],
        "x": [],
        "y": ["B"],
        "z": [],
    }
    assert {row["provenance"] for row in rows} == {"coded"}
    call(coded, "-o", tmp_path / "labels.csv", *options)
    assert pl.read_csv(tmp_path / "labels.csv")["symptoms"].to_list() == ["B;A", "", "B", ""]


def test_mistakes_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    missing, output = tmp_path / "missing.csv", tmp_path / "labels.jsonl"
    with pytest.raises(InputError, match=r"the name must end in \.jsonl, \.parquet or \.csv$"):
        call(missing, "-o", tmp_path / "labels.txt")
    with pytest.raises(InputError, match=r"^unknown task 'spans': use topic or present or mentions$"):
        call(missing, "-o", output, "--task", "spans")
    with pytest.raises(InputError, match=r"^no lexicon 'papper'"):
        call(missing, "-o", output, "--lexicon", "papper")
    output.write_text("kept")
    with pytest.raises(
        InputError, match=r"exists already; name another file, or add --force to overwrite it$"
    ):
        call(missing, "-o", output)
    assert output.read_text() == "kept"


def test_coded_labels_need_no_cluster(coded: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        call(coded, "-o", tmp_path / "x.jsonl", "--labels", "coded", "--ray", "local")
    assert str(caught.value) == "--ray local: coded labels are read, not made; leave out --ray"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("task", ["topic", "present"])
def test_notes_without_text_say_what_became_of_them(tmp_path: Path, task: str) -> None:
    (tmp_path / "empty.jsonl").write_text('{"note_id": "a", "text": " "}\n')
    options = ("--task", task, "--top-k", 2)
    with pytest.raises(InputError, match=r"empty\.jsonl: no note is left of 1 rows \(1 without text\)$"):
        call(tmp_path / "empty.jsonl", "-o", tmp_path / "x.jsonl", *options)


def test_notes_without_codes_say_what_to_do(notes: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"^these notes carry no human-coded symptoms: use --labels lexicon or silver$"
    ):
        call(notes, "-o", tmp_path / "labels.jsonl", "--labels", "coded")


def test_present_takes_silver_under_either_name(notes: Path, tmp_path: Path) -> None:
    for source in ("silver", "lexicon"):
        output = tmp_path / f"{source}.jsonl"
        said = call(notes, "-o", output, "--task", "present", "--labels", source, "--top-k", 2)
        assert {row["provenance"] for row in map(json.loads, output.read_text().splitlines())} == {"silver"}
        assert "--task present --labels silver --top-k 2 -o RUN" in said
    assert (tmp_path / "silver.jsonl").read_text() == (tmp_path / "lexicon.jsonl").read_text()


def test_mentions_are_written_with_offsets_and_without_text(notes: Path, tmp_path: Path) -> None:
    output = tmp_path / "mentions.jsonl"
    call(notes, "-o", output, "--task", "mentions")
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == len(TEXTS)
    assert rows[0] == {
        "note_id": "n0",
        "mentions": [{"start": 7, "end": 12, "symptom": "fever", "assertion": "present"}],
    }
    assert rows[-1]["mentions"] == []


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        (
            "topic",
            "gold",
            "task 'topic' has no labels from 'gold': use --labels lexicon or coded or concepts",
        ),
        (
            "present",
            "gold",
            "sympress label makes no gold labels: people's spans are read by  sympress study --labels gold",
        ),
        (
            "present",
            "mix",
            "sympress label makes no mix labels: people's spans are read by  sympress study --labels mix",
        ),
        ("mentions", "coded", "task 'mentions' has no labels from 'coded': use --labels silver or gold"),
    ],
)
def test_a_task_and_labels_that_do_not_fit(tmp_path: Path, task: str, labels: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call(tmp_path / "gone.csv", "-o", tmp_path / "x.jsonl", "--task", task, "--labels", labels)
    assert str(caught.value) == message
    assert caught.value.exit_code == 2
