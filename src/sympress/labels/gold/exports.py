"""JSON exports of annotation tools: doccano and Label Studio."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sympress.errors import InputError
from sympress.files import refuse_pipe
from sympress.labels.gold.attributes import fold, load_attributes
from sympress.labels.gold.documents import (
    Extra,
    GoldDocument,
    GoldFormat,
    GoldSet,
    GoldSpan,
    check_fragments,
    gold_set,
    read_exactly,
    read_lines,
)
from sympress.labels.mentions import Assertion
from sympress.notes.streams import file_errors

# The objects of a JSON export: one a line, or all in one list.


Row = dict[str, Any]


def read_rows(path: Path, row: str) -> Iterator[tuple[str, Row]]:
    """Yield each object of a file with the place that a message names, e.g. `x.jsonl, line 2`.

    Args:
        path: JSON lines, or one list of objects, or one object.
        row: what a list holds, e.g. `task`: the place is then `x.json, task 2`.

    Raises:
        InputError: not JSON, or anything but objects.
    """
    for where, value in _values(path, row):
        if not isinstance(value, dict):
            raise InputError(f"{where}: not a JSON object; each {row} is one")
        yield where, value


def _values(path: Path, row: str) -> Iterator[tuple[str, Any]]:
    whole = parse(text := read_exactly(path))
    if isinstance(whole, list):
        yield from ((f"{path}, {row} {number}", value) for number, value in enumerate(whole, start=1))
    elif text.lstrip().startswith("["):
        raise InputError(f"{path}: not valid JSON, perhaps cut off; export the file again")
    elif isinstance(whole, dict) and "\n" in text.strip():
        yield f"{path}, {row} 1", whole
    else:
        lines = enumerate(read_lines(path), start=1)
        yield from ((f"{path}, line {number}", parse(line)) for number, line in lines if line.strip())


def first_row(path: Path) -> Row | None:
    """Return the first object of a file that holds JSON lines or a list of objects; None if there is none."""
    refuse_pipe(path)
    with file_errors(path):
        text = path.read_bytes().decode("utf-8", "replace").lstrip()
    try:
        value, _ = json.JSONDecoder().raw_decode(text.removeprefix("[").lstrip())
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse(text: str) -> Any:
    """Return the value of a JSON text; None for what is none, also for halves of surrogate pairs."""
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return None
    return value


def whole_numbers(start: object, end: object) -> tuple[int, int] | None:
    """Return two offsets; None where one is no whole number, which `true` is not."""
    if isinstance(start, int) and isinstance(end, int) and bool not in (type(start), type(end)):
        return start, end
    return None


def check_id(note_id: str, where: str, seen: dict[str, str]) -> None:
    """Refuse a note that is there twice, and remember where it stands."""
    first = seen.setdefault(note_id, where)
    if first != where:
        raise InputError(
            f"{where}: note {note_id!r} already stands in {first.rpartition(', ')[2]}; keep one, for example "
            "that of one annotator"
        )


def check_relation(kind: object, where: str) -> None:
    """Refuse a relation that denies or hedges one of its ends: which one, the formats do not say."""
    if isinstance(kind, str) and load_attributes().names_assertion(kind):
        raise InputError(
            f"{where}: the relation {kind!r} says what one of its ends asserts, which is not read; make it a "
            "label or an attribute of that span"
        )


# Reading doccano: a note a line, or all in one list, with `label` or `entities`.
#
#     {"id": 1, "text": "No fever", "label": [[3, 8, "Symptom"]]}
#     {"id": 1, "text": "No fever", "relations": [],
#      "entities": [{"id": 7, "label": "Symptom", "start_offset": 3, "end_offset": 8}]}
#
# doccano has no attributes: what a span asserts is part of its label (`SYMPTOM_ABSENT`, `fever|absent`), or
# a second span in the same place (`Negated`); see `to_annotated`.


_TEXT_KEYS = ("text", "data")
_ID_KEYS = ("note_id", "id", "doc_id")
_SPAN_KEYS = ("entities", "label", "labels", "annotations")
_KNOWN_ENTITY_KEYS = {"id", "label", "start_offset", "end_offset", "user", "created_at", "updated_at", "uuid"}


def read_doccano(path: Path | str) -> GoldSet:
    """Return the notes of a sequence-labelling project of doccano.

    A note's id is its `id` (or `note_id`), else its number in the file. Offsets count characters. Other keys
    of a note (metadata, relations) are kept in `extra`.

    Raises:
        InputError: no JSON, a note without text or labels, labels of the note as a whole, labels by number,
            offsets outside the text, a relation that denies, an id used twice. The message names the file
            and the line.
    """
    path = Path(path)
    happened: Counter[str] = Counter()
    documents: list[GoldDocument] = []
    seen: dict[str, str] = {}
    for where, row in read_rows(path, "note"):
        document = _document(row, len(documents) + 1, where, happened)
        check_id(document.note_id, where, seen)
        documents.append(document)
    if not documents:
        raise InputError(f"{path}: an empty file; doccano exports a note a line")
    return gold_set("doccano", documents, happened)


def _document(row: Row, number: int, where: str, happened: Counter[str]) -> GoldDocument:
    text_key = next((key for key in _TEXT_KEYS if isinstance(row.get(key), str)), None)
    if text_key is None:
        raise InputError(f"{where}: 'text' is missing or no text; export the notes with their text")
    text = row[text_key]
    given = [key for key in _SPAN_KEYS if key in row]
    if not given:
        raise InputError(
            f"{where}: has none of {', '.join(_SPAN_KEYS)}; export the notes of a sequence-labelling project"
        )
    spans: list[GoldSpan] = []
    for key in given:
        rows = row[key] if row[key] is not None else []
        if not isinstance(rows, list):
            raise InputError(f'{where}: {key!r} is no list of spans; write  [[0, 5, "Symptom"]]')
        for count, each in enumerate(rows, start=1):
            spans.append(_span(each, text, f"{where}, {key} {count}"))
    _check_ids(spans, where)
    for relation in row.get("relations") or []:
        check_relation(relation.get("type") if isinstance(relation, dict) else None, where)
    rest = {key: value for key, value in row.items() if key not in (text_key, *given, *_ID_KEYS)}
    rest = {key: value for key, value in rest.items() if value not in (None, [], {})}
    if rest.get("relations"):
        happened["relations, kept"] += len(rest["relations"])
    if rest.get("cats"):
        happened["notes with categories of the whole note, kept"] += 1
    extra = Extra("doccano", (json.dumps(rest, ensure_ascii=False),)) if rest else None
    name = next((row[key] for key in _ID_KEYS if row.get(key) not in (None, "")), number)
    return GoldDocument(str(name), text, tuple(spans), extra)


def _check_ids(spans: list[GoldSpan], where: str) -> None:
    ids = Counter(span.id for span in spans if span.id)
    if ids and (most := ids.most_common(1)[0])[1] > 1:
        raise InputError(f"{where}: the id {most[0]!r} is used by {most[1]} spans; give each its own")


def _span(value: Any, text: str, where: str) -> GoldSpan:
    """Return a span that is written as `[start, end, label]` or as an entity."""
    if isinstance(value, str):
        raise InputError(
            f"{where}: a label of the whole note; only spans are read: export a sequence-labelling project"
        )
    attributes: tuple[tuple[str, str], ...] = ()
    name = ""
    if isinstance(value, dict):
        start, end, label = (value.get(key) for key in ("start_offset", "end_offset", "label"))
        name = str(value["id"]) if value.get("id") is not None else ""
        others = ((key, each) for key, each in value.items() if key not in _KNOWN_ENTITY_KEYS)
        attributes = tuple((key, _as_text(each)) for key, each in others if each is not None)
    elif isinstance(value, list) and len(value) == 3:
        start, end, label = value
    else:
        raise InputError(f'{where}: no span; write  [0, 5, "Symptom"]  or an entity with start_offset')
    if isinstance(label, int):
        raise InputError(f"{where}: the label is a number, {label}; export labels as text (JSONL)")
    if not isinstance(label, str) or not label.strip():
        raise InputError(f"{where}: the label is missing or no text")
    place = whole_numbers(start, end)
    if place is None:
        raise InputError(f'{where}: offsets are whole numbers, as in  [0, 5, "Symptom"]')
    check_fragments([place], len(text), where)
    return GoldSpan((place,), label, attributes, name, (where,))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _is_doccano(path: Path, _head: str) -> bool:
    """Say whether the first object of a file has a text and labels by offset, and none of our spans."""
    row = first_row(path) or {}
    rows = [row[key] for key in _SPAN_KEYS if key in row]
    if "spans" in row or not rows:
        return False
    items = [each for held in rows if isinstance(held, list) for each in held]
    if any(isinstance(each, dict) and "start_offset" not in each for each in items):
        return False
    return bool(items) or any(isinstance(row.get(key), str) for key in _TEXT_KEYS)


DOCCANO_FORMAT = GoldFormat("doccano", "doccano (.jsonl)", read_doccano, is_file=_is_doccano)


# Reading Label Studio: its JSON export, a list of tasks, and the shorter JSON-MIN.
#
#     [{"id": 1, "data": {"text": "No fever"}, "annotations": [{"result": [
#       {"id": "a", "type": "labels", "from_name": "label", "to_name": "text",
#        "value": {"start": 3, "end": 8, "text": "fever", "labels": ["Symptom"]}},
#       {"id": "a", "type": "choices", "from_name": "negation", "to_name": "text",
#        "value": {"start": 3, "end": 8, "text": "fever", "choices": ["Negated"]}}]}]}]
#
# A region is a span for each of its labels; what was asked of it (choices, ratings, texts) are its
# attributes, called as in the labelling interface. JSON-MIN says no more to which region an answer belongs,
# unless it keeps the offsets: such answers are refused.


_ANNOTATION_KEYS = ("annotations", "completions")
_WITHOUT_OFFSETS = ("hypertextlabels", "paragraphlabels", "timeserieslabels", "rectanglelabels")
_UTF16 = "notes whose offsets count UTF-16 units: converted"
_MINIMAL_KEYS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "cancelled")


@dataclass
class _Region:
    """A marked place: its labels, and the answers given of it, each with its question and its place."""

    start: int
    end: int
    words: str | None
    where: str
    labels: list[str] = field(default_factory=list)
    answers: list[tuple[str, str, str]] = field(default_factory=list)


def read_label_studio(path: Path | str) -> GoldSet:
    """Return the notes of an export that somebody annotated.

    The text is `data.text`, else the only text of `data`. A note's id is `data.note_id`, else the task's
    `id`, else its number in the file. Of several annotations of a task the one marked as ground truth
    counts; else they must agree. Skipped (cancelled) annotations, tasks without one, and predictions are
    counted and not read. Offsets count characters; where the words stand at their places in UTF-16 units
    only, they are converted, which is counted. Relations and answers about the whole note are kept in
    `extra`.

    Raises:
        InputError: no JSON, a task without its text, regions that are no spans of a text, offsets outside
            the text, words that do not stand there, annotations that differ, an answer or a relation that
            asserts something of no known region. The message names the file, the task and the region.
    """
    path = Path(path)
    happened: Counter[str] = Counter()
    documents: list[GoldDocument] = []
    seen: dict[str, str] = {}
    for number, (where, task) in enumerate(read_rows(path, "task"), start=1):
        annotated = _annotated(task, where, happened)
        if annotated is None:
            continue
        document = _studio_document(task, number, annotated, where, happened)
        check_id(document.note_id, where, seen)
        documents.append(document)
    return gold_set("label-studio", documents, happened)


def _annotated(task: Row, where: str, happened: Counter[str]) -> list[Row] | None:
    """Return the items of the annotation that counts; None where nobody annotated the task."""
    key = next((key for key in _ANNOTATION_KEYS if isinstance(task.get(key), list)), None)
    if task.get("predictions"):
        happened["tasks with predictions, not read"] += 1
    if key is None:
        if any(key in task for key in _ANNOTATION_KEYS):
            raise InputError(f"{where}: 'annotations' is no list; export the file again")
        return _minimal_items(task, where)
    held = [each for each in task[key] if isinstance(each, dict)]
    valid = [each for each in held if not each.get("was_cancelled") and not each.get("skipped")]
    if len(valid) < len(held):
        happened["skipped annotations, not read"] += len(held) - len(valid)
    if not valid:
        happened["tasks without an annotation, not read"] += 1
        return None
    true = [each for each in valid if each.get("ground_truth")]
    chosen = true if len(true) == 1 else valid
    if len(chosen) < len(valid):
        happened["annotations beside the ground truth, not read"] += len(valid) - 1
    results = [_items(each, where) for each in chosen]
    said = [_said(items) for items in results]
    if any(each != said[0] for each in said):
        raise InputError(
            f"{where}: its {len(chosen)} annotations differ; mark one as ground truth, or export those of "
            "one annotator"
        )
    if len(chosen) > 1:
        happened["annotations that say the same, read once"] += len(chosen) - 1
    return results[0]


def _items(annotation: Row, where: str) -> list[Row]:
    items = annotation.get("result")
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        raise InputError(f"{where}: 'result' is missing or no list of regions; export the file again")
    return items


def _said(items: Iterable[Row]) -> list[str]:
    """Return what an annotation says, to compare it with another's: ids and origins do not count."""
    return sorted(
        json.dumps([each.get("from_name"), each.get("type"), each.get("value")], sort_keys=True)
        for each in items
    )


def _minimal_items(task: Row, where: str) -> list[Row]:
    """Return the answers of a JSON-MIN task as items of the JSON export."""
    items: list[Row] = []
    for name, value in task.items():
        rows = value if isinstance(value, list) else [value]
        places = [each for each in rows if isinstance(each, dict) and "start" in each and "end" in each]
        for each in places:
            kind = next(
                (key for key in ("labels", "choices", "taxonomy", "rating", "number") if key in each), ""
            )
            kind = "hypertextlabels" if "hypertextlabels" in each else kind
            items.append({"id": None, "from_name": name, "type": kind or "other", "value": each})
        if name not in (*_MINIMAL_KEYS, "text") and not places:
            for each in rows:
                _check_loose(name, each, where, load_attributes().words)
    return items


def _check_loose(name: str, answer: object, where: str, words: Mapping[str, Assertion]) -> None:
    """Refuse an answer about no known region that says anything but present.

    Args:
        name: of the question.
        answer: as it stands in the file.
        where: what a message begins with.
        words: what the answers assert where the question's name does not tell.
    """
    group = load_attributes().group_of(name)
    values = words if group is None else group.values
    if any(values.get(fold(each), "present") != "present" for each in _texts(answer)):
        raise InputError(
            f"{where}: {name!r} asserts something, but not of which region; ask it of each region "
            "(perRegion), and choose JSON when you export, not JSON-MIN"
        )


def _studio_document(
    task: Row, number: int, items: list[Row], where: str, happened: Counter[str]
) -> GoldDocument:
    regions, rest = _regions(items, where, happened)
    text = _text(task, regions, where)
    if any(not _stands(region, text) for region in regions) and _convert(regions, text):
        happened[_UTF16] += 1
    spans: list[GoldSpan] = []
    for region in regions:
        check_fragments([(region.start, region.end)], len(text), region.where)
        if region.words is not None and not _stands(region, text):
            raise InputError(
                f"{region.where}: the text at {region.start} {region.end} is not the words of the region; "
                "the text is not the one that was annotated, or the offsets are wrong"
            )
        attributes = tuple((name, said) for name, said, _ in region.answers)
        sources = (region.where, *(at for _, _, at in region.answers))
        place = ((region.start, region.end),)
        spans += [GoldSpan(place, label, attributes, "", sources) for label in region.labels]
    data = task.get("data")
    given = data.get("note_id") if isinstance(data, dict) else task.get("note_id")
    name = next((each for each in (given, task.get("id")) if each not in (None, "")), number)
    extra = Extra("label-studio", tuple(json.dumps(each, ensure_ascii=False) for each in rest))
    if rest:
        happened["relations and answers about whole notes, kept"] += len(rest)
    return GoldDocument(str(name), text, tuple(spans), extra if rest else None)


def _regions(items: list[Row], where: str, happened: Counter[str]) -> tuple[list[_Region], list[Row]]:
    """Return the marked places, each with its labels and answers, and the items that are about none."""
    regions: dict[Any, _Region] = {}
    answers: list[tuple[str, Row]] = []
    rest: list[Row] = []
    texts = {str(each["to_name"]) for each in items if each.get("type") == "labels" and each.get("to_name")}
    if len(texts) > 1:
        raise InputError(f"{where}: marks {len(texts)} texts ({', '.join(sorted(texts))}); use one per task")
    for number, item in enumerate(items, start=1):
        at = f"{where}, region {number}"
        kind = item.get("type")
        if kind in _WITHOUT_OFFSETS:
            raise InputError(f"{at}: a region of type {kind!r} has no offsets in a text; label plain <Text>")
        if kind == "labels":
            regions.setdefault(_key(item), _region(item, at)).labels.extend(_labels(item, at))
            if item.get("meta"):
                happened["remarks on regions, not read"] += 1
        elif kind == "relation":
            for label in item.get("labels") or []:
                check_relation(label, at)
            rest.append(item)
        else:
            answers.append((at, item))
    for at, item in answers:
        if not _answer_region(item, regions, at):
            rest.append(item)
    return list(regions.values()), rest


def _answer_region(item: Row, regions: Mapping[Any, _Region], where: str) -> bool:
    """Add an answer to the region that it is about; False where it is about the whole note."""
    name = str(item.get("from_name", ""))
    if _key(item) in regions:
        regions[_key(item)].answers.extend((name, text, where) for text in _answer(item))
        return True
    if _place(item) is not None:
        raise InputError(f"{where}: an answer about a region without a label; label the region")
    for text in _answer(item):
        _check_loose(name, text, where, {})
    return False


def _key(item: Row) -> object:
    """Return what items about one region share: its id, or its place where there is none."""
    return item["id"] if item.get("id") is not None else _place(item)


def _place(item: Row) -> tuple[int, int] | None:
    value = item.get("value")
    return whole_numbers(value.get("start"), value.get("end")) if isinstance(value, dict) else None


def _region(item: Row, where: str) -> _Region:
    place = _place(item)
    if place is None:
        raise InputError(f"{where}: start and end are missing or no whole numbers; label plain <Text>")
    words = item["value"].get("text")
    return _Region(*place, words if isinstance(words, str) else None, where)


def _labels(item: Row, where: str) -> list[str]:
    labels = item["value"].get("labels")
    if (
        not isinstance(labels, list)
        or not labels
        or not all(isinstance(each, str) and each for each in labels)
    ):
        raise InputError(f"{where}: 'labels' is missing or no list of texts; label the region")
    return labels


def _answer(item: Row) -> list[str]:
    """Return what was answered; an answer of several parts gives each."""
    value = item.get("value")
    if not isinstance(value, dict):
        return []
    kind = "text" if item.get("type") == "textarea" else str(item.get("type"))
    return list(_texts(value.get(kind, value.get("choices"))))


def _texts(answer: object) -> Iterator[str]:
    """Yield the texts of an answer; of a path in a taxonomy, each step."""
    if isinstance(answer, dict):
        for key in ("choices", "taxonomy", "rating", "number", "text"):
            yield from _texts(answer.get(key))
    elif isinstance(answer, list):
        for each in answer:
            yield from _texts(each)
    elif answer is not None:
        yield answer if isinstance(answer, str) else json.dumps(answer)


def _text(task: Row, regions: list[_Region], where: str) -> str:
    """Return the annotated text of a task."""
    data = task.get("data")
    held = data if isinstance(data, dict) else task
    texts = {key: value for key, value in held.items() if isinstance(value, str)}
    if "text" in texts:
        return texts["text"]
    texts = {key: value for key, value in texts.items() if key not in _MINIMAL_KEYS}
    fitting = [value for value in texts.values() if all(_stands(region, value) for region in regions)]
    if len(texts) == 1 or (regions and len(fitting) == 1):
        return fitting[0] if fitting else next(iter(texts.values()))
    there = f" (there is {', '.join(sorted(texts))})" if texts else ""
    raise InputError(f"{where}: which text was annotated is not clear{there}; call it 'text' in the data")


def _stands(region: _Region, text: str) -> bool:
    """Say whether the words of a region stand at its place; line ends may have been written as one."""
    marked = text[region.start : region.end] if 0 <= region.start <= region.end else ""
    return region.words is None or _one_line(marked) == _one_line(region.words)


def _one_line(words: str) -> str:
    return words.replace("\r\n", "\n").replace("\\n", "\n")


def _convert(regions: list[_Region], text: str) -> bool:
    """Count the offsets in characters where all words stand at their places in UTF-16 units; say whether."""
    units: list[int] = []
    for index, character in enumerate(text):
        units += [index] * (2 if ord(character) > 0xFFFF else 1)
    units.append(len(text))
    if len(units) == len(text) + 1 or any(max(each.start, each.end) >= len(units) for each in regions):
        return False
    converted = [_Region(units[each.start], units[each.end], each.words, "") for each in regions]
    if not all(_stands(each, text) for each in converted):
        return False
    for region, each in zip(regions, converted, strict=True):
        region.start, region.end = each.start, each.end
    return True


def _is_label_studio(path: Path, head: str) -> bool:
    """Say whether the first task of a file has results, or regions as JSON-MIN writes them."""
    row = first_row(path)
    if row is None:  # cut off, or damaged: the reader says so
        return bool(re.match(r"\s*\[\s*\{", head))
    held = [row[key] for key in _ANNOTATION_KEYS if isinstance(row.get(key), list)]
    if held:
        return isinstance(row.get("data"), dict) or any("result" in each for each in held[0])
    regions = [each for value in row.values() if isinstance(value, list) for each in value]
    marked = any(isinstance(each, dict) and "start" in each and "labels" in each for each in regions)
    return marked or ("annotation_id" in row and "lead_time" in row)


LABEL_STUDIO_FORMAT = GoldFormat(
    "label-studio", "Label Studio (.json)", read_label_studio, is_file=_is_label_studio
)
