"""Writing CoNLL: a token and its tag a line, BIO or BIOES."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, get_args

from sympress.errors import InputError
from sympress.labels.gold.conll import NEW_DOCUMENT
from sympress.labels.gold.conll_rows import Row, rows_of, token_place
from sympress.labels.gold.documents import GoldDocument, check_documents
from sympress.labels.gold.flatten import Flat, flatten_spans
from sympress.labels.gold.lines import write_lines

Scheme = Literal["BIO", "BIOES"]


def write_conll(
    path: Path | str, documents: Iterable[GoldDocument], *, scheme: Scheme = "BIO"
) -> Counter[str]:
    """Write each note under `# newdoc id = NOTE_ID`, tokens cut at the edges of spans.

    Read back with the same texts, the spans are equal as far as tags hold them: offsets and labels of
    disjoint, contiguous spans. Tokens and columns that were read from CoNLL are written as they were.

    Returns:
        What was written and, by reason, what tags cannot hold: overlapping and discontinuous spans (by the
        rule of `flatten`), attributes, span ids.

    Raises:
        InputError: an unknown scheme, a note id or a label that a line cannot hold, kept tokens that are
            not those of the text.
    """
    if scheme not in get_args(Scheme):
        raise InputError(f"unknown tagging scheme {scheme!r}: use {' or '.join(get_args(Scheme))}")
    held = list(documents)
    check_documents(held)
    counts: Counter[str] = Counter({"notes": len(held), "spans": 0})
    lines: list[str] = []
    for document in held:
        lines += _lines(document, scheme, counts)
    write_lines(Path(path), lines)
    return counts


def _lines(document: GoldDocument, scheme: Scheme, counts: Counter[str]) -> list[str]:
    if not document.note_id or re.search(r"[\n\r]", document.note_id):
        raise InputError(f"note {document.note_id!r}: its id is empty or holds a line break; rename it")
    spans = flatten_spans(document.spans, document.text, counts)
    for flat in spans:
        if not re.fullmatch(r"\S+", flat.span.label):
            raise InputError(f"note {document.note_id!r}: the label {flat.span.label!r} holds a space")
        for lost, what in ((flat.span.attributes, "attributes, not held"), (flat.span.id, "ids, not held")):
            if lost:
                counts[what] += len(lost) if isinstance(lost, tuple) else 1
    counts["spans"] += len(spans)
    rows = rows_of(document.text, [(flat.start, flat.end) for flat in spans])
    if document.extra is not None and document.extra.format == "conll":
        rows = _kept_rows(document, document.extra.lines)
    elif document.extra is not None:
        counts[f"kept lines of {document.extra.format}, not held"] += len(document.extra.lines)
    tags = _tags([row for row in rows if row.kept], spans, scheme, counts)
    body = [f"{row.kept}\t{next(tags)}" if row.kept else "" for row in rows]
    return [NEW_DOCUMENT + document.note_id, *body, ""]


def _kept_rows(document: GoldDocument, kept: tuple[str, ...]) -> list[Row]:
    """Return the rows that were read, each with its place in the text."""
    rows: list[Row] = []
    end = 0
    for line in kept:
        if not line:
            rows.append(Row(""))
            continue
        place = token_place(line.split("\t")[0], document.text, end)
        if place is None:
            raise InputError(
                f"note {document.note_id!r}: the tokens kept in `extra` are not those of its text; "
                "drop `extra` to have the text cut anew"
            )
        rows.append(Row(line, *place))
        end = place[1]
    return rows


def _tags(rows: list[Row], spans: list[Flat], scheme: Scheme, counts: Counter[str]) -> Iterator[str]:
    """Yield the tag of each token; a span takes in every token that it touches."""
    edges = {row.start for row in rows} | {-row.end for row in rows}
    if moved := sum(flat.start not in edges or -flat.end not in edges for flat in spans):
        counts["edges inside a kept token: moved out"] += moved
    tagged: list[tuple[str, Flat | None]] = []
    waiting = list(reversed(spans))
    for row in rows:
        while waiting and waiting[-1].end <= row.start:
            waiting.pop()
        flat = waiting[-1] if waiting and waiting[-1].start < row.end else None
        tagged.append((flat.span.label if flat else "", flat))
    for number, (label, flat) in enumerate(tagged):
        if flat is None:
            yield "O"
            continue
        first = number == 0 or tagged[number - 1][1] is not flat
        last = number + 1 == len(tagged) or tagged[number + 1][1] is not flat
        yield f"{_position(first, last, scheme)}-{label}"


def _position(first: bool, last: bool, scheme: Scheme) -> str:
    if scheme == "BIO":
        return "B" if first else "I"
    return {(True, True): "S", (True, False): "B", (False, True): "E", (False, False): "I"}[first, last]
