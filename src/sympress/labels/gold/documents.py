"""The one shape of annotations that were read, what every format needs to become it, and its JSON lines.

    {"note_id": "n1", "text": "No fever.", "spans": [{"start": 3, "end": 8, "label": "Sign_symptom",
     "attributes": {"POLARITY": "NEG"}, "id": "T1"}]}

A discontinuous span has `"fragments": [[0, 4], [9, 13]]` instead of `start` and `end`; a label of the note
as a whole has `"fragments": []`. `attributes` and `id` may be missing; attributes are a list of pairs where a
name stands twice. Other keys of a note are kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sympress.errors import InputError, nearest
from sympress.files import atomic_path, refuse_pipe
from sympress.notes.streams import GZIP_MAGIC, file_errors

# The one shape that people's annotations have once they are read, whatever format they came in.


@dataclass(frozen=True, slots=True)
class GoldSpan:
    """What a person marked in a note.

    Attributes:
        fragments: the pieces `(start, end)` of the span, counted in characters of the original text, in
            order and disjoint; more than one where the span is discontinuous, none where the label is
            one of the note as a whole or its place is not known.
        label: what the person called it, e.g. `Sign_symptom`.
        attributes: `(name, value)` pairs in the order of the file, e.g. `("POLARITY", "NEG")`; the value
            of a flag is empty.
        id: its name in the file, e.g. `T3`; empty where the format has none.
        sources: where the span, then each attribute was read, e.g. `n1.ann, line 3`, for messages; fewer
            where the format does not tell. Spans that differ in nothing else are equal.
    """

    fragments: tuple[tuple[int, int], ...]
    label: str
    attributes: tuple[tuple[str, str], ...] = ()
    id: str = ""
    sources: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def surface(self, text: str) -> str:
        """Return the marked characters of `text`, fragments joined by one space."""
        return " ".join(text[start:end] for start, end in self.fragments)


@dataclass(frozen=True, slots=True)
class Extra:
    """What the objects of a JSON format hold beyond text and spans, as JSON `lines`."""

    format: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GoldDocument:
    """A note and what people marked in it, in the order of the file."""

    note_id: str
    text: str
    spans: tuple[GoldSpan, ...] = ()
    extra: Extra | None = None


@dataclass(frozen=True)
class GoldSet:
    """Annotated notes as read.

    Attributes:
        format: the name of the format, e.g. `brat`.
        documents: the notes, in the order of the source.
        counts: what there was and what happened while reading, e.g. `notes`, `spans`.
    """

    format: str
    documents: tuple[GoldDocument, ...]
    counts: Counter[str] = field(default_factory=Counter)


def gold_set(format: str, documents: Iterable[GoldDocument], happened: Counter[str]) -> GoldSet:  # noqa: A002
    """Return a `GoldSet` whose counts begin with notes, spans and discontinuous spans."""
    held = tuple(documents)
    spans = [span for document in held for span in document.spans]
    counts = Counter({"notes": len(held), "spans": len(spans)})
    if discontinuous := sum(len(span.fragments) > 1 for span in spans):
        counts["discontinuous spans"] = discontinuous
    counts.update(happened)
    return GoldSet(format, held, counts)


def check_fragments(fragments: Iterable[tuple[int, int]], length: int, where: str) -> None:
    """Refuse fragments that are empty, out of order, overlapping or outside a text.

    Args:
        fragments: `(start, end)` pairs.
        length: characters of the text.
        where: what the message begins with, e.g. `notes.ann, line 3`.

    Raises:
        InputError: naming the offsets, never the text.
    """
    previous = 0
    for start, end in fragments:
        if start >= end:
            raise InputError(
                f"{where}: offsets {start} {end} mark nothing; the end must lie behind the start"
            )
        if start < 0 or end > length:
            raise InputError(
                f"{where}: offsets {start} {end} lie outside the text, which has {length} characters"
            )
        if start < previous:
            raise InputError(f"{where}: the fragment {start} {end} overlaps the one before it or precedes it")
        previous = end


def check_documents(documents: Iterable[GoldDocument]) -> None:
    """Refuse documents that no format could hold.

    Raises:
        InputError: a note id used twice, offsets outside the text, a span without a label, or a span id
            used twice in a note.
    """
    seen: set[str] = set()
    for document in documents:
        if document.note_id in seen:
            raise InputError(f"note {document.note_id!r} is there twice; give each note its own id")
        seen.add(document.note_id)
        ids: set[str] = set()
        for number, span in enumerate(document.spans, start=1):
            where = f"note {document.note_id!r}, span {number}"
            check_fragments(span.fragments, len(document.text), where)
            if not span.label:
                raise InputError(f"{where}: has no label; name what it marks")
            if span.id and span.id in ids:
                raise InputError(f"{where}: the id {span.id!r} is used twice; give each span its own")
            ids.add(span.id)


# One contiguous span a place: the rule for discontinuous and overlapping spans, with everything counted.
#
# A discontinuous span becomes its covering span where nothing but white space and punctuation lies between
# its fragments (a line was wrapped), else its longest fragment, the first of equals. Of MACCROBAT's 38
# discontinuous spans 5 are of the first kind (among them the only one of a symptom); in the other 33 the
# gap holds 1 to 6 words that belong to another concept ("T1 and T2 signal"), which a covering span would
# swallow.
#
# Of spans that overlap, the longest wins, the first of equals; the others are dropped.


class Flat(NamedTuple):
    """A span by one start and one end, and what it was."""

    start: int
    end: int
    span: GoldSpan


def flatten_spans(spans: Iterable[GoldSpan], text: str, counts: Counter[str]) -> list[Flat]:
    """Return disjoint, non-empty spans without white space at their edges, ordered by start.

    What was changed or dropped is added to `counts`.
    """
    placed = [
        trimmed
        for span in spans
        if (flat := _contiguous_place(span, text, counts)) is not None
        and (trimmed := _trimmed(flat, text, counts)) is not None
    ]
    chosen: list[Flat] = []
    taken = bytearray(len(text))
    for flat in sorted(placed, key=lambda flat: (flat.start - flat.end, flat.start)):
        if any(taken[flat.start : flat.end]):
            counts["overlapping a longer or an earlier span: dropped"] += 1
            continue
        taken[flat.start : flat.end] = b"\1" * (flat.end - flat.start)
        chosen.append(flat)
    return sorted(chosen, key=lambda flat: flat.start)


def _contiguous_place(span: GoldSpan, text: str, counts: Counter[str]) -> Flat | None:
    """Return `span` with one start and one end, white space included; None if it has no place.

    What was changed or dropped is added to `counts`.
    """
    if not span.fragments:
        counts["without a place in the text: dropped"] += 1
        return None
    if len(span.fragments) == 1:
        return Flat(*span.fragments[0], span)
    gaps = (text[end:start] for (_, end), (start, _) in zip(span.fragments, span.fragments[1:], strict=False))
    if not any(character.isalnum() for gap in gaps for character in gap):
        counts["discontinuous: covering span taken"] += 1
        return Flat(span.fragments[0][0], span.fragments[-1][1], span)
    counts["discontinuous: longest fragment taken"] += 1
    return Flat(*max(span.fragments, key=lambda fragment: fragment[1] - fragment[0]), span)


def _trimmed(flat: Flat, text: str, counts: Counter[str]) -> Flat | None:
    """Return `flat` without white space at its edges; None if nothing is left."""
    marked = text[flat.start : flat.end]
    if not marked.strip():
        counts["nothing but white space: dropped"] += 1
        return None
    start = flat.start + len(marked) - len(marked.lstrip())
    end = flat.end - len(marked) + len(marked.rstrip())
    if (start, end) != (flat.start, flat.end):
        counts["white space at the edges: trimmed"] += 1
    return Flat(start, end, flat.span)


# What a format of annotated notes is: how it is called, told from the others, and read.


def _never(_path: Path) -> bool:
    return False


def _never_file(_path: Path, _head: str) -> bool:
    return False


@dataclass(frozen=True)
class GoldFormat:
    """A format of annotated notes.

    Attributes:
        name: as `read_gold` takes it.
        place: how a message names what to give, e.g. `NegEx (.tsv)`.
        read: reads a file or folder.
        is_folder: whether a folder holds it.
        is_file: whether a file holds it, by its path and the beginning of its text, line ends LF.
    """

    name: str
    place: str
    read: Callable[[Path], GoldSet]
    is_folder: Callable[[Path], bool] = _never
    is_file: Callable[[Path, str], bool] = _never_file


def first_line(head: str) -> str:
    """Return the first line of `head` that is not blank; empty if there is none."""
    return next((line for line in head.split("\n") if line.strip()), "")


def holds_file(folder: Path, *suffixes: str) -> bool:
    """Say whether a file with one of `suffixes` lies anywhere below `folder`."""
    return any(path.suffix.lower() in suffixes for path in folder.rglob("*.*"))


# Reading and writing the lines of annotation files: UTF-8, exactly as they are, all or nothing.


_BYTE_ORDER_MARK = "\ufeff"


def read_exactly(path: Path) -> str:
    """Return the characters of a UTF-8 file, line ends as they are.

    Raises:
        InputError: the file cannot be read, is compressed, is not UTF-8 (with the line), or begins with a
            byte order mark, which some tools count as a character and others do not.
    """
    refuse_pipe(path)
    with file_errors(path):
        raw = path.read_bytes()
    if raw.startswith(GZIP_MAGIC):
        raise InputError(f"{path}: compressed; unpack it first, for example  gunzip {path.name}")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
    else:
        if text.startswith(_BYTE_ORDER_MARK):
            raise InputError(f"{path}: begins with a byte order mark; save it as UTF-8 without one")
        return text
    # Outside the handler: a UnicodeDecodeError carries the bytes of the note.
    raise InputError(
        f"{path}, line {line}: not UTF-8; convert the file, for example  iconv -f WINDOWS-1252 -t UTF-8"
    )


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without their ends, which are LF or CR LF and nothing else.

    Raises:
        InputError: as `read_exactly`.
    """
    lines = read_exactly(path).replace("\r\n", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write `lines`, each ended by LF, as UTF-8: all of them or none."""
    with atomic_path(path) as temporary:
        temporary.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))


# Spans as JSON lines, one note a line: the format that holds everything.


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


JSONL_FORMAT = GoldFormat(
    "jsonl",
    "JSON lines",
    read_jsonl,
    is_file=lambda path, head: (
        first_line(head).startswith("{") or path.suffix.lower() in {".jsonl", ".ndjson"}
    ),
)
