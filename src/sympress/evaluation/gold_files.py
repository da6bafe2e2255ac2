"""Gold from files: any format of annotations, or rows beside the notes that they are of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from sympress.errors import InputError, nearest
from sympress.evaluation.gold import Gold, GoldNote, Vocabulary, checked, checked_class
from sympress.evaluation.quality import age_band
from sympress.labels.gold import read_gold, recognise_gold
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.documents import GoldDocument, GoldSet, read_lines
from sympress.labels.gold.mentions import UNSAID, symptom_labels, to_annotated
from sympress.labels.mentions import Assertion, Mention
from sympress.labels.silver import affirmed_symptoms
from sympress.notes.intake import ReadingCounts
from sympress.notes.layout import RECOGNISED, TableOptions
from sympress.notes.read import no_note_left, stream_notes
from sympress.notes.streams import head_of

# Gold as rows beside their notes: what `sympress label` and `sympress extract` write, and OMOP's NOTE_NLP.
#
# A row names its note; the text comes from the notes, or from a column `text` of the same file. Their
# columns say which rows they are:
#
#     note_id, mentions                        `label --task mentions`, `extract -o x.jsonl` or `.parquet`
#     note_id, symptom, assertion, start, end  `extract -o x.csv`
#     note_id, offset, lexical_variant         `extract --format omop`, or another tool's NOTE_NLP
#     note_id, symptoms                        `label --task present`
#     note_id, symptom                         `label --task topic`


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
        checked_class(row.get("assertion", "present"), where),
    )


def _whole(value: Any, where: str) -> int:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{where} is no whole number; count characters of the note")
    return value


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
        return checked_class(said.group(1), where)
    if str(row.get("term_temporal") or "").strip().casefold() in ("past", "historical", "history"):
        return "historical"
    exists = str(row.get("term_exists") or "Y").strip().casefold()
    return "absent" if exists in ("n", "no", "false", "0") or _NEGATED.search(modifiers) else "present"


def _read_symptoms(row: Row, where: str, note: NoteRows, vocabulary: Vocabulary) -> None:  # noqa: ARG001
    value = row.get("symptoms")
    named = value.split(";") if isinstance(value, str) else value
    if not (named is None or isinstance(named, list)):
        raise InputError(f"{where}: 'symptoms' is no list of names")
    rows = [one.get("symptom") if isinstance(one, dict) else one for one in named or []]
    if not all(isinstance(name, str) for name in rows if name is not None):
        raise InputError(f"{where}: 'symptoms' is no list of names")
    note.affirmed = {name.strip() for name in rows if name}


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


# Gold from files: any format of annotations, or rows beside the notes that they are of.


#: Columns of a note, beside those of the user's own table, that figures can be told apart by.
GROUPS = ("sex", "age", "category", "encounter_id")
#: Groups of a table of figures, and characters of the name of one.
GROUPS_MOST, GROUP_NAME_MOST = 100, 100
#: An age beyond it is a mistake, and no age.
OLDEST_YEARS = 150


@dataclass(frozen=True)
class GoldOptions:
    """What a user says of gold and notes.

    Attributes:
        notes: the notes, where the gold has no text, or where they say more; None for those of the gold.
        group_by: column of the notes, or key of a note in JSON lines, that figures are told apart by.
        labels: labels of spans that are symptoms; empty for those whose name says so.
        ignore: attributes of spans that do not change what their words assert.
        table: columns of the notes and their encoding.
    """

    notes: Path | None = None
    group_by: str | None = None
    labels: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    table: TableOptions = RECOGNISED


_ONE_MARKED = "notes have one marked condition and may hold others: only the recall says something"
_DEFAULTS = GoldOptions()


def read_for(path: Path, vocabulary: Vocabulary, options: GoldOptions = _DEFAULTS) -> Gold:
    """Return the gold of `path`, its symptoms named as the artifact names them where it knows them.

    Args:
        path: annotations in a format of `labels.gold.read_gold`, or rows as `evaluation.rows` has them.
        vocabulary: of the artifact.
        options: what cannot be told by itself.

    Raises:
        InputError: gold or notes cannot be read, or do not belong together: an unknown note, an offset
            outside its text, a text that was changed; or no note has the column of the groups.
    """
    kind = kind_of_rows(path)
    if kind is not None:
        rows = read_rows(path, vocabulary, kind)
        source = path if options.notes is None and rows.texts else options.notes
        if source is None:
            raise InputError(f"{path}: rows without the text of their notes; give the notes with --notes")
        beside = _Notes.read(source, options)
        return _grouped(_of_rows(path, rows, beside, vocabulary), options, beside, {})
    notes = options.notes
    texts = None
    if path.exists() and recognise_gold(path) == "vaers" and notes is None:
        notes = path
    frame = _Notes.read(notes, options) if notes is not None else None
    if frame is not None:
        texts = {note_id: row["text"] for note_id, row in frame.rows.items()}
    read = read_gold(path, texts=texts)
    if frame is not None:
        _check_texts(read.documents, frame, path)
    keys = {one.note_id: found for one in read.documents if (found := _kept_keys(one))}
    return _grouped(_of_documents(path, read, vocabulary, options), options, frame, keys)


@dataclass
class _Reading(ReadingCounts):
    """Counts that remember which notes were left out, and why."""

    left_out: dict[str, str] = field(default_factory=dict)

    def drop(self, reason: str, note_id: str | None = None) -> None:
        super().drop(reason, note_id)
        if note_id is not None:
            self.left_out[note_id] = reason


@dataclass(frozen=True)
class _Notes:
    """The notes beside the gold, by id, and those that were left out on reading, with the reason."""

    path: Path
    rows: Mapping[str, Mapping[str, Any]]
    left_out: Mapping[str, str]

    @classmethod
    def read(cls, path: Path, options: GoldOptions) -> _Notes:
        table = options.table
        if options.group_by is not None and options.group_by not in (*GROUPS, "patient_id"):
            table = replace(table, category=options.group_by)
        counts = _Reading()
        rows = {
            row["note_id"]: row
            for frame in stream_notes(path, table=table, counts=counts)
            for row in frame.iter_rows(named=True)
        }
        if not rows:
            raise no_note_left(path, counts)
        return cls(path, rows, counts.left_out)

    def row(self, note_id: str, where: str) -> Mapping[str, Any]:
        found = self.rows.get(note_id)
        if found is None and note_id in self.left_out:
            raise InputError(
                f"{where}: note {note_id!r} cannot be used ({self.left_out[note_id]}); mend or remove its row"
            )
        if found is None:
            raise InputError(
                f"{where}: note {note_id!r} is not in {self.path}{nearest(note_id, self.rows)}; give the "
                "notes that were annotated"
            )
        return found


def _check_texts(documents: Collection[GoldDocument], notes: _Notes, path: Path) -> None:
    for one in documents:
        if notes.row(one.note_id, str(path))["text"] != one.text:
            raise InputError(
                f"{path}: note {one.note_id!r}: its text is not that of {notes.path}; give the notes as they "
                "were annotated, or leave out --notes"
            )


def _of_rows(path: Path, rows: RowGold, notes: _Notes, vocabulary: Vocabulary) -> Gold:
    held = []
    for note_id, said in rows.notes.items():
        text = notes.row(note_id, said.where)["text"]
        for one in said.mentions:
            if fault := misplaced(one, said.words.get((one.start, one.end)), text):
                raise InputError(
                    f"{said.where}: note {note_id!r}: {fault}; give the notes as they were annotated"
                )
        mentions = tuple(map(vocabulary.named, sorted(said.mentions, key=lambda one: (one.start, one.end))))
        affirmed = affirmed_symptoms(mentions)
        if said.affirmed is not None:
            named = frozenset(map(vocabulary.name, said.affirmed))
            affirmed = named | affirmed if rows.kind in ("omop", "findings") else named
        held.append(GoldNote(note_id, text, affirmed, mentions))
    remarks = []
    if len(notes.rows) > len(held):
        left = len(notes.rows) - len(held)
        if rows.kind == "omop":  # a note in which nothing was found has no row
            held += [
                GoldNote(note_id, row["text"], frozenset())
                for note_id, row in notes.rows.items()
                if note_id not in rows.notes
            ]
            remarks.append(f"{left:,} notes have no row of NOTE_NLP and count as notes without a symptom")
        else:
            remarks.append(f"{left:,} notes have no gold and are left out")
    return Gold(tuple(held), path.name, rows.kind, rows.spans, rows.spans, remarks=tuple(remarks))


def _of_documents(path: Path, read: GoldSet, vocabulary: Vocabulary, options: GoldOptions) -> Gold:
    placed = any(span.fragments for one in read.documents for span in one.spans)
    if not placed and any(one.spans for one in read.documents):
        held = tuple(
            GoldNote(one.note_id, one.text, frozenset(vocabulary.name(span.label) for span in one.spans))
            for one in read.documents
        )
        return Gold(held, path.name, read.format, spans=False, asserted=False)
    labels = _symptom_labels(path, read, vocabulary, options)
    notes, counts = to_annotated(
        read.documents, labels=labels, ignore=options.ignore, symptom_of=vocabulary.symptom_of_words
    )
    asserted = counts["mentions"] > counts[UNSAID] or read.format == "i2b2"
    held = tuple(
        GoldNote(one.note_id, one.text, affirmed_symptoms(one.mentions), one.mentions) for one in notes
    )
    if read.format == "negex":
        counts[_ONE_MARKED] = len(notes)
    remarks = (*_remarks(counts, asserted=asserted), *_other_labels(read.documents, labels))
    return Gold(held, path.name, read.format, spans=True, asserted=asserted, remarks=remarks)


def _symptom_labels(
    path: Path, read: GoldSet, vocabulary: Vocabulary, options: GoldOptions
) -> dict[str, str | None]:
    """Labels that are symptoms, each with the symptom that it names, the artifact's or people's own.

    A label that the user lists beside labels that name symptoms names one too, known or not.
    """
    if not options.labels:
        found = symptom_labels(read.documents, vocabulary.lexicon, source=str(path))
        return {label: None if one is None else vocabulary.name(one) for label, one in found.items()}
    kinds = {label: load_attributes().label_parts(label).kind or label for label in options.labels}
    named = {label: vocabulary.symptom(kind) for label, kind in kinds.items()}
    if not any(named.values()):
        return dict.fromkeys(options.labels)
    return {label: one or kinds[label] for label, one in named.items()}


def _remarks(counts: Counter[str], *, asserted: bool) -> Iterator[str]:
    """What happened to the spans while they were read, as far as figures depend on it."""
    said = counts["mentions"] - counts[UNSAID]
    if not asserted and counts["mentions"]:
        yield "no span of the gold says what it asserts: all are read as present, assertion is not judged"
    elif said < counts["mentions"]:
        yield f"{counts[UNSAID]:,} spans of the gold say nothing of their assertion and are read as present"
    if one := counts[_ONE_MARKED]:
        yield f"{one:,} {_ONE_MARKED}"
    for what, count in sorted(counts.items()):
        if count and ("dropped" in what or "longest fragment" in what):
            yield f"{count:,} spans of the gold: {what}"


def _other_labels(documents: Collection[GoldDocument], labels: Collection[str]) -> Iterator[str]:
    """Say which labels were not read as symptoms: a symptom of people's own may be among them."""
    table = load_attributes()
    others = Counter(
        span.label
        for one in documents
        for span in one.spans
        if span.label not in labels and (kind := table.label_parts(span.label).kind) not in labels and kind
    )
    if others:
        shown = ", ".join(f"{label} {count:,}" for label, count in others.most_common(8))
        more = f" and {len(others) - 8} more labels" if len(others) > 8 else ""
        yield (
            f"{others.total():,} spans have other labels and are not read as symptoms ({shown}{more}); "
            "--gold-labels names those that are"
        )


def _kept_keys(document: GoldDocument) -> dict[str, Any]:
    """Keys of a note in JSON lines beside its text and spans."""
    extra = document.extra
    if extra is None or extra.format not in ("jsonl", "doccano"):
        return {}
    found = [json.loads(line) for line in extra.lines[:1]]
    return found[0] if found and isinstance(found[0], dict) else {}


def _group_name(value: object, by: str | None) -> str | None:
    """What stands for the notes with `value` in their column; None where there is none.

    Raises:
        InputError: it is no short word, number or truth value, so that it might be a note's text.
    """
    if value in (None, ""):
        return None
    if by == "age" and isinstance(value, int | float) and not isinstance(value, bool):
        return age_band(float(value)) if 0 <= value <= OLDEST_YEARS else None
    name = str(value) if isinstance(value, str | int | float) else ""
    if not (0 < len(name) <= GROUP_NAME_MOST and name.isprintable()):
        raise InputError(
            f"--group-by {by}: a value is no number and no word of at most {GROUP_NAME_MOST} characters that "
            "can be printed; name another column"
        )
    return name


def _grouped(
    gold: Gold, options: GoldOptions, notes: _Notes | None, keys: Mapping[str, Mapping[str, Any]]
) -> Gold:
    """`gold` with the patient of each note, and the group where one is asked for."""
    by, rows = options.group_by, notes.rows if notes is not None else keys
    column = by if by is None or by in (*GROUPS, "patient_id") or notes is None else "category"
    held = []
    for note in gold.notes:
        row = rows.get(note.note_id, {})
        patient = row.get("patient_id")
        held.append(
            replace(
                note,
                patient_id=None if patient is None else str(patient),
                group=None if column is None else _group_name(row.get(column), by),
            )
        )
    named = {note.group for note in held}
    if len(named) > GROUPS_MOST:
        raise InputError(
            f"--group-by {by}: {len(named):,} different values in {len(held):,} notes, more than "
            f"{GROUPS_MOST} groups; name a column with few"
        )
    if by is not None and all(note.group is None for note in held):
        known = sorted(
            {key for row in rows.values() for key, value in row.items() if value is not None} - {"text"}
        )
        place = f" of {notes.path}" if notes is not None else "; give the notes with their columns by --notes"
        raise InputError(f"--group-by {by}: no annotated note has it{nearest(by, known)}{place}")
    return checked(replace(gold, notes=tuple(held), group_by=by))
