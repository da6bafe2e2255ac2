"""Labels by rules for a stream of notes, and mixtures of labels of several origins."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.labels.lexicon import Lexicon
from sympress.labels.matching import FormMatcher
from sympress.labels.mentions import LabelSet, Mention, Provenance
from sympress.labels.note_labels import Rule, check_top_k, describe_rule, labels_of_found, rule_symptom
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.task import affirms
from sympress.notes.intake import ReadingCounts
from sympress.notes.layout import TableOptions
from sympress.notes.read import no_note_left, stream_notes
from sympress.processes import Load, open_cluster, open_here
from sympress.progress import Reporter

# Mixing labels of several origins, each with a weight: silver, coded and gold.


#: The most trusted first: people who marked spans, people who coded the note, rules.
TRUST: tuple[Provenance, ...] = ("gold", "coded", "silver")


@dataclass(frozen=True)
class WeightedLabels:
    """Labels with a weight for each note.

    Attributes:
        labels: the labels of all notes; its provenance is that of the least trusted note in it.
        weights: `(notes,)` float32, above 0: what a note's loss is multiplied by.
        provenances: `(notes,)` where the labels of each note come from.
    """

    labels: LabelSet
    weights: NDArray[np.float32]
    provenances: tuple[Provenance, ...]


def mix_labels(mixture: Sequence[tuple[LabelSet, float]]) -> WeightedLabels:
    """Return one set of labels, each note with the weight of the set that labels it.

    A note that stands in several sets takes the labels and the weight of the most trusted (gold, then coded,
    then silver), of two such the first given; `counts` says how often. Notes are in the order of the sets.
    The symptoms may be ordered differently; the first set's order holds.

    Args:
        mixture: label sets, each with the weight of its notes.

    Raises:
        InputError: no set, a weight that is not above 0, sets of different tasks or symptoms, a note that
            stands twice in one set.
    """
    if not mixture:
        raise InputError("no labels to mix: give at least one set")
    first = mixture[0][0]
    for number, (labels, weight) in enumerate(mixture, start=1):
        _check_set(labels, weight, first, number)
    owners, doubles = _owners([labels for labels, _ in mixture])
    rows = [
        (number, row)
        for number, (labels, _) in enumerate(mixture)
        for row, note_id in enumerate(labels.note_ids)
        if owners[note_id] == number
    ]
    aligned = [_aligned(labels, first.symptoms) for labels, _ in mixture]
    targets = np.array([aligned[number][row] for number, row in rows], dtype=np.uint8)
    provenances = tuple(mixture[number][0].provenance for number, _ in rows)
    used = [entry for number, entry in enumerate(mixture) if any(owner == number for owner, _ in rows)]
    labels = LabelSet(
        first.task,
        first.symptoms,
        tuple(mixture[number][0].note_ids[row] for number, row in rows),
        targets.reshape(len(rows), len(first.symptoms)),
        max(provenances, key=TRUST.index) if provenances else first.provenance,
        " + ".join(f"{weight:g} × {entry.provenance} ({entry.rule})" for entry, weight in used),
        {"notes": len(rows)} | {f"labels {name}": n for name, n in Counter(provenances).items()} | doubles,
    )
    return WeightedLabels(
        labels, np.array([mixture[number][1] for number, _ in rows], dtype=np.float32), provenances
    )


def _check_set(labels: LabelSet, weight: float, first: LabelSet, number: int) -> None:
    if not (isfinite(weight) and weight > 0):
        raise InputError(f"label set {number}: the weight is {weight:g}; give a number above 0")
    if labels.task != first.task:
        raise InputError(
            f"label set {number} is of task {labels.task!r}, the first of {first.task!r}: mix one task only"
        )
    if set(labels.symptoms) != set(first.symptoms):
        only = sorted(set(labels.symptoms) ^ set(first.symptoms))
        shown = ", ".join(only[:5]) + (" …" if len(only) > 5 else "")
        raise InputError(
            f"label set {number} and the first have different symptoms ({shown}): "
            "label both with the same `symptoms`"
        )
    note_id, times = max(Counter(labels.note_ids).items(), key=lambda item: item[1], default=("", 0))
    if times > 1:
        raise InputError(f"label set {number}: note {note_id!r} stands there {times} times; keep one")


def _owners(sets: list[LabelSet]) -> tuple[dict[str, int], dict[str, int]]:
    """Return which set labels each note, and how often a set gave way to another."""
    owners: dict[str, int] = {}
    doubles: Counter[str] = Counter()
    for number in sorted(range(len(sets)), key=lambda number: TRUST.index(sets[number].provenance)):
        for note_id in sets[number].note_ids:
            owner = owners.setdefault(note_id, number)
            if owner != number:
                doubles[f"{sets[number].provenance} labels replaced by {sets[owner].provenance}"] += 1
    return owners, dict(doubles)


def _aligned(labels: LabelSet, symptoms: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return the targets with their columns in the order of `symptoms`."""
    return labels.targets[:, [labels.symptoms.index(symptom) for symptom in symptoms]]


# Silver labels: what the rules find in notes, for training and for `sympress label`.


def write_mentions(notes: Iterable[tuple[str, Sequence[Mention]]], path: Path) -> Counter[str]:
    """Write one JSON line a note, `{"note_id", "mentions": [{"start", "end", "symptom", "assertion"}]}`.

    Memory holds one note at a time. No text is written; offsets count characters of the note's text.

    Args:
        notes: ids and what `Annotator.mentions` found.
        path: file to write, all of it or none.

    Returns:
        How many notes, notes with a mention, mentions, and mentions of each assertion there are.

    Raises:
        InputError: the file cannot be written.
    """
    counts = Counter({"notes": 0, "with a mention": 0, "mentions": 0})
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for note_id, found in notes:
            counts["notes"] += 1
            counts["with a mention"] += bool(found)
            counts["mentions"] += len(found)
            counts.update(mention.assertion for mention in found)
            rows = [
                {"start": m.start, "end": m.end, "symptom": m.symptom, "assertion": m.assertion}
                for m in found
            ]
            file.write(json.dumps({"note_id": note_id, "mentions": rows}, ensure_ascii=False) + "\n")
    return counts


def affirmed_symptoms(mentions: Iterable[Mention]) -> frozenset[str]:
    """Return the symptoms that `mentions` affirm."""
    return frozenset(m.symptom for m in mentions if affirms(m.assertion) and m.symptom)


def present_labels(
    note_ids: tuple[str, ...],
    affirmed: Sequence[frozenset[str]],
    symptoms: Sequence[str] | None = None,
    *,
    top_k: int = 20,
) -> LabelSet:
    """Return the label set of task `present`, of notes that affirm the symptoms `affirmed`, a set a note.

    Args:
        note_ids: of the notes.
        affirmed: the symptoms that each of them affirms at least once.
        symptoms: ids of the symptoms to label; None takes the `top_k` that most notes affirm.
        top_k: how many symptoms, where none are given.

    Raises:
        InputError: fewer symptoms are affirmed than asked for.
    """
    frequency = Counter(symptom for present in affirmed for symptom in present)
    chosen = tuple(symptoms) if symptoms is not None else _most_frequent(frequency, top_k)
    columns = {symptom: column for column, symptom in enumerate(chosen)}
    targets = np.zeros((len(note_ids), len(chosen)), dtype=np.uint8)
    for row, present in enumerate(affirmed):
        targets[row, [columns[symptom] for symptom in present if symptom in columns]] = 1
    counts = {"notes": len(note_ids), "with a symptom": int(targets.any(axis=1).sum())}
    counts |= {f"labelled {symptom}": frequency[symptom] for symptom in chosen}
    rule = "symptoms that the note affirms, by lexicon and assertion rules"
    return LabelSet("present", chosen, note_ids, targets, "silver", rule, counts)


def _most_frequent(frequency: Counter[str], top_k: int) -> tuple[str, ...]:
    ranked = sorted(frequency, key=lambda symptom: (-frequency[symptom], symptom))
    if len(ranked) < top_k:
        raise InputError(
            f"these notes affirm {len(ranked)} symptoms of the lexicon, --top-k asks for {top_k}: "
            "read more notes or lower --top-k"
        )
    return tuple(ranked[:top_k])


# Labels by rules for a stream of notes, in this process or on a Ray cluster.
#
# Finders look at one note at a time and run in any process; the texts that are in memory are a bounded
# number. What is found in all notes decides here which symptoms are kept.


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
        """Prepare the forms and return what answers batches."""
        matcher = FormMatcher(self.lexicon)
        return lambda batch: [
            rule_symptom(text, matcher, rule=self.rule, text_window=self.text_window) for text in batch[1]
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
    """Return the silver labels of task `present` of the notes of `source`, and the counts of its rows.

    Raises:
        InputError: as `present_labels`, and if no note is left or the cluster does not answer.
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
