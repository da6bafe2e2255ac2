"""What a job has written so far, so that one that was killed goes on without losing or doubling a note.

Rows are appended to one file and failures to another; `state.json`, replaced atomically after both are
on disk, says how far they are good. Whatever a killed job wrote beyond that is cut off.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sympress.errors import InputError
from sympress.files import alone, write_json

_SECONDS_BETWEEN = 1.0


class State(BaseModel):
    """How far a job is: everything beyond is done again."""

    model_config = ConfigDict(extra="forbid")

    format: int = 1
    job: str
    date: str
    items: int = 0
    digest: str = ""
    data_bytes: int = 0
    error_bytes: int = 0
    tally: dict[str, int] = {}
    seconds: float = 0.0
    complete: bool = False


class Checkpoint:
    """The unfinished output of one job, in the folder `OUT.partial`."""

    def __init__(self, folder: Path, state: State, data: IO[bytes], errors: IO[bytes]) -> None:
        self.folder, self.state = folder, state
        self._data, self._errors = data, errors
        self._saved = time.monotonic()

    @property
    def data_path(self) -> Path:
        """The rows written so far."""
        return self.folder / "data"

    @property
    def errors_path(self) -> Path:
        """The failures written so far."""
        return self.folder / "errors.jsonl"

    def add(self, data: bytes, errors: bytes, items: int, digest: str, tally: dict[str, int]) -> None:
        """Append the output of the items before `items`; it is safe on disk about a second later."""
        now = time.monotonic()
        self._data.write(data)
        self._errors.write(errors)
        state = self.state
        state.items, state.digest = items, digest
        state.data_bytes += len(data)
        state.error_bytes += len(errors)
        for name, count in tally.items():
            state.tally[name] = state.tally.get(name, 0) + count
        if now - self._saved >= _SECONDS_BETWEEN:
            self.save()

    def save(self) -> None:
        """Make everything that was added survive a kill, or a loss of power."""
        for file in (self._data, self._errors):
            file.flush()
            os.fsync(file.fileno())
        now = time.monotonic()
        self.state.seconds += now - self._saved
        self._saved = now
        write_json(self.folder / "state.json", self.state.model_dump())


def partial_folder(output: Path) -> Path:
    """Where the unfinished output of `output` stands."""
    return output.with_name(output.name + ".partial")


@contextmanager
def open_checkpoint(output: Path, job: str, date: str, *, anew: bool, header: bytes) -> Iterator[Checkpoint]:
    """Open the checkpoint of `output` for the job called `job`, where it stopped or anew.

    Args:
        output: the final file.
        job: tells this job from another with the same output.
        date: now, ISO 8601, for a job that begins.
        anew: forget what was written before.
        header: first bytes of the data.

    Raises:
        InputError: another job's unfinished output stands there, one is running, or nothing can be written.
    """
    folder = partial_folder(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, output):
            state = None if anew else _read_state(folder, job, output)
            state = state or _begin(folder, State(job=job, date=date, data_bytes=len(header)), header)
            with (
                _reopened(folder / "data", state.data_bytes) as data,
                _reopened(folder / "errors.jsonl", state.error_bytes) as errors,
                _kept(Checkpoint(folder, state, data, errors)) as checkpoint,
            ):
                yield checkpoint
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror or type(error).__name__}); free space or choose "
            "another folder, then run the same command again"
        ) from error


@contextmanager
def _kept(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """Save what there is if the job is interrupted; a job that has nothing yet leaves nothing behind."""
    try:
        yield checkpoint
    except BaseException:
        if checkpoint.state.items:
            checkpoint.save()
        else:
            shutil.rmtree(checkpoint.folder, ignore_errors=True)
        raise


def _begin(folder: Path, state: State, header: bytes) -> State:
    (folder / "data").write_bytes(header)
    (folder / "errors.jsonl").write_bytes(b"")
    write_json(folder / "state.json", state.model_dump())
    return state


def _read_state(folder: Path, job: str, output: Path) -> State | None:
    path = folder / "state.json"
    if not path.is_file():
        return None
    try:
        raw: Any = json.loads(path.read_text(encoding="utf-8"))
        state = State.model_validate(raw)
    except (ValueError, ValidationError) as error:
        raise InputError(f"{folder}: damaged; add --force to begin anew") from error
    if state.items == 0:
        return None
    if state.job != job:
        raise InputError(
            f"{output}: an unfinished job with other notes, options or artifact stands in {folder.name}; "
            "give its command again, name another output, or add --force to begin anew"
        )
    return state


@contextmanager
def _reopened(path: Path, size: int) -> Iterator[IO[bytes]]:
    """Open `path` to append after its first `size` bytes; the rest is cut off."""
    if not path.is_file() and size == 0:
        path.touch()
    with path.open("r+b") as file:
        if path.stat().st_size < size:
            raise InputError(f"{path.parent}: damaged ({path.name} is too short); add --force to begin anew")
        file.truncate(size)
        file.seek(size)
        yield file
