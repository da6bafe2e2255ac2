"""Reading brat: a folder of `.txt` notes with stand-off annotations in `.ann` files beside them.

Interpreted are text-bound lines (`T`, also discontinuous), the trigger of events (`E`) and attributes (`A`
and the older `M`) on either, and arguments of events that say what it asserts; relations, equivalences,
notes, normalisations and the other arguments are left out. Source:
https://brat.nlplab.org/standoff.html
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.documents import (
    GoldDocument,
    GoldSet,
    GoldSpan,
    check_fragments,
    gold_set,
)
from sympress.labels.gold.formats import GoldFormat, holds_file
from sympress.labels.gold.lines import read_exactly, read_lines
from sympress.notes.streams import file_errors

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


FORMAT = GoldFormat(
    "brat",
    "brat (a folder of .txt and .ann)",
    read_brat,
    is_folder=lambda folder: holds_file(folder, ".ann"),
    is_file=lambda path, _: path.suffix.lower() == ".ann",
)
