"""The run folder: where each finished piece lies, so that a killed run goes on where it stopped.

RUN/study.json        the configuration and fingerprints of the inputs; others in the same folder are refused
RUN/rows/             one JSON a finished strategy and seed, one a reference model
RUN/predictions/      probabilities on validation and test notes, in the order of the split; mentions by note
RUN/artifacts/        what would be deployed
RUN/work/             checkpoints of what is being trained
RUN/lock              held by the process that writes here
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig, as_stored
from sympress.errors import InputError
from sympress.files import (
    alone,
    atomic_path,
    check_claim,
    check_inputs,
    check_settings,
    is_bare,
    read_object,
    write_json,
)
from sympress.labels.mentions import Mention
from sympress.runtime.artifact import WEIGHTS_FILE

RUN_FORMAT = 2


@dataclass(frozen=True)
class RunFolder:
    """Paths and persistence of one run."""

    path: Path

    def check(self, config: StudyConfig) -> None:
        """Check that the folder is free, or holds a study with these settings.

        Raises:
            InputError: the folder holds something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: a file, not a folder; choose another -o")
        if not self._marker.is_file():
            if not is_bare(self.path):
                raise InputError(f"{self.path}: not empty and not a sympress run; choose another -o")
            return
        found = self._claimed()
        stored = {"settings": as_stored(found["config"]), "inputs": found.get("inputs")}
        check_claim(self.path, stored, config.fixed(), {})

    @contextmanager
    def held(self, config: StudyConfig, inputs: Mapping[str, str]) -> Iterator[None]:
        """Hold the folder alone, as this study's; entered once the notes and the encoder are read.

        Args:
            config: of the study.
            inputs: fingerprints of its data and its encoder, by the names of `claim.INPUTS`.

        Raises:
            InputError: another process writes here, or the folder holds rows of other settings or inputs.
        """
        with alone(self.path, self.path):
            self.check(config)
            if self._marker.is_file():
                self.check_inputs(inputs)
            claim = {"format": RUN_FORMAT, "config": config.model_dump(mode="json"), "inputs": dict(inputs)}
            write_json(self._marker, claim)
            yield

    def check_inputs(self, inputs: Mapping[str, str]) -> None:
        """Check that the rows here were made from these inputs, or from these among others.

        Raises:
            InputError: they were not, or nothing tells.
        """
        check_inputs(self.path, self._claimed().get("inputs"), inputs)

    def _claimed(self) -> dict[str, Any]:
        found = read_object(self._marker)
        if found is None or not isinstance(found.get("config"), dict):
            raise InputError(f"{self._marker}: damaged; choose another -o")
        return found

    @property
    def _marker(self) -> Path:
        return self.path / "study.json"

    def artifact(self, name: str, seed: int) -> Path:
        """Folder of the deployed artifact of a strategy and seed."""
        return self.path / "artifacts" / _key(name, seed)

    def work(self, name: str, seed: int) -> Path:
        """Folder of the checkpoints of a strategy and seed."""
        return self.path / "work" / _key(name, seed)

    def has_row(self, name: str, seed: int, made: Mapping[str, Any]) -> bool:
        """Whether that piece is finished, made by what `made` says.

        Raises:
            InputError: it is, and by something else.
        """
        row = self.read_row(name, seed)
        if row is not None:
            advice = "give this recipe another name, or another -o"
            check_settings(f"{self.path}: row {name!r}", row, made, advice=advice)
        return row is not None

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """What `write_row` stored, or None if that piece is not finished."""
        path = self.path / "rows" / f"{_key(name, seed)}.json"
        if not path.is_file():
            return None
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return row

    def drop_row(self, name: str, seed: int) -> None:
        """Forget a finished piece, so that it is made anew."""
        (self.path / "rows" / f"{_key(name, seed)}.json").unlink(missing_ok=True)
        shutil.rmtree(self.artifact(name, seed), ignore_errors=True)
        shutil.rmtree(self.work(name, seed), ignore_errors=True)

    def has_weights(self, name: str, seed: int) -> bool:
        """Whether a row can still be pressed and run in PyTorch; so it is until `drop_weights`."""
        return (self.artifact(name, seed) / WEIGHTS_FILE).is_file()

    def drop_weights(self, name: str, seed: int) -> None:
        """Leave only what is deployed of a row."""
        (self.artifact(name, seed) / WEIGHTS_FILE).unlink(missing_ok=True)

    def write_row(
        self,
        name: str,
        seed: int,
        row: dict[str, Any],
        predictions: dict[str, NDArray[np.float64]] | None = None,
        mentions: Mapping[str, Sequence[Mention]] | None = None,
    ) -> None:
        """Store a finished piece: its answers first, the row last, since the row says it is finished.

        Args:
            name: of the row.
            seed: of the row.
            row: how it was made.
            predictions: probabilities `(notes, K)` by part; of the tasks of whole notes.
            mentions: what was found in each test note, by its id; of the task `mentions`.
        """
        key = _key(name, seed)
        with atomic_path(self.path / "predictions" / f"{key}.npz") as path, path.open("wb") as stream:
            np.savez_compressed(stream, **(predictions or {}))  # type: ignore[arg-type]
        if mentions is not None:
            write_json(self.path / "predictions" / f"{key}.json", mentions_as_json(mentions))
        write_json(self.path / "rows" / f"{key}.json", row)

    def predictions(self, name: str, seed: int, part: str) -> NDArray[np.float64]:
        """Probabilities `(notes, K)` of `validation` or `test`."""
        with np.load(self.path / "predictions" / f"{_key(name, seed)}.npz") as stored:
            result: NDArray[np.float64] = stored[part]
            return result

    def answer(self, name: str, seed: int) -> Any:
        """What a row answers on test notes: uncalibrated probabilities `(notes, K)`, or mentions by id."""
        stored = self.path / "predictions" / f"{_key(name, seed)}.json"
        if stored.is_file():
            return mentions_of_json(json.loads(stored.read_text(encoding="utf-8")))
        return self.predictions(name, seed, "test")


def mentions_as_json(mentions: Mapping[str, Sequence[Mention]]) -> dict[str, list[list[Any]]]:
    """Offsets and names, no text."""
    return {
        note_id: [[one.start, one.end, one.symptom, one.assertion, one.score] for one in found]
        for note_id, found in mentions.items()
    }


def mentions_of_json(stored: Mapping[str, Sequence[Sequence[Any]]]) -> dict[str, list[Mention]]:
    """What `mentions_as_json` was given."""
    return {note_id: [Mention(*values) for values in found] for note_id, found in stored.items()}


def _key(name: str, seed: int) -> str:
    return f"{name}-seed{seed}"
