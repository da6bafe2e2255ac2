"""Reading the NegEx test set: a tab-separated row for each condition in a sentence.

Columns: line number, condition, sentence, negation_status, temporality, experiencer. There are no offsets.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from sympress.errors import InputError, nearest
from sympress.labels.gold.documents import (
    GoldDocument,
    GoldSet,
    GoldSpan,
    gold_set,
)
from sympress.labels.gold.formats import GoldFormat, first_line
from sympress.labels.gold.lines import read_lines

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
        documents.append(_document(fields, where, happened))
    return gold_set("negex", documents, happened)


def is_header(fields: list[str]) -> bool:
    """Whether `fields` are the columns of NegEx, compared by their first words."""
    return [field.split(" ")[0].lower() for field in fields] == [name.split()[0].lower() for name in HEADER]


def _document(fields: list[str], where: str, happened: Counter[str]) -> GoldDocument:
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


FORMAT = GoldFormat(
    "negex",
    "NegEx (.tsv)",
    read_negex,
    is_file=lambda _, head: is_header(first_line(head).split("\t")),
)
