"""Label Studio: regions with what was asked of them, several annotators, JSON and JSON-MIN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import GoldSpan, read_jsonl, write_jsonl
from sympress.labels.gold.exports import read_label_studio
from sympress.labels.gold.mentions import to_annotated

TEXT = "No fever. Has cough."


def region(start: int, end: int, *labels: str, name: str = "a", words: str | None = None) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": words or TEXT[start:end], "labels": list(labels)}
    return {"id": name, "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def answer(question: str, said: Any, *, name: str = "a", kind: str = "choices") -> dict[str, Any]:
    value = {"start": 3, "end": 8, "text": "fever"} | {"text" if kind == "textarea" else kind: said}
    return {"id": name, "from_name": question, "to_name": "text", "type": kind, "value": value}


def task(*items: dict[str, Any], number: int = 1, **more: Any) -> dict[str, Any]:
    return {"id": number, "data": {"text": TEXT}, "annotations": [{"id": 5, "result": list(items)}]} | more


def minimal(**answers: Any) -> dict[str, Any]:
    spans = [{"start": 3, "end": 8, "text": "fever", "labels": ["Symptom"]}]
    return {
        "id": 1,
        "text": TEXT,
        "label": spans,
        "annotator": 1,
        "annotation_id": 2,
        "lead_time": 3.5,
    } | answers


def export(root: Path, *tasks: Any) -> Path:
    path = root / "x.json"
    path.write_text(json.dumps(list(tasks), indent=1))
    return path


def assertions(path: Path) -> list[str]:
    held = read_gold(path)
    assert held.format == "label-studio"
    notes, _ = to_annotated(held.documents, labels={"Symptom"})
    return [mention.assertion for note in notes for mention in note.mentions]


COUGH = region(14, 19, "Symptom", name="b")
ASKED = [
    ([region(3, 8, "Symptom"), answer("negation", ["Negated"]), COUGH], ["absent", "present"]),
    ([answer("assertion", ["absent"]), region(3, 8, "Symptom"), COUGH], ["absent", "present"]),
    ([region(3, 8, "Symptom"), answer("negation", ["Affirmed"])], ["present"]),
    ([region(3, 8, "Symptom"), answer("choice", ["Negated"])], ["absent"]),
    ([region(3, 8, "Symptom"), answer("modifiers", ["historical", "possible"])], ["possible"]),
    ([region(3, 8, "Symptom"), answer("assertion", [["Not present"]], kind="taxonomy")], ["absent"]),
    ([region(3, 8, "Symptom"), answer("experiencer", ["other"])], ["family"]),
    ([region(3, 8, "Symptom"), answer("polarity", -1, kind="number")], ["absent"]),
    ([region(3, 8, "Symptom"), answer("comment", ["seen"], kind="textarea")], ["present"]),
    ([region(3, 8, "Symptom", "Negated"), COUGH], ["absent", "present"]),
    ([region(3, 8, "Symptom"), region(3, 8, "Absent", name="c")], ["absent"]),
    ([region(3, 8, "Symptom_absent")], ["absent"]),
]


@pytest.mark.parametrize(("items", "expected"), ASKED)
def test_what_was_asked_of_a_region_says_what_it_asserts(items, expected, tmp_path: Path) -> None:
    assert assertions(export(tmp_path, task(*items))) == expected


def test_old_exports_and_json_min_are_read(tmp_path: Path) -> None:
    old = {"id": 1, "data": {"text": TEXT}, "completions": [{"result": [region(3, 8, "Symptom")]}]}
    assert assertions(export(tmp_path, old)) == ["present"]
    assert assertions(export(tmp_path, minimal())) == ["present"]
    placed = {"start": 3, "end": 8, "text": "fever", "choices": ["Negated"]}
    assert assertions(export(tmp_path, minimal(negation=[placed]))) == ["absent"]
    assert assertions(export(tmp_path, minimal(assertion="present", ward="7b"))) == ["present"]


def test_regions_become_spans_with_attributes(tmp_path: Path) -> None:
    relation = {"type": "relation", "from_id": "a", "to_id": "b", "labels": ["same sentence"]}
    items = [region(3, 8, "Symptom"), answer("negation", ["Negated"]), COUGH, relation]
    held = read_label_studio(export(tmp_path, task(*items, data={"text": TEXT, "note_id": "n7"})))
    assert held.counts == {"notes": 1, "spans": 2, "relations and answers about whole notes, kept": 1}
    (document,) = held.documents
    assert (document.note_id, document.text) == ("n7", TEXT)
    assert document.spans == (
        GoldSpan(((3, 8),), "Symptom", (("negation", "Negated"),)), GoldSpan(((14, 19),), "Symptom")
    )  # fmt: skip
    assert document.extra is not None
    assert document.extra.lines == (json.dumps(relation),)
    write_jsonl(tmp_path / "y.jsonl", held.documents)
    assert read_jsonl(tmp_path / "y.jsonl").documents == held.documents


def annotations(*results: list[dict[str, Any]], **last: Any) -> dict[str, Any]:
    held: list[dict[str, Any]] = [{"id": number, "result": items} for number, items in enumerate(results)]
    held[-1] |= last
    return {"id": 1, "data": {"text": TEXT}, "annotations": held}


FEVER, DENIED = [region(3, 8, "Symptom")], [region(3, 8, "Symptom_absent", name="z")]


def test_several_annotators_agree_or_one_is_right(tmp_path: Path) -> None:
    again = [region(3, 8, "Symptom", name="other id")]
    held = read_gold(export(tmp_path, annotations(FEVER, again)))
    assert held.counts["annotations that say the same, read once"] == 1
    assert len(held.documents[0].spans) == 1
    assert assertions(export(tmp_path, annotations(FEVER, DENIED, ground_truth=True))) == ["absent"]
    assert assertions(export(tmp_path, annotations(DENIED, FEVER, was_cancelled=True))) == ["absent"]
    with pytest.raises(InputError) as caught:
        read_gold(export(tmp_path, task(number=7), annotations(FEVER, DENIED)))
    assert str(caught.value) == (
        f"{tmp_path}/x.json, task 2: its 2 annotations differ; mark one as ground truth, or export those of "
        "one annotator"
    )


def test_tasks_that_nobody_annotated_are_counted(tmp_path: Path) -> None:
    empty = task(number=1, annotations=[])
    skipped = annotations([], was_cancelled=True) | {"id": 2}
    guessed = task(number=3, predictions=[{"result": FEVER}])
    held = read_gold(export(tmp_path, empty, skipped, guessed))
    assert held.counts == {
        "notes": 1, "spans": 0, "tasks without an annotation, not read": 2,
        "skipped annotations, not read": 1, "tasks with predictions, not read": 1,
    }  # fmt: skip
    assert [document.note_id for document in held.documents] == ["3"]


@pytest.mark.parametrize(("start", "end", "converted"), [(5, 10, 0), (6, 11, 1)])
def test_offsets_in_utf16_units_are_converted(start: int, end: int, converted: int, tmp_path: Path) -> None:
    marked = region(start, end, "Symptom", words="fever")
    held = read_gold(export(tmp_path, task(marked, data={"text": "😀 No fever."})))
    assert held.documents[0].spans[0].fragments == ((5, 10),)
    assert held.counts["notes whose offsets count UTF-16 units: converted"] == converted


def test_the_text_is_found_under_another_name(tmp_path: Path) -> None:
    for data in ({"note": TEXT}, {"note": TEXT, "author": "x"}, {"title": "A", "body": TEXT}):
        assert read_gold(export(tmp_path, task(*FEVER, data=data))).documents[0].text == TEXT
    with pytest.raises(InputError) as caught:
        read_gold(export(tmp_path, task(data={"note": TEXT, "author": "x"})))
    assert str(caught.value) == (
        f"{tmp_path}/x.json, task 1: which text was annotated is not clear (there is author, note); call it "
        "'text' in the data"
    )


WRONG = (
    "the text at {} is not the words of the region; the text is not the one that was annotated, or the "
    "offsets are wrong"
)
UNPLACED = (
    "'{}' asserts something, but not of which region; ask it of each region (perRegion), and choose JSON "
    "when you export, not JSON-MIN"
)
REFUSED: list[tuple[list[Any], str]] = [
    ([task(region(2, 7, "S", words="fever"))], f", task 1, region 1: {WRONG.format('2 7')}"),
    ([task(region(3, 8, "S", words="fever"), data={"text": "No\r\nfever"})],
     f", task 1, region 1: {WRONG.format('3 8')}"),
    ([task(region(3, 99, "S"))],
     ", task 1, region 1: offsets 3 99 lie outside the text, which has 20 characters"),
    ([task({**region(3, 8, "S"), "type": "hypertextlabels"})],
     ", task 1, region 1: a region of type 'hypertextlabels' has no offsets in a text; label plain <Text>"),
    ([task(region(3, 8))], ", task 1, region 1: 'labels' is missing or no list of texts; label the region"),
    ([task({"id": "a", "type": "labels", "value": {"start": "3", "end": "8", "labels": ["S"]}})],
     ", task 1, region 1: start and end are missing or no whole numbers; label plain <Text>"),
    ([task(answer("negation", ["Negated"]))],
     ", task 1, region 1: an answer about a region without a label; label the region"),
    ([task(*FEVER, {"type": "choices", "from_name": "negation", "value": {"choices": ["Negated"]}})],
     f", task 1, region 2: {UNPLACED.format('negation')}"),
    ([minimal(negation="Negated")], f", task 1: {UNPLACED.format('negation')}"),
    ([minimal(assertion=["present", "absent"])], f", task 1: {UNPLACED.format('assertion')}"),
    ([minimal(q1="Negated")], f", task 1: {UNPLACED.format('q1')}"),
    ([task(*FEVER, {"type": "relation", "labels": ["negates"]})],
     ", task 1, region 2: the relation 'negates' says what one of its ends asserts, which is not read; make "
     "it a label or an attribute of that span"),
    ([task(*FEVER), task(*DENIED)],
     ", task 2: note '1' already stands in task 1; keep one, for example that of one annotator"),
    ([task(annotations=[{}])],
     ", task 1: 'result' is missing or no list of regions; export the file again"),
    ([task(*FEVER, {**COUGH, "to_name": "plan"})],
     ", task 1: marks 2 texts (plan, text); use one per task"),
    ([task(*FEVER), 3], ", task 2: not a JSON object; each task is one"),
]  # fmt: skip


@pytest.mark.parametrize(("tasks", "expected"), REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tasks: list[Any], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_gold(export(tmp_path, *tasks))
    assert str(caught.value) == f"{tmp_path}/x.json{expected}"


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path, task(*FEVER))
    path.write_text(path.read_text()[:-30])
    with pytest.raises(InputError) as caught:
        read_gold(path)
    assert str(caught.value) == f"{path}: not valid JSON, perhaps cut off; export the file again"


def test_a_question_of_unknown_name_is_refused_with_its_place(tmp_path: Path) -> None:
    held = read_gold(export(tmp_path, task(*FEVER, answer("q1", ["Negated"]))))
    with pytest.raises(InputError, match=r"x\.json, task 1, region 2: the attribute 'q1' is not known"):
        to_annotated(held.documents, labels={"Symptom"})
