"""Which further notes may teach students: none of the study, of a judged patient, later, or near a copy."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.notes.read import read_notes
from sympress.notes.split import assign_part
from sympress.progress import Reporter
from sympress.studies.data import read_transfer_notes

#: Word k of note n is unlike any other, so that nothing is a copy by chance.
TEXTS = {name: " ".join(f"{name}{word}" for word in range(40)) for name in "abcdefghijkmnopq"}


def by_part(part: str, *, prefix: str = "") -> list[str]:
    """Ids that the hash puts on one side of the split by patient."""
    return [str(n) for n in range(1, 400) if assign_part(f"{prefix}{n}") == part]


TRAIN, JUDGED = by_part("train"), by_part("test")
NEAR = TEXTS["c"].replace("c39", "another")  # 35 of 37 shingles are shared
#: name -> (patient, time, text)
STUDY = {
    "train": (TRAIN[0], "2003-01-01", TEXTS["a"]),
    "validation": (TRAIN[1], "2004-02-01", TEXTS["b"]),
    "test": (TRAIN[2], "2005-02-01", TEXTS["c"]),
}
MORE = {
    "plain": (TRAIN[10], "2002-01-01", TEXTS["d"]),
    "without a patient": (None, "2002-01-01", TEXTS["e"]),
    "patient in training": (TRAIN[0], "2002-02-01", TEXTS["f"]),
    "patient in validation": (TRAIN[1], "2002-01-01", TEXTS["g"]),
    "patient in test": (TRAIN[2], "2002-01-01", TEXTS["h"]),
    "before the first judged note": (TRAIN[11], "2004-01-15", TEXTS["i"]),
    "on its day": (TRAIN[12], "2004-02-01", TEXTS["j"]),
    "after it": (TRAIN[13], "2006-01-01", TEXTS["k"]),
    "without time": (TRAIN[14], None, TEXTS["m"]),
    "exact copy": (TRAIN[15], "2002-01-01", "  " + TEXTS["b"].upper().replace(" ", "\n")),
    "near copy": (TRAIN[16], "2002-01-01", NEAR),
    "copy of a training note": (TRAIN[17], "2002-01-01", TEXTS["a"]),
    "patient who would be judged": (JUDGED[0], "2002-01-01", TEXTS["n"]),
}
ALWAYS = {"plain", "without a patient", "patient in training", "copy of a training note"}


def write(path: Path, notes: dict[str, tuple[str | None, str | None, str]]) -> Path:
    lines = [
        json.dumps({"note_id": name, "patient_id": patient, "time": time, "text": text})
        for name, (patient, time, text) in notes.items()
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def transferred(path: Path, study: dict[str, Any], more: dict[str, Any], **settings: Any) -> set[str]:
    """Names of the notes that `read_transfer_notes` lets through; the last two of `study` are judged."""
    frame = read_notes(write(path, study | more)).frame
    data = SimpleNamespace(
        frame=frame.filter(pl.col("note_id").is_in(list(study))),
        split=SimpleNamespace(validation=np.array([len(study) - 2]), test=np.array([len(study) - 1])),
    )
    config = StudyConfig(notes=path, fraction=0.5, transfer_fraction=1.0, **settings)
    names = {text: name for name, (_, _, text) in (study | more).items()}
    names |= {TEXTS["a"]: "copy of a training note"}
    texts = read_transfer_notes(config, data, Reporter(quiet=True))  # type: ignore[arg-type]
    assert len(texts) == len({names[text] for text in texts})
    return {names[text] for text in texts}


@pytest.mark.parametrize(
    ("settings", "others"),
    [
        ({"split": "time"}, {"before the first judged note", "patient who would be judged"}),
        (
            {"split": "time", "validation_from": "2004-01-01", "test_from": "2005-01-01"},
            {"patient who would be judged"},
        ),
        (
            {"split": "patient"},
            {"before the first judged note", "on its day", "after it", "without time"},
        ),
        (
            {"split": "random"},
            {
                "before the first judged note",
                "on its day",
                "after it",
                "without time",
                "patient who would be judged",
            },
        ),
    ],
)
def test_only_notes_of_the_training_side_teach(tmp_path: Path, settings: dict[str, str], others: set[str]):
    assert transferred(tmp_path / "notes.jsonl", STUDY, MORE, **settings) == ALWAYS | others


def test_a_note_without_a_patient_is_on_the_side_where_the_split_would_put_it(tmp_path: Path):
    own = by_part("train", prefix="note/")
    split_would_train = next(name for name in own if assign_part(name) != "train")
    split_would_judge = next(name for name in TRAIN if assign_part(f"note/{name}") != "train")
    more = {
        split_would_train: (None, "2002-01-01", TEXTS["o"]),
        split_would_judge: (None, "2002-01-01", TEXTS["p"]),
    }
    assert transferred(tmp_path / "notes.jsonl", STUDY, more, split="patient") == {split_would_train}


def test_notes_without_any_patient_or_without_any_further_note_are_fine(tmp_path: Path):
    nobody = {name: (None, time, text) for name, (_, time, text) in STUDY.items()}
    more = {"plain": (None, "2002-01-01", TEXTS["d"]), "near copy": (None, "2002-01-01", NEAR)}
    assert transferred(tmp_path / "notes.jsonl", nobody, more, split="time") == {"plain"}
    assert transferred(tmp_path / "none.jsonl", STUDY, {}, split="time") == set()


def test_nothing_is_read_unless_asked_for():
    assert read_transfer_notes(StudyConfig(), None, Reporter(quiet=True)) == []  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"transfer_fraction": 0.5},
            "--transfer-fraction needs --notes; synthetic notes are made, not read",
        ),
        (
            {"transfer_fraction": 0.05, "fraction": 0.1, "notes": "notes.jsonl"},
            "--transfer-fraction 0.05 is below --fraction 0.1; the transfer notes are those that a larger "
            "share adds",
        ),
    ],
)
def test_a_share_that_adds_nothing_is_refused(settings: dict[str, Any], message: str):
    with pytest.raises(InputError) as caught:
        read_transfer_notes(StudyConfig(**settings), None, Reporter(quiet=True))  # type: ignore[arg-type]
    assert str(caught.value) == message
