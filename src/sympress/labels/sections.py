"""Sections of a note: which headings stand where, and what a section says of its mentions."""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

from sympress.labels.automaton import Found

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


def section_at(sections: Sequence[Section], place: int) -> int:
    """Return the index of the section that holds `place`, -1 before the first."""
    return bisect_right(sections, place, key=_start_of) - 1


def _start_of(section: Section) -> int:
    return section.start


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
    alone = text[outer.heading[1] : outer.heading[1] + 4].lstrip(" \t:]=*-").startswith(("\n", "\r"))
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
