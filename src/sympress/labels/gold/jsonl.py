"""Reading and writing spans as JSON lines, one note a line: the format that holds everything.

    {"note_id": "n1", "text": "No fever.", "spans": [{"start": 3, "end": 8, "label": "Sign_symptom",
     "attributes": {"POLARITY": "NEG"}, "id": "T1"}]}

A discontinuous span has `"fragments": [[0, 4], [9, 13]]` instead of `start` and `end`; a label of the note
as a whole has `"fragments": []`. `attributes` and `id` may be missing; attributes are a list of pairs where a
name stands twice. Other keys of a note are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sympress.errors import InputError, nearest
from sympress.labels.gold.documents import (
    Extra,
    GoldDocument,
    GoldFormat,
    GoldSet,
    GoldSpan,
    check_documents,
    check_fragments,
    first_line,
    gold_set,
    read_lines,
    write_lines,
)

_NOTE_KEYS = ("note_id", "text", "spans")
_SPAN_KEYS = ("start", "end", "fragments", "label", "attributes", "id")


def read_jsonl(path: Path | str) -> GoldSet:
    """Return the annotated notes of a JSON lines file; blank lines are none.

    Raises:
        InputError: a line that is no such object, an unknown key of a span, offsets outside the text, an id
            used twice. The message names the file and the line.
    """
    path = Path(path)
    documents: list[GoldDocument] = []
    lines_of: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        document = _document(_object(line, where), where)
        first = lines_of.setdefault(document.note_id, number)
        if first != number:
            raise InputError(f"{where}: note {document.note_id!r} already stands in line {first}; keep one")
        documents.append(document)
    return gold_set("jsonl", documents, Counter())


def write_jsonl(path: Path | str, documents: Iterable[GoldDocument]) -> Counter[str]:
    """Write one note a line; nothing is lost, `read_jsonl` returns equal documents.

    What was kept of another format stands under the key `extra`.

    Raises:
        InputError: a note id used twice, or offsets outside the text.
    """
    held = list(documents)
    check_documents(held)
    write_lines(Path(path), (json.dumps(_row(document), ensure_ascii=False) for document in held))
    return Counter({"notes": len(held), "spans": sum(len(document.spans) for document in held)})


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():  # half a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        value = None
    # Outside the handler: the error carries the line, and with it the note.
    if not isinstance(value, dict):
        raise InputError(f"{where}: not a JSON object; write one note a line")
    return value


def _document(fields: dict[str, Any], where: str) -> GoldDocument:
    for key in ("note_id", "text"):
        if not isinstance(fields.get(key), str):
            raise InputError(f"{where}: {key!r} is missing or no text{nearest(key, set(fields) - {key})}")
    rows = fields.get("spans")
    if not isinstance(rows, list):
        raise InputError(f"{where}: 'spans' is missing or no list{nearest('spans', set(fields) - {'spans'})}")
    spans = tuple(
        _span(row, len(fields["text"]), f"{where}, span {number}") for number, row in enumerate(rows, start=1)
    )
    ids = Counter(span.id for span in spans if span.id)
    if ids and (most := ids.most_common(1)[0])[1] > 1:
        raise InputError(f"{where}: the id {most[0]!r} is used by {most[1]} spans; give each its own")
    rest = {key: value for key, value in fields.items() if key not in _NOTE_KEYS}
    return GoldDocument(fields["note_id"], fields["text"], spans, _extra(rest))


def _span(row: Any, length: int, where: str) -> GoldSpan:
    if not isinstance(row, dict):
        raise InputError(f"{where}: not a JSON object with start, end and label")
    for key in row:
        if key not in _SPAN_KEYS:
            raise InputError(
                f"{where}: unknown key {key!r}; a span has {', '.join(_SPAN_KEYS)}: "
                "put what else is known of it under 'attributes'"
            )
    label, name = row.get("label"), row.get("id", "")
    if not isinstance(label, str) or not label:
        raise InputError(f"{where}: 'label' is missing or no text")
    if not isinstance(name, str):
        raise InputError(f"{where}: 'id' is no text")
    fragments = _fragments(row, where)
    check_fragments(fragments, length, where)
    return GoldSpan(fragments, label, _attributes(row.get("attributes", {}), where), name, (where,))


def _fragments(row: dict[str, Any], where: str) -> tuple[tuple[int, int], ...]:
    if ("fragments" in row) == ("start" in row or "end" in row):
        raise InputError(f"{where}: give either start and end, or fragments")
    pairs = row["fragments"] if "fragments" in row else [[row.get("start"), row.get("end")]]
    if not isinstance(pairs, list) or not all(_is_pair(pair, int) for pair in pairs):
        raise InputError(f'{where}: offsets are whole numbers, as in  "start": 3, "end": 8')
    return tuple((start, end) for start, end in pairs)


def _is_pair(value: Any, kind: type) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(item) is kind for item in value)


def _attributes(value: Any, where: str) -> tuple[tuple[str, str], ...]:
    pairs = [list(pair) for pair in value.items()] if isinstance(value, dict) else value
    if not isinstance(pairs, list) or not all(_is_pair(pair, str) for pair in pairs):
        raise InputError(f'{where}: attributes are texts, as in  {{"POLARITY": "NEG"}}')
    return tuple((name, content) for name, content in pairs)


def _extra(rest: dict[str, Any]) -> Extra | None:
    """Return what stands in a note's other keys: lines kept of another format, or the keys themselves."""
    if not rest:
        return None
    kept = rest.get("extra")
    if len(rest) == 1 and isinstance(kept, dict) and set(kept) == {"format", "lines"}:
        form, lines = kept["format"], kept["lines"]
        texts = isinstance(lines, list) and all(isinstance(line, str) for line in lines)
        if isinstance(form, str) and form != "jsonl" and texts:
            return Extra(form, tuple(lines))
    return Extra("jsonl", (json.dumps(rest, ensure_ascii=False),))


def _row(document: GoldDocument) -> dict[str, Any]:
    row: dict[str, Any] = {"note_id": document.note_id, "text": document.text}
    row["spans"] = [_span_row(span) for span in document.spans]
    if document.extra is None:
        return row
    if document.extra.format == "jsonl":
        kept: dict[str, Any] = json.loads(document.extra.lines[0])
        return row | kept
    return row | {"extra": {"format": document.extra.format, "lines": list(document.extra.lines)}}


def _span_row(span: GoldSpan) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if len(span.fragments) == 1:
        row["start"], row["end"] = span.fragments[0]
    else:
        row["fragments"] = [list(fragment) for fragment in span.fragments]
    row["label"] = span.label
    if span.attributes:
        named = dict(span.attributes)
        repeated = len(named) != len(span.attributes)
        row["attributes"] = [list(pair) for pair in span.attributes] if repeated else named
    if span.id:
        row["id"] = span.id
    return row


FORMAT = GoldFormat(
    "jsonl",
    "JSON lines",
    read_jsonl,
    is_file=lambda path, head: (
        first_line(head).startswith("{") or path.suffix.lower() in {".jsonl", ".ndjson"}
    ),
)
