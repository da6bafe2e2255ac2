"""The task `mentions` from the artifact to every output: whole words of the original text, with names."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from test_extract import run

from sympress.errors import InputError
from sympress.runtime.artifact import write_checksums
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import NoteResult

TEXTS = [
    "İ fever,  chills and\n\ncough; no rash",
    "Patient denies FEVER. " * 30,
    "",
    "half a pair \ud83d of cough",
]


def words(text: str, result: NoteResult) -> list[str]:
    return [text[one.start : one.end] for one in result.mentions]


@pytest.fixture(scope="module")
def results(tiny_tagger: Path) -> list[NoteResult]:
    return Extractor.load(tiny_tagger)(TEXTS)


def test_spans_are_whole_words_of_the_original_text_however_long(results: list[NoteResult]):
    for text, result in zip(TEXTS, results, strict=True):
        places = [(one.start, one.end) for one in result.mentions]
        assert places == sorted(places)
        assert all(end <= start for (_, end), (start, _) in pairwise(places))
        for start, end in places:
            assert text[start:end] == text[start:end].strip() != ""
            assert not (text[start - 1 : start].isalnum() and text[start].isalnum())
            assert not (text[end : end + 1].isalnum() and text[end - 1].isalnum())
    long = results[1]
    assert long.windows > 5
    assert not long.truncated
    assert long.mentions[-1].end > 500  # found beyond the first window too
    assert results[2] == NoteResult((), windows=1)


def test_a_span_is_named_by_the_forms_of_the_artifact(results: list[NoteResult]):
    found = [
        (word.lower(), one.symptom, one.code)
        for text, result in zip(TEXTS, results, strict=True)
        for word, one in zip(words(text, result), result.mentions, strict=True)
    ]
    named = {(symptom, code) for word, symptom, code in found if "fever" in word}
    assert named == {("fever", "HP:0001945")}
    assert {code for _, symptom, code in found if symptom == "cough"} <= {None}


def test_a_symptom_is_affirmed_by_its_surest_present_mention(results: list[NoteResult]):
    for result in results:
        best: dict[str, float] = {}
        for one in result.mentions:
            if one.symptom and one.assertion == "present":
                best[one.symptom] = max(best.get(one.symptom, 0), one.score)
        assert {one.symptom: one.probability for one in result.symptoms} == best


def test_neighbours_and_threads_do_not_change_a_mention(tiny_tagger: Path, results: list[NoteResult]):
    extractor = Extractor.load(tiny_tagger, threads=3)
    assert extractor(TEXTS[::-1] * 3) == results[::-1] * 3


def test_every_output_holds_the_same_mentions(tiny_tagger: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    rows = [{"note_id": f"{at}", "patient_id": "p", "text": text} for at, text in enumerate(TEXTS[:2])]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    expected = [
        (f"{at}", one.start, one.end, one.assertion)
        for at, result in enumerate(Extractor.load(tiny_tagger)(TEXTS[:2]))
        for one in result.mentions
    ]
    made = {}
    for name in ("o.jsonl", "o.parquet", "o.csv", "omop.parquet", "omop.csv", "fhir.ndjson"):
        shape = ("--format", name.partition(".")[0]) if name[0] != "o" or name[1] == "m" else ()
        run(source, "-m", tiny_tagger, "-o", tmp_path / name, "-q", *shape)
        made[name] = tmp_path / name
    for frame in (pl.read_ndjson(made["o.jsonl"]), pl.read_parquet(made["o.parquet"])):
        flat = frame.explode("mentions").unnest("mentions", separator=".")
        kept = flat.select("note_id", *(f"mentions.{name}" for name in ("start", "end", "assertion")))
        assert kept.rows() == expected
    with made["o.csv"].open(encoding="utf-8", newline="") as file:
        flat_rows = [
            (row["note_id"], int(row["start"]), int(row["end"]), row["assertion"])
            for row in csv.DictReader(file)
        ]
    assert flat_rows == expected
    for omop in (pl.read_parquet(made["omop.parquet"]), pl.read_csv(made["omop.csv"])):
        found = zip(omop["note_id"], omop["offset"].cast(pl.Int64), omop["lexical_variant"], strict=True)
        places = [(note_id, start, start + len(text)) for note_id, start, text in found]
        assert places == [(int(note_id), start, end) for note_id, start, end, _ in expected]
        assert omop["note_nlp_id"].n_unique() == omop.height
    bundles = [json.loads(line) for line in made["fhir.ndjson"].read_text(encoding="utf-8").splitlines()]
    kinds = [entry["resource"]["resourceType"] for bundle in bundles for entry in bundle["entry"]]
    assert kinds.count("Observation") == len(expected)


def test_the_table_of_a_terminal_shows_the_words(tiny_tagger: Path):
    out, _ = run("-", "-m", tiny_tagger, "--format", "table", stdin=b"fever and\x1b[31m chills\n")
    assert "fever" in out
    assert "\x1b" not in out


def test_forms_that_are_missing_are_one_line(tiny_tagger: Path, tmp_path: Path):
    for file in tiny_tagger.iterdir():
        if file.name not in {"forms.json", "checksums.json"}:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    write_checksums(tmp_path)
    with pytest.raises(InputError) as caught:
        Extractor.load(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/forms.json: missing or damaged (FileNotFoundError); copy the artifact again"
    )
