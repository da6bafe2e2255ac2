"""The unit of work: some notes in, their rows as bytes out. What runs in every worker."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from sympress.deploy.extract.concepts import vocabulary_of
from sympress.deploy.extract.encodings import csv_lines, json_lines
from sympress.deploy.extract.items import Failure, Item
from sympress.deploy.extract.omop import id_fault
from sympress.deploy.extract.shapes import SHAPES, Header, Shape
from sympress.deploy.extractor import MENTIONS_MOST, Extractor
from sympress.notes.intake import Note

#: A chunk ends with whichever comes first, so that memory depends on neither notes nor their length.
CHUNK_NOTES = 128
CHUNK_CHARACTERS = 500_000
#: Before the name of a markup in a tally: how many notes were written in it.
MARKUP = "markup:"


@dataclass(frozen=True)
class Chunk:
    """Items `first`, `first + 1`, ... of a job."""

    first: int
    items: list[Item]

    @property
    def end(self) -> int:
        """One past its last item."""
        return self.first + len(self.items)


@dataclass(frozen=True)
class Order:
    """How notes are answered and the results written; the same in every worker.

    Attributes:
        shape: of a note's rows.
        csv: whether they are CSV, else JSON lines.
        header: what all rows share.
        most_mentions: a note with more of them fails.
    """

    shape: Shape
    csv: bool
    header: Header
    most_mentions: int = MENTIONS_MOST


@dataclass
class Answered:
    """The output of a chunk, and what to count.

    Attributes:
        end: one past the last item of the chunk.
        data: rows, encoded.
        errors: one JSON object a failure: id and reason.
        tally: notes written and failed, rows written, notes truncated, findings, windows, characters, notes
            in a markup.
        places: in the chunk, of the notes that `data` is about.
    """

    end: int
    data: bytes
    errors: bytes
    tally: dict[str, int] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)


def answer_chunk(extractor: Extractor, chunk: Chunk, order: Order) -> Answered:
    """Answer every note of `chunk`; its output depends on nothing but the arguments."""
    encode = csv_lines if order.csv else json_lines
    vocabulary = vocabulary_of(extractor, order.header.vocabulary.concepts)
    header = replace(order.header, vocabulary=vocabulary)
    failures: list[Failure] = []
    data: list[bytes] = []
    places: list[int] = []
    tally = dict.fromkeys(("notes", "failed", "written", "truncated", "findings", "windows", "characters"), 0)
    for serial, item in enumerate(chunk.items, start=chunk.first):
        if isinstance(item, Failure):
            failures.append(item)
            continue
        if order.shape == "omop" and (fault := id_fault(item.note_id)):
            failures.append(Failure(item.note_id, fault))
            continue
        result = extractor.answer(item.text, most_mentions=order.most_mentions)
        if result.failure is not None:
            failures.append(Failure(item.note_id, result.failure))
            continue
        try:
            rows = SHAPES[order.shape](item, result, header, serial)
            data.append(encode(rows))
        except Exception as error:  # whatever is odd in one note, the others go on
            failures.append(Failure(item.note_id, f"its row cannot be written ({type(error).__name__})"))
            continue
        places.append(serial - chunk.first)
        tally["notes"] += 1
        tally["written"] += len(rows)
        tally["truncated"] += result.truncated
        tally["findings"] += len(result.mentions or result.symptoms)
        tally["windows"] += result.windows
        tally["characters"] += len(item.text)
        if result.markup is not None:
            counted = MARKUP + result.markup
            tally[counted] = tally.get(counted, 0) + 1
    tally["failed"] = len(failures)
    errors = json_lines([{"note_id": failure.note_id, "reason": failure.reason} for failure in failures])
    return Answered(chunk.end, b"".join(data), errors, tally, places)


def cut_chunks(items: Iterable[Item], first: int = 0, notes: int = CHUNK_NOTES) -> Iterator[Chunk]:
    """Cut `items`, whose first is number `first`, into chunks of `notes` or `CHUNK_CHARACTERS` at most."""
    batch: list[Item] = []
    characters = 0
    for item in items:
        batch.append(item)
        characters += len(item.text) if isinstance(item, Note) else 0
        if len(batch) >= notes or characters >= CHUNK_CHARACTERS:
            yield Chunk(first, batch)
            first, batch, characters = first + len(batch), [], 0
    if batch:
        yield Chunk(first, batch)


class Digest:
    """A running digest of items: two streams that agree so far have the same one."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, item: Item) -> None:
        """Take one more item in."""
        for part in (item.note_id, *_parts(item)):
            raw = b"" if part is None else b"=" + part.encode("utf-8", "surrogatepass")
            self._hash.update(len(raw).to_bytes(8, "little"))
            self._hash.update(raw)

    def value(self) -> str:
        """The digest of what was added so far."""
        return self._hash.hexdigest()


def _parts(item: Item) -> tuple[str | None, ...]:
    """What the rows of an item are made of, beside its id."""
    if isinstance(item, Failure):
        return (item.reason,)
    time = None if item.time is None else item.time.isoformat()
    return (item.text, item.patient_id, item.encounter_id, time, item.category)
