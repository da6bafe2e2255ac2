"""From notes to labelled, split, described data: everything that is settled before a model is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.coded import label_coded_present, label_coded_topic
from sympress.labels.labelset import LabelSet
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.topic import label_topic
from sympress.notes.duplicates import Duplicates, group_notes
from sympress.notes.placeholders import mask_placeholders
from sympress.notes.read import read_notes
from sympress.notes.schema import NoteSet, ReadingCounts
from sympress.notes.split import Split, check_leaks, split_notes
from sympress.notes.synthesize import synthesize
from sympress.progress import Reporter
from sympress.results import DataDescription

#: How many notes of each symptom a topic study needs at least: two a side of a 80/10/10 split.
MINIMUM_PER_CLASS = 20


@dataclass(frozen=True)
class StudyData:
    """Labelled notes and their split.

    Attributes:
        frame: the labelled notes, NOTE_SCHEMA, row i belongs to row i of `labels.targets`.
        labels: what each note carries.
        split: rows of each side.
        lexicon: the lexicon in use, also the reference row's.
        description: what goes into the results file.
        warnings: what a reader should know.
    """

    frame: pl.DataFrame
    labels: LabelSet
    split: Split
    lexicon: Lexicon
    description: DataDescription
    warnings: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The original texts."""
        return self.frame["text"].to_list()

    @property
    def patients(self) -> NDArray[np.int64]:
        """A number a note, the same for notes of one patient, shape `(notes,)`."""
        keys = self.frame.select(pl.coalesce("patient_id", pl.lit("note/") + pl.col("note_id"))).to_series()
        return keys.rank("dense").to_numpy().astype(np.int64)


def prepare(config: StudyConfig, reporter: Reporter) -> StudyData:
    """Read, label, split and check the data of `config` (resolved).

    Raises:
        InputError: the notes cannot be read or do not fit the task.
        LeakError: a patient or a duplicate is on both sides (except under the protocol `paper`,
            which reports it).
    """
    lexicon = load_lexicon(config.lexicon if config.lexicon == "paper" else Path(config.lexicon))
    notes = _notes(config, reporter)
    source = label_source(config, notes)
    warnings: list[str] = []
    if config.task == "topic":
        labels = _topic_labels(config, notes.frame, lexicon, source)
        chosen = pl.DataFrame({"note_id": labels.note_ids}, schema={"note_id": pl.String})
        frame = chosen.join(notes.frame, on="note_id", how="left", maintain_order="left")
        reporter.say(f"labelled {frame.height:,} notes with one of {', '.join(labels.symptoms)}")
        split, duplicates = _split(config, frame, reporter)
    else:
        if source != "coded" or notes.frame["codes"].drop_nulls().is_empty():
            raise InputError(
                "--task present needs symptoms coded by people and these notes carry none; "
                "use --task topic, or VAERS notes"
            )
        frame = notes.frame
        split, duplicates = _split(config, frame, reporter)
        train_rows = np.zeros(frame.height, dtype=bool)
        train_rows[split.train] = True
        labels = label_coded_present(frame, top_k=config.top_k, rows=train_rows)
    _check_classes(labels, split)
    check_leaks(split, frame, duplicates, strict=config.protocol != "paper")
    if split.counts.patients_on_both_sides or split.counts.duplicates_on_both_sides:
        warnings.append(
            f"{split.counts.patients_on_both_sides} test notes have a note of the same patient, and "
            f"{split.counts.duplicates_on_both_sides} a copy, in training (the published split allows it)"
        )
    return StudyData(frame, labels, split, lexicon, _describe(notes, labels, split), tuple(warnings))


def _notes(config: StudyConfig, reporter: Reporter) -> NoteSet:
    if config.notes is None:
        made = synthesize(config.synthetic_notes, seed=0)
        count = made.frame.height
        fingerprint = f"synthetic-{config.synthetic_notes}-seed-0"
        reporter.say(f"made {count:,} synthetic notes")
        return NoteSet("synthetic", made.frame, ReadingCounts(rows=count, kept=count), fingerprint)
    notes = read_notes(
        config.notes,
        text_column=config.text_column,
        fraction=config.fraction,
        progress=lambda done, total: reporter.step("reading (bytes)", done, total) if total else None,
    )
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in notes.counts.dropped.items())
    reporter.say(
        f"read {notes.frame.height:,} of {notes.counts.rows:,} notes" + (f" ({left_out})" if left_out else "")
    )
    return notes


def label_source(config: StudyConfig, notes: NoteSet) -> str:
    """`coded` or `lexicon`: what was asked for, or coded where the notes carry codes made by people.

    Synthetic notes know their symptoms by construction, but their default is the rule under study.
    """
    if config.labels != "auto":
        return config.labels
    coded = config.notes is not None and notes.frame["codes"].drop_nulls().len() > 0
    return "coded" if coded or config.task == "present" else "lexicon"


def _topic_labels(config: StudyConfig, frame: pl.DataFrame, lexicon: Lexicon, source: str) -> LabelSet:
    if source == "coded":
        return label_coded_topic(
            frame, top_k=config.top_k, balance=bool(config.balance), minimum_per_class=MINIMUM_PER_CLASS
        )
    return label_topic(
        frame,
        lexicon,
        top_k=config.top_k,
        rule=config.rule or "first",
        text_window=config.text_window or None,
        balance=bool(config.balance),
        mask=mask_placeholders if config.mask_placeholders else None,
        minimum_per_class=MINIMUM_PER_CLASS,
    )


def _split(config: StudyConfig, frame: pl.DataFrame, reporter: Reporter) -> tuple[Split, Duplicates]:
    duplicates = group_notes(frame)
    split = split_notes(
        frame,
        duplicates,
        rule=config.split or "patient",
        validation_from=config.validation_from,
        test_from=config.test_from,
        seed=42 if config.split == "random" else 0,  # the published split has seed 42
    )
    sizes = f"{len(split.train):,} training, {len(split.validation):,} validation, {len(split.test):,} test"
    reporter.say(f"split by {split.counts.rule}: {sizes} notes")
    return split, duplicates


def _check_classes(labels: LabelSet, split: Split) -> None:
    """A symptom that training never sees cannot be learnt; elsewhere its metrics are undefined."""
    support = labels.targets[split.train].sum(axis=0)
    absent = [symptom for symptom, count in zip(labels.symptoms, support, strict=True) if count == 0]
    if absent:
        raise InputError(
            f"no training note of {absent[0]!r} ({len(absent)} of {len(labels.symptoms)} symptoms); "
            "use more notes or a smaller --top-k"
        )


def _describe(notes: NoteSet, labels: LabelSet, split: Split) -> DataDescription:
    counts = notes.counts
    reading = {"rows": counts.rows, "kept": counts.kept, "outside the sample": counts.sampled_out}
    return DataDescription(
        name=notes.name,
        fingerprint=notes.fingerprint,
        notes=notes.frame.height,
        train=len(split.train),
        validation=len(split.validation),
        test=len(split.test),
        symptoms=list(labels.symptoms),
        labels=f"{labels.provenance}: {labels.rule}",
        reading=reading | counts.dropped,
        labelling=labels.counts,
        split=split.counts,
    )
