"""From a complete checkpoint to the final file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import MAXYEAR, MINYEAR
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sympress.deploy.extract.checkpoint import Checkpoint, Mark, clear, failures_path, mark_of
from sympress.deploy.extract.encodings import csv_header
from sympress.deploy.extract.omop import OMOP_COLUMNS, OMOP_INTEGERS
from sympress.deploy.extract.shapes import FINDING_COLUMNS, Shape
from sympress.errors import InputError, SympressError
from sympress.files import atomic_path

if TYPE_CHECKING:
    import polars as pl

#: Small enough that writing takes little memory, large enough to compress well.
_ROWS_A_GROUP = 32_768
_ROWS_A_BATCH = 4_096


def first_bytes(shape: Shape, encoding: str, columns: tuple[str, ...]) -> bytes:
    """What the data of a job begins with."""
    if encoding != "csv":
        return b""
    return csv_header(OMOP_COLUMNS if shape == "omop" else ("note_id", *columns, *FINDING_COLUMNS))


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
