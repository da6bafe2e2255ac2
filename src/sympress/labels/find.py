"""Labels by rules for a stream of notes, in this process or on a Ray cluster.

Finders look at one note at a time and run in any process; the texts that are in memory are a bounded number.
What is found in all notes decides here which symptoms are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from sympress.cluster import Load, open_cluster, open_here
from sympress.labels.labelset import LabelSet
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import Mention
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.silver import affirmed_symptoms, present_labels
from sympress.labels.topic import Rule, check_top_k, describe_rule, labels_of_found, rule_symptom
from sympress.notes.read import no_note_left, stream_notes
from sympress.notes.schema import ReadingCounts
from sympress.notes.tables.options import TableOptions
from sympress.progress import Reporter

Found = TypeVar("Found")
#: Notes that are looked at by one worker at a time.
BATCH_NOTES = 128
#: Ids and texts of some notes.
Batch = tuple[list[str], list[str]]


@dataclass(frozen=True)
class TopicFinder:
    """Finds the one symptom of each note of a batch, as `rule_symptom` does."""

    lexicon: Lexicon
    rule: Rule
    text_window: int | None

    def __call__(self) -> Callable[[Batch], list[int]]:
        """Return what answers batches."""
        return lambda batch: [
            rule_symptom(text, self.lexicon, rule=self.rule, text_window=self.text_window)
            for text in batch[1]
        ]


@dataclass(frozen=True)
class MentionFinder:
    """Finds the mentions of each note of a batch, as `Annotator.mentions` does with a user's own words."""

    lexicon: Lexicon
    own: OwnWords = OURS

    def __call__(self) -> Callable[[Batch], list[tuple[Mention, ...]]]:
        """Prepare the rules and return what answers batches."""
        annotator = self.own.annotator(self.lexicon)
        return lambda batch: [annotator.mentions(text) for text in batch[1]]


@dataclass(frozen=True)
class Source:
    """The notes, and where they are labelled.

    Attributes:
        table: what the user says of their columns and encoding.
        ray: address of a Ray cluster; None is this process.
    """

    notes: Path
    table: TableOptions
    fraction: float
    ray: str | None


def find_topics(
    source: Source, finder: TopicFinder, *, top_k: int, balance: bool, seed: int
) -> tuple[LabelSet, ReadingCounts]:
    """Return what `label_topic` makes of the notes of `source`, and the counts of its rows.

    Raises:
        InputError: as `label_topic`, and if no note is left or the cluster does not answer.
    """
    check_top_k(top_k)  # before the work
    ids: list[str] = []
    found: list[int] = []
    with find_each(source, finder) as (notes, counts):
        for note_id, symptom in notes:
            ids.append(note_id)
            found.append(symptom)
    if not ids:
        raise no_note_left(source.notes, counts)
    made = labels_of_found(
        pl.Series(ids, dtype=pl.String()),
        np.array(found, dtype=np.int64),
        finder.lexicon,
        top_k=top_k,
        balance=balance,
        seed=seed,
        made=describe_rule(finder.lexicon, finder.rule, finder.text_window),
    )
    return made, counts


def find_present(
    source: Source, lexicon: Lexicon, top_k: int, own: OwnWords = OURS
) -> tuple[LabelSet, ReadingCounts]:
    """Return what `label_present_silver` makes of the notes of `source`, and the counts of its rows.

    Raises:
        InputError: as `label_present_silver`, and if no note is left or the cluster does not answer.
    """
    ids: list[str] = []
    affirmed: list[frozenset[str]] = []
    with find_each(source, MentionFinder(lexicon, own)) as (notes, counts):
        for note_id, mentions in notes:
            ids.append(note_id)
            affirmed.append(affirmed_symptoms(mentions))
    if not ids:
        raise no_note_left(source.notes, counts)
    return present_labels(tuple(ids), affirmed, top_k=top_k), counts


@contextmanager
def find_each(
    source: Source, load: Load[Batch, list[Found]]
) -> Iterator[tuple[Iterator[tuple[str, Found]], ReadingCounts]]:
    """Yield each note's id with what is found in it, and the counts of the rows, filled meanwhile.

    Raises:
        InputError: the notes cannot be read, or the cluster does not answer.
    """
    counts = ReadingCounts()
    with Reporter() as reporter:
        frames = stream_notes(
            source.notes,
            table=source.table,
            fraction=source.fraction,
            counts=counts,
            batch_rows=BATCH_NOTES,
            progress=lambda done, total: reporter.step("labelling (bytes)", done, total) if total else None,
        )
        with open_here(load) if source.ray is None else open_cluster(load, source.ray) as answer:
            answered = answer((frame["note_id"].to_list(), frame["text"].to_list()) for frame in frames)
            yield (
                (note for (ids, _), found in answered for note in zip(ids, found, strict=True)),
                counts,
            )
