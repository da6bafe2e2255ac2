"""Labels of task `present` from annotated notes: the symptoms that a note affirms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.labels.labelset import LabelSet
from sympress.labels.mentions import AnnotatedNote


def gold_labels(
    notes: Sequence[AnnotatedNote],
    frame: pl.DataFrame,
    *,
    top_k: int = 20,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return which of the K most often affirmed symptoms each annotated note affirms.

    A note affirms a symptom if one of its mentions of it is `present`. The labels follow the order of
    `frame`; notes of the frame that nobody annotated are left out and counted.

    Args:
        notes: annotated notes, see `to_annotated`.
        frame: notes with columns `note_id` and `text`.
        top_k: K; ignored where `symptoms` is given.
        rows: `(notes of the frame,)` only these count when the K symptoms are chosen (the training part:
            never choose on the test set). Null counts all.
        symptoms: the K symptoms, instead of choosing them.

    Raises:
        InputError: labels for a note that is not in the frame or is there with another text, a note that is
            annotated twice, no symptom known of any mention, fewer than K symptoms affirmed.
    """
    annotated = _by_id(notes, frame)
    ids = frame["note_id"].to_list()
    affirmed = {
        note_id: {m.symptom for m in note.mentions if m.symptom and m.assertion == "present"}
        for note_id, note in annotated.items()
    }
    names = list(symptoms) if symptoms is not None else _chosen(affirmed, ids, rows, top_k)
    kept = [note_id for note_id in ids if note_id in annotated]
    targets = np.array([[name in affirmed[note_id] for name in names] for note_id in kept], dtype=np.uint8)
    targets = targets.reshape(len(kept), len(names))
    counts = {
        "notes": frame.height,
        "not annotated": frame.height - len(kept),
        f"with none of the {len(names)} symptoms": int((targets.sum(axis=1) == 0).sum()),
        "mentions": sum(len(note.mentions) for note in notes),
        "mentions without a symptom of the lexicon": sum(
            mention.symptom is None for note in notes for mention in note.mentions
        ),
    }
    counts |= {f"labelled {name}": int(targets[:, k].sum()) for k, name in enumerate(names)}
    rule = f"which of {len(names)} symptoms people marked as present"
    return LabelSet("present", tuple(names), tuple(kept), targets, "gold", rule, counts)


def _by_id(notes: Sequence[AnnotatedNote], frame: pl.DataFrame) -> dict[str, AnnotatedNote]:
    """Return the notes by id, each checked against the frame."""
    texts = dict(zip(frame["note_id"], frame["text"], strict=True))
    found: dict[str, AnnotatedNote] = {}
    missing = [note.note_id for note in notes if note.note_id not in texts]
    if missing:
        raise InputError(
            f"labels for {len(missing)} notes that are not there (first: note {missing[0]!r}"
            f"{nearest(missing[0], texts)}); give the notes that were annotated"
        )
    for note in notes:
        if note.note_id in found:
            raise InputError(f"note {note.note_id!r} is annotated twice; keep one of them")
        if texts[note.note_id] != note.text:
            raise InputError(
                f"note {note.note_id!r}: the annotated text is not the note's; "
                "give the notes that were annotated"
            )
        found[note.note_id] = note
    return found


def _chosen(
    affirmed: dict[str, set[str]], ids: list[str], rows: NDArray[np.bool_] | None, top_k: int
) -> list[str]:
    """Return the K symptoms that most of the counted notes affirm, ties in alphabetical order."""
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}: at least 1 symptom is needed")
    counted = [note_id for row, note_id in enumerate(ids) if rows is None or rows[row]]
    frequency = Counter(symptom for note_id in counted for symptom in affirmed.get(note_id, ()))
    ranked = sorted(frequency, key=lambda symptom: (-frequency[symptom], symptom))
    if not ranked:
        raise InputError(
            "no annotated note affirms a symptom of the lexicon: give `symptom_of` or a mapping of labels to "
            "symptoms when the annotations are read"
        )
    if len(ranked) < top_k:
        raise InputError(
            f"people affirmed only {len(ranked)} symptoms in the notes they are chosen from, "
            f"--top-k asks for {top_k}: use --top-k {len(ranked)} or annotate more notes"
        )
    return ranked[:top_k]
