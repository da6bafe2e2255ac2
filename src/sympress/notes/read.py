"""Notes in: the frame that they become, what a path holds, and the public entry for every source."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from sympress.errors import InputError
from sympress.notes.dates import utc
from sympress.notes.formats import READABLE, Found, Source, delimited, jsonl, parquet, text_files, vaers
from sympress.notes.intake import MALFORMED, Intake, Meter, Note, Progress, ReadingCounts, check_fraction
from sympress.notes.layout import RECOGNISED, TableOptions
from sympress.notes.streams import file_errors, head_of

# The one shape that notes have once they are read, whatever file they came from.


#: One row a note. `text` is the original text: offsets anywhere in sympress count its characters.
#: `time` is in UTC where the source gives a zone, else as written.
#: `codes` are symptoms coded by people (VAERS), null where the source has none.
NOTE_SCHEMA: dict[str, pl.DataType] = {
    "note_id": pl.String(),
    "patient_id": pl.String(),
    "encounter_id": pl.String(),
    "time": pl.Datetime("us"),
    "category": pl.String(),
    "sex": pl.String(),
    "age": pl.Float64(),
    "text": pl.String(),
    "codes": pl.List(pl.String()),
}


@dataclass(frozen=True)
class NoteSet:
    """Notes in memory: `frame` has `NOTE_SCHEMA`, `counts` says what was left out and why."""

    name: str
    frame: pl.DataFrame
    counts: ReadingCounts
    fingerprint: str


_FRAME_CHARACTERS = 32 * 2**20


def frames(notes: Iterable[Note], batch_rows: int) -> Iterator[pl.DataFrame]:
    """Gather `notes` into frames of `NOTE_SCHEMA` with at most `batch_rows` rows each.

    Notes that are unusually long make shorter frames, so memory stays bounded.
    """
    batch: list[Note] = []
    characters = 0
    for note in notes:
        batch.append(note)
        characters += len(note.text)
        if len(batch) == batch_rows or characters >= _FRAME_CHARACTERS:
            yield _frame(batch)
            batch, characters = [], 0
    if batch:
        yield _frame(batch)


def _frame(batch: list[Note]) -> pl.DataFrame:
    columns = dict(zip(NOTE_SCHEMA, zip(*batch, strict=True), strict=True))
    columns["time"] = tuple(None if time is None else utc(time) for time in columns["time"])
    # Polars builds one object a list; by way of JSON it takes a third of the time (0.3 s for 60,000 reports).
    columns["codes"] = tuple(None if codes is None else json.dumps(codes) for codes in columns["codes"])
    frame = pl.DataFrame(columns, schema={**NOTE_SCHEMA, "codes": pl.String()})
    return frame.with_columns(pl.col("codes").str.json_decode(NOTE_SCHEMA["codes"]))


# Telling what a path holds, by its content first and its name second.


#: The sectioned copy first: it keeps line breaks and headings, and holds each distinct report once.
MTSAMPLES = {
    "mtsamples_sectioned.jsonl.gz": "mtsamples (sectioned)",
    "mtsamples_sectioned.jsonl": "mtsamples (sectioned)",
    "mtsamples.csv.gz": "mtsamples",
    "mtsamples.csv": "mtsamples",
}


def _mtsamples(folder: Path) -> Source | None:
    for file, name in MTSAMPLES.items():
        if (folder / file).is_file():
            return dataclasses.replace(recognise(folder / file), name=name)
    return None


#: The formats of a file, in the order in which they are tried; the last takes any text.
FILES: list[Callable[[Found], Source | None]] = [
    vaers.recognise,
    parquet.recognise,
    jsonl.recognise,
    text_files.recognise,
    delimited.recognise,
]
#: The formats of a folder.
FOLDERS: list[Callable[[Path], Source | None]] = [
    vaers.recognise_folder,
    _mtsamples,
]


def recognise(path: Path, options: TableOptions = RECOGNISED) -> Source:
    """Return what `path` holds; a column that is named tells a table from a note in a single .txt file.

    Raises:
        InputError: nothing is there, or nothing that can be read as notes.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; {READABLE}")
    if path.is_dir():
        return _recognise_folder(path)
    head = head_of(path)
    if not head:
        raise InputError(f"{path}: an empty file; {READABLE}")
    found = Found(path, head, options)
    for recognised in (as_format(found) for as_format in FILES):
        if recognised is not None:
            return recognised
    raise InputError(f"{path}: {found.problem}")


def recognise_all(path: Path, options: TableOptions = RECOGNISED) -> list[Source]:
    """Return all that `path` holds: one source, or each table of a folder, sorted by name.

    Raises:
        InputError: as `recognise`; or a folder holds both text files and tables, or notes that are packed in
            a way that is not read.
    """
    if not path.is_dir():
        return [recognise(path, options)]
    known = _known_folder(path)
    if known is not None:
        return [known]
    contents = _contents_of(path)
    if not contents.tables:
        return [contents.source()]
    contents.refuse_several_kinds()
    first, *others = (recognise(table, options) for table in contents.tables)
    return [dataclasses.replace(first, remarks=contents.remarks()), *others]


def _recognise_folder(folder: Path) -> Source:
    known = _known_folder(folder)
    if known is not None:
        return known
    contents = _contents_of(folder)
    if contents.tables:
        raise InputError(
            f"{folder}: a folder with tables ({contents.shown(contents.tables)}); give one of these files"
        )
    return contents.source()


def _known_folder(folder: Path) -> Source | None:
    found = (as_format(folder) for as_format in FOLDERS)
    return next((source for source in found if source is not None), None)


# What a folder holds, where it is no data set that is known.


_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".tsv.gz", ".jsonl.gz", ".ndjson.gz")
_TEXT = ".txt"
#: Notes that are packed in a way that is not read: to leave them alone would lose them.
_PACKED = re.compile(
    r".*\.(csv|tsv|jsonl|ndjson|parquet|txt)\.(gz|bz2|xz|zst|lz4|lzma|7z|zip|z)", re.IGNORECASE
)
#: Names of text files that lie beside notes and are none, up to their first dot.
_BESIDE_NOTES = re.compile(
    r"readme|sources?|licen[cs]e|copying|changelog|citation|checksums?|(md5|sha\d*)(sums?)?", re.IGNORECASE
)
#: What an extraction leaves beside its output: the notes that failed, and the folder of an unfinished job.
_FAILURES, _UNFINISHED = ".errors.jsonl", ".partial"
_SHOWN = 5


@dataclass
class _Contents:
    """The files in `folder` and the folders in it by what their names say; hidden ones are not looked at.

    Attributes:
        alone: how many files and folders are not read, by their kind.
    """

    folder: Path
    texts: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    packed: list[Path] = field(default_factory=list)
    alone: Counter[str] = field(default_factory=Counter)

    def add(self, path: Path) -> None:
        """Sort in one file. Whether it can be read is told when it is: nothing is left out in silence."""
        name = path.name.lower()
        if name.endswith(_FAILURES):
            self.alone[_FAILURES] += 1
        elif name.endswith(_TABLES):
            self.tables.append(path)
        elif _PACKED.fullmatch(name):
            self.packed.append(path)
        elif path.suffix.lower() == _TEXT and not _BESIDE_NOTES.fullmatch(name.partition(".")[0]):
            self.texts.append(path)
        else:
            self.alone[path.name if path.suffix.lower() == _TEXT else path.suffix or "without a suffix"] += 1

    def source(self) -> Source:
        """The text files as notes."""
        if not self.texts and not self.packed:
            raise InputError(f"{self.folder}: a folder with nothing that can be read; {READABLE}")
        self.refuse_several_kinds()
        found = text_files.folder_source(self.folder, tuple(self.texts))
        return dataclasses.replace(found, remarks=self.remarks())

    def refuse_several_kinds(self) -> None:
        """Refuse to choose between what may all be notes."""
        if self.texts and self.tables:
            raise InputError(
                f"{self.folder}: a folder with text files ({self.shown(self.texts)}) and tables "
                f"({self.shown(self.tables)}); name those with the notes, for example  {self._pattern()}"
            )
        if self.packed:
            others = f", or name the others, for example  {self._pattern()}" if self._notes else ""
            raise InputError(
                f"{self.folder}: files that are packed in a way that is not read "
                f"({self.shown(self.packed)}); unpack them{others}"
            )

    def remarks(self) -> tuple[str, ...]:
        """How many files are left alone, and which kinds."""
        if not self.alone:
            return ()
        kinds = [f"{kind} ({count:,})" for kind, count in self.alone.most_common(_SHOWN)]
        shown = ", ".join(kinds) + (", …" if len(self.alone) > _SHOWN else "")
        return (f"{self.folder}: not read: {shown}; name those that hold notes",)

    def shown(self, paths: list[Path]) -> str:
        """The first of `paths`, as they are called in the folder."""
        names = ", ".join(path.relative_to(self.folder).as_posix() for path in paths[:_SHOWN])
        return names + (", …" if len(paths) > _SHOWN else "")

    @property
    def _notes(self) -> list[Path]:
        return self.texts or self.tables

    def _pattern(self) -> str:
        found = self._notes
        suffix = "".join(found[0].suffixes[-2:] if found[0].suffix == ".gz" else found[0].suffixes[-1:])
        deep = "**/" if any(path.parent != self.folder for path in found) else ""
        return f"'{self.folder / deep}/*{suffix}'"


def _contents_of(folder: Path) -> _Contents:
    """What `folder` holds.

    A folder that is a link is left alone and counted, since it may lead back to where it is.
    """

    def refuse(error: OSError) -> None:
        raise error

    contents = _Contents(folder)
    found: list[Path] = []
    with file_errors(folder):
        for place, folders, files in os.walk(folder, onerror=refuse):
            seen = [name for name in folders if not name.startswith(".")]
            linked = [name for name in seen if Path(place, name).is_symlink()]
            unfinished = [name for name in seen if name.endswith(_UNFINISHED)]
            contents.alone["linked folders"] += len(linked)
            contents.alone["unfinished jobs"] += len(unfinished)
            folders[:] = [name for name in seen if name not in {*linked, *unfinished}]
            found += (Path(place, name) for name in files if not name.startswith("."))
    contents.alone = +contents.alone
    for path in sorted(found):
        contents.add(path)
    return contents


# Notes in: the public entry for every source that sympress reads.


def read_notes(
    path: str | Path,
    *,
    text_column: str | None = None,
    table: TableOptions = RECOGNISED,
    fraction: float = 1.0,
    progress: Progress | None = None,
) -> NoteSet:
    """Read a source of notes into memory; only the notes that are kept take any.

    What `path` is, is told by its content: NOTEEVENTS or another CSV or TSV (also gzip), JSON lines (also
    gzip), Parquet, VAERS (a folder, a zip or a DATA file), the MTSamples folder, a folder of .txt files
    or one of them.

    Args:
        path: file or folder.
        text_column: the column with the text, where no single column has a well-known name.
        table: what else cannot be told by itself: other columns, the form of dates, the encoding.
        fraction: share of the patients to keep, in (0, 1], see `sympress.notes.intake`.
        progress: called now and then with the stored bytes read and their total.

    Raises:
        InputError: nothing readable is there, the source is damaged, or no note is left.
    """
    path = Path(path)
    options = _options(table, text_column)
    source = recognise(path, options)
    counts = ReadingCounts()
    digest = hashlib.blake2b(digest_size=16)
    parts = []
    intake = Intake(counts, check_fraction(fraction), Meter(progress, source.size_bytes))
    for frame in _stream(source, options, intake, batch_rows=10_000):
        for note_id, text in zip(frame["note_id"], frame["text"], strict=True):
            for part in (note_id.encode(), text.encode()):
                digest.update(len(part).to_bytes(8, "little"))  # so that no two note sets read alike
                digest.update(part)
        parts.append(frame)
    if not parts:
        raise no_note_left(path, counts)
    return NoteSet(source.name, pl.concat(parts), counts, digest.hexdigest())


def stream_notes(
    path: str | Path,
    *,
    text_column: str | None = None,
    table: TableOptions = RECOGNISED,
    fraction: float = 1.0,
    counts: ReadingCounts,
    batch_rows: int = 10_000,
    progress: Progress | None = None,
) -> Iterator[pl.DataFrame]:
    """Return the notes of `path` as frames of `NOTE_SCHEMA`, in memory that does not grow with the text.

    Per kept note about 100 bytes remain, to notice an id that is used twice. `counts` is filled while
    the frames are consumed. The arguments are those of `read_notes`; a source that is not there, or is
    not one, is reported at the call, damage inside it while reading.

    Raises:
        InputError: nothing readable is there, or the source is damaged.
    """
    if batch_rows < 1:
        raise InputError(f"batch_rows {batch_rows}: give at least 1")
    check_fraction(fraction)
    options = _options(table, text_column)
    source = recognise(Path(path), options)
    intake = Intake(counts, fraction, Meter(progress, source.size_bytes))
    return _stream(source, options, intake, batch_rows)


def _options(table: TableOptions, text_column: str | None) -> TableOptions:
    return table if text_column is None else dataclasses.replace(table, text=text_column)


def _stream(source: Source, options: TableOptions, intake: Intake, batch_rows: int) -> Iterator[pl.DataFrame]:
    counts = intake.counts
    for line in source.remarks:
        counts.remark(line)
    notes = (note for note in source.read(options, intake) if note is not None)
    yield from frames(notes, batch_rows)
    if counts.rows == 0:
        raise InputError(f"{source.root}: a header without rows; give a source with one row a note")
    if counts.dropped.get(MALFORMED) == counts.rows:
        raise InputError(
            f"{source.root}: all of its {counts.rows} rows are malformed; is it really {source.kind}?"
        )


def no_note_left(path: Path, counts: ReadingCounts) -> InputError:
    """Return the error that says why `path` gave no note."""
    reasons = [f"{count} {reason}" for reason, count in counts.dropped.items()]
    if counts.sampled_out:
        reasons.append(f"{counts.sampled_out} sampled out: raise the fraction")
    return InputError(f"{path}: no note is left of {counts.rows} rows ({', '.join(reasons)})")
