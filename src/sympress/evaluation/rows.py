"""Gold as rows beside their notes: what `sympress label` and `sympress extract` write, and OMOP's NOTE_NLP.

A row names its note; the text comes from the notes, or from a column `text` of the same file. Their columns
say which rows they are:

    note_id, mentions                        `label --task mentions`, `extract -o x.jsonl` or `.parquet`
    note_id, symptom, assertion, start, end  `extract -o x.csv`
    note_id, offset, lexical_variant         `extract --format omop`, or another tool's NOTE_NLP
    note_id, symptoms                        `label --task present`
    note_id, symptom                         `label --task topic`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from sympress.errors import InputError, nearest
from sympress.evaluation.vocabulary import Vocabulary
from sympress.labels.gold.lines import read_lines
from sympress.labels.mentions import ASSERTIONS, Assertion, Mention
from sympress.notes.streams import head_of

Kind = Literal["mentions", "findings", "omop", "symptoms", "symptom"]
Row = Mapping[str, Any]
#: What rows of each kind are told by, the surest first.
_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "mentions": ("mentions",),
    "omop": ("offset", "lexical_variant"),
    "findings": ("symptom", "assertion", "start", "end"),
    "symptoms": ("symptoms",),
    "symptom": ("symptom",),
}
#: Keys of the formats that hold their spans themselves.
_SPAN_KEYS = {"spans", "entities", "label", "labels", "annotations"}
_SPACE = re.compile(r"[\s\x00-\x1f\x7f]")
#: What CSV puts before words that a spreadsheet would take for a formula.
_FORMULA = re.compile(r"^'(?=[=+@\t\r-])")
_CODE = re.compile(r"(?:^|,)code=([^,]+)")
_SAID = re.compile(r"(?:^|,)\s*assertion=(\w+)")
_NEGATED = re.compile(r"negat(?:ed|ion)(?:=(?:true|1|y(?:es)?))?\s*(?:,|$)", re.IGNORECASE)


@dataclass
class NoteRows:
    """What the rows of one note say.

    Attributes:
        where: its first row, for messages.
        mentions: spans, as far as the rows have places.
        affirmed: symptoms that the rows say of the note as a whole; None where they say none.
        words: where a span has words beside its place, these, by the place.
    """

    where: str
    mentions: list[Mention] = field(default_factory=list)
    affirmed: set[str] | None = None
    words: dict[tuple[int, int], str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowGold:
    """Rows by note.

    Attributes:
        kind: which rows they are.
        notes: what they say, by note id.
        spans: at least one row has a place, so that all are spans.
        texts: the rows hold the text of their notes.
    """

    kind: Kind
    notes: Mapping[str, NoteRows]
    spans: bool
    texts: bool


def kind_of_rows(path: Path) -> Kind | None:
    """Say which of these rows `path` holds, by its content; None for another format of gold."""
    if path.is_dir() or not path.exists():
        return None
    head = head_of(path)
    try:
        if head.startswith(b"PAR1"):
            return _kind(set(pl.read_parquet_schema(path)))
        text = head.decode("utf-8", "replace").lstrip("\ufeff").lstrip()
        if text.startswith("{"):
            line = next((line for line in read_lines(path) if line.strip()), "")
            row = json.loads(line)
            return None if not isinstance(row, dict) or _SPAN_KEYS & set(row) else _kind(set(row))
        return _kind({name.strip('" ') for name in text.split("\n")[0].strip().split(",")})
    except (ValueError, RecursionError, pl.exceptions.PolarsError):
        return None  # the reader of another format says what is wrong with it


def _kind(columns: set[str]) -> Kind | None:
    if "note_id" not in columns:
        return None
    return next((kind for kind, wanted in _COLUMNS.items() if set(wanted) <= columns), None)


def read_rows(path: Path, vocabulary: Vocabulary, kind: Kind) -> RowGold:
    """Read the rows of `path`.

    Args:
        path: a file of JSON lines, CSV or Parquet.
        vocabulary: names the symptoms of OMOP's codes and words.
        kind: which rows they are, see `kind_of_rows`.

    Raises:
        InputError: a row is damaged, with its place; a note stands in two rows of a kind that has one a note.
    """
    notes: dict[str, NoteRows] = {}
    texts = False
    for where, row in _rows(path):
        texts = texts or "text" in row
        note_id = row.get("note_id")
        if note_id is None or note_id == "":
            raise InputError(f"{where}: 'note_id' is missing; name the note")
        single = kind not in ("findings", "omop")
        if single and str(note_id) in notes:
            raise InputError(f"{where}: note {str(note_id)!r} is there twice; keep one row")
        held = notes.setdefault(str(note_id), NoteRows(where))
        _READERS[kind](row, where, held, vocabulary)
    if not notes:
        raise InputError(f"{path}: no rows; give notes that were annotated")
    return RowGold(kind, notes, any(one.mentions for one in notes.values()), texts)


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Each row and where it stands."""
    head = head_of(path)
    try:
        if head.startswith(b"PAR1"):
            frame = pl.read_parquet(path)
        elif head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
            yield from _json_rows(path)
            return
        else:
            frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}); is the file whole?") from None
    for number, row in enumerate(frame.iter_rows(named=True), start=1):
        yield f"{path}, row {number}", row


def _json_rows(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):  # outside the handler: its error carries the line
            raise InputError(f"{path}, line {number}: not a JSON object; write one note a line")
        yield f"{path}, line {number}", row


def _read_mentions(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:  # noqa: ARG001
    rows = row.get("mentions")
    if not isinstance(rows, list):
        raise InputError(f"{where}: 'mentions' is no list; write a mention as start, end, symptom, assertion")
    for number, one in enumerate(rows, start=1):
        note.mentions.append(_mention(one, f"{where}, mention {number}"))
    if isinstance(found := row.get("symptoms"), list):
        named = [one.get("symptom") if isinstance(one, dict) else one for one in found]
        note.affirmed = {name for name in named if isinstance(name, str)}


def _read_finding(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:  # noqa: ARG001
    if row.get("start") in (None, ""):
        note.affirmed = note.affirmed or set()
        if name := row.get("symptom"):
            note.affirmed.add(str(name))
        return
    note.mentions.append(_mention(row, where))


def _mention(row: Any, where: str) -> Mention:
    if not isinstance(row, dict):
        raise InputError(f"{where}: no mention; write start, end, symptom, assertion")
    symptom = row.get("symptom")
    return Mention(
        _whole(row.get("start"), f"{where}: start"),
        _whole(row.get("end"), f"{where}: end"),
        None if symptom in (None, "") else str(symptom),
        _assertion(row.get("assertion", "present"), where),
    )


def _whole(value: Any, where: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where} is no whole number; count characters of the note")
    return value


def _assertion(value: Any, where: str) -> Assertion:
    if value not in ASSERTIONS:
        raise InputError(
            f"{where}: unknown assertion {str(value)[:40]!r}{nearest(str(value), ASSERTIONS)}; use "
            f"{', '.join(ASSERTIONS)}"
        )
    return cast("Assertion", value)


def _read_omop(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:
    words = _FORMULA.sub("", str(row.get("lexical_variant") or ""))
    modifiers = str(row.get("term_modifiers") or "")
    code = _CODE.search(modifiers)
    symptom = (vocabulary.symptom(code.group(1)) if code else None) or vocabulary.symptom_of_words(words)
    assertion = _omop_assertion(row, modifiers, where)
    if row.get("offset") in (None, ""):
        note.affirmed = note.affirmed or set()
        if assertion == "present":
            note.affirmed.add(symptom or words)
        return
    start = _whole(row["offset"], f"{where}: offset")
    place = (start, start + max(1, len(words)))
    note.mentions.append(Mention(*place, symptom, assertion))
    note.words[place] = words


def _omop_assertion(row: Row, modifiers: str, where: str) -> Assertion:
    """What a row of NOTE_NLP asserts: by its modifiers, else by `term_temporal` and `term_exists`."""
    if said := _SAID.search(modifiers):
        return _assertion(said.group(1), where)
    if str(row.get("term_temporal") or "").strip().casefold() in ("past", "historical", "history"):
        return "historical"
    exists = str(row.get("term_exists") or "Y").strip().casefold()
    return "absent" if exists in ("n", "no", "false", "0") or _NEGATED.search(modifiers) else "present"


def _read_symptoms(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:  # noqa: ARG001
    value = row.get("symptoms")
    named = value.split(";") if isinstance(value, str) else value
    if not (named is None or isinstance(named, list)):
        raise InputError(f"{where}: 'symptoms' is no list of names")
    rows = (one.get("symptom") if isinstance(one, dict) else one for one in named or [])
    note.affirmed = {str(name).strip() for name in rows if name}


def _read_symptom(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:  # noqa: ARG001
    name = row.get("symptom")
    if not isinstance(name, str) and name is not None:
        raise InputError(f"{where}: 'symptom' is no name")
    note.affirmed = {name} if name else set()


_READERS = {
    "mentions": _read_mentions,
    "findings": _read_finding,
    "omop": _read_omop,
    "symptoms": _read_symptoms,
    "symptom": _read_symptom,
}


def misplaced(mention: Mention, words: str | None, text: str) -> str | None:
    """Why a span of a row doesn't fit the text of its note; None where it does."""
    if not 0 <= mention.start < mention.end <= len(text):
        return f"offsets {mention.start} {mention.end} lie outside the note, which has {len(text)} characters"
    if words is not None:
        there = _SPACE.sub(" ", text[mention.start : mention.end])
        if there.casefold() != words.casefold():
            return f"the text at {mention.start} {mention.end} is not its lexical_variant"
    return None
