"""The one shape that people's annotations have once they are read, whatever format they came in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from sympress.errors import InputError


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
