"""Reading i2b2 2010: `.txt` notes with concepts in `.con` and assertions in `.ast` files.

    c="chest pain" 14:3 14:4||t="problem"
    c="chest pain" 14:3 14:4||t="problem"||a="absent"

A place is `LINE:TOKEN`, of the first and of the last token; lines count from 1, tokens from 0, and a token
ends at white space (or, as some tools count, at every single space). Source: Uzuner et al. 2011, 2010
i2b2/VA challenge on concepts, assertions, and relations in clinical text.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.documents import GoldDocument, GoldSet, GoldSpan, gold_set
from sympress.labels.gold.formats import GoldFormat, holds_file
from sympress.labels.gold.lines import read_exactly, read_lines
from sympress.notes.streams import file_errors

_CONCEPT = re.compile(r'c="(.*)" ([0-9]+):([0-9]+) ([0-9]+):([0-9]+)\|\|t="([^"]*)"(?:\|\|a="([^"]*)")?')
#: Two ways to count tokens, which differ where spaces follow one another; the words tell which it is.
_TOKENS = (re.compile(r"[^ \t\r\f\v]+"), re.compile(r"(?:^|(?<= ))[^ \r]*"))
#: The type of concept that has an assertion, and the attribute that holds it.
PROBLEM, ASSERTION = "problem", "assertion"
_ANNOTATIONS = (".con", ".ast")

_Lines = list[list[tuple[int, int]]]


@dataclass(frozen=True)
class _Record:
    """The files of one note; `.con` or `.ast` may be missing."""

    text: Path
    annotations: Mapping[str, Path]


@dataclass(frozen=True)
class _Concept:
    """One line of an annotation file."""

    place: tuple[int, int]
    kind: str
    assertion: str | None
    where: str


def read_i2b2(path: Path | str) -> GoldSet:
    """Return the annotated notes below a folder, or the one that a `.con` or `.ast` file belongs to.

    The files of a note have the same name and lie in one folder or in folders side by side (`txt`,
    `concept`, `ast`, however they are called). A note's id is the path of its `.txt` within the folder
    without the suffix, as `read_notes` gives it. A `.txt` without annotations is counted and is no document.
    Concepts are spans labelled with their type (`problem`, `test`, `treatment`), the assertion of a problem
    is the attribute `assertion`; it is empty where the `.ast` file does not tell, which is counted, and
    which `to_annotated` refuses.

    Raises:
        InputError: annotations without their text, or with two; a malformed line; a place outside the text;
            words that do not stand at their place; an assertion of what is no concept; two assertions of
            one. The message names the file and the line.
    """
    root = Path(path)
    happened: Counter[str] = Counter()
    records, base, alone = _records(root)
    if alone:
        happened["texts without .con and .ast, not read"] = alone
    return gold_set("i2b2", [_read_note(record, base, happened) for record in records], happened)


def _records(root: Path) -> tuple[list[_Record], Path, int]:
    """Return the notes, the folder of their ids, and how many texts nobody annotated."""
    base, stem = root, None
    if root.is_file():
        beside = root.with_suffix(".txt").is_file()
        base, stem = (root.parent if beside else root.parent.parent), root.stem
    with file_errors(base):
        files = sorted(file for file in base.rglob("*.*") if _visible(file, base))
    texts = [file for file in files if file.suffix.lower() == ".txt"]
    found: defaultdict[Path, dict[str, Path]] = defaultdict(dict)
    by_stem: defaultdict[str, list[Path]] = defaultdict(list)
    for text in texts:
        by_stem[text.stem].append(text)
    for file in files:
        suffix = file.suffix.lower()
        if suffix not in _ANNOTATIONS or stem not in (None, file.stem):
            continue
        text = _text_of(file, by_stem[file.stem])
        if suffix in found[text]:
            raise InputError(f"{file}: {found[text][suffix]} annotates {text.name} too; keep one of them")
        found[text][suffix] = file
    if not found:
        raise InputError(f"{root}: no .con or .ast file in this folder; give the folder that holds them")
    return [_Record(text, found[text]) for text in sorted(found)], base, len(set(texts) - set(found))


def _visible(path: Path, folder: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _text_of(file: Path, texts: list[Path]) -> Path:
    """Return the text that lies nearest to an annotation file: beside it, or in a folder beside its own."""
    if not texts:
        raise InputError(
            f"{file}: {file.stem}.txt is missing; give the folder that holds the text and its annotations"
        )
    shared = {text: len(os.path.commonpath([file, text])) for text in texts}
    nearest = [text for text in texts if shared[text] == max(shared.values())]
    if len(nearest) > 1:
        raise InputError(
            f"{file}: {nearest[0]} and {nearest[1]} may be its text; put each note's files in one folder"
        )
    return nearest[0]


def _read_note(record: _Record, base: Path, happened: Counter[str]) -> GoldDocument:
    text = read_exactly(record.text)
    lines = tuple(_token_places(text, pattern) for pattern in _TOKENS)
    concepts, assertions = (
        _concepts(record.annotations[suffix], text, lines) if suffix in record.annotations else None
        for suffix in _ANNOTATIONS
    )
    held = concepts if concepts is not None else assertions or []
    said = _assertions(assertions or [], None if concepts is None else concepts)
    spans = tuple(_span(concept, said, happened) for concept in _distinct(held, happened))
    return GoldDocument(record.text.relative_to(base).with_suffix("").as_posix(), text, spans)


def _token_places(text: str, token: re.Pattern[str]) -> _Lines:
    """Return where each token of each line stands in the text."""
    places: _Lines = []
    start = 0
    for line in text.split("\n"):
        places.append([(start + match.start(), start + match.end()) for match in token.finditer(line)])
        start += len(line) + 1
    return places


def _concepts(path: Path, text: str, lines: tuple[_Lines, ...]) -> list[_Concept]:
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        match = _CONCEPT.fullmatch(line.strip())
        if match is None or not match.group(6):
            raise InputError(
                f'{where}: malformed; an i2b2 line is  c="words" 1:0 1:1||t="problem"  and in .ast files '
                'behind it  ||a="present"'
            )
        if path.suffix.lower() == ".ast" and not match.group(7):
            raise InputError(f'{where}: has no assertion; a line of an .ast file ends with  ||a="present"')
        place = _place(match, text, lines, where)
        found.append(_Concept(place, match.group(6), match.group(7), where))
    return found


def _place(match: re.Match[str], text: str, lines: tuple[_Lines, ...], where: str) -> tuple[int, int]:
    """Return the characters of a concept, where its words are those of the text."""
    first, last = ((int(match.group(k)), int(match.group(k + 1))) for k in (2, 4))
    for counted in lines:
        if not all(
            1 <= line <= len(counted) and token < len(counted[line - 1]) for line, token in (first, last)
        ):
            continue
        start, end = counted[first[0] - 1][first[1]][0], counted[last[0] - 1][last[1]][1]
        if start < end and _plain(text[start:end]) == _plain(match.group(1)):
            return start, end
    raise InputError(
        f"{where}: the words are not those of the text at {first[0]}:{first[1]} {last[0]}:{last[1]}; lines "
        "count from 1, tokens from 0: the .txt is not the one that was annotated, or the places are wrong"
    )


def _plain(words: str) -> str:
    """Return words as the challenge compares them: in lower case, with single spaces."""
    return " ".join(words.split()).lower()


def _assertions(
    assertions: Iterable[_Concept], concepts: list[_Concept] | None
) -> dict[tuple[tuple[int, int], str], _Concept]:
    """Return what each concept asserts, by place and type."""
    known = None if concepts is None else {(each.place, each.kind) for each in concepts}
    said: dict[tuple[tuple[int, int], str], _Concept] = {}
    for each in assertions:
        key = (each.place, each.kind)
        if known is not None and key not in known:
            raise InputError(
                f"{each.where}: the .con file has no such concept; the two do not belong together"
            )
        first = said.setdefault(key, each)
        if first.assertion != each.assertion:
            raise InputError(
                f"{each.where}: asserts {each.assertion}, but {first.where.rpartition(', ')[2]} asserts "
                f"{first.assertion} of the same words; keep one"
            )
    return said


def _distinct(concepts: Iterable[_Concept], happened: Counter[str]) -> Iterable[_Concept]:
    seen = set()
    for each in concepts:
        if (each.place, each.kind) in seen:
            happened["concepts that are there twice: one kept"] += 1
            continue
        seen.add((each.place, each.kind))
        yield each


def _span(
    concept: _Concept, said: Mapping[tuple[tuple[int, int], str], _Concept], happened: Counter[str]
) -> GoldSpan:
    found = said.get((concept.place, concept.kind), concept)
    if found.assertion:
        return GoldSpan(
            (concept.place,), concept.kind, ((ASSERTION, found.assertion),), "", (concept.where, found.where)
        )
    if concept.kind.lower() != PROBLEM:
        return GoldSpan((concept.place,), concept.kind, (), "", (concept.where,))
    happened["problems without an assertion"] += 1
    where = f"{concept.where}: no .ast line for this problem"
    return GoldSpan((concept.place,), concept.kind, ((ASSERTION, ""),), "", (concept.where, where))


FORMAT = GoldFormat(
    "i2b2",
    "i2b2 2010 (a folder of .txt, .con and .ast)",
    read_i2b2,
    is_folder=lambda folder: holds_file(folder, *_ANNOTATIONS),
    is_file=lambda path, _: path.suffix.lower() in _ANNOTATIONS,
)
