"""Reading PubTator: `ID|t|TITLE`, `ID|a|ABSTRACT`, then one annotation a line.

An annotation is `ID<TAB>start<TAB>end<TAB>text<TAB>type[<TAB>identifier[<TAB>parts]]`; offsets count the
characters of title, one space and abstract. Notes are separated by blank lines.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.documents import (
    GoldDocument,
    GoldSet,
    GoldSpan,
    check_fragments,
    gold_set,
)
from sympress.labels.gold.formats import GoldFormat, first_line
from sympress.labels.gold.lines import read_lines

_PASSAGE = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_NUMBER = re.compile(r"-?[0-9]+")
#: The attributes that hold the sixth and the seventh column.
_COLUMNS = ("identifier", "parts")


@dataclass
class _Block:
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
    blocks: dict[str, _Block] = {}
    current: _Block | None = None
    for number, line in enumerate(read_lines(path), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            current = None
        elif (match := _PASSAGE.fullmatch(line)) and match.group(2) == "t":
            current = _Block(match.group(1), match.group(3))
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


def _add_abstract(block: _Block, match: re.Match[str], where: str) -> None:
    if match.group(1) != block.note_id or block.abstract or block.spans or block.relations:
        raise InputError(f"{where}: an abstract of {match.group(1)!r} out of place; write it below its title")
    block.abstract = match.group(3)


def _add_annotation(block: _Block, fields: list[str], where: str) -> None:
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


FORMAT = GoldFormat(
    "pubtator",
    "PubTator",
    read_pubtator,
    is_file=lambda _, head: bool(re.match(r"[^|\t]+\|t\|", first_line(head))),
)
