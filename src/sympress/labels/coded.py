"""Labels from symptoms that people coded (VAERS: MedDRA preferred terms), tasks `topic` and `present`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError
from sympress.labels.labelset import LabelSet
from sympress.labels.lexicon import Lexicon, Symptom, load_forms
from sympress.labels.matching import fold
from sympress.labels.topic import MINIMUM_PER_CLASS, topic_labels
from sympress.labels.vaers_map import term_key

#: The sources of labels that each task has.
LABELLINGS: dict[str, tuple[str, ...]] = {
    "topic": ("lexicon", "coded"),
    "present": ("coded", "silver", "gold", "mix"),
    "mentions": ("silver", "gold"),
}


def check_labelling(task: str, labels: str) -> None:
    """Refuse a task, or a source of labels for it, that does not exist.

    Raises:
        InputError: naming those that do.
    """
    if task not in LABELLINGS:
        raise InputError(f"unknown task {task!r}: use {' or '.join(LABELLINGS)}")
    if labels not in LABELLINGS[task]:
        raise InputError(
            f"task {task!r} has no labels from {labels!r}: use --labels {' or '.join(LABELLINGS[task])}"
        )


def label_coded_topic(
    frame: pl.DataFrame,
    *,
    top_k: int = 5,
    balance: bool = True,
    seed: int = 42,
    minimum_per_class: int = MINIMUM_PER_CLASS,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return the one symptom of each note that carries exactly one of the K most frequent codes.

    Args:
        frame: notes with columns `note_id` and `codes`.
        top_k: K; ignored where `symptoms` is given.
        balance: down-sample each class to the smallest, the same notes for the same `seed`.
        seed: of the down-sampling.
        minimum_per_class: the fewest notes a class may have.
        rows: `(notes,)` only these notes count when the K codes are chosen (the training part: never
            choose on the test set). Null counts all.
        symptoms: the K codes, instead of choosing them.

    Raises:
        InputError: no coded symptoms, fewer than K different codes, or a class that is too small.
    """
    if symptoms is None and top_k < 2:
        raise InputError(f"--top-k is {top_k}: the task topic chooses between at least 2 symptoms")
    names = _chosen_codes(frame, top_k, rows, symptoms)
    targets = _targets(frame, names)
    carried = targets.sum(axis=1)
    counts = {
        "notes": frame.height,
        "without codes": frame["codes"].null_count(),
        f"with none of the {len(names)} codes": int((carried == 0).sum()) - frame["codes"].null_count(),
        "with several of them": int((carried > 1).sum()),
    }
    return topic_labels(
        frame["note_id"],
        np.where(carried == 1, targets.argmax(axis=1), -1).astype(np.int64),
        names,
        provenance="coded",
        rule=f"notes coded by people with exactly one of {len(names)} symptoms",
        counts=counts,
        balance=balance,
        seed=seed,
        minimum_per_class=minimum_per_class,
    )


def label_coded_present(
    frame: pl.DataFrame,
    *,
    top_k: int = 20,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return which of the K most frequent codes each note carries; a note with none of them stays.

    Row i of the labels is row i of `frame`. Arguments are those of `label_coded_topic`.

    Raises:
        InputError: no coded symptoms, fewer than K different codes, or a note that nobody coded (`codes`
            is null, not an empty list): nobody knows whether it is a negative.
    """
    names = _chosen_codes(frame, top_k, rows, symptoms)
    uncoded = frame.filter(pl.col("codes").is_null())
    if uncoded.height:
        raise InputError(
            f"{uncoded.height} of {frame.height} notes (first: note {uncoded['note_id'][0]}) were not coded "
            "by people and would count as free of symptoms: leave them out, or give them an empty list"
        )
    targets = _targets(frame, names)
    counts = {
        "notes": frame.height,
        f"with none of the {len(names)} codes": int((targets.sum(axis=1) == 0).sum()),
    }
    counts |= {f"labelled {name}": int(targets[:, k].sum()) for k, name in enumerate(names)}
    return LabelSet(
        "present",
        tuple(names),
        tuple(frame["note_id"]),
        targets,
        "coded",
        f"which of {len(names)} symptoms people coded",
        counts,
    )


def coded_lexicon(symptoms: Sequence[str], lexicon: Lexicon) -> Lexicon:
    """Return a lexicon with one entry for each of `symptoms`, in that order.

    A symptom takes the forms that `data/coded_to_lexicon.tsv` lists for it and those of the entry of
    `lexicon` with its name (or with the name of such a form); without either, its own words are the
    only form. Unlike in a lexicon file, two symptoms may share a form.
    """
    listed = load_forms("coded_to_lexicon.tsv")
    entries = {fold(symptom.name): symptom for symptom in lexicon.symptoms}
    built = []
    for name in symptoms:
        seeds = (fold(name), *listed.get(term_key(name), ()))
        known = (form for seed in seeds if seed in entries for form in entries[seed].forms)
        built.append(Symptom(name, tuple(dict.fromkeys((*seeds, *known)))))
    return Lexicon(lexicon.name, tuple(built))


def _chosen_codes(
    frame: pl.DataFrame, top_k: int, rows: NDArray[np.bool_] | None, symptoms: Sequence[str] | None
) -> list[str]:
    """Return `symptoms`, or the K most frequent codes of the notes in `rows`, ties in alphabetical order."""
    if "codes" not in frame.columns or frame["codes"].null_count() == frame.height:
        raise InputError("these notes carry no human-coded symptoms: use --labels lexicon or silver")
    if symptoms is not None:
        return list(symptoms)
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}: at least 1 symptom is needed")
    counted = frame if rows is None else frame.filter(pl.Series(rows))
    ranked = (
        counted.select(pl.col("codes").list.unique())
        .explode("codes")
        .drop_nulls()
        .group_by("codes")
        .len()
        .sort(["len", "codes"], descending=[True, False])["codes"]
        .to_list()
    )
    if len(ranked) < top_k:
        raise InputError(
            f"only {len(ranked)} coded symptoms occur in the {counted.height} notes they are chosen from, "
            f"--top-k asks for {top_k}: use --top-k {len(ranked)} or read more notes"
        )
    return ranked[:top_k]


def _targets(frame: pl.DataFrame, symptoms: Sequence[str]) -> NDArray[np.uint8]:
    """Return `(notes, K)`: 1 where the note carries the code."""
    columns = [frame["codes"].list.contains(name).fill_null(value=False).to_numpy() for name in symptoms]
    return np.stack(columns, axis=1).astype(np.uint8)
