"""Reading doccano: a note a line, or all in one list, with `label` or `entities`.

    {"id": 1, "text": "No fever", "label": [[3, 8, "Symptom"]]}
    {"id": 1, "text": "No fever", "relations": [],
     "entities": [{"id": 7, "label": "Symptom", "start_offset": 3, "end_offset": 8}]}

doccano has no attributes: what a span asserts is part of its label (`SYMPTOM_ABSENT`, `fever|absent`), or a
second span in the same place (`Negated`); see `to_annotated`.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from sympress.errors import InputError
from sympress.labels.gold.documents import Extra, GoldDocument, GoldSet, GoldSpan, check_fragments, gold_set
from sympress.labels.gold.formats import GoldFormat
from sympress.labels.gold.read_only.json_rows import (
    Row,
    check_id,
    check_relation,
    first_row,
    read_rows,
    whole_numbers,
)

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


FORMAT = GoldFormat("doccano", "doccano (.jsonl)", read_doccano, is_file=_is_doccano)
