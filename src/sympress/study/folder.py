"""The run folder: where each finished piece lies, so that a killed run goes on where it stopped.

RUN/study.json        the configuration; another one in the same folder is refused
RUN/rows/             one JSON a finished strategy and seed, one a reference model
RUN/predictions/      probabilities on validation and test notes, in the order of the split
RUN/artifacts/        what would be deployed
RUN/work/             checkpoints of what is being trained
RUN/lock              held by the process that writes here
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.files import alone, atomic_path, is_bare, write_json

RUN_FORMAT = 1

#: Settings that may change from one call to the next: they add rows or measure anew, and change no row.
MAY_CHANGE = ("strategies", "recipes", "transfer_fraction", "seeds", "resamples", "threads")


@dataclass(frozen=True)
class RunFolder:
    """Paths and persistence of one run."""

    path: Path

    def check(self, config: StudyConfig) -> None:
        """Check that the folder is free, or holds this very study.

        Raises:
            InputError: the folder holds something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path}: a file, not a folder; choose another -o")
        if not self._marker.is_file():
            if not is_bare(self.path):
                raise InputError(f"{self.path}: not empty and not a sympress run; choose another -o")
            return
        try:
            found = json.loads(self._marker.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self._marker}: damaged; choose another -o") from error
        wanted = _claim(config)
        if _fixed(found) != _fixed(wanted):
            raise InputError(
                f"{self.path}: holds another study ({_difference(found, wanted)}); choose another -o"
            )

    @contextmanager
    def held(self, config: StudyConfig) -> Iterator[None]:
        """Hold the folder alone, as this study's; entered once the notes and the encoder are known to do.

        Raises:
            InputError: another process writes here, or has begun another study since `check`.
        """
        with alone(self.path, self.path):
            self.check(config)
            write_json(self._marker, _claim(config))
            yield

    @property
    def _marker(self) -> Path:
        return self.path / "study.json"

    def artifact(self, name: str, seed: int) -> Path:
        """Folder of the deployed artifact of a strategy and seed."""
        return self.path / "artifacts" / _key(name, seed)

    def work(self, name: str, seed: int) -> Path:
        """Folder of the checkpoints of a strategy and seed."""
        return self.path / "work" / _key(name, seed)

    def read_row(self, name: str, seed: int) -> dict[str, Any] | None:
        """What `write_row` stored, or None if that piece is not finished."""
        path = self.path / "rows" / f"{_key(name, seed)}.json"
        if not path.is_file():
            return None
        row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return row

    def answers(self, name: str, seed: int) -> Path:
        """File of the mentions that a row found in the test notes; offsets and ids, no text."""
        return self.path / "predictions" / f"{_key(name, seed)}.json"

    def write_row(
        self, name: str, seed: int, row: dict[str, Any], predictions: dict[str, NDArray[np.float64]]
    ) -> None:
        """Store a finished piece: predictions first, the row last, since the row says it is finished."""
        with (
            atomic_path(self.path / "predictions" / f"{_key(name, seed)}.npz") as path,
            path.open("wb") as stream,
        ):
            np.savez_compressed(stream, **predictions)  # type: ignore[arg-type]
        write_json(self.path / "rows" / f"{_key(name, seed)}.json", row)

    def predictions(self, name: str, seed: int, part: str) -> NDArray[np.float64]:
        """Probabilities `(notes, K)` of `validation` or `test`."""
        with np.load(self.path / "predictions" / f"{_key(name, seed)}.npz") as stored:
            result: NDArray[np.float64] = stored[part]
            return result


def _claim(config: StudyConfig) -> dict[str, Any]:
    return {"format": RUN_FORMAT, "config": config.model_dump(mode="json")}


def _fixed(claim: Any) -> Any:
    """A claim without what may change."""
    if not isinstance(claim, dict) or not isinstance(claim.get("config"), dict):
        return claim
    config = {key: value for key, value in claim["config"].items() if key not in MAY_CHANGE}
    return claim | {"config": config}


def _key(name: str, seed: int) -> str:
    return f"{name}-seed{seed}"


def _difference(found: Any, wanted: dict[str, Any]) -> str:
    ours = wanted["config"]
    theirs = found.get("config", {}) if isinstance(found, dict) else {}
    for key, value in ours.items():
        if key not in MAY_CHANGE and theirs.get(key) != value:
            return f"its {key} is {theirs.get(key)!r}, not {value!r}"
    return "written by another version"
