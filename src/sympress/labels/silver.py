"""Silver labels: what the rules find in notes, for training and for `sympress label`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.labels.annotate import Annotator
from sympress.labels.labelset import LabelSet
from sympress.labels.mentions import Mention


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


def label_present_silver(
    frame: pl.DataFrame,
    annotator: Annotator,
    symptoms: Sequence[str] | None = None,
    *,
    top_k: int = 20,
) -> LabelSet:
    """Return silver labels of task `present`: the symptoms that each note affirms at least once.

    Args:
        frame: notes with columns `note_id` and `text`.
        annotator: the rules.
        symptoms: ids of the symptoms to label; None takes the `top_k` that most notes affirm.
        top_k: how many symptoms, where none are given.

    Raises:
        InputError: fewer symptoms are affirmed than asked for.
    """
    affirmed = [affirmed_symptoms(annotator.mentions(text or "")) for text in frame["text"]]
    return present_labels(tuple(frame["note_id"]), affirmed, symptoms, top_k=top_k)


def affirmed_symptoms(mentions: Iterable[Mention]) -> frozenset[str]:
    """Return the symptoms that `mentions` affirm."""
    return frozenset(m.symptom for m in mentions if m.assertion == "present" and m.symptom)


def present_labels(
    note_ids: tuple[str, ...],
    affirmed: Sequence[frozenset[str]],
    symptoms: Sequence[str] | None = None,
    *,
    top_k: int = 20,
) -> LabelSet:
    """Return the label set of notes that affirm the symptoms `affirmed`, a set a note.

    The other arguments are those of `label_present_silver`.

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
