"""doccano: spans by offset, assertions in labels, and exports that are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import Extra, GoldSpan, read_jsonl, write_jsonl
from sympress.labels.gold.exports import read_doccano
from sympress.labels.gold.mentions import symptom_labels, to_annotated
from sympress.labels.lexicon import load_lexicon

TEXT = "No fever. Has cough."
NEGATED = {"id": 1, "text": TEXT, "label": [[3, 8, "SYMPTOM_ABSENT"], [14, 19, "SYMPTOM"]]}
ENTITIES = {
    "id": 1,
    "text": TEXT,
    "Comments": [],
    "entities": [
        {"id": 7, "label": "Negated_symptom", "start_offset": 3, "end_offset": 8},
        {"id": 9, "label": "Symptom", "start_offset": 14, "end_offset": 19},
    ],
    "relations": [{"id": 2, "from_id": 7, "to_id": 9, "type": "same_sentence"}],
}


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


def assertions(path: Path) -> list[str]:
    held = read_gold(path)
    labels = symptom_labels(held.documents, load_lexicon("clinical"), source="x")
    notes, _ = to_annotated(held.documents, labels=labels)
    return [mention.assertion for note in notes for mention in note.mentions]


ROWS = [
    (NEGATED, ["absent", "present"]),
    (ENTITIES, ["absent", "present"]),
    ({"text": TEXT, "labels": [[3, 8, "Negated"], [14, 19, "Affirmed"]]}, ["absent", "present"]),
    ({"data": TEXT, "label": [[3, 8, "Symptom"], [3, 8, "Negated"]]}, ["absent"]),
    ({"text": TEXT, "label": [[3, 8, "fever|absent"], [14, 19, "cough|possible"]]}, ["absent", "possible"]),
    ({"text": TEXT, "label": [[14, 19, "Sign"]], "annotations": []}, ["present"]),
    ({"text": "😀 No fièvre", "label": [[5, 11, "symptom_negated"]]}, ["absent"]),
    ({"text": "No\r\nfever", "label": [[4, 9, "symptom_negated"]]}, ["absent"]),
]


@pytest.mark.parametrize(("row", "expected"), ROWS)
def test_labels_say_what_is_asserted(row: dict[str, Any], expected: list[str], tmp_path: Path) -> None:
    assert assertions(lines(tmp_path / "x.jsonl", row)) == expected
    (tmp_path / "x.json").write_text(json.dumps([row], indent=1))
    assert assertions(tmp_path / "x.json") == expected


def test_everything_else_of_a_note_is_kept(tmp_path: Path) -> None:
    held = read_gold(lines(tmp_path / "x.jsonl", ENTITIES, {"text": TEXT, "label": [], "ward": "7b"}))
    assert held.format == "doccano"
    assert held.counts == {"notes": 2, "spans": 2, "relations, kept": 1}
    first, second = held.documents
    assert first.spans == (
        GoldSpan(((3, 8),), "Negated_symptom", (), "7"),
        GoldSpan(((14, 19),), "Symptom", (), "9"),
    )
    assert first.extra == Extra("doccano", (json.dumps({"relations": ENTITIES["relations"]}),))
    assert (second.note_id, second.spans, second.extra) == ("2", (), Extra("doccano", ('{"ward": "7b"}',)))
    write_jsonl(tmp_path / "y.jsonl", held.documents)
    assert read_jsonl(tmp_path / "y.jsonl").documents == held.documents


def test_a_note_longer_than_the_head_of_a_file_is_recognised(tmp_path: Path) -> None:
    row = {"text": "cough " * 20_000, "label": [[0, 5, "Symptom"]]}
    assert read_gold(lines(tmp_path / "x.jsonl", row)).format == "doccano"


REFUSED: list[tuple[list[Any], str]] = [
    ([{"text": TEXT, "label": ["fever"]}],
     "line 1, label 1: a label of the whole note; only spans are read: export a sequence-labelling project"),
    ([{"text": TEXT, "label": [[3, 21, "S"]]}],
     "line 1, label 1: offsets 3 21 lie outside the text, which has 20 characters"),
    ([{"text": TEXT, "label": [[8, 3, "S"]]}],
     "line 1, label 1: offsets 8 3 mark nothing; the end must lie behind the start"),
    ([{"text": TEXT, "label": [[3.0, 8, "S"]]}],
     'line 1, label 1: offsets are whole numbers, as in  [0, 5, "Symptom"]'),
    ([{"text": TEXT, "label": [[True, 8, "S"]]}],
     'line 1, label 1: offsets are whole numbers, as in  [0, 5, "Symptom"]'),
    ([{"text": TEXT, "label": [[3, 8]]}],
     'line 1, label 1: no span; write  [0, 5, "Symptom"]  or an entity with start_offset'),
    ([{"text": TEXT, "label": [[3, 8, " "]]}], "line 1, label 1: the label is missing or no text"),
    ([{"text": TEXT, "label": [[3, 8, "S"]]}, {"text": TEXT, "label": {"me": []}}],
     'line 2: \'label\' is no list of spans; write  [[0, 5, "Symptom"]]'),
    ([{"text": TEXT, "annotations": [{"label": 2, "start_offset": 3, "end_offset": 8}]}],
     "line 1, annotations 1: the label is a number, 2; export labels as text (JSONL)"),
    ([{"id": 1, "label": [[3, 8, "S"]]}],
     "line 1: 'text' is missing or no text; export the notes with their text"),
    ([NEGATED, {"text": TEXT}],
     "line 2: has none of entities, label, labels, annotations; export the notes of a sequence-labelling "
     "project"),
    ([NEGATED, NEGATED],
     "line 2: note '1' already stands in line 1; keep one, for example that of one annotator"),
    ([ENTITIES | {"relations": [{"type": "negated_by"}]}],
     "line 1: the relation 'negated_by' says what one of its ends asserts, which is not read; make it a "
     "label or an attribute of that span"),
    ([NEGATED, 3], "line 2: not a JSON object; each note is one"),
]  # fmt: skip


@pytest.mark.parametrize(("rows", "expected"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(rows: list[Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_gold(lines(tmp_path / "x.jsonl", *rows))
    assert str(caught.value) == f"{tmp_path}/x.jsonl, {expected}"


def test_a_cue_without_a_symptom_is_refused(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", {"text": TEXT, "label": [[3, 8, "Symptom"], [0, 2, "NEG"]]})
    with pytest.raises(InputError, match=r"x\.jsonl, line 1, label 2: the label 'NEG' at 0 2 says what some"):
        to_annotated(read_doccano(path).documents, labels={"Symptom"})


def test_our_own_json_lines_stay_ours(tmp_path: Path) -> None:
    row = {"note_id": "1", "text": TEXT, "spans": [], "label": "x"}
    assert read_gold(lines(tmp_path / "x.jsonl", row)).format == "jsonl"
