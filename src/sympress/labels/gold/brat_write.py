"""Writing brat: a `.txt` and an `.ann` file a note."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path, PurePosixPath

from sympress.errors import InputError
from sympress.labels.gold.brat import attribute_line, canonical_lines, parse_annotations, text_bound_line
from sympress.labels.gold.documents import GoldDocument, GoldSpan, check_documents
from sympress.labels.gold.lines import write_exactly, write_lines

_TEXT_BOUND_ID = re.compile(r"T[0-9]+")
_ATTRIBUTE_ID = re.compile(r"[AM]([0-9]+)\t")


def write_brat(folder: Path | str, documents: Iterable[GoldDocument]) -> Counter[str]:
    """Write each note to `folder` as `NOTE_ID.txt` and `NOTE_ID.ann`; what was read from brat is as it was.

    Spans without a brat id get the next free one. Every file is parsed as it will be read before anything
    is written: what is written reads back as the same spans.

    Returns:
        What was written and, by reason, what brat cannot hold: spans without a place, kept lines of another
        format.

    Raises:
        InputError: a note id that is no file name, a label or attribute that brat's lines cannot hold, kept
            lines that contradict the spans.
    """
    held = list(documents)
    check_documents(held)
    counts: Counter[str] = Counter({"notes": 0, "spans": 0})
    rendered = [(_relative(document.note_id), *_render(document, counts)) for document in held]
    for path, text, lines in rendered:
        write_exactly(Path(folder) / f"{path}.txt", text)
        write_lines(Path(folder) / f"{path}.ann", lines)
    return counts


def _relative(note_id: str) -> PurePosixPath:
    """Return the path of a note below the folder.

    Raises:
        InputError: the id leads out of the folder, or to a file that `read_brat` would not see again.
    """
    path = PurePosixPath(note_id)
    parts = note_id.split("/")
    if (
        not all(parts)
        or any(part.startswith(".") for part in parts)
        or re.search(r"[\x00-\x1f\x7f\\:]", note_id)
        or path.with_name(path.name + ".txt").with_suffix("") != path
    ):
        raise InputError(f"note {note_id!r}: its id is no file name; rename it to write it as brat")
    return path


def _render(document: GoldDocument, counts: Counter[str]) -> tuple[str, list[str]]:
    """Return the text and the `.ann` lines of a note, checked by reading them."""
    placed = [span for span in document.spans if span.fragments]
    if lost := len(document.spans) - len(placed):
        counts["spans without a place, not held"] += lost
    kept: tuple[str, ...] = ()
    if document.extra is not None and document.extra.format == "brat":
        kept = document.extra.lines
    elif document.extra is not None:
        counts[f"kept lines of {document.extra.format}, not held"] += len(document.extra.lines)
    spans = _numbered(placed, kept, counts)
    for span in spans:
        _check_words(span, document.note_id)
    lines = list(_lines(spans, document.text, kept, document.note_id)) if kept else []
    lines = lines or canonical_lines(spans, document.text)
    source = f"note {document.note_id!r}, as brat"
    if parse_annotations(document.note_id, document.text, lines, source).spans != spans:
        raise InputError(
            f"note {document.note_id!r}: its spans contradict the brat lines kept in `extra` (order, ids or "
            "attributes were changed); drop `extra` to write the spans alone"
        )
    counts["notes"] += 1
    counts["spans"] += len(spans)
    return document.text, lines


def _numbered(spans: list[GoldSpan], kept: tuple[str, ...], counts: Counter[str]) -> tuple[GoldSpan, ...]:
    """Return the spans, those without a brat id under the next free one."""
    used = {span.id for span in spans} | {line.split("\t")[0] for line in kept}
    free = (name for number in count(1) if (name := f"T{number}") not in used)
    numbered = []
    for span in spans:
        if _TEXT_BOUND_ID.fullmatch(span.id):
            numbered.append(span)
            continue
        if span.id:
            counts["ids that are not brat's, replaced"] += 1
        numbered.append(replace(span, id=next(free)))
    return tuple(numbered)


def _check_words(span: GoldSpan, note_id: str) -> None:
    """Refuse names that contain what separates the fields of a line."""
    for word in (span.label, *(name for name, _ in span.attributes)):
        if not re.fullmatch(r"\S+", word):
            raise InputError(
                f"note {note_id!r}, span {span.id}: {word!r} is empty or holds a space; brat's names do not"
            )
    for name, value in span.attributes:
        if re.search(r"[\n\r]", value):
            raise InputError(f"note {note_id!r}, span {span.id}: the value of {name} holds a line break")


def _lines(spans: tuple[GoldSpan, ...], text: str, kept: tuple[str, ...], note_id: str) -> Iterator[str]:
    """Yield the kept lines with the text-bound ones in their places, then the spans that had none."""
    waiting = {span.id: span for span in spans}
    for line in kept:
        name, tab, tail = line.partition("\t")
        if not _TEXT_BOUND_ID.fullmatch(name):
            yield line
        elif name in waiting:
            yield text_bound_line(waiting.pop(name), text) + tab + tail
        else:
            raise InputError(
                f"note {note_id!r}: the brat lines kept in `extra` name {name}, which is no span any more; "
                "drop `extra` to write the spans alone"
            )
    numbers = count(
        1 + max((int(m.group(1)) for line in kept if (m := _ATTRIBUTE_ID.match(line))), default=0)
    )
    for span in waiting.values():
        yield text_bound_line(span, text)
        for name, value in span.attributes:
            yield attribute_line(next(numbers), name, span.id, value)
