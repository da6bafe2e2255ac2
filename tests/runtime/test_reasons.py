"""Who found what and why, in every output; a rule's hit has no probability in any of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from sympress.extract.checkpoint import write_parquet
from sympress.extract.job import POINTS_AT_NO_WORDS, Table
from sympress.extract.shapes import FINDING_COLUMNS, Header, finding_rows, note_rows
from sympress.extract.workers import Answered, Chunk, Order, answer_chunk, csv_lines, json_lines
from sympress.labels.mentions import Reason
from sympress.labels.own_words import OwnWords
from sympress.notes.intake import Note
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import FoundMention, FoundSymptom, NoteResult

TEXT = "denies cough, has fever"
NOTE = Note("7", None, None, None, None, None, None, TEXT, None)
HEADER = Header((), "sympress box", "2026-01-01")
DENIES = {"kind": "cue", "words": "denies", "start": 0, "end": 6}
COUGH = FoundMention(7, 12, "cough", "HP:2", "absent", None, "rules", Reason("cue", "denies", 0, 6))
RESULT = NoteResult(
    (FoundSymptom("fever", "HP:1", 0.9, "both", (18, 23)),),
    (COUGH, FoundMention(18, 23, "fever", "HP:1", "present", 0.9, "both")),
    windows=1,
    markup="html",
)
DOUBTED = NoteResult(
    (FoundSymptom("fever", "HP:1", 0.1, "rules", (18, 23)),),
    (FoundMention(18, 23, "fever", "HP:1", "present", 0.1, "rules"),),
)
WHOLE = NoteResult((FoundSymptom("fever", "HP:1", 0.9),))


def test_json_lines_hold_source_and_reason():
    [row] = note_rows(NOTE, RESULT, HEADER, 0)
    assert row["symptoms"] == [{"symptom": "fever", "code": "HP:1", "probability": 0.9, "source": "both"}]
    assert [(one["score"], one["source"], one["reason"]) for one in row["mentions"]] == [
        (None, "rules", DENIES),
        (0.9, "both", None),
    ]
    assert row["markup"] == "html"


def test_csv_says_the_reason_in_words():
    rows = csv.DictReader(
        io.StringIO(csv_lines(finding_rows(NOTE, RESULT, HEADER, 0)).decode()), ["note_id", *FINDING_COLUMNS]
    )
    found = [
        (row["symptom"], row["probability"], row["source"], row["reason"], row["markup"]) for row in rows
    ]
    assert found == [
        ("cough", "", "rules", '"denies" at 0-6', "html"),
        ("fever", "0.9", "both", "", "html"),
    ]
    [whole] = finding_rows(NOTE, WHOLE, HEADER, 0)
    assert (whole["source"], whole["start"], whole["reason"]) == ("model", None, None)


def test_parquet_holds_the_reason_as_a_structure(tmp_path: Path):
    lines = tmp_path / "data"
    lines.write_bytes(json_lines([*note_rows(NOTE, RESULT, HEADER, 0), *note_rows(NOTE, WHOLE, HEADER, 1)]))
    write_parquet(lines, tmp_path / "out.parquet", "notes", ())
    frame = pl.read_parquet(tmp_path / "out.parquet")
    mentions = frame["mentions"].to_list()
    assert [one["reason"] for one in mentions[0]] == [DENIES, None]
    assert [one["source"] for one in mentions[0]] == ["rules", "both"]
    assert frame["markup"].to_list() == ["html", None]
    assert frame["symptoms"].to_list()[1][0]["source"] == "model"


@pytest.mark.parametrize(
    ("result", "explain", "lines"),
    [
        (
            RESULT,
            True,
            [
                'cough absent 7-12 cough [rules: "denies" at 0-6]',
                "fever present 0.90 18-23 fever [rules and model] (html, read as text)",
            ],
        ),
        (RESULT, False, ["cough absent 7-12 cough", "fever present 0.90 18-23 fever (html, read as text)"]),
        (DOUBTED, False, ["fever present 18-23 fever"]),
        (DOUBTED, True, ["fever present 18-23 fever [rules; the model doubts it, 0.10]"]),
        (WHOLE, True, [POINTS_AT_NO_WORDS, "fever present 0.90 [model]"]),
    ],
)
def test_the_table_explains_on_request(result: NoteResult, explain: bool, lines: list[str]):
    table, chunk = Table(explain=explain), Chunk(0, [NOTE])
    answered = Answered(1, json_lines(note_rows(NOTE, result, HEADER, 0)), b"", places=[0])
    shown = table.lines(chunk, answered).decode()
    assert [" ".join(line.removeprefix("7 ").split()) for line in shown.splitlines()] == lines
    assert POINTS_AT_NO_WORDS not in table.lines(chunk, answered).decode()  # said once


def test_the_table_shows_no_other_notes_words_where_an_id_comes_twice():
    texts = ["c/o fever and cough", "x" * 40_000_000, "seen in clinic, denies a rash"]
    chunk = Chunk(0, [NOTE._replace(text=text) for text in texts])
    answered = answer_chunk(Extractor.load("rules"), chunk, Order("notes", csv=False, header=HEADER))
    assert answered.tally["failed"] == 1
    shown = [line.split()[-1] for line in Table().lines(chunk, answered).decode().splitlines()]
    assert shown == ["fever", "cough", "rash"]


def test_notes_in_a_markup_are_counted():
    extractor = SimpleNamespace(
        words=OwnWords(),
        settings=SimpleNamespace(codes={}),
        answers=lambda texts, most_mentions: (RESULT if "cough" in text else WHOLE for text in texts),
    )
    other = Note("8", None, None, None, None, None, None, "fever", None)
    answered = answer_chunk(
        extractor, Chunk(0, [NOTE, other, NOTE]), Order("notes", csv=False, header=HEADER)
    )  # type: ignore[arg-type]
    assert {name: count for name, count in answered.tally.items() if name.startswith("markup:")} == {
        "markup:html": 2
    }
    assert json.loads(answered.data.splitlines()[0])["markup"] == "html"
