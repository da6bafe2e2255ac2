"""One extraction job, from the first note to the finished file, and what a person sees of it."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata, resources
from pathlib import Path
from typing import Any, Literal

from sympress.errors import InputError
from sympress.extract.checkpoint import (
    Checkpoint,
    State,
    failures_path,
    find_state,
    finish,
    first_bytes,
    mark_of,
    open_checkpoint,
    partial_folder,
)
from sympress.extract.concepts import ConceptMap, Vocabulary
from sympress.extract.shapes import Header, Shape, numbered, refuse_names
from sympress.extract.sources import Item, ItemCounts, Notes, Wanted, keep_wanted, stream_items
from sympress.extract.workers import (
    CHUNK_NOTES,
    MARKUP,
    Answer,
    Answered,
    Chunk,
    Digest,
    Order,
    cut_chunks,
    open_extraction,
    open_workers,
)
from sympress.files import refuse_to_overwrite
from sympress.labels.mentions import Reason
from sympress.labels.own_words import OURS, OwnWords
from sympress.labels.task import affirms
from sympress.notes.intake import Note
from sympress.runtime.artifact import files_to_run
from sympress.runtime.extractor import MENTIONS_MOST
from sympress.runtime.note_result import reason_in_words

# How fast a job goes and when it will be done, on standard error.


_ON_TERMINAL, _ELSEWHERE = 0.5, 30.0


class Pace:
    """Rate and estimate, a line that is rewritten on a terminal and one every 30 seconds elsewhere.

    The estimate comes from the share of the source's bytes that was read: how many notes there are is not
    known before the end.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._terminal = sys.stderr.isatty()
        self._quiet = quiet
        self._began = self._said = time.monotonic()
        self._first, self._share, self._share_first = 0, None, 0.0
        self._shown = False

    _share: float | None

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._began

    def read(self, done: int, total: int | None) -> None:
        """Note how many bytes of the source have been read."""
        self._share = done / total if total else None

    def start(self, notes: int) -> None:
        """Start the clock; `notes` were done before."""
        self._began, self._first, self._share_first = time.monotonic(), notes, self._share or 0.0

    def done(self, notes: int) -> None:
        """Show that `notes` are done, now and then."""
        now = time.monotonic()
        if self._quiet or now - self._said < (_ON_TERMINAL if self._terminal else _ELSEWHERE):
            return
        self._said = now
        line = self.line(notes, now - self._began)
        sys.stderr.write(f"\r\x1b[K{line}" if self._terminal else line + "\n")
        sys.stderr.flush()
        self._shown = self._terminal

    def line(self, notes: int, seconds: float) -> str:
        """Notes, rate, share and time left."""
        rate = (notes - self._first) / max(seconds, 1e-9)
        shown = f"{notes:,} notes, {rate:,.0f} a second"
        gained = (self._share or 0.0) - self._share_first
        if self._share is None or gained <= 0:
            return shown
        left = seconds * (1.0 - self._share) / gained
        return f"{shown}, {self._share:.0%} read, about {_spoken(left)} left"

    def end(self) -> None:
        """Clear the line on a terminal."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


# Results for people: one line a finding.


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


#: Said once, before the first symptom that a model found by the whole note.
POINTS_AT_NO_WORDS = "(this model answers for the whole note: it points at no words)"
_FOUND_BY = {"rules": "rules", "model": "model", "both": "rules and model"}


class Table:
    """Writes the rows of a job as aligned lines, chunk after chunk."""

    def __init__(self, *, explain: bool = False) -> None:
        """`explain` adds to each line who found it and what decided its assertion."""
        self._explain, self._told = explain, False

    def lines(self, chunk: Chunk, answered: Answered) -> bytes:
        """The rows of `answered`, made for the notes of `chunk`; spans with the note's words."""
        lines: list[str] = []
        for place, raw in zip(answered.places, answered.data.splitlines(), strict=True):
            row, item = json.loads(raw), chunk.items[place]
            if not self._told and row["symptoms"] and not row["mentions"]:
                self._told = True
                lines.append(POINTS_AT_NO_WORDS)
            lines += self._note_lines(row, item.text if isinstance(item, Note) else "")
        return "".join(line + "\n" for line in lines).encode("utf-8", "replace")

    def _note_lines(self, row: dict[str, Any], text: str) -> list[str]:
        name = _shown(row["note_id"])
        spanned = {one["symptom"] for one in row["mentions"] if affirms(one["assertion"])}
        found = [self._line(name, one, text) for one in row["mentions"]]
        found += [self._line(name, one, text) for one in row["symptoms"] if one["symptom"] not in spanned]
        found = found or [f"{name:<10}  no symptom"]
        if row["markup"] is not None:
            found[-1] += f"  ({row['markup']}, read as text)"
        if row["truncated"]:
            found[-1] += "  (only its beginning was read)"
        return found

    def _line(self, name: str, found: dict[str, Any], text: str) -> str:
        """A mention, or a symptom of the whole note, which has neither an assertion nor a place."""
        probability = found.get("score", found.get("probability"))
        # where rules and model disagree the number is the doubt of the one, not the certainty of the other
        shown = "" if probability is None or found["source"] == "rules" else f"{probability:.2f}"
        symptom, assertion = _shown(found["symptom"] or "?"), found.get("assertion", "present")
        line = f"{name:<10}  {symptom:<26} {assertion:<12} {shown:<4}"
        if "start" in found:
            line += f"  {found['start']}-{found['end']}  {_shown(text[found['start'] : found['end']])}"
        if self._explain:
            line += f"  [{_explained(found, probability)}]"
        return line.rstrip()


def _explained(found: dict[str, Any], probability: float | None) -> str:
    """Who found it, what decided its assertion, and a doubt of the model."""
    said: str = _FOUND_BY[found["source"]]
    if (reason := found.get("reason")) is not None:
        said += f": {_shown(reason_in_words(Reason(**reason)))}"
    if probability is not None and found["source"] == "rules":
        said += f"; the model doubts it, {probability:.2f}"
    return said


def _shown(text: str) -> str:
    """`text` without what moves the cursor of a terminal."""
    return _CONTROL.sub(" ", text)


# One extraction job: what is asked, and how it runs from the first note to the finished file.


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
        return Order(self.shape, self.encoding == "csv", header, self.most_mentions, self.words, self.digest)

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
            return open_extraction(self.artifact, order, self.ray)
        return open_workers(self.artifact, order, self.workers)

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
            self.artifact.name,  # which rows name
            *(_sum(self.artifact / file) for file in files_to_run(self.artifact)),
            _reader(),
            *([self.words.digest()] if self.words.named() else []),
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _reader() -> str:
    """A digest of what reads notes beside an artifact: this version of sympress, and its words."""
    digest = hashlib.sha256(metadata.version("sympress").encode())
    with resources.as_file(resources.files("sympress.labels") / "data") as folder:
        for file in sorted(one for one in folder.rglob("*") if one.is_file()):
            digest.update(_sum(file).encode())
    return digest.hexdigest()


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
    """Refuse to write over files that the job called `name` has not left there itself."""
    state = find_state(partial_folder(output))
    known = () if state is None or state.job != name else (state.output, state.failures)
    for path, what in ((output, ""), (failures_path(output), ", with the failures of an earlier job")):
        if os.path.lexists(path) and (mark_of(path) is None or mark_of(path) not in known):
            raise InputError(
                f"{path}: exists already{what}; name another file, or add --force to overwrite it"
            )


def _check_not_read(notes: Notes, output: Path) -> None:
    """Refuse to write over what is read, by whatever name: a link, or a file in a folder or pattern."""
    read = [found for source in notes.sources for found in source.stats()]
    if notes.stdin:
        with contextlib.suppress(OSError, ValueError):
            read.append(os.fstat(sys.stdin.fileno()))
    folder = partial_folder(output)
    unfinished = folder.iterdir() if folder.is_dir() and not folder.is_symlink() else ()
    refuse_to_overwrite((output, failures_path(output), *unfinished), read)


def _summary(state: State, resumed: int, errors: Path | None) -> Summary:
    counted = {one.name for one in dataclasses.fields(Summary)} - {"seconds", "resumed", "errors", "markup"}
    tally = {name: state.tally.get(name, 0) for name in counted}
    markup = {
        name.removeprefix(MARKUP): count for name, count in state.tally.items() if name.startswith(MARKUP)
    }
    return Summary(**tally, seconds=state.seconds, resumed=resumed, errors=errors, markup=markup)


#: What the readers count, for the summary.
_READ = ("rows", "retracted", "filtered", "undated", "unread_dates", "ambiguous_dates", "unnamed")


def _tally(counts: ItemCounts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in _READ}


def _check_rows(job: Job, counts: ItemCounts) -> None:
    """Refuse a source without rows: nobody asks for nothing."""
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
    """Read over what an earlier run has written; refuse notes that are not the ones of that run."""
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
