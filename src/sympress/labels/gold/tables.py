"""Annotations in rows: CoNLL, PubTator, and the NegEx test set."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold.documents import (
    GoldDocument,
    GoldFormat,
    GoldSet,
    GoldSpan,
    check_fragments,
    first_line,
    gold_set,
    read_lines,
)

# Reading CoNLL: a token a line, its tag (BIO or BIOES) in the last column, a blank line after a sentence.
#
# Documents begin with `# newdoc id = NOTE_ID` or with a line that starts with `-DOCSTART-`; without either,
# the file is one document. Columns are separated by tabs, or by spaces where a line has no tab.


NEW_DOCUMENT = "# newdoc id = "
_DOCUMENT_START = re.compile(r"-DOCSTART-(?:\s.*)?")
_SPACE = re.compile(r"\s*")
_TAG = re.compile(r"O|[BIES]-\S+")
LONE_INSIDE = "I- or E- that continues nothing: read as the start of a span"


@dataclass
class _Block:
    """The lines of one document: tokens, tags and line numbers; None ends a sentence."""

    note_id: str
    tokens: list[tuple[str, str, int] | None] = field(default_factory=list)


def read_conll(path: Path | str, *, texts: Mapping[str, str] | None = None) -> GoldSet:
    """Return the documents of a CoNLL file.

    A tag `I-X` or `E-X` that does not continue a span `X` starts one, as in conlleval, and is counted.

    Args:
        path: the file.
        texts: the original text of each note by its id; offsets then count its characters. Without them the
            text is the tokens joined by single spaces, sentences by line breaks.

    Raises:
        InputError: a line without a tag, a tag that is neither BIO nor BIOES, a document that is there
            twice, a note without a text in `texts`, tokens that are not those of the text.
    """
    path = Path(path)
    happened: Counter[str] = Counter()
    documents = [_document(block, texts, happened, path) for block in _blocks(path)]
    return gold_set("conll", documents, happened)


def _blocks(path: Path) -> list[_Block]:
    """Return the documents of a file, those without an id numbered after the file's name."""
    blocks: list[_Block] = []
    seen: set[str] = set()
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number}"
        starts = _DOCUMENT_START.fullmatch(line)
        if starts or line.startswith(NEW_DOCUMENT):
            note_id = f"{path.stem}-{len(blocks) + 1}" if starts else line.removeprefix(NEW_DOCUMENT)
            if note_id in seen:
                raise InputError(f"{where}: the document {note_id!r} is there twice; give each its own id")
            seen.add(note_id)
            blocks.append(_Block(note_id))
            continue
        if not blocks and line.strip():
            blocks.append(_Block(path.stem))
            seen.add(path.stem)
        if blocks:
            blocks[-1].tokens.append(_token(line, number, where))
    if not blocks:
        raise InputError(f"{path}: an empty file; CoNLL has a token and its tag in each line")
    return blocks


def _token(line: str, number: int, where: str) -> tuple[str, str, int] | None:
    """Return the token, its tag and the line's number; None for a blank line."""
    if not line.strip():
        return None
    fields = line.split("\t") if "\t" in line else line.split()
    if len(fields) < 2 or not fields[0].strip():
        raise InputError(f"{where}: {len(fields)} column; CoNLL has a token and its tag in each line")
    if not _TAG.fullmatch(fields[-1]):
        raise InputError(
            f"{where}: the last column is no tag; use O, B-LABEL, I-LABEL (and E-LABEL, S-LABEL)"
        )
    return fields[0], fields[-1], number


def _document(
    block: _Block, texts: Mapping[str, str] | None, happened: Counter[str], path: Path
) -> GoldDocument:
    if texts is None:
        text = _joined(block)
    elif block.note_id in texts:
        text = texts[block.note_id]
    else:
        raise InputError(
            f"{path}: the text of note {block.note_id!r} was not given{nearest(block.note_id, texts)}; "
            "check the ids, or leave `texts` out"
        )
    places = _places(block, text, path)
    return GoldDocument(block.note_id, text, _spans(block, places, happened))


def _joined(block: _Block) -> str:
    """Return the tokens joined by single spaces, sentences by line breaks."""
    sentences: list[list[str]] = [[]]
    for token in block.tokens:
        if token is not None:
            sentences[-1].append(token[0])
        elif sentences[-1]:
            sentences.append([])
    return "\n".join(" ".join(sentence) for sentence in sentences if sentence)


def _places(block: _Block, text: str, path: Path) -> list[tuple[int, int]]:
    """Return where each token of the block stands in the text."""
    places: list[tuple[int, int]] = []
    end = 0
    for token in block.tokens:
        if token is None:
            continue
        place = _token_place(token[0], text, end)
        if place is None:
            raise InputError(
                f"{path}, line {token[2]}: this token does not stand at character {end} of the text of note "
                f"{block.note_id!r}; give the text that was tokenized"
            )
        places.append(place)
        end = place[1]
    if text[end:].strip():
        raise InputError(
            f"{path}: the tokens of note {block.note_id!r} end at character {end} of {len(text)}; "
            "give the text that was tokenized"
        )
    return places


def _token_place(token: str, text: str, behind: int) -> tuple[int, int] | None:
    """Return where `token` stands in `text`, after white space behind `behind`; None if it does not."""
    space = _SPACE.match(text, behind)
    start = space.end() if space else behind
    return (start, start + len(token)) if text.startswith(token, start) else None


def _spans(block: _Block, places: list[tuple[int, int]], happened: Counter[str]) -> tuple[GoldSpan, ...]:
    """Return the spans that the tags of the block make; one may cross the end of a sentence."""
    spans: list[tuple[int, int, str]] = []
    open_label = ""
    tagged = (token[1] for token in block.tokens if token is not None)
    for tag, (start, end) in zip(tagged, places, strict=True):
        position, _, label = tag.partition("-")
        if tag == "O":
            open_label = ""
            continue
        if position in "IE" and label == open_label:
            spans[-1] = (spans[-1][0], end, label)
        else:
            if position in "IE":
                happened[LONE_INSIDE] += 1
            spans.append((start, end, label))
        open_label = label if position in "BI" else ""
    return tuple(GoldSpan(((start, end),), label) for start, end, label in spans)


def _is_conll(_path: Path, head: str) -> bool:
    line = first_line(head)
    return line.startswith((NEW_DOCUMENT, "-DOCSTART-")) or bool(re.search(r"[\t ](?:O|[BIES]-\S+)$", line))


CONLL_FORMAT = GoldFormat("conll", "CoNLL", read_conll, is_file=_is_conll)


# Reading PubTator: `ID|t|TITLE`, `ID|a|ABSTRACT`, then one annotation a line.
#
# An annotation is `ID<TAB>start<TAB>end<TAB>text<TAB>type[<TAB>identifier[<TAB>parts]]`; offsets count the
# characters of title, one space and abstract. Notes are separated by blank lines.


_PASSAGE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+")
#: The attributes that hold the sixth and the seventh column.
_COLUMNS = ("identifier", "parts")


@dataclass
class _PubTatorBlock:
    note_id: str
    title: str
    abstract: str = ""
    spans: list[GoldSpan] = field(default_factory=list)
    relations: int = 0

    @property
    def text(self) -> str:
        return f"{self.title} {self.abstract}" if self.abstract else self.title


def read_pubtator(path: Path | str) -> GoldSet:
    """Return the documents of a PubTator file; the text is title, one space and abstract.

    An empty or missing abstract adds nothing, not even the space. The identifier of an annotation and what
    stands behind it are the attributes `identifier` and `parts`; relations (four columns) are left out.

    Raises:
        InputError: an annotation before its title or of another note, a wrong number of columns, offsets
            outside the text, a text that does not stand there, a note that is there twice. The message
            names the file and the line.
    """
    path = Path(path)
    blocks: dict[str, _PubTatorBlock] = {}
    current: _PubTatorBlock | None = None
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            current = None
        elif (match := _PASSAGE.fullmatch(line)) and match.group(2) == "t":
            current = _PubTatorBlock(match.group(1), match.group(3))
            if current.note_id in blocks:
                raise InputError(f"{where}: note {current.note_id!r} is there twice; keep one")
            blocks[current.note_id] = current
        elif current is None:
            raise InputError(f"{where}: stands before any title; a note begins with  ID|t|TITLE")
        elif match and match.group(2) == "a":
            _add_abstract(current, match, where)
        else:
            _add_annotation(current, line.split("\t"), where)
    if not blocks:
        raise InputError(f"{path}: an empty file; a PubTator note begins with  ID|t|TITLE")
    documents = [GoldDocument(block.note_id, block.text, tuple(block.spans)) for block in blocks.values()]
    return gold_set("pubtator", documents, Counter())


def _add_abstract(block: _PubTatorBlock, match: re.Match[str], where: str) -> None:
    if match.group(1) != block.note_id or block.abstract or block.spans or block.relations:
        raise InputError(f"{where}: an abstract of {match.group(1)!r} out of place; write it below its title")
    block.abstract = match.group(3)


def _add_annotation(block: _PubTatorBlock, fields: list[str], where: str) -> None:
    if fields[0] != block.note_id:
        raise InputError(
            f"{where}: belongs to note {fields[0][:40]!r}, but stands below {block.note_id!r}; "
            "end a note with a blank line"
        )
    if len(fields) == 4 and not all(_NUMBER.fullmatch(value) for value in fields[1:3]):
        block.relations += 1
        return
    if not 5 <= len(fields) <= 7:
        raise InputError(
            f"{where}: {len(fields)} columns; an annotation has 5 to 7: "
            "ID, start, end, text, type, identifier, parts"
        )
    _, start, end, marked, label, *rest = fields
    if not (_NUMBER.fullmatch(start) and _NUMBER.fullmatch(end)):
        raise InputError(f"{where}: start and end are not whole numbers")
    if not label:
        raise InputError(f"{where}: the type is empty")
    place = (int(start), int(end))
    check_fragments([place], len(block.text), where)
    if block.text[slice(*place)] != marked:
        raise InputError(
            f"{where}: the text at {start} {end} is not the one of this line; "
            "offsets count title, one space and abstract"
        )
    block.spans.append(GoldSpan((place,), label, tuple(zip(_COLUMNS, rest, strict=False))))


PUBTATOR_FORMAT = GoldFormat(
    "pubtator",
    "PubTator",
    read_pubtator,
    is_file=lambda _, head: bool(re.match(r"[^|\t]+\|t\|", first_line(head))),
)


# Reading the NegEx test set: a tab-separated row for each condition in a sentence.
#
# Columns: line number, condition, sentence, negation_status, temporality, experiencer. There are no
# offsets.


#: The header as distributed; only the first word of each column is compared.
HEADER = (
    "line number",
    "Condition",
    "sentence",
    "negation_status (negated, affirmed, possible)",
    "temporality (historical, recent, hypothetical)",
    "experiencer (patient, other)",
)
#: The values of the three status columns, in lower case.
STATUSES: dict[str, tuple[str, ...]] = {
    "negation_status": ("negated", "affirmed", "possible"),
    "temporality": ("recent", "historical", "hypothetical", "not particular"),
    "experiencer": ("patient", "other", "family member"),
}
LABEL = "Condition"
_CONDITION = "condition"


def read_negex(path: Path | str) -> GoldSet:
    """Return a document a row: the note is the sentence, its id the line number of the data set.

    The one span is the condition, labelled `Condition`, with the status columns as attributes. It stands at
    the first place where the condition is written in capitals (the data set writes the one it means so),
    else at the first where it is written in any way; white space may differ. Where it does not stand in the
    sentence the span has no place, which is counted. The attribute `condition` keeps a condition that is
    not the marked text letter by letter.

    Raises:
        InputError: another header, another number of columns, an unknown status, a line number used twice.
            The message names the file and the line.
    """
    path = Path(path)
    rows = [line.split("\t") for line in read_lines(path)]
    if not rows or not is_header(rows[0]):
        raise InputError(f"{path}, line 1: not the header of NegEx; the columns are {', '.join(HEADER)}")
    happened: Counter[str] = Counter()
    lines_of: dict[str, int] = {}
    documents = []
    for number, fields in enumerate(rows[1:], start=2):
        where = f"{path}, line {number}"
        if len(fields) != len(HEADER):
            raise InputError(
                f"{where}: {len(fields)} columns, the header has {len(HEADER)}; separate by tabs"
            )
        first = lines_of.setdefault(fields[0], number)
        if first != number:
            raise InputError(f"{where}: the line number {fields[0]!r} already stands in line {first}")
        documents.append(_negex_document(fields, where, happened))
    return gold_set("negex", documents, happened)


def is_header(fields: list[str]) -> bool:
    """Whether `fields` are the columns of NegEx, compared by their first words."""
    return [field.split(" ")[0].lower() for field in fields] == [name.split()[0].lower() for name in HEADER]


def _negex_document(fields: list[str], where: str, happened: Counter[str]) -> GoldDocument:
    number, condition, sentence, *statuses = fields
    for (column, known), value in zip(STATUSES.items(), statuses, strict=True):
        if value.lower() not in known:
            raise InputError(
                f"{where}: unknown {column} {value[:40]!r}{nearest(value.lower(), known)}; "
                f"use {', '.join(known)}"
            )
    place = _place(condition, sentence)
    if place is None:
        happened["conditions that do not stand in their sentence"] += 1
    attributes = tuple(zip(STATUSES, statuses, strict=True))
    if place is None or sentence[slice(*place)] != condition:
        attributes += ((_CONDITION, condition),)
    return GoldDocument(number, sentence, (GoldSpan((place,) if place else (), LABEL, attributes),))


def _place(condition: str, sentence: str) -> tuple[int, int] | None:
    """Return where the condition stands: first in capitals, else in any case; None if nowhere."""
    words = condition.split()
    if not words:
        return None
    for flags, written in ((0, [word.upper() for word in words]), (re.IGNORECASE, words)):
        found = re.search(r"\s+".join(map(re.escape, written)), sentence, flags)
        if found:
            return found.span()
    return None


NEGEX_FORMAT = GoldFormat(
    "negex",
    "NegEx (.tsv)",
    read_negex,
    is_file=lambda _, head: is_header(first_line(head).split("\t")),
)
