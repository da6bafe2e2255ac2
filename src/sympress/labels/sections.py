"""Sections of a note, by our headings or the user's, and what each says of its mentions."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, NamedTuple

from sympress.errors import InputError, nearest
from sympress.labels.lexicon_file import expand_all
from sympress.labels.matching import Found, fold, words_of
from sympress.labels.mentions import ASSERTIONS
from sympress.labels.user_files import Mistakes, check_keys, extends_ours, located, parse_table, texts_of

# Sections of a note: which headings stand where, and what a section says of its mentions.


#: The kind of a heading that no list knows.
OTHER = "other"

_LONGEST_HEADING = 60
_LONGEST_LEAD = 40
_ABBREVIATED = 4
_BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
_LEAD = re.compile(r"[\s\d.)(#*•·=\[_~>|+\-]*(?:[A-Za-z][.)][ \t])?(?:(?:his|her|the)\s+)?", re.IGNORECASE)
_UNKNOWN = re.compile(r"[A-Z][A-Za-z0-9 /&(),'\-]*")
# What stands between the sentence before and a heading within a line; dumps that lost their line breaks
# have commas there.
_BEFORE_INLINE = re.compile(r"(?:^|[.,;:!?\n]|\s{2})[\s,]*$")
_INLINE = re.compile(r"(?:[.,;:!?]|\s{2})\s*([A-Z][A-Z0-9 /&()'\-]{3,60})$")
_CLOSES = re.compile(
    r"[ \t]{0,20}(?:\([^()\n]{1,40}\))?[ \t\]=*_#~|>-]{0,80}"
    r"(?::|(?<=[-–—])(?=[ \t])|[–—](?=[ \t])|(?=\r?\n|$))"
)
#: What a heading is followed by, behind blanks; most of the words that could be one are followed by words.
_CLOSERS = frozenset("(]=*_#~|>-–—:\r\n")
_COLON = re.compile(r"[ \t]*:")
_COLON_OR_DASH = re.compile(r"[ \t]*(?::|[-–—](?=[ \t]))")


class Section(NamedTuple):
    """A section of a note.

    Attributes:
        start: where its heading begins.
        kind: what the heading is called in the book.
        loud: whether the heading is written in capitals.
        heading: first character of the heading's words, and one past the last; of a subheading those of the
            section that it belongs to.
    """

    start: int
    kind: str
    loud: bool
    heading: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class SectionBook:
    """Known headings and what they say.

    Attributes:
        headings: lower-cased.
        kinds: `kinds[k]` belongs to `headings[k]`.
        assertions: what a kind asserts, if anything.
        lines: kinds that say it of the rest of the heading's line only, where it has one.
    """

    headings: tuple[str, ...]
    kinds: tuple[str, ...]
    assertions: dict[str, str]
    lines: frozenset[str] = frozenset()


@cache
def load_sections() -> SectionBook:
    """Return the headings that come with sympress."""
    text = (resources.files("sympress.labels") / "data" / "sections.toml").read_text("utf-8")
    tables = tomllib.loads(text)["section"]
    pairs = {heading: table["kind"] for table in tables for heading in table["headings"]}
    asserted = {table["kind"]: table["assertion"] for table in tables if "assertion" in table}
    lines = frozenset(table["kind"] for table in tables if table.get("line"))
    return SectionBook(tuple(pairs), tuple(pairs.values()), asserted, lines)


def find_sections(
    text: str, known: Sequence[Found], kinds: Sequence[str], ends_cue: Callable[[int], bool]
) -> list[Section]:
    """Return the sections of a note by start.

    A known heading counts with a colon (or dash) at the start of a line, alone on a line, or with a colon
    within a line where a sentence has ended; an unknown one with a colon at the start of a line, or in
    capitals within it. A heading that is unknown is a subheading where the section it stands in is louder, or
    where that section's heading has a line to itself and no blank line comes between (`Allergies:` above
    `Penicillin: hives`).

    Args:
        text: in its original case, placeholders blanked.
        known: occurrences of known headings.
        kinds: kind of each known heading, by its number.
        ends_cue: whether a cue of assertion ends at a place: within a line `DENIES:` is no heading.
    """
    starts: dict[int, Section] = {}
    taken: dict[int, int] = {}
    for start, end, number in known:
        begin = _heading_start(text, start, end)
        if begin is not None and taken.get(begin, 0) < end:
            taken[begin] = end
            starts[begin] = Section(begin, kinds[number], text[start:end].isupper(), (start, end))
    claimed = set(taken.values())
    colon = text.find(":")
    while colon >= 0:
        if colon not in claimed:
            found = _unknown_heading(text, colon)
            if found is not None and (_begins_line(text, found.start) or not ends_cue(colon)):
                starts.setdefault(found.start, found)
        colon = text.find(":", colon + 1)
    return _nested(text, sorted(starts.values()))


def _begins_line(text: str, place: int) -> bool:
    return not place or text[place - 1] == "\n"


def _nested(text: str, found: list[Section]) -> list[Section]:
    """Give subheadings the kind and heading of the section they stand in."""
    result: list[Section] = []
    outer: Section | None = None
    for section in found:
        if section.kind == OTHER and outer is not None and _is_under(text, outer, result[-1], section):
            result.append(section._replace(kind=outer.kind, heading=outer.heading))
        else:
            outer = section
            result.append(section)
    return result


def _is_under(text: str, outer: Section, before: Section, section: Section) -> bool:
    """Whether an unknown heading is a subheading of `outer`; `before` is the heading just before it."""
    if outer.loud and not section.loud:
        return True
    if section.loud and not outer.loud:
        return False
    alone = text[outer.heading[1] : outer.heading[1] + 4].lstrip(" \t:]=*-–—").startswith(("\n", "\r"))
    return alone and _BLANK_LINE.search(text, before.start, section.start) is None


def _heading_start(text: str, start: int, end: int) -> int | None:
    """Return where the heading of a known phrase begins, None if the phrase is no heading there."""
    behind = text[end : end + 102].lstrip(" \t")
    if behind and behind[0] not in _CLOSERS:
        return None
    line = text.rfind("\n", max(0, start - _LONGEST_LEAD), start) + 1
    if not line and start > _LONGEST_LEAD:
        line = start - _LONGEST_LEAD  # the line begins farther back
    elif _LEAD.fullmatch(text, line, start):
        return line if _CLOSES.match(text, end) else None
    if not text.startswith(":", end) and not _COLON_OR_DASH.match(text, end):
        return None
    if not text[start].isupper() or not _COLON.match(text, end):
        return None
    return start if _BEFORE_INLINE.search(text, max(line, start - 4), start) else None


def _unknown_heading(text: str, colon: int) -> Section | None:
    line = max(text.rfind("\n", max(0, colon - _LONGEST_HEADING - 1), colon) + 1, colon - _LONGEST_HEADING)
    line = max(0, line)
    lead = _LEAD.match(text, line, colon)
    begin = lead.end() if lead else line
    if (line == 0 or text[line - 1] == "\n") and _UNKNOWN.fullmatch(text, begin, colon):
        # `GI:` and `MSK:` are written so in any section.
        return Section(
            line, OTHER, text[begin:colon].isupper() and colon - begin > _ABBREVIATED, (begin, colon)
        )
    # Within a line: capitals behind a mark, or behind the gap that a lost line break left.
    inline = _INLINE.search(text, line, colon)
    return Section(inline.start(1), OTHER, True, (inline.start(1), colon)) if inline else None


# Section files that a user wrote, laid over our headings or in their place (`docs/how-to/add-a-symptom.md`).


_FILE_KEYS = ("extends", "remove", "section")
_KEYS = ("kind", "assertion", "headings")

#: An assertion that a section may have; `present` takes ours away.
_PRESENT = ASSERTIONS[0]


@dataclass(frozen=True)
class SectionLayer:
    """A section file, laid over `base`, which is ours or nothing."""

    book: SectionBook
    base: SectionBook

    def counts(self) -> dict[str, int]:
        """How many headings the file adds, moves to another kind and removes, and kinds it changes."""
        before = dict(zip(self.base.headings, self.base.kinds, strict=True))
        after = dict(zip(self.book.headings, self.book.kinds, strict=True))
        said, says = self.base.assertions, self.book.assertions
        return {
            "headings added": len(after.keys() - before.keys()),
            "headings of ours moved": sum(before[one] != after[one] for one in before.keys() & after.keys()),
            "headings of ours removed": len(before.keys() - after.keys()),
            "kinds with another assertion": sum(said.get(k) != says.get(k) for k in {*before.values()}),
        }


def lay_sections(text: str, source: str) -> SectionLayer:
    """Return the headings of a TOML text laid over ours, or in their place with `extends = "none"`.

    A heading of ours that the text lists moves to the kind it lists it under; an `assertion` holds for all
    headings of its kind, and `present` for one whose mentions are asserted by their sentences alone.

    Args:
        text: tables `[[section]]` with `kind`, `assertion` and `headings`; `remove` and `extends`.
        source: what messages call the file.

    Raises:
        InputError: not TOML, or any mistake; the message names all of them with their places.
    """
    parsed = parse_table(text, source)
    mistakes = Mistakes()
    check_keys(parsed, _FILE_KEYS, source, mistakes)
    base = load_sections()
    with mistakes.noted():
        if not extends_ours(parsed, source):
            base = replace(base, headings=(), kinds=(), assertions={})
    pairs = dict(zip(base.headings, base.kinds, strict=True))
    known = set(pairs)
    own: dict[str, tuple[str, str]] = {}
    asserted: dict[str, tuple[str, str]] = {}
    tables: list[tuple[str, Any]] = []
    with mistakes.noted():
        tables = located(text, "section", parsed.get("section", []), source, "section")
    kinds = {*base.kinds, *(table["kind"] for _, table in tables if _brings_a_kind(table))}
    for where, table in tables:
        with mistakes.noted():
            _add(table, where, kinds, own, asserted)
    for heading in _removed(parsed, source, mistakes):
        if heading not in known:
            mistakes.add(
                f"{source}: remove names {heading!r}, which is no heading of ours{nearest(heading, known)}"
            )
        pairs.pop(heading, None)
    mistakes.raise_any()
    pairs |= {heading: kind for heading, (kind, _) in own.items()}
    says = {**base.assertions, **{kind: said for kind, (said, _) in asserted.items()}}
    says = {kind: said for kind, said in says.items() if said != _PRESENT}
    return SectionLayer(
        replace(base, headings=tuple(pairs), kinds=tuple(pairs.values()), assertions=says), base
    )


def _brings_a_kind(table: Any) -> bool:
    """Whether a table may give a kind of its own: one that says what it asserts."""
    return isinstance(table, dict) and isinstance(table.get("kind"), str) and "assertion" in table


def _add(
    table: Any,
    where: str,
    kinds: set[str],
    own: dict[str, tuple[str, str]],
    asserted: dict[str, tuple[str, str]],
) -> None:
    """Add one table to the headings and assertions so far, each with its place.

    Raises:
        InputError: it names every mistake of the table.
    """
    if not isinstance(table, dict):
        raise InputError(f"{where}: not a table; write [[section]] and its keys below it")
    mistakes = Mistakes()
    check_keys(table, _KEYS, where, mistakes)
    kind = _kind_of(table, where, kinds, mistakes)
    said = table.get("assertion")
    if said is not None and said not in ASSERTIONS:
        close = nearest(said, ASSERTIONS) if isinstance(said, str) else ""
        mistakes.add(f"{where}: unknown assertion {said!r}{close}; use {', '.join(ASSERTIONS)}")
    elif said is not None:
        before, place = asserted.setdefault(kind, (said, where))
        if before != said:
            mistakes.add(f"{where}: the kind {kind!r} is both {said!r} and {before!r} ({place}); keep one")
    for heading in _headings_of(table, where, mistakes):
        other, place = own.setdefault(heading, (kind, where))
        if not words_of(heading):
            what = f"the heading {heading!r} has no letter and no digit" if heading else "empty heading"
            mistakes.add(f"{where}: {what}; write one or remove it")
        elif other != kind:
            mistakes.add(f"{where}: {heading!r} is both {kind!r} and {other!r} ({place}); keep one")
    mistakes.raise_any()


def _headings_of(table: Mapping[str, Any], where: str, mistakes: Mistakes) -> list[str]:
    headings: tuple[str, ...] = ()
    with mistakes.noted():
        headings = expand_all(texts_of(table, "headings", where), {}, where)
        if not headings and "assertion" not in table:
            mistakes.add(f'{where}: no headings; list them, e.g. headings = ["..."]')
    return list(map(fold, headings))


def _kind_of(table: Mapping[str, Any], where: str, kinds: set[str], mistakes: Mistakes) -> str:
    kind = table.get("kind")
    if not isinstance(kind, str) or not kind.strip():
        mistakes.add(f'{where}: no kind; name one in quotes, e.g. kind = "family"')
        return ""
    if kind not in kinds:
        mistakes.add(
            f"{where}: unknown kind {kind!r}{nearest(kind, kinds)}; use {', '.join(sorted(kinds))}, "
            "or give a kind of your own its assertion"
        )
    return kind


def _removed(parsed: Mapping[str, Any], source: str, mistakes: Mistakes) -> list[str]:
    with mistakes.noted():
        return [fold(heading) for heading in expand_all(texts_of(parsed, "remove", source), {}, source)]
    return []
