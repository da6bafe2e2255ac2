"""What every reader of notes shares: counting rows, choosing notes, blanking placeholders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from sympress.errors import InputError

# Counting what became of the rows of a source.


@dataclass
class ReadingCounts:
    """What happened to the rows of a source: nothing is skipped without being counted.

    `rows` = `kept` + `sampled_out` + the sum of `dropped` once reading has finished.

    Attributes:
        unnamed: rows of a table with ids that have none of their own, and are called after their number.
        unread_dates: notes with a date that can't be read, and so without a time.
        ambiguous_dates: those of them whose day and month could be either way round.
        remarks: what a user must know of how the source is read, one line each.
        say: called with each remark, once.
    """

    rows: int = 0
    kept: int = 0
    sampled_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    unnamed: int = field(default=0, compare=False)
    unread_dates: int = field(default=0, compare=False)
    ambiguous_dates: int = field(default=0, compare=False)
    remarks: list[str] = field(default_factory=list, compare=False)
    say: Callable[[str], None] | None = field(default=None, compare=False, repr=False)

    def drop(self, reason: str, note_id: str | None = None) -> None:  # noqa: ARG002  extraction lists it
        """Count a row, that of `note_id` if it has one, that is left out because of `reason`."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1

    def remark(self, line: str) -> None:
        """Note something that a user must know; the same line is noted once."""
        if line not in self.remarks:
            self.remarks.append(line)
            if self.say is not None:
                self.say(line)


# Choosing a fraction of the patients, the same ones on every machine.


#: Bits of the hash that make the uniform number: as many as a float holds exactly, so it stays below 1.
_BITS = 53


def check_fraction(fraction: float) -> float:
    """Return `fraction` if it lies in (0, 1].

    Raises:
        InputError: it does not (also for NaN).
    """
    if not 0.0 < fraction <= 1.0:
        raise InputError(f"fraction {fraction}: give a number above 0 and up to 1, for example 0.1")
    return fraction


def keep_patient(key: str, fraction: float) -> bool:
    """Say whether the notes of `key` belong to a sample of `fraction` of all patients.

    The answer depends on the two arguments alone: not on the order of the rows, the machine, the
    process or other patients. A larger fraction keeps everyone whom a smaller one keeps, and all notes
    of a patient share one answer, so a sample never tears a patient apart.

    Args:
        key: patient_id, or note_id where a source names no patient.
        fraction: expected share of keys that are kept, in (0, 1].

    Raises:
        InputError: `fraction` is outside (0, 1].
    """
    return check_fraction(fraction) == 1.0 or _position(key) < fraction


@lru_cache(maxsize=65_536)  # the notes of a patient mostly stand together: hash each of them once
def _position(key: str) -> float:
    """Place `key` uniformly in [0, 1): the top 53 bits of its 64-bit BLAKE2b hash."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return float((int.from_bytes(digest, "big") >> (64 - _BITS)) / 2**_BITS)


#: Called with the bytes of the source read so far (as stored, so compressed ones count compressed)
#: and how many there are, or None where that is unknown.
Progress = Callable[[int, int | None], None]

#: Longest note in characters. The longest of MIMIC-III have about 55,000; a longer field is a quote
#: that is never closed or a file that holds no notes, and must not fill the memory.
NOTE_LIMIT = 16 * 2**20
NOTE_BYTES = 4 * NOTE_LIMIT  # UTF-8 takes at most four bytes a character

#: Most word pieces of a window, twice what the longest encoder of a family that is read takes.
TOKENS_MOST = 16_384

#: Why rows are left out, as counted in `ReadingCounts.dropped`.
MALFORMED, RETRACTED, WITHOUT_TEXT = "malformed row", "retracted by the source", "without text"
NOT_UTF8 = "not UTF-8"
CHANGED = "changed while it was read"
NO_FILE = "no file but a pipe or a device"
TOO_LONG = f"longer than {NOTE_LIMIT:,} characters"

_ROWS_BETWEEN_REPORTS = 1_000


class Note(NamedTuple):
    """One row of `NOTE_SCHEMA`, in its order; `time` has the zone that the source gives it, if any."""

    note_id: str
    patient_id: str | None
    encounter_id: str | None
    time: datetime | None
    category: str | None
    sex: str | None
    age: float | None
    text: str
    codes: list[str] | None


class Meter:
    """How many bytes of the source have been read; reports never go backwards."""

    def __init__(self, progress: Progress | None, total: int | None) -> None:
        self._progress = progress
        self._total = total
        self._file: IO[bytes] | None = None
        self._before = 0
        self._furthest = 0

    def open(self, file: IO[bytes]) -> None:
        """Follow the position of `file`, the stored bytes of the part that is being read."""
        self._file = file

    def close(self, size: int) -> None:
        """Count the file that was followed, `size` bytes, as read; 0 if it will be opened again."""
        self._file = None
        self._before += size
        self.report()

    def report(self) -> None:
        """Pass on the present position."""
        if self._progress is None:
            return
        here = self._before + (self._file.tell() if self._file is not None else 0)
        self._furthest = max(self._furthest, here)
        if self._total is not None:
            self._furthest = min(self._furthest, self._total)
        self._progress(self._furthest, self._total)


class Intake:
    """Decides which rows become notes and counts all of them in `counts`.

    A row is dropped for its own fault first and sampled out last, so the counts of dropped rows do not
    depend on the fraction.

    Attributes:
        strict: whether a row that is no text, or longer than any note, stops the reading (see `refuse`).
        wants_codes: whether the codes that people gave the notes are read, where they take time.
        slice_rows: rows that a reader of columns takes at once.
    """

    strict = True
    wants_codes = True
    slice_rows = 10_000

    def __init__(self, counts: ReadingCounts, fraction: float, meter: Meter) -> None:
        self.counts = counts
        self.meter = meter
        self.fraction = fraction
        self._ids: set[str] = set()  # of kept notes: about 100 bytes each

    def row(self) -> None:
        """Count a row that was met."""
        self.counts.rows += 1
        if self.counts.rows % _ROWS_BETWEEN_REPORTS == 0:
            self.meter.report()

    def refuse(self, reason: str, note_id: str | None, message: str) -> None:
        """Stop at a row that shows that its source is damaged or misread; one not strict only counts it.

        Raises:
            InputError: with `message`.
        """
        if self.strict:
            raise InputError(message)
        self.counts.drop(reason, note_id)

    def admits(self, note_id: str, patient_id: str | None, text: str | None, path: Path) -> bool:
        """Say whether a well-formed row becomes a note, and count what becomes of it.

        Raises:
            InputError: a kept note has the id of an earlier one. Everything downstream names a note by
                its id, so two notes under one id would be mixed up; neither can be left out in silence.
        """
        if self._unfit(note_id, text):
            return False
        if self.fraction < 1.0 and not keep_patient(patient_id or note_id, self.fraction):
            self.counts.sampled_out += 1
            return False
        if note_id in self._ids:
            raise InputError(
                f"{path}: row {self.counts.rows} has note_id {note_id[:40]!r}, as an earlier row has; "
                "remove the repeated rows, or name another column with --id-column"
            )
        self._ids.add(note_id)
        self.counts.kept += 1
        return True

    def _unfit(self, note_id: str, text: str | None) -> bool:
        """Whether a row has no text, or too much of it; then it is counted."""
        reason = WITHOUT_TEXT if not text or text.isspace() else TOO_LONG if len(text) > NOTE_LIMIT else None
        if reason is not None:
            self.counts.drop(reason, note_id)
        return reason is not None


# Blanking what de-identification left in MIMIC notes, without moving a single offset.


#: Longest inside of a placeholder. Real ones stay below 60 characters; the limit keeps a stray "[**"
#: from reaching far into a note, and bounds how deep placeholders can nest.
MAX_INSIDE = 300

# The inside may span a newline, but never holds another opening or closing mark.
_PLACEHOLDER = re.compile(rf"\[\*\*(?:(?!\[\*\*|\*\*\])[\s\S]){{0,{MAX_INSIDE}}}\*\*\]")
_VISIBLE = re.compile(r"\S")


_YEAR = re.compile(r"\[\*\*\d{4}\*\*\]")


def read_years(text: str, year: str) -> str:
    """Return `text`, exactly as long, with every year that is a placeholder, `[**2131**]`, written as `year`.

    Shifted years tell no date, but where one is written a time that has gone by is meant. `year` has at most
    ten characters.
    """
    return _YEAR.sub(f"{year:^10}", text) if "[**" in text else text


def mask_placeholders(text: str) -> str:
    """Return `text`, exactly as long, with every placeholder `[**…**]` turned into white space.

    The rule: a placeholder starts with ``[**``, ends at the next ``**]``, and has at most `MAX_INSIDE`
    characters in between, newlines included: ``[**2151-7-16**]``, ``[**Hospital 18**]``,
    ``[**First Name8 (NamePattern2) **]``. Each visible character of it becomes one space; its own white
    space (newlines above all) stays. One that stands inside another is masked with it. An opening mark
    without its closing mark is left as it is.

    Why white space: an offset found in the masked text is an offset of the original text; no word of a
    lexicon can match inside ("[**Known lastname Payne**]", "[**Hospital Burn Unit**]"); tokenizers make
    no token (WordPiece) or the fewest (byte-level BPE) of it; and kept newlines leave lines, hence
    section headings, where they were. A dummy word such as "NAME" would fit none of these. What
    remains visible is a gap: a rule that skips any run of white space sees the words on both sides of a
    placeholder as neighbours, as in "chest [**12-3**] pain".

    Masking what is already masked changes nothing.
    """
    if "[**" not in text:
        return text
    masked = _PLACEHOLDER.sub(_blank, text)
    # Blanking an inner placeholder can complete an outer one. MAX_INSIDE bounds the number of turns:
    # each level of nesting takes six characters of it.
    while masked != text:
        text, masked = masked, _PLACEHOLDER.sub(_blank, masked)
    return masked


def _blank(placeholder: re.Match[str]) -> str:
    return _VISIBLE.sub(" ", placeholder.group())
