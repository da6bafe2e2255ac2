"""Reading CoNLL: a token a line, its tag (BIO or BIOES) in the last column, a blank line after a sentence.

Documents begin with `# newdoc id = NOTE_ID` or with a line that starts with `-DOCSTART-`; without either, the
file is one document. Columns are separated by tabs, or by spaces where a line has no tab.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold.documents import GoldDocument, GoldSet, GoldSpan, gold_set
from sympress.labels.gold.formats import GoldFormat, first_line
from sympress.labels.gold.lines import read_lines

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


FORMAT = GoldFormat("conll", "CoNLL", read_conll, is_file=_is_conll)
