"""From notes to labelled, split, described data: everything that is settled before a model is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.evaluation.drift import drift_of, drift_warnings
from sympress.labels.annotate import Annotator
from sympress.labels.gold import read_gold
from sympress.labels.gold.mentions import UNSAID, symptom_labels, to_annotated
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.linking import SpanLinker
from sympress.labels.mentions import AnnotatedNote, LabelSet
from sympress.labels.note_labels import (
    check_labelling,
    label_coded_topic,
    label_topic,
)
from sympress.labels.task import task_of
from sympress.notes.intake import ReadingCounts, mask_placeholders
from sympress.notes.read import NOTE_SCHEMA, NoteSet, read_notes
from sympress.notes.split import (
    Duplicates,
    Split,
    assign_part,
    check_leaks,
    group_notes,
    patient_keys,
    patient_numbers,
    split_notes,
    without_validation,
)
from sympress.notes.synthesize import synthesize
from sympress.progress import Reporter
from sympress.provenance import data_inputs, fingerprint_labels
from sympress.results import DataDescription
from sympress.studies.labelled import Sources, label_codes, label_present, negated_label_share

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
        inputs: fingerprints of notes, lexicon, labels and split, see `inputs.data_inputs`.
        warnings: what a reader should know.
        weights: `(notes,)` what a note's loss is multiplied by in training; None where all weigh the same.
    """

    frame: pl.DataFrame
    labels: LabelSet
    split: Split
    lexicon: Lexicon
    description: DataDescription
    inputs: Mapping[str, str]
    warnings: tuple[str, ...] = ()
    weights: NDArray[np.float32] | None = None

    @property
    def training_weights(self) -> NDArray[np.float32] | None:
        """Weights of the training notes, in the order of the split."""
        return None if self.weights is None else self.weights[self.split.train]

    @property
    def texts(self) -> list[str]:
        """The original texts."""
        return self.frame["text"].to_list()

    def texts_of(self, rows: NDArray[np.int64]) -> list[str]:
        """The original texts of `rows`, in their order."""
        return self.frame["text"].gather(rows).to_list()

    @property
    def patients(self) -> NDArray[np.int64]:
        """A number a note, the same for notes of one patient, shape `(notes,)`."""
        return patient_numbers(self.frame)


def prepare(config: StudyConfig, reporter: Reporter) -> StudyData:
    """Read, label, split and check the data of `config` (resolved).

    Raises:
        InputError: the notes cannot be read or do not fit the task.
        LeakError: a patient or a duplicate is on both sides (except under the protocol `paper`,
            which reports it).
    """
    task = config.note_task
    _check_without_validation(config)
    lexicon = load_lexicon(config.lexicon or "clinical")
    gold, notes = read_sources(config, lexicon, reporter)
    source = label_source(config, notes)
    check_labelling(task, source)
    one = task_of(task).labels == "one"
    frame = notes.frame
    labels: LabelSet | None = None
    weights: NDArray[np.float32] | None = None
    if one:
        frame, labels = _with_one_topic(config, notes.frame, lexicon, source, reporter)
    elif source == "gold":  # a note that nobody annotated has no labels
        frame = frame.filter(pl.col("note_id").is_in([note.note_id for note in gold or []]))
    split, duplicates = split_frame(config, frame, reporter)
    if labels is None:
        labelled = label_present(source, Sources(frame, lexicon, gold, split, reporter.step), config)
        labels, split, weights = labelled.labels, labelled.split, labelled.weights
    _check_classes(labels, split)
    check_leaks(split, frame, duplicates, strict=config.protocol != "paper")
    warnings = _split_warnings(config, split)
    labelling = dict(labels.counts)
    if one and labels.provenance == "silver":
        names = {symptom.id or symptom.name: symptom.name for symptom in lexicon.symptoms}
        labelling |= negated_label_share(
            frame,
            labels,
            Annotator(lexicon).mentions,
            text_window=config.text_window or None,
            names=names,
            progress=partial(reporter.step, "looking up what labels rest on"),
        )
    description = describe_notes(
        notes,
        symptoms=list(labels.symptoms),
        labels=f"{labels.provenance}: {labels.rule}",
        labelling=labelling,
        split=split,
    )
    if split.counts.rule == "time":
        years = frame["time"].dt.year().to_list()
        drift = drift_of(years, split, labels.targets, labels.symptoms)
        description = description.model_copy(update={"drift": drift})
        warnings += drift_warnings(drift)
    inputs = data_inputs(notes.frame, lexicon, split, fingerprint_labels(labels, weights))
    return StudyData(frame, labels, split, lexicon, description, inputs, tuple(warnings), weights)


def _with_one_topic(
    config: StudyConfig, notes: pl.DataFrame, lexicon: Lexicon, source: str, reporter: Reporter
) -> tuple[pl.DataFrame, LabelSet]:
    """The notes that have a topic, and their topics, in one order."""
    labels = _topic_labels(config, notes, lexicon, source, reporter)
    chosen = pl.DataFrame({"note_id": labels.note_ids}, schema={"note_id": pl.String})
    frame = chosen.join(notes, on="note_id", how="left", maintain_order="left")
    reporter.say(f"labelled {frame.height:,} notes with one of {', '.join(labels.symptoms)}")
    return frame, labels


def _split_warnings(config: StudyConfig, split: Split) -> list[str]:
    """What the published protocol lets happen."""
    warnings = []
    if config.validation_notes is False:
        warnings.append(
            "no validation notes, as published: the test notes score every epoch; nothing is chosen by them"
        )
    if split.counts.patients_on_both_sides or split.counts.duplicates_on_both_sides:
        warnings.append(
            f"{split.counts.patients_on_both_sides} test notes have a note of the same patient, and "
            f"{split.counts.duplicates_on_both_sides} a copy, in training (the published split allows it)"
        )
    return warnings


def read_sources(
    config: StudyConfig, lexicon: Lexicon, reporter: Reporter
) -> tuple[list[AnnotatedNote] | None, NoteSet]:
    """The notes that people annotated, where `gold` is given, and the notes of the study.

    Without `notes` the annotated notes are the notes of the study.

    Raises:
        InputError: either cannot be read.
    """
    if config.gold is None:
        return None, _notes(config, reporter)
    read = read_gold(config.gold)
    symptom_of = SpanLinker.of(lexicon)
    labels = dict.fromkeys(config.gold_labels) or symptom_labels(
        read.documents, lexicon, source=str(config.gold)
    )
    gold, counts = to_annotated(
        read.documents, labels=labels, ignore=config.ignore_attributes, symptom_of=symptom_of
    )
    mentions = counts["mentions"]
    reporter.say(
        f"read {len(gold):,} annotated notes with {mentions:,} mentions ({', '.join(labels)}); "
        f"{counts[UNSAID]:,} without a marked assertion count as present"
    )
    if config.notes is not None:
        return gold, _notes(config, reporter)
    return gold, annotated_notes(config.gold.name, gold)


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
    for line in notes.counts.remarks:
        reporter.say(line)
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in notes.counts.dropped.items())
    reporter.say(
        f"read {notes.frame.height:,} of {notes.counts.rows:,} notes" + (f" ({left_out})" if left_out else "")
    )
    return notes


def label_source(config: StudyConfig, notes: NoteSet | None) -> str:
    """What was asked for, or the best there is: people's codes, people's spans, rules.

    Synthetic notes know their symptoms by construction, but their default is the rule under study.

    Raises:
        InputError: symptoms are named for a task that takes none.
    """
    if config.symptoms and not task_of(config.task).has_thresholds:
        raise InputError(f"--symptoms is for --task present; the task is {config.task}")
    if config.labels != "auto":
        return config.labels
    task = task_of(config.task)
    if task.finds_spans:
        return "silver" if config.gold is None else "gold"
    if notes is not None and config.notes is not None and notes.frame["codes"].drop_nulls().len() > 0:
        return "coded"
    if task.labels == "one":
        return "lexicon"
    return "silver" if config.gold is None else "gold"


def annotated_notes(name: str, gold: list[AnnotatedNote]) -> NoteSet:
    """Annotated notes in the shape of notes that were read; each is a patient of its own."""
    columns = {"note_id": [note.note_id for note in gold], "text": [note.text for note in gold]}
    frame = pl.DataFrame(columns, schema={key: NOTE_SCHEMA[key] for key in columns})
    frame = frame.select(
        pl.col(key) if key in columns else pl.lit(None, dtype=kind).alias(key)
        for key, kind in NOTE_SCHEMA.items()
    )
    digest = hashlib.sha256()
    for note in gold:
        others = (note.others,) if note.others else ()
        said = repr((note.note_id, note.text, note.mentions, *others))
        digest.update(said.encode("utf-8", "surrogatepass"))
    reading = ReadingCounts(rows=len(gold), kept=len(gold))
    return NoteSet(name, frame, reading, digest.hexdigest())


def _topic_labels(
    config: StudyConfig, frame: pl.DataFrame, lexicon: Lexicon, source: str, reporter: Reporter
) -> LabelSet:
    if source in ("coded", "concepts"):
        label = partial(label_coded_topic, top_k=config.top_k, balance=bool(config.balance))
        return label_codes(source, frame, partial(label, minimum_per_class=MINIMUM_PER_CLASS))
    return label_topic(
        frame,
        lexicon,
        top_k=config.top_k,
        rule=config.rule or "first",
        text_window=config.text_window or None,
        balance=bool(config.balance),
        mask=mask_placeholders if config.mask_placeholders else None,
        minimum_per_class=MINIMUM_PER_CLASS,
        progress=partial(reporter.step, "labelling"),
    )


def split_frame(config: StudyConfig, frame: pl.DataFrame, reporter: Reporter) -> tuple[Split, Duplicates]:
    """Find copies and split as the study says.

    Raises:
        InputError: the rule does not fit the notes, or a side is empty.
    """
    duplicates = group_notes(frame, progress=partial(reporter.step, "looking for copies"))
    split = split_notes(
        frame,
        duplicates,
        rule=config.split or "patient",
        validation_from=config.validation_from,
        test_from=config.test_from,
        train_from=config.train_from,
        seed=42 if config.split == "random" else 0,  # the published split has seed 42
    )
    if config.validation_notes is False:
        split = without_validation(split, frame, duplicates)
    counts = split.counts
    sizes = f"{counts.train:,} training, {counts.validation:,} validation, {counts.test:,} test"
    reporter.say(f"split by {split.counts.rule}: {sizes} notes")
    if config.train_from is not None:
        reporter.say(f"left out {split.counts.left_out:,} training notes before {config.train_from:%Y-%m-%d}")
    return split, duplicates


def _check_without_validation(config: StudyConfig) -> None:
    """Nothing may be chosen where the test notes are all that could choose.

    Raises:
        InputError: the study keeps no validation notes, and would choose by them.
    """
    if config.validation_notes is not False:
        return
    if config.protocol != "paper" or config.split != "random" or config.select != "last" or config.recipes:
        raise InputError(
            "--no-validation-notes repeats the published split: it goes with --protocol paper, a random "
            "split, the last epoch and strategies by name; all else would choose by the test notes"
        )
    if config.note_task != "topic":
        raise InputError("--no-validation-notes is for --task topic: present chooses thresholds")


def _check_classes(labels: LabelSet, split: Split) -> None:
    """A symptom that training never sees cannot be learnt; elsewhere its metrics are undefined."""
    support = labels.targets[split.train].sum(axis=0)
    absent = [symptom for symptom, count in zip(labels.symptoms, support, strict=True) if count == 0]
    if absent:
        raise InputError(
            f"no training note of {absent[0]!r} ({len(absent)} of {len(labels.symptoms)} symptoms); "
            "use more notes or a smaller --top-k"
        )


def describe_notes(
    notes: NoteSet, *, symptoms: list[str], labels: str, labelling: dict[str, int], split: Split
) -> DataDescription:
    """What the results file says of the data, counted at every step."""
    counts = notes.counts
    reading = {"rows": counts.rows, "kept": counts.kept, "outside the sample": counts.sampled_out}
    return DataDescription(
        name=notes.name,
        fingerprint=notes.fingerprint,
        notes=notes.frame.height,
        train=len(split.train),
        validation=split.counts.validation,
        test=len(split.test),
        symptoms=symptoms,
        labels=labels,
        reading=reading | counts.dropped,
        labelling=labelling,
        split=split.counts,
    )


# Further notes from which students learn what their teacher says of them; none is near a judged note.


def read_transfer_notes(config: StudyConfig, data: StudyData, reporter: Reporter) -> list[str]:
    """Texts of `read_further_notes`."""
    texts: list[str] = read_further_notes(config, data, reporter)["text"].to_list()
    return texts


def read_further_notes(config: StudyConfig, data: StudyData, reporter: Reporter) -> pl.DataFrame:
    """The notes that `transfer_fraction` adds to those of the study, on the training side only.

    Left out are notes of the study itself, of its validation and test patients, from the first validation
    day or the first judged note on (split `time`) or of patients that the split `patient` would not train
    on, and every exact or near copy of a validation or test note. Empty when `transfer_fraction` is None.

    Raises:
        InputError: there are no notes to read more of, or the share is below the study's own.
    """
    if config.transfer_fraction is None:
        return pl.DataFrame(schema=NOTE_SCHEMA)
    if config.notes is None:
        raise InputError("--transfer-fraction needs --notes; synthetic notes are made, not read")
    if config.transfer_fraction < config.fraction:
        raise InputError(
            f"--transfer-fraction {config.transfer_fraction:g} is below --fraction {config.fraction:g}; the "
            "transfer notes are those that a larger share adds"
        )
    read = read_notes(config.notes, text_column=config.text_column, fraction=config.transfer_fraction)
    judged = data.frame[np.concatenate([data.split.validation, data.split.test])]
    more = read.frame.join(_held(config, data, judged), on="note_id", how="anti")
    more = _training_side(config, more, judged)
    known = judged["patient_id"].drop_nulls().implode()
    more = more.filter(pl.col("patient_id").is_null() | ~pl.col("patient_id").is_in(known))
    more = _without_copies(more, judged)
    reporter.say(f"{more.height:,} further notes, unlabelled, teach the students")
    return more


def _held(config: StudyConfig, data: StudyData, judged: pl.DataFrame) -> pl.DataFrame:
    """The notes of the study that may not be further notes: all but those before `train_from`."""
    if config.train_from is None or config.transfer_from is None:
        return data.frame
    return pl.concat([data.frame.filter(pl.col("time") >= config.train_from), judged])


def _training_side(config: StudyConfig, more: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    first = config.transfer_from or config.train_from
    if first is not None:
        more = more.filter(pl.col("time") >= first)
    if config.split == "time":
        more = more.filter(pl.col("time") < judged["time"].min())
        if config.validation_from is not None:
            more = more.filter(pl.col("time") < config.validation_from)
        return more
    if config.split == "patient":
        training = [assign_part(str(key)) == "train" for key in patient_keys(more)]
        return more.filter(pl.Series(training, dtype=pl.Boolean))
    return more


def _without_copies(more: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """`more` without the notes that share a cluster of copies with a judged one."""
    columns = ["note_id", "text"]
    both = pl.concat([judged.select(columns), more.select(columns)])
    cluster = group_notes(both).cluster
    taken = np.unique(cluster[: judged.height])
    return more.filter(pl.Series(~np.isin(cluster[judged.height :], taken), dtype=pl.Boolean))
