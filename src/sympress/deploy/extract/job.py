"""One extraction job: what is asked, and how it runs from the first note to the finished file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from sympress.deploy.checksums import files_to_run
from sympress.deploy.extract.checkpoint import (
    Checkpoint,
    State,
    failures_path,
    find_state,
    mark_of,
    open_checkpoint,
    partial_folder,
)
from sympress.deploy.extract.chunks import CHUNK_NOTES, MARKUP, Answered, Chunk, Digest, Order, cut_chunks
from sympress.deploy.extract.concepts import ConceptMap, Vocabulary
from sympress.deploy.extract.filters import Wanted, keep_wanted
from sympress.deploy.extract.items import Item, ItemCounts
from sympress.deploy.extract.omop import numbered, refuse_names
from sympress.deploy.extract.progress import Pace
from sympress.deploy.extract.shapes import Header, Shape
from sympress.deploy.extract.sources import Notes, stream_items
from sympress.deploy.extract.workers import Answer, open_workers
from sympress.deploy.extractor import MENTIONS_MOST
from sympress.errors import InputError
from sympress.files import refuse_to_overwrite
from sympress.labels.own_words import OURS, OwnWords

Encoding = Literal["jsonl", "csv", "parquet"]

#: How notes are compared with those of an unfinished job; another way makes another job.
_DIGEST = "notes with patients, encounters, times and categories"


@dataclass(frozen=True)
class Job:
    """What is to be extracted, by what, and how it is written.

    Attributes:
        notes: where the notes come from.
        wanted: which of them.
        artifact: folder of the extractor.
        shape: rows of sympress, OMOP or FHIR.
        encoding: of the file.
        columns: carried from a note to its rows.
        workers: cores to use.
        ray: address of a Ray cluster to run on, instead of this machine's cores.
        concepts: the user's codes of symptoms, for OMOP and FHIR.
        snippet: characters to each side of a mention that OMOP's snippets hold; 0 for none.
        words: a user's own, in place of those that the artifact reads by.
        most_mentions: a note with more of them fails.
        digest: of the one artifact that may run; None for whichever is there.
    """

    notes: Notes
    wanted: Wanted
    artifact: Path
    shape: Shape
    encoding: Encoding
    columns: tuple[str, ...]
    workers: int
    ray: str | None = None
    concepts: ConceptMap = field(default_factory=ConceptMap)
    snippet: int = 0
    words: OwnWords = OURS
    most_mentions: int = MENTIONS_MOST
    digest: str | None = None

    def order(self, began: str) -> Order:
        """How workers write the rows of this job, which began at `began`."""
        system, vocabulary = f"sympress {self.artifact.name}", Vocabulary(concepts=self.concepts)
        header = Header(self.columns, system, began, vocabulary, self.snippet)
        return Order(self.shape, self.encoding == "csv", header, self.most_mentions)

    def items(self, counts: ItemCounts, pace: Pace) -> Iterator[Item]:
        """The notes to answer; what becomes of the other rows is counted."""
        items = keep_wanted(stream_items(self.notes, counts, pace.read), self.wanted, counts)
        return refuse_names(items) if self.shape == "omop" else items

    def final(self, answered: Answered, before: int) -> bytes:
        """The rows of `answered` as they are written after `before` others."""
        if self.shape != "omop":
            return answered.data
        return numbered(answered.data, before, csv=self.encoding == "csv")

    def workplace(self, order: Order) -> AbstractContextManager[Answer]:
        """What answers the chunks of this job."""
        if self.ray is not None:
            from sympress.deploy.extract.cluster import open_extraction

            return open_extraction(self.artifact, order, self.ray, self.words, self.digest)
        return open_workers(self.artifact, order, self.workers, self.words, self.digest)

    def name(self) -> str:
        """A digest of all that decides the output; the number of workers does not."""
        parts = [
            _DIGEST,
            *self.notes.names(),
            str(self.notes.whole),
            *map(str, dataclasses.astuple(self.notes.table)),
            ",".join(sorted(self.wanted.categories)),
            str(self.wanted.since),
            str(self.wanted.until),
            self.shape,
            self.encoding,
            ",".join(self.columns),
            self.concepts.digest(),
            str(self.snippet),
            str(self.most_mentions),
            *(_sum(self.artifact / file) for file in files_to_run(self.artifact)),
            *([self.words.digest()] if self.words.named() else []),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class Summary:
    """What became of the rows of a job; `rows` = notes + failed + retracted + filtered + undated.

    Attributes:
        undated: left out by a filter by time because their time is missing or unreadable.
        unread_dates: notes, wanted or not, with a date that cannot be read.
        ambiguous_dates: those of them that may have the day or the month first.
        unnamed: rows of a table with ids that have none, and are called after their number.
        seconds: of work, over all runs of the job.
        resumed: notes and failures that an earlier run had written.
        errors: the file with the failures, or None if there was none.
        markup: how many notes were written in each markup, and read as text.
    """

    rows: int
    notes: int
    failed: int
    retracted: int
    filtered: int
    undated: int
    truncated: int
    findings: int
    unread_dates: int
    ambiguous_dates: int
    unnamed: int
    seconds: float
    resumed: int = 0
    errors: Path | None = None
    markup: Mapping[str, int] = field(default_factory=dict)


def run_to_file(job: Job, output: Path, *, force: bool, say: Callable[[str], None], pace: Pace) -> Summary:
    """Run `job` and leave `output`, and `output.errors.jsonl` if notes failed; go on where one was killed.

    Raises:
        InputError: `output` exists, cannot be written or is another job's, or the notes have changed since
            the job began.
    """
    from sympress.deploy.extract.finish import finish, first_bytes

    if output.is_dir():
        raise InputError(f"{output}: a folder; name a file")
    _check_not_read(job.notes, output)
    name, date = job.name(), _now()
    if not force:
        _check_free(output, name)
    header = first_bytes(job.shape, job.encoding, job.columns)
    anew = force or job.notes.stdin
    with open_checkpoint(output, name, date, anew=anew, header=header) as checkpoint:
        resumed = checkpoint.state.items
        counts = ItemCounts(say=say)
        if resumed:
            say(f"going on after {resumed:,} notes of an earlier run")
        if not checkpoint.state.complete:
            _work(job, checkpoint, counts, pace)
            _check_rows(job, counts)
            checkpoint.state.tally |= _tally(counts)
            checkpoint.state.complete = True
            checkpoint.save()
        errors = finish(checkpoint, output, job.shape, job.encoding, job.columns, force=force)
    return _summary(checkpoint.state, resumed, errors)


def _check_free(output: Path, name: str) -> None:
    """Refuse to write over files that the job called `name` has not left there itself.

    Raises:
        InputError: with the file.
    """
    state = find_state(partial_folder(output))
    known = () if state is None or state.job != name else (state.output, state.failures)
    for path, what in ((output, ""), (failures_path(output), ", with the failures of an earlier job")):
        if os.path.lexists(path) and (mark_of(path) is None or mark_of(path) not in known):
            raise InputError(
                f"{path}: exists already{what}; name another file, or add --force to overwrite it"
            )


def _check_not_read(notes: Notes, output: Path) -> None:
    """Refuse to write over what is read, by whatever name: a link, or a file in a folder or pattern.

    Raises:
        InputError: with the file.
    """
    read = [found for source in notes.sources for found in source.stats()]
    if notes.stdin:
        with contextlib.suppress(OSError, ValueError):
            read.append(os.fstat(sys.stdin.fileno()))
    folder = partial_folder(output)
    unfinished = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    refuse_to_overwrite((output, failures_path(output), *unfinished), read)


def _summary(state: State, resumed: int, errors: Path | None) -> Summary:
    counted = {field.name for field in dataclasses.fields(Summary)} - {
        "seconds",
        "resumed",
        "errors",
        "markup",
    }
    tally = {name: state.tally.get(name, 0) for name in counted}
    markup = {
        name.removeprefix(MARKUP): count for name, count in state.tally.items() if name.startswith(MARKUP)
    }
    return Summary(**tally, seconds=state.seconds, resumed=resumed, errors=errors, markup=markup)


def _tally(counts: ItemCounts) -> dict[str, int]:
    """What the readers counted, for the summary."""
    return {
        "rows": counts.rows,
        "retracted": counts.retracted,
        "filtered": counts.filtered,
        "undated": counts.undated,
        "unread_dates": counts.unread_dates,
        "ambiguous_dates": counts.ambiguous_dates,
        "unnamed": counts.unnamed,
    }


def _check_rows(job: Job, counts: ItemCounts) -> None:
    """Refuse a source without rows: nobody asks for nothing.

    Raises:
        InputError: with what to do.
    """
    if counts.rows == 0:
        if job.notes.query:
            raise InputError("--sql: the query selects no row; try it in the database's own shell")
        names = ", ".join(job.notes.names()[:3])
        raise InputError(f"{names}: no rows; give a source with one row per note")


def _work(job: Job, checkpoint: Checkpoint, counts: ItemCounts, pace: Pace) -> None:
    """Answer what is left of the job and append it to the checkpoint."""
    digest = Digest()
    items = job.items(counts, pace)
    _skip(items, checkpoint.state, digest)
    done = checkpoint.state.items
    pace.start(done)
    with job.workplace(job.order(checkpoint.state.date)) as answer:
        for chunk, answered in answer(cut_chunks(items, done)):
            for item in chunk.items:
                digest.add(item)
            data = job.final(answered, checkpoint.state.tally.get("written", 0))
            checkpoint.add(data, answered.errors, answered.end, digest.value(), answered.tally)
            pace.done(answered.end)


def _skip(items: Iterator[Item], state: State, digest: Digest) -> None:
    """Read over what an earlier run has written.

    Raises:
        InputError: the notes are not the ones of that run.
    """
    for _ in range(state.items):
        item = next(items, None)
        if item is None:
            break
        digest.add(item)
    if state.items and digest.value() != state.digest:
        raise InputError(
            "the notes have changed since this job began (or the query has no ORDER BY); "
            "add --force to begin anew"
        )


def run_to_stream(
    job: Job, write: Callable[[Chunk, Answered], None], say: Callable[[str], None], pace: Pace
) -> Summary:
    """Run `job` and hand every chunk's output to `write` as soon as it is there; nothing is kept."""
    counts = ItemCounts(say=say)
    tally: dict[str, int] = {}
    items = job.items(counts, pace)
    pace.start(0)
    date = _now()
    with job.workplace(job.order(date)) as answer:
        for chunk, answered in answer(cut_chunks(items, notes=min(CHUNK_NOTES, 16))):
            answered.data = job.final(answered, tally.get("written", 0))
            write(chunk, answered)
            for line in answered.errors.decode("utf-8").splitlines():
                failure = json.loads(line)
                say(f"note {failure['note_id']}: no answer, {failure['reason']}")
            for name, count in answered.tally.items():
                tally[name] = tally.get(name, 0) + count
            pace.done(answered.end)
    _check_rows(job, counts)
    tally |= _tally(counts)
    return _summary(State(job="", date=date, tally=tally, seconds=pace.seconds), 0, None)


def _now() -> str:
    return datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""  # loading the artifact says what is wrong with it
