"""Train the encoder and TF-IDF on given labels and a given split, and keep what they answer on test notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.evaluation.significance import (
    Floats,
    estimate,
    group_index,
    mean_of_defined,
    micro_f1,
    outcome_counts,
    precision_recall_f1,
    resample_weights,
)
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import LabelSet, Provenance
from sympress.labels.task import task_of
from sympress.models.encoder import Encoder, fingerprint_encoder
from sympress.notes.read import NoteSet
from sympress.notes.split import Split
from sympress.progress import Reporter
from sympress.provenance import data_inputs, fingerprint_labels
from sympress.results import DataDescription
from sympress.studies.data import StudyData
from sympress.studies.folder import RunFolder
from sympress.studies.judge import stored_settled
from sympress.studies.rows import make_bench

Answers = NDArray[np.bool_]
#: What every table compares: the fine-tuned encoder, and TF-IDF on the same notes and labels.
MODELS = ("baseline", "tfidf")


def describe_data(
    notes: NoteSet, frame: pl.DataFrame, labels: LabelSet, split: Split, lexicon: Lexicon
) -> StudyData:
    """`notes` as a study has them; row i of `frame`, which may hold more notes, is row i of the labels."""
    description = DataDescription(
        name=notes.name,
        fingerprint=notes.fingerprint,
        notes=frame.height,
        train=len(split.train),
        validation=len(split.validation),
        test=len(split.test),
        symptoms=list(labels.symptoms),
        labels=f"{labels.provenance}: {labels.rule}",
        split=split.counts,
    )
    inputs = data_inputs(frame, lexicon, split, fingerprint_labels(labels))
    return StudyData(frame, labels, split, lexicon, description, inputs)


def label_set(
    frame: pl.DataFrame,
    symptoms: Sequence[str],
    targets: NDArray[np.uint8],
    provenance: Provenance,
    rule: str,
) -> LabelSet:
    """Labels of the task `present` for every row of `frame`."""
    return LabelSet("present", tuple(symptoms), tuple(frame["note_id"]), targets, provenance, rule)


def run_trial(
    config: StudyConfig, data: StudyData, encoder: Encoder, folder: Path, reporter: Reporter
) -> dict[str, Answers]:
    """Train what is not trained yet; answers `(test notes, K)` of each of `MODELS`.

    Raises:
        InputError: the folder holds another trial.
    """
    run = RunFolder(folder)
    run.check(config)
    bench = make_bench(config, data, encoder, run)
    with run.held(config, {**data.inputs, "encoder": fingerprint_encoder(encoder)}):
        bench.train(0, reporter.step)
        bench.refer("tfidf", 0)
    return {name: _answers(run, name) for name in MODELS}


def _answers(run: RunFolder, name: str) -> Answers:
    operating_point = stored_settled(run.read_row(name, 0) or {})
    return task_of("present").affirmed(
        operating_point.apply("present", run.predictions(name, 0, "test")),
        operating_point.thresholds,
    )


def score_f1(
    found: dict[str, Answers],
    truth: Answers,
    patients: NDArray[np.int64],
    *,
    least: int = 1,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Micro- and macro-F1 of each model with intervals, and the first one's paired difference to the others.

    Symptoms with fewer than `least` positive notes are left out, and counted.
    """
    kept = truth.sum(axis=0) >= least
    index = group_index(patients, len(truth))
    samples: dict[str, dict[str, Floats]] = {}
    for name, predicted in found.items():
        counts = outcome_counts(predicted[:, kept], truth[:, kept])
        drawn = resample_weights(index, 0, resamples)
        totals = np.concatenate([weights.astype(np.float64) @ counts for weights in drawn])
        macro = mean_of_defined(precision_recall_f1(totals)[2])
        samples[name] = {"micro_f1": micro_f1(totals), "macro_f1": macro}
    nothing = f"undefined: no symptom has {least} notes"
    first = next(iter(samples.values()))
    return {
        "notes": len(truth),
        "symptoms": int(kept.sum()),
        "symptoms_left_out": int((~kept).sum()),
        "models": {
            name: {key: estimate(values, nothing).model_dump() for key, values in each.items()}
            for name, each in samples.items()
        },
        "first_minus": {
            name: {key: estimate(first[key] - values, nothing).model_dump() for key, values in each.items()}
            for name, each in list(samples.items())[1:]
        },
    }


def cap_rows(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` of `rows`, drawn the same way each time, ascending."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])
