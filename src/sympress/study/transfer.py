"""Further notes from which students learn what their teacher says of them; none is near a judged note."""

from __future__ import annotations

import numpy as np
import polars as pl

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.notes.duplicates import group_notes
from sympress.notes.read import read_notes
from sympress.notes.split import assign_part, patient_keys
from sympress.progress import Reporter
from sympress.study.prepare import StudyData


def read_transfer_notes(config: StudyConfig, data: StudyData, reporter: Reporter) -> list[str]:
    """Texts of the notes that `transfer_fraction` adds to those of the study, on the training side only.

    Left out are notes of the study itself, of its validation and test patients, from the first validation
    day or the first judged note on (split `time`) or of patients that the split `patient` would not train
    on, and every exact or near copy of a validation or test note. Empty when `transfer_fraction` is None.

    Raises:
        InputError: there are no notes to read more of, or the share is below the study's own.
    """
    if config.transfer_fraction is None:
        return []
    if config.notes is None:
        raise InputError("--transfer-fraction needs --notes; synthetic notes are made, not read")
    if config.transfer_fraction < config.fraction:
        raise InputError(
            f"--transfer-fraction {config.transfer_fraction:g} is below --fraction {config.fraction:g}; the "
            "transfer notes are those that a larger share adds"
        )
    read = read_notes(config.notes, text_column=config.text_column, fraction=config.transfer_fraction)
    judged = data.frame[np.concatenate([data.split.validation, data.split.test])]
    more = read.frame.join(data.frame, on="note_id", how="anti")
    more = _training_side(config, more, judged)
    known = judged["patient_id"].drop_nulls().implode()
    more = more.filter(pl.col("patient_id").is_null() | ~pl.col("patient_id").is_in(known))
    more = _without_copies(more, judged)
    reporter.say(f"{more.height:,} further notes, unlabelled, teach the students")
    return more["text"].to_list()


def _training_side(config: StudyConfig, more: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
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
