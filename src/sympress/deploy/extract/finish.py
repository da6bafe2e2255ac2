"""From a complete checkpoint to the final file."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sympress.deploy.extract.checkpoint import Checkpoint
from sympress.deploy.extract.encodings import csv_header
from sympress.deploy.extract.omop import OMOP_COLUMNS
from sympress.deploy.extract.shapes import FINDING_COLUMNS, Shape
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
    checkpoint: Checkpoint, output: Path, shape: Shape, encoding: str, columns: tuple[str, ...]
) -> Path | None:
    """Put the data under its final name and the failures beside it; doing it again changes nothing.

    Returns:
        The file with the failures, or None if no note failed.
    """
    if encoding == "parquet":
        write_parquet(checkpoint.data_path, output, shape, columns)
    elif checkpoint.data_path.is_file():
        checkpoint.data_path.replace(output)
    errors = output.with_name(output.name + ".errors.jsonl")
    if not checkpoint.state.error_bytes:
        errors.unlink(missing_ok=True)
        return None
    if checkpoint.errors_path.is_file():
        checkpoint.errors_path.replace(errors)
    return errors


def write_parquet(lines: Path, output: Path, shape: Shape, columns: tuple[str, ...]) -> None:
    """Write the JSON lines in `lines` as Parquet, in their order and in memory that does not grow."""
    import polars as pl
    from polars.io.plugins import register_io_source

    schema = _schema(shape, columns)
    frame = register_io_source(partial(_frames, lines, schema), schema=schema)
    if "time" in schema:
        frame = frame.with_columns(pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us"))
    with atomic_path(output) as temporary:
        frame.sink_parquet(temporary, row_group_size=_ROWS_A_GROUP, maintain_order=True)


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
        ids = {"note_nlp_id", "section_concept_id", "note_nlp_concept_id", "note_nlp_source_concept_id"}
        return {name: whole if name in ids else text for name in OMOP_COLUMNS}
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
