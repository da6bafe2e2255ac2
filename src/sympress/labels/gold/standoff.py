"""Stand-off annotations beside `.txt` notes: brat (`.ann`) and i2b2 2010 (`.con`, `.ast`)."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.documents import (
    GoldDocument,
    GoldFormat,
    GoldSet,
    GoldSpan,
    check_fragments,
    gold_set,
    holds_file,
    read_exactly,
    read_lines,
)
from sympress.notes.streams import file_errors

# Reading brat: a folder of `.txt` notes with stand-off annotations in `.ann` files beside them.
#
# Interpreted are text-bound lines (`T`, also discontinuous), the trigger of events (`E`) and attributes
# (`A` and the older `M`) on either, and arguments of events that say what it asserts; relations,
# equivalences, notes, normalisations and the other arguments are left out. Source:
# https://brat.nlplab.org/standoff.html


_TEXT_BOUND = re.compile(r"(T[0-9]+)\t(\S+) (-?[0-9]+ -?[0-9]+(?:;-?[0-9]+ -?[0-9]+)*)\t(.*)", re.DOTALL)
_EVENT = re.compile(r"(E[0-9]+)\t[^\s:]+:(\S+)((?: .*)?)")
_ARGUMENT = re.compile(r"([^\s:]+?)[0-9]*:(\S+)")
_RELATION = re.compile(r"R[0-9]+\t(\S+) .*")
_ATTRIBUTE = re.compile(r"([AM][0-9]+)\t(\S+) (\S+)(?: (.*))?")
_KEPT = re.compile(r"(?:([RN#][0-9]+)|\*)\t\S.*", re.DOTALL)


@dataclass
class Parsed:
    """The lines of one `.ann` file, as far as they are interpreted."""

    spans: dict[str, GoldSpan] = field(default_factory=dict)
    triggers: dict[str, tuple[str, int]] = field(default_factory=dict)
    arguments: list[tuple[str, str, str, int]] = field(default_factory=list)
    attributes: list[tuple[str, str, str, int]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)


def read_brat(folder: Path | str) -> GoldSet:
    """Return the annotated notes below `folder`.

    A note's id is the path of its `.txt` within the folder without the suffix, as `read_notes` gives it. A
    `.txt` without an `.ann` was not annotated: it is counted and is no document. Each attribute stands with
    the span that it is about, by way of the event where it hangs on one. One `.ann` file may
    be given instead of a folder.

    Raises:
        InputError: an `.ann` without its `.txt`, a malformed line, offsets outside the text, a reference
            text that is not the text at its offsets, an id used twice, an event or an attribute of
            something that is not there. The message names the file and the line.
    """
    root = Path(folder)
    annotations = _annotation_files(root)
    base = root if root.is_dir() else root.parent
    happened: Counter[str] = Counter()
    texts = {path for path in base.rglob("*.txt") if _visible(path, base)} if root.is_dir() else set()
    if alone := len(texts - {path.with_suffix(".txt") for path in annotations}):
        happened["texts without .ann, not read"] = alone
    return gold_set("brat", [_read_note(path, base) for path in annotations], happened)


def _annotation_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    with file_errors(root):
        found = sorted(path for path in root.rglob("*.ann") if _visible(path, root))
    if not found:
        raise InputError(f"{root}: no .ann file in this folder; give the folder with the .txt and .ann files")
    return found


def _visible(path: Path, folder: Path) -> bool:
    """Say whether `path` is a file that the system does not hide, as `read_notes` does."""
    return path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)


def _read_note(path: Path, base: Path) -> GoldDocument:
    note = path.with_suffix(".txt")
    if not note.is_file():
        raise InputError(f"{path}: {note.name} is missing beside it; put the annotated text there")
    text = read_exactly(note)
    note_id = note.relative_to(base).with_suffix("").as_posix()
    return parse_annotations(note_id, text, read_lines(path), str(path))


def parse_annotations(note_id: str, text: str, lines: list[str], source: str) -> GoldDocument:
    """Return the note that the lines of an `.ann` file annotate; messages call that file `source`.

    Raises:
        InputError: as `read_brat`.
    """
    parsed = Parsed()
    for number, line in enumerate(lines, start=1):
        _parse_line(line, text, parsed, source, number)
    return GoldDocument(note_id, text, _with_attributes(parsed, source))


def _parse_line(line: str, text: str, parsed: Parsed, source: str, number: int) -> None:
    """Add one line to `parsed`; blank lines say nothing."""
    where = f"{source}, line {number}"
    if match := _TEXT_BOUND.fullmatch(line):
        name = match.group(1)
        parsed.spans[name] = replace(_text_bound(match, text, where), sources=(where,))
    elif match := _EVENT.fullmatch(line):
        name = match.group(1)
        parsed.triggers[name] = (match.group(2), number)
        for role, target in _ARGUMENT.findall(match.group(3)):
            if load_attributes().names_assertion(role):
                parsed.arguments.append((role, target, name, number))
    elif match := _ATTRIBUTE.fullmatch(line):
        name = match.group(1)
        parsed.attributes.append((match.group(2), match.group(4) or "", match.group(3), number))
    elif match := _KEPT.fullmatch(line):
        name = match.group(1) or ""
        _check_relation(line, where)
    elif not line:
        name = ""
    else:
        raise InputError(
            f"{where}: malformed; a brat line is  ID<TAB>…, for example  T1<TAB>Type 0 5<TAB>text"
        )
    if name and parsed.places.setdefault(name, number) != number:
        raise InputError(f"{where}: the id {name} already stands in line {parsed.places[name]}; renumber one")


def _text_bound(match: re.Match[str], text: str, where: str) -> GoldSpan:
    """Return the span of a text-bound line; behind its reference text there may be a tab and more."""
    name, label, offsets, rest = match.groups()
    pairs = [pair.split(" ") for pair in offsets.split(";")]
    fragments = tuple((int(start), int(end)) for start, end in pairs)
    check_fragments(fragments, len(text), where)
    span = GoldSpan(fragments, label, id=name)
    reference = reference_text(span, text)
    tail = rest[len(reference) :]
    if not rest.startswith(reference) or (tail and not tail.startswith("\t")):
        hint = " (its lines end in CR LF, which counts as two characters)" if "\r\n" in text else ""
        raise InputError(
            f"{where}: the text at {offsets} is not the reference text of {name}{hint}; "
            "the .txt is not the one that was annotated, or the offsets are wrong"
        )
    return span


def reference_text(span: GoldSpan, text: str) -> str:
    """Return what brat writes behind the offsets: fragments joined by a space, line breaks as spaces.

    We depart in one place: a carriage return at the very end would read as part of the line end.
    """
    return span.surface(text).replace("\n", " ").rstrip("\r")


def _with_attributes(parsed: Parsed, source: str) -> tuple[GoldSpan, ...]:
    """Return the spans, each with the attributes that are about it or about an event that it triggers."""
    for event, (trigger, number) in parsed.triggers.items():
        if trigger not in parsed.spans:
            raise InputError(
                f"{source}, line {number}: {event} is triggered by {trigger}, which is not there"
            )
    found: dict[str, list[tuple[str, str, int]]] = {name: [] for name in parsed.spans}
    for attribute, value, target, number in parsed.attributes:
        if target not in parsed.places:
            raise InputError(
                f"{source}, line {number}: an attribute {attribute} of {target}, which is not there"
            )
        about = parsed.triggers[target][0] if target in parsed.triggers else target
        if about in found:  # one of a relation stays in its line
            found[about].append((attribute, value, number))
    _add_arguments(parsed, found, source)
    return tuple(
        replace(
            span,
            attributes=tuple((attribute, value) for attribute, value, _ in found[name]),
            sources=(*span.sources, *(f"{source}, line {number}" for _, _, number in found[name])),
        )
        for name, span in parsed.spans.items()
    )


def _add_arguments(parsed: Parsed, found: dict[str, list[tuple[str, str, int]]], source: str) -> None:
    """Add to the trigger of an event what its arguments assert of it.

    The attributes of the argument say it (`E1 SSx:T1 Assertion:T2` with `A1 AssertionVal T2 absent`), or,
    where it has none, its role (`E1 SSx:T1 Negation:T2`).
    """
    for role, target, event, number in parsed.arguments:
        if target not in parsed.places:
            raise InputError(
                f"{source}, line {number}: {event} has the argument {target}, which is not there"
            )
        about = parsed.triggers[target][0] if target in parsed.triggers else target
        said = list(found.get(about, ())) or [(role, "", number)]
        found[parsed.triggers[event][0]] += said


def _check_relation(line: str, where: str) -> None:
    """Refuse a relation that denies or hedges one of its ends: which one, no standard says."""
    match = _RELATION.fullmatch(line)
    if match and load_attributes().names_assertion(match.group(1)):
        raise InputError(
            f"{where}: the relation {match.group(1)} says what one of its ends asserts, which is "
            "not read; make it an attribute of that span, or remove the line"
        )


BRAT_FORMAT = GoldFormat(
    "brat",
    "brat (a folder of .txt and .ann)",
    read_brat,
    is_folder=lambda folder: holds_file(folder, ".ann"),
    is_file=lambda path, _: path.suffix.lower() == ".ann",
)


# Reading i2b2 2010: `.txt` notes with concepts in `.con` and assertions in `.ast` files.
#
#     c="chest pain" 14:3 14:4||t="problem"
#     c="chest pain" 14:3 14:4||t="problem"||a="absent"
#
# A place is `LINE:TOKEN`, of the first and of the last token; lines count from 1, tokens from 0, and a
# token ends at white space (or, as some tools count, at every single space). Source: Uzuner et al. 2011,
# 2010 i2b2/VA challenge on concepts, assertions, and relations in clinical text.


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
    return gold_set("i2b2", [_read_i2b2_note(record, base, happened) for record in records], happened)


def _records(root: Path) -> tuple[list[_Record], Path, int]:
    """Return the notes, the folder of their ids, and how many texts nobody annotated."""
    base, stem = root, None
    if root.is_file():
        beside = root.with_suffix(".txt").is_file()
        base, stem = (root.parent if beside else root.parent.parent), root.stem
    with file_errors(base):
        files = sorted(file for file in base.rglob("*.*") if _visible_text(file, base))
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


def _visible_text(path: Path, folder: Path) -> bool:
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


def _read_i2b2_note(record: _Record, base: Path, happened: Counter[str]) -> GoldDocument:
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


I2B2_FORMAT = GoldFormat(
    "i2b2",
    "i2b2 2010 (a folder of .txt, .con and .ast)",
    read_i2b2,
    is_folder=lambda folder: holds_file(folder, *_ANNOTATIONS),
    is_file=lambda path, _: path.suffix.lower() in _ANNOTATIONS,
)
