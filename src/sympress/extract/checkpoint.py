"""What a job has written so far, so that one that was killed goes on, and the final file made of it."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import MAXYEAR, MINYEAR
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from sympress.errors import InputError, SympressError
from sympress.extract.shapes import FINDING_COLUMNS, OMOP_COLUMNS, OMOP_INTEGERS, Shape
from sympress.files import LOCK, alone, atomic_path, write_json

if TYPE_CHECKING:
    import polars as pl


# What a job has written so far, so that one that was killed goes on without losing or doubling a note.
#
# Rows are appended to one file and failures to another; `state.json`, replaced atomically after both are on
# disk, says how far they are good. Whatever a killed job wrote beyond that is cut off. The folder may hold
# what others put there: nothing but the files of a job is written, followed or removed.


_SECONDS_BETWEEN = 1.0
_STATE, _DATA, _ERRORS, _TABLE = "state.json", "data", "errors.jsonl", "table.parquet"
#: What a job writes into its folder; the last are drafts that a kill left of the ones before.
_OURS = (_DATA, _ERRORS, _TABLE, f".{_STATE}.*.json", f".{_TABLE}.*.parquet", _STATE, LOCK)

#: What tells a file from another one of the same name: inode, bytes, and time of the last change in ns.
Mark = tuple[int, int, int]


class State(BaseModel):
    """How far a job is: everything beyond is done again.

    Attributes:
        output: the finished file, wherever it stands; None before it is there.
        failures: the file with the failures, likewise.
    """

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
    output: Mark | None = None
    failures: Mark | None = None


class Checkpoint:
    """The unfinished output of one job, in the folder `OUT.partial`."""

    def __init__(self, folder: Path, state: State, data: IO[bytes] | None, errors: IO[bytes] | None) -> None:
        self.folder, self.state = folder, state
        self._files = [
            (file, path)
            for file, path in ((data, self.data_path), (errors, self.errors_path))
            if file is not None
        ]
        self._data, self._errors = data, errors
        self._saved = time.monotonic()
        self.placed = False

    @property
    def data_path(self) -> Path:
        """The rows written so far."""
        return self.folder / _DATA

    @property
    def errors_path(self) -> Path:
        """The failures written so far."""
        return self.folder / _ERRORS

    @property
    def table_path(self) -> Path:
        """The rows as one Parquet file, before it gets its final name."""
        return self.folder / _TABLE

    def add(self, data: bytes, errors: bytes, items: int, digest: str, tally: dict[str, int]) -> None:
        """Append the output of the items before `items`; it is safe on disk about a second later."""
        if self._data is None or self._errors is None:
            raise ValueError("this job is complete")
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
        """Make everything that was added survive a kill, or a loss of power.

        Raises:
            SympressError: somebody removed or replaced a file of the job meanwhile.
        """
        for file, _ in self._files:
            file.flush()
            os.fsync(file.fileno())
        self.check()
        now = time.monotonic()
        self.state.seconds += now - self._saved
        self._saved = now
        write_json(self.folder / _STATE, self.state.model_dump())

    def check(self) -> None:
        """See that what was written still stands where it was written.

        Raises:
            SympressError: it does not.
        """
        for file, path in self._files:
            written = os.fstat(file.fileno())
            try:
                found = path.lstat()
            except FileNotFoundError:
                found = None
            if found is None or (found.st_dev, found.st_ino) != (written.st_dev, written.st_ino):
                clear(self.folder)  # else the same command would go on from what is no more
                raise SympressError(
                    f"{self.folder}: {path.name} was removed or replaced while the job ran, so there is no "
                    "output; run the same command again"
                )


def partial_folder(output: Path) -> Path:
    """Where the unfinished output of `output` stands."""
    return output.with_name(output.name + ".partial")


def failures_path(output: Path) -> Path:
    """Where the failures of the job that writes `output` are listed."""
    return output.with_name(output.name + ".errors.jsonl")


def mark_of(path: Path) -> Mark | None:
    """What tells the file `path` from another one; it stays when the file is renamed. None: no such file."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


def clear(folder: Path) -> None:
    """Remove the files of a job from `folder`, and the folder if nothing else is in it."""
    for name in _OURS:
        for path in folder.glob(name):
            with suppress(OSError):
                path.unlink()
    with suppress(OSError):
        folder.rmdir()


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
        InputError: another job's unfinished output stands there, or files that are no job's, one is running,
            or nothing can be written.
    """
    folder = partial_folder(output)
    try:
        if folder.is_symlink():
            raise InputError(f"{folder}: a link, which is not followed; remove it, or name another output")
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder, output):
            state = None if anew else _read_state(folder, job, output)
            if state is None:
                state = State(job=job, date=date, data_bytes=len(header))
                _begin(folder, state, header)
            with _opened(folder, state) as checkpoint, _kept(checkpoint):
                yield checkpoint
            if checkpoint.placed:
                clear(folder)
    except OSError as error:
        raise InputError(
            f"{output}: cannot be written ({error.strerror or type(error).__name__}); free space or choose "
            "another folder, then run the same command again"
        ) from error


@contextmanager
def _opened(folder: Path, state: State) -> Iterator[Checkpoint]:
    if state.output is not None:  # the rows may stand under their final name already
        yield Checkpoint(folder, state, None, None)
        return
    with (
        _reopened(folder / _DATA, state.data_bytes) as data,
        _reopened(folder / _ERRORS, state.error_bytes) as errors,
    ):
        yield Checkpoint(folder, state, data, errors)


@contextmanager
def _kept(checkpoint: Checkpoint) -> Iterator[None]:
    """Save what there is if the job is interrupted; a job that has nothing yet leaves nothing behind."""
    try:
        yield
    except BaseException:
        if checkpoint.state.items and (checkpoint.folder / _STATE).is_file():
            with suppress(SympressError):  # what was raised first says more
                checkpoint.save()
        else:
            clear(checkpoint.folder)
        raise


def _begin(folder: Path, state: State, header: bytes) -> None:
    """Start a job anew in `folder`, in place of the files of another one.

    The state comes first: rows beside no state are nobody's job, and are left alone.
    """
    if not (folder / _STATE).is_file():
        strange = [name for name in (_DATA, _ERRORS, _TABLE, _STATE) if os.path.lexists(folder / name)]
        if strange:
            raise InputError(
                f"{folder}: holds {strange[0]!r}, which is no job's; move it away, or name another output"
            )
    write_json(folder / _STATE, state.model_dump())
    for name, content in ((_DATA, header), (_ERRORS, b"")):
        (folder / name).unlink(missing_ok=True)
        with (folder / name).open("xb") as file:
            file.write(content)


def find_state(folder: Path) -> State | None:
    """How far the job in `folder` is, whosever it is; None where there is none, or none that can be read."""
    try:
        return State.model_validate_json((folder / _STATE).read_bytes())
    except (OSError, ValueError):
        return None


def _read_state(folder: Path, job: str, output: Path) -> State | None:
    """What an earlier run of `job` has done; None for nothing. An InputError where it is another job's."""
    state = find_state(folder)
    if state is None and (folder / _STATE).is_file():
        raise InputError(f"{folder}: damaged; add --force to begin anew")
    if state is None or (state.items == 0 and not state.complete):
        return None
    standing = map(mark_of, (output, folder / _DATA, folder / _TABLE))
    if state.job == job and state.output is not None and state.output not in standing:
        return None  # it was finished, and somebody has taken the output away
    if state.job != job:
        raise InputError(
            f"{output}: an unfinished job with other notes, options or artifact, or of another version of "
            f"sympress, stands in {folder.name}; "
            "give its command again, name another output, or add --force to begin anew"
        )
    return state


@contextmanager
def _reopened(path: Path, size: int) -> Iterator[IO[bytes]]:
    """Open `path` to append after its first `size` bytes; the rest is cut off. Links are not followed."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        raise InputError(f"{path.parent}: damaged ({path.name} is gone); add --force to begin anew") from None
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise InputError(
            f"{path}: a link, or no file, which is not written to; remove it and add --force to begin anew"
        )
    flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)  # of POSIX, of Windows
    with os.fdopen(os.open(path, flags), "r+b") as file:
        if path.stat().st_size < size:
            raise InputError(f"{path.parent}: damaged ({path.name} is too short); add --force to begin anew")
        file.truncate(size)
        file.seek(size)
        yield file


# From a complete checkpoint to the final file.


#: Small enough that writing takes little memory, large enough to compress well.
_ROWS_A_GROUP = 32_768
_ROWS_A_BATCH = 4_096


def first_bytes(shape: Shape, encoding: str, columns: tuple[str, ...]) -> bytes:
    """What the data of a job begins with."""
    if encoding != "csv":
        return b""
    names = OMOP_COLUMNS if shape == "omop" else ("note_id", *columns, *FINDING_COLUMNS)
    return (",".join(names) + "\n").encode()


def finish(
    checkpoint: Checkpoint,
    output: Path,
    shape: Shape,
    encoding: str,
    columns: tuple[str, ...],
    *,
    force: bool,
) -> Path | None:
    """Put the data under its final name and the failures beside it; doing it again changes nothing.

    What a file is known by is saved before it is renamed, so that a run after a kill tells its own files from
    others. `force` overwrites others.

    Returns:
        The file with the failures, or None if no note failed.

    Raises:
        SympressError: the data is gone.
        InputError: another file stands there by now, or it cannot be written.
    """
    state, failures = checkpoint.state, failures_path(output)
    made = checkpoint.table_path if encoding == "parquet" else checkpoint.data_path
    if state.output is None:
        checkpoint.check()
        if encoding == "parquet":
            write_parquet(checkpoint.data_path, made, shape, columns)
        state.output = mark_of(made)
        state.failures = mark_of(checkpoint.errors_path) if state.error_bytes else None
        checkpoint.save()
    _place(checkpoint, made, output, state.output, force=force)
    if state.error_bytes:
        _place(checkpoint, checkpoint.errors_path, failures, state.failures, force=force)
    elif force:
        failures.unlink(missing_ok=True)
    checkpoint.placed = True
    return failures if state.error_bytes else None


def _place(checkpoint: Checkpoint, made: Path, target: Path, mark: Mark | None, *, force: bool) -> None:
    """Rename `made`, known by `mark`, to `target`, unless an earlier run has done so."""
    if mark is not None and mark_of(target) == mark:
        return
    if os.path.lexists(target) and not force:
        raise InputError(f"{target}: exists by now; move it away and run the same command again")
    if mark is not None and mark_of(made) == mark:
        made.replace(target)
    if mark is None or mark_of(target) != mark:
        clear(checkpoint.folder)
        raise SympressError(
            f"{made}: removed or replaced while the job ran, so there is no output; "
            "run the same command again"
        )


def write_parquet(lines: Path, output: Path, shape: Shape, columns: tuple[str, ...]) -> None:
    """Write the JSON lines in `lines` as Parquet, in their order and in memory that does not grow."""
    import polars as pl
    from polars.io.plugins import register_io_source

    schema = _schema(shape, columns)
    frame = register_io_source(partial(_frames, lines, schema), schema=schema)
    if "time" in schema:
        written, form = pl.col("time").str, "%Y-%m-%dT%H:%M:%S"
        zoned = written.to_datetime(f"{form}%z", time_unit="us", strict=False)
        in_utc = pl.when(zoned.dt.year().is_between(MINYEAR, MAXYEAR)).then(zoned.dt.replace_time_zone(None))
        plain = written.slice(0, len("2026-01-31T12:00:00")).str.to_datetime(
            form, time_unit="us", strict=False
        )
        # One column holds times with and without a zone: in UTC where a note has one, else as written, as are
        # those for which UTC lies beyond the calendar.
        frame = frame.with_columns(pl.coalesce(in_utc, plain).alias("time"))
    if shape == "omop":
        frame = frame.with_columns(
            pl.col("nlp_date").str.to_date("%Y-%m-%d"),
            pl.col("nlp_datetime").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us"),
        )
    with atomic_path(output) as temporary:
        try:
            frame.sink_parquet(temporary, row_group_size=_ROWS_A_GROUP, maintain_order=True)
        except pl.exceptions.PolarsError as error:  # also of a full disk; what it says may quote a row
            kind = type(error).__name__
            raise InputError(
                f"{output}: cannot be written ({kind}, most likely a full disk); free space or choose "
                "another folder, then run the same command again"
            ) from None


def _frames(  # noqa: PLR0917  as polars calls it
    lines: Path,
    schema: dict[str, pl.DataType],
    columns: list[str] | None,
    predicate: pl.Expr | None,
    rows: int | None,  # noqa: ARG001  polars names them; nothing here asks for fewer rows
    batch_rows: int | None,  # noqa: ARG001
) -> Iterator[pl.DataFrame]:
    """Yield `lines` a few thousand at a time: polars' own scan maps the whole file into memory."""
    import polars as pl

    with lines.open("rb") as file:
        while batch := list(islice(file, _ROWS_A_BATCH)):
            frame = pl.read_ndjson(b"".join(batch), schema=schema)
            frame = frame if predicate is None else frame.filter(predicate)
            yield frame if columns is None else frame.select(columns)


def _schema(shape: Shape, columns: tuple[str, ...]) -> dict[str, pl.DataType]:
    import polars as pl

    text, whole, real = pl.String(), pl.Int64(), pl.Float64()
    if shape == "omop":
        return {name: pl.Int32() if name in OMOP_INTEGERS else text for name in OMOP_COLUMNS}
    fields: dict[str, Any] = {"symptom": text, "code": text, "probability": real, "source": text}
    reason: dict[str, Any] = {"kind": text, "words": text, "start": whole, "end": whole}
    mention: dict[str, Any] = {
        "start": whole,
        "end": whole,
        "symptom": text,
        "code": text,
        "assertion": text,
        "score": real,
        "source": text,
        "reason": pl.Struct(reason),
    }
    return {
        **dict.fromkeys(("note_id", *columns), text),
        "symptoms": pl.List(pl.Struct(fields)),
        "mentions": pl.List(pl.Struct(mention)),
        "windows": whole,
        "truncated": pl.Boolean(),
        "markup": text,
    }
