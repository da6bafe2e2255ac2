"""A finished run read again: its configuration, its notes in the order of the split, its predictions."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sympress.claim import check_inputs
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.progress import Reporter
from sympress.study.assemble import answers
from sympress.study.folder import RunFolder
from sympress.study.prepare import StudyData, prepare
from sympress.study.settle import stored_settled


@dataclass(frozen=True)
class Reread:
    """A run and the notes it was made from.

    Attributes:
        run: the folder.
        config: its study, resolved.
        data: its notes, labels and split.
    """

    run: RunFolder
    config: StudyConfig
    data: StudyData

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Labels of the test notes `(notes, K)`."""
        return self.data.labels.targets[self.data.split.test].astype(bool)

    def answers(self, name: str, seed: int) -> NDArray[np.bool_]:
        """What a row of the run answers on the test notes, `(notes, K)`.

        Raises:
            InputError: the run has no such row.
        """
        row = self.run.read_row(name, seed)
        if row is None:
            raise InputError(f"{self.run.path}: no row {name!r} with seed {seed}")
        settled, task = stored_settled(row), self.config.note_task
        stored = self.run.predictions(name, seed, "test")
        return answers(task, settled.apply(task, stored), settled.thresholds)


def reread(folder: Path, *, notes: Path | None = None) -> Reread:
    """Read the study of a run folder and its notes again, from `notes` where they moved.

    Raises:
        InputError: no study lies there, it is damaged, its notes cannot be read, or they, their labels or
            the lexicon are not what its predictions belong to.
    """
    marker = folder / "study.json"
    try:
        stored = json.loads(marker.read_text(encoding="utf-8"))
        config = StudyConfig.model_validate(stored["config"])
    except FileNotFoundError:
        raise InputError(f"{folder}: no study.json; give the folder that `sympress study -o` wrote") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{marker}: damaged ({type(error).__name__}); run the study again") from error
    if notes is not None:
        config = config.model_copy(update={"notes": str(notes)})
    data = prepare(config, Reporter(quiet=True))
    check_inputs(folder, stored.get("inputs"), data.inputs, advice="run the study again with another -o")
    return Reread(RunFolder(folder), config, data)
