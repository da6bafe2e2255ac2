"""Synthetic notes as files: NOTEEVENTS as MIMIC-III distributes it, JSON lines, or Parquet."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import polars as pl

from sympress.errors import InputError
from sympress.files import atomic_path
from sympress.notes.synthesize import NoteRecord, gather, iterate_notes

NoteFormat = Literal["noteevents", "jsonl", "parquet"]

_SUFFIXES: dict[NoteFormat, tuple[str, ...]] = {
    "noteevents": (".csv", ".csv.gz"),
    "jsonl": (".jsonl", ".jsonl.gz"),
    "parquet": (".parquet",),
}
_HEADER = (
    '"ROW_ID","SUBJECT_ID","HADM_ID","CHARTDATE","CHARTTIME","STORETIME",'
    '"CATEGORY","DESCRIPTION","CGID","ISERROR","TEXT"\n'
)
#: ROW_ID of a retracted copy: that of the note plus this, far above those of the notes themselves.
_RETRACTED_ROW = 900_000_000
_REPORT_EVERY = 500
_NOTES_A_PART = 5_000


@dataclass(frozen=True)
class WrittenNotes:
    """What was written: `rows` counts the notes and the retracted copies (NOTEEVENTS only)."""

    path: Path
    gold_path: Path
    notes: int
    rows: int
    mentions: int


def gold_path_of(path: Path) -> Path:
    """`notes.csv.gz` -> `notes.gold.jsonl`, beside it.

    Raises:
        InputError: the file has none of the known endings.
    """
    for suffixes in _SUFFIXES.values():
        for suffix in suffixes:
            if path.name.endswith(suffix) and path.name != suffix:
                return path.with_name(path.name.removesuffix(suffix) + ".gold.jsonl")
    known = ", ".join(suffix for suffixes in _SUFFIXES.values() for suffix in suffixes)
    raise InputError(f"{path}: unknown ending; name the file with one of {known}")


def write_notes(
    path: Path,
    n: int,
    *,
    seed: int = 0,
    note_format: NoteFormat = "noteevents",
    advance: Callable[[int], None] = lambda _: None,
) -> WrittenNotes:
    """Write `n` synthetic notes to `path`, and with their mentions to `<stem>.gold.jsonl`; all or none.

    NOTEEVENTS has all eleven columns, newlines inside TEXT and about 1 % retracted copies
    (ISERROR = 1) besides the `n` notes; JSON lines and Parquet have `NOTE_SCHEMA`. The gold file has
    one note a line with its text and spans, as `labels.gold.read_jsonl` reads it: a span's label is its
    symptom and an attribute its assertion. Memory stays bounded for any `n`.

    Args:
        path: ends in .csv, .csv.gz, .jsonl, .jsonl.gz or .parquet, as the format asks.
        n: notes to write, at least 1.
        seed: another seed writes other notes.
        note_format: form of the file.
        advance: called now and then with the number of notes written since the last call.

    Raises:
        InputError: `n` is below 1, or the ending does not fit the format.
        SympressError: a file could not be written.
    """
    path = Path(path)
    if not path.name.endswith(_SUFFIXES[note_format]):
        endings = " or ".join(_SUFFIXES[note_format])
        raise InputError(f"{path}: format {note_format} is written to a file that ends in {endings}")
    if n < 1:
        raise InputError(f"n={n}: ask for at least 1 synthetic note")
    gold_path = gold_path_of(path)
    with (
        atomic_path(path) as notes_file,
        atomic_path(gold_path) as gold_file,
        gold_file.open("w", encoding="utf-8", newline="\n") as gold,
    ):
        mentions = 0

        def records() -> Iterator[NoteRecord]:
            """Yield the notes, the gold of each written."""
            nonlocal mentions
            for done, record in enumerate(iterate_notes(n, seed=seed), start=1):
                spans = [_span(*found[:4]) for found in record.gold()]
                line = {"note_id": str(record.row_id), "text": record.note.text, "spans": spans}
                gold.write(json.dumps(line, ensure_ascii=False) + "\n")
                mentions += len(spans)
                yield record
                if done % _REPORT_EVERY == 0:
                    advance(_REPORT_EVERY)
            advance(n % _REPORT_EVERY)

        rows = (_write_csv if note_format == "noteevents" else _write_frames)(notes_file, records())
    return WrittenNotes(path, gold_path, n, rows, mentions)


@contextmanager
def _open_text(path: Path) -> Iterator[IO[str]]:
    if path.suffix != ".gz":
        with path.open("w", encoding="utf-8", newline="\n") as plain:
            yield plain
        return
    # Neither name nor time of writing in the header: the same notes are the same bytes.
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
    ):
        yield text


def _write_csv(path: Path, records: Iterator[NoteRecord]) -> int:
    rows = 0
    with _open_text(path) as out:
        out.write(_HEADER)
        for record in records:
            for retracted in (True, False) if record.retracted else (False,):
                out.write(_noteevents_row(record, retracted=retracted))
                rows += 1
    return rows


def _noteevents_row(record: NoteRecord, *, retracted: bool) -> str:
    """One row, quoted as in the original: the three columns of text always, the others never."""
    row_id = record.row_id + _RETRACTED_ROW if retracted else record.row_id
    encounter = "" if record.encounter_id is None else record.encounter_id
    caregiver = "" if record.caregiver is None else record.caregiver
    charted = f"{record.written:%Y-%m-%d %H:%M:%S}" if record.timed else ""
    stored = f"{record.written + timedelta(minutes=17):%Y-%m-%d %H:%M:%S}" if record.timed else ""
    text = record.note.text.replace('"', '""')
    return (
        f"{row_id},{record.patient_id},{encounter},{record.written:%Y-%m-%d},{charted},{stored},"
        f'"{record.category}","{record.description}",{caregiver},{1 if retracted else ""},"{text}"\n'
    )


def _span(start: int, end: int, symptom: str, assertion: str) -> dict[str, Any]:
    return {"start": start, "end": end, "label": symptom, "attributes": {"assertion": assertion}}


def _write_frames(path: Path, records: Iterator[NoteRecord]) -> int:
    """Write Parquet or JSON lines, as the ending of `path` says, through parts of bounded size."""
    rows = 0
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".synth-") as folder:
        parts: list[Path] = []
        while (frame := gather(islice(records, _NOTES_A_PART)).frame).height:
            parts.append(Path(folder) / f"{len(parts):06d}.parquet")
            frame.write_parquet(parts[-1])
            rows += frame.height
        if path.suffix == ".parquet":
            pl.scan_parquet(parts).sink_parquet(path)
        else:
            with _open_text(path) as out:
                for part in parts:
                    out.write(pl.read_parquet(part).write_ndjson())
    return rows
