"""Silver labels: what the rules find in notes, for training and for `sympress label`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.labels.annotate import Annotator
from sympress.labels.labelset import LabelSet

_PROGRESS_EVERY = 500


def label_mentions(frames: Iterable[pl.DataFrame], annotator: Annotator, path: Path) -> Counter[str]:
    r"""Write one JSON line a note, `{"note_id", "mentions": [{"start", "end", "symptom", "assertion"}]}`.

    Memory holds one frame at a time. No text is written; offsets count characters of the note's text.

    Args:
        frames: notes with columns `note_id` and `text`, as `stream_notes` returns them.
        annotator: the rules.
        path: file to write, all of it or none.

    Returns:
        How many notes, notes with a mention, mentions, and mentions of each assertion there are.

    Raises:
        InputError: the file cannot be written.
    """
    counts = Counter({"notes": 0, "with a mention": 0, "mentions": 0})
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for frame in frames:
            for note_id, text in zip(frame["note_id"], frame["text"], strict=True):
                found = annotator.mentions(text or "")
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
    progress: Callable[[int], None] | None = None,
) -> LabelSet:
    """Return silver labels of task `present`: the symptoms that each note affirms at least once.

    Args:
        frame: notes with columns `note_id` and `text`.
        annotator: the rules.
        symptoms: ids of the symptoms to label; None takes the `top_k` that most notes affirm.
        top_k: how many symptoms, where none are given.
        progress: called with the number of notes done since the last call.

    Raises:
        InputError: fewer symptoms are affirmed than asked for.
    """
    affirmed: list[frozenset[str]] = []
    for text in frame["text"]:
        found = annotator.mentions(text or "")
        affirmed.append(frozenset(m.symptom for m in found if m.assertion == "present" and m.symptom))
        if progress is not None and len(affirmed) % _PROGRESS_EVERY == 0:
            progress(_PROGRESS_EVERY)
    frequency = Counter(symptom for present in affirmed for symptom in present)
    chosen = tuple(symptoms) if symptoms is not None else _most_frequent(frequency, top_k)
    columns = {symptom: column for column, symptom in enumerate(chosen)}
    targets = np.zeros((frame.height, len(chosen)), dtype=np.uint8)
    for row, present in enumerate(affirmed):
        targets[row, [columns[symptom] for symptom in present if symptom in columns]] = 1
    counts = {"notes": frame.height, "with a symptom": int(targets.any(axis=1).sum())}
    counts |= {f"labelled {symptom}": frequency[symptom] for symptom in chosen}
    rule = "symptoms that the note affirms, by lexicon and assertion rules"
    return LabelSet("present", chosen, tuple(frame["note_id"]), targets, "silver", rule, counts)


def _most_frequent(frequency: Counter[str], top_k: int) -> tuple[str, ...]:
    ranked = sorted(frequency, key=lambda symptom: (-frequency[symptom], symptom))
    if len(ranked) < top_k:
        raise InputError(
            f"these notes affirm {len(ranked)} symptoms of the lexicon, --top-k asks for {top_k}: "
            "read more notes or lower --top-k"
        )
    return tuple(ranked[:top_k])
