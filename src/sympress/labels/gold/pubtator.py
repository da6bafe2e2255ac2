"""Reading and writing PubTator: `ID|t|TITLE`, `ID|a|ABSTRACT`, then one annotation a line.

An annotation is `ID<TAB>start<TAB>end<TAB>text<TAB>type[<TAB>identifier[<TAB>parts]]`; offsets count the
characters of title, one space and abstract. Notes are separated by blank lines.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.documents import (
    Extra,
    GoldDocument,
    GoldSet,
    GoldSpan,
    check_documents,
    check_fragments,
    gold_set,
)
from sympress.labels.gold.flatten import Flat, contiguous_place
from sympress.labels.gold.formats import GoldFormat, first_line
from sympress.labels.gold.lines import read_lines, write_lines

_PASSAGE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_TITLE_LENGTH = re.compile(r"title\t([0-9]+)")
_NUMBER = re.compile(r"-?[0-9]+")
#: The attributes that hold the sixth and the seventh column.
COLUMNS = ("identifier", "parts")
_BREAKS = str.maketrans("\n\r\t", "   ")


@dataclass
class _Block:
    note_id: str
    title: str
    abstract: str = ""
    spans: list[GoldSpan] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return f"{self.title} {self.abstract}" if self.abstract else self.title


def read_pubtator(path: Path | str) -> GoldSet:
    """Return the documents of a PubTator file; the text is title, one space and abstract.

    An empty or missing abstract adds nothing, not even the space. The identifier of an annotation and what
    stands behind it are the attributes `identifier` and `parts`; relations (four columns) and the length of
    the title are kept in `extra`.

    Raises:
        InputError: an annotation before its title or of another note, a wrong number of columns, offsets
            outside the text, a text that does not stand there, a note that is there twice. The message
            names the file and the line.
    """
    path = Path(path)
    blocks: dict[str, _Block] = {}
    current: _Block | None = None
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            current = None
        elif (match := _PASSAGE.fullmatch(line)) and match.group(2) == "t":
            current = _Block(match.group(1), match.group(3))
            if current.note_id in blocks:
                raise InputError(f"{where}: note {current.note_id!r} is there twice; keep one")
            blocks[current.note_id] = current
        elif current is None:
            raise InputError(f"{where}: stands before any title; a note begins with  ID|t|TITLE")
        elif match and match.group(2) == "a":
            _add_abstract(current, match, where)
        else:
            _add_annotation(current, line.split("\t"), where)
    if not blocks:
        raise InputError(f"{path}: an empty file; a PubTator note begins with  ID|t|TITLE")
    return gold_set("pubtator", [_document(block) for block in blocks.values()], Counter())


def _add_abstract(block: _Block, match: re.Match[str], where: str) -> None:
    if match.group(1) != block.note_id or block.abstract or block.spans or block.kept:
        raise InputError(f"{where}: an abstract of {match.group(1)!r} out of place; write it below its title")
    block.abstract = match.group(3)


def _add_annotation(block: _Block, fields: list[str], where: str) -> None:
    if fields[0] != block.note_id:
        raise InputError(
            f"{where}: belongs to note {fields[0][:40]!r}, but stands below {block.note_id!r}; "
            "end a note with a blank line"
        )
    if len(fields) == 4 and not all(_NUMBER.fullmatch(value) for value in fields[1:3]):
        block.kept.append("\t".join(fields))
        return
    if not 5 <= len(fields) <= 7:
        raise InputError(
            f"{where}: {len(fields)} columns; an annotation has 5 to 7: "
            "ID, start, end, text, type, identifier, parts"
        )
    _, start, end, marked, label, *rest = fields
    if not (_NUMBER.fullmatch(start) and _NUMBER.fullmatch(end)):
        raise InputError(f"{where}: start and end are not whole numbers")
    if not label:
        raise InputError(f"{where}: the type is empty")
    place = (int(start), int(end))
    check_fragments([place], len(block.text), where)
    if block.text[slice(*place)] != marked:
        raise InputError(
            f"{where}: the text at {start} {end} is not the one of this line; "
            "offsets count title, one space and abstract"
        )
    block.spans.append(GoldSpan((place,), label, tuple(zip(COLUMNS, rest, strict=False))))


def _document(block: _Block) -> GoldDocument:
    kept = ((f"title\t{len(block.title)}",) if block.abstract else ()) + tuple(block.kept)
    return GoldDocument(
        block.note_id, block.text, tuple(block.spans), Extra("pubtator", kept) if kept else None
    )


def write_pubtator(path: Path | str, documents: Iterable[GoldDocument]) -> Counter[str]:
    """Write documents as PubTator; what was read from PubTator reads back equal.

    A text that did not come from PubTator is all title, without an abstract. Line breaks, carriage returns
    and tabs become spaces, which moves no offset.

    Returns:
        What was written and, by reason, what the format cannot hold: white space as it was, discontinuous
        spans (by the rule of `flatten`), other attributes, span ids, kept lines of another format.

    Raises:
        InputError: a note id or a label that a line cannot hold.
    """
    held = list(documents)
    check_documents(held)
    counts: Counter[str] = Counter({"notes": len(held), "spans": 0})
    lines: list[str] = []
    for document in held:
        if not document.note_id.strip() or re.search(r"[|\n\r\t]", document.note_id):
            raise InputError(f"note {document.note_id!r}: its id is empty or holds |, a tab or a line break")
        lines += [*_passages(document, counts), *_annotations(document, counts), ""]
    write_lines(Path(path), lines)
    return counts


def _passages(document: GoldDocument, counts: Counter[str]) -> Iterator[str]:
    text = document.text.translate(_BREAKS)
    if text != document.text:
        counts["line breaks and tabs, written as spaces"] += sum(
            one != other for one, other in zip(text, document.text, strict=True)
        )
    lengths = (match for line in _kept(document) if (match := _TITLE_LENGTH.fullmatch(line)))
    title = next((int(match.group(1)) for match in lengths), len(text))
    yield f"{document.note_id}|t|{text[:title]}"
    yield f"{document.note_id}|a|{text[title + 1 :]}"


def _kept(document: GoldDocument) -> tuple[str, ...]:
    extra = document.extra
    return extra.lines if extra is not None and extra.format == "pubtator" else ()


def _annotations(document: GoldDocument, counts: Counter[str]) -> Iterator[str]:
    text = document.text.translate(_BREAKS)
    for span in document.spans:
        flat = contiguous_place(span, document.text, counts)
        if flat is not None:
            counts["spans"] += 1
            yield "\t".join([document.note_id, *_fields(flat, text, document.note_id, counts)])
    yield from (line for line in _kept(document) if not _TITLE_LENGTH.fullmatch(line))
    if document.extra is not None and document.extra.format != "pubtator":
        counts[f"kept lines of {document.extra.format}, not held"] += len(document.extra.lines)


def _fields(flat: Flat, text: str, note_id: str, counts: Counter[str]) -> list[str]:
    """Return the columns of an annotation behind the note's id."""
    span = flat.span
    named = dict(reversed(span.attributes))
    columns: list[str] = []
    for column in COLUMNS:
        if column not in named:
            break
        columns.append(named[column])
    if lost := len(span.attributes) - len(columns):
        counts["attributes, not held"] += lost
    if span.id:
        counts["ids, not held"] += 1
    if any(re.search(r"[\t\n\r]", value) for value in (span.label, *columns)):
        raise InputError(f"note {note_id!r}: a label or an identifier holds a tab or a line break")
    return [str(flat.start), str(flat.end), text[flat.start : flat.end], span.label, *columns]


FORMAT = GoldFormat(
    "pubtator",
    "PubTator",
    read_pubtator,
    is_file=lambda _, head: bool(re.match(r"[^|\t]+\|t\|", first_line(head))),
)
