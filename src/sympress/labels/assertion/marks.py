"""Signs, answers and check boxes directly around a mention: `fever (-)`, `Fever: no`, `[x] fever`."""

from __future__ import annotations

import re
from typing import Literal

Mark = Literal["present", "absent", "possible"]

_NO = r"no|none|neg|negative|absent|denie[sd]|nil|n|not present|not at this time|never|0|-"
_YES = r"yes|y|present|positive|pos|\+"
_BEFORE: tuple[tuple[re.Pattern[str], Mark], ...] = (
    (re.compile(r"(?:\(\s*[-–]\s*\)|\(neg\)|\[\s*[-–]\s*\]|\[\s*\]|☐)\s*$", re.I), "absent"),
    (
        re.compile(
            r"(?:\(\s*\+\s*\)|\[\s*[x+✓]\s*\]|[☑☒]|(?<!\w)\+\s?)$|(?:\[\s*[x+✓]\s*\]|\(\s*\+\s*\)|[☑☒])\s+$",
            re.I,
        ),
        "present",
    ),
    (re.compile(r"[,:;]\s*[-–]$"), "absent"),
    (re.compile(r"(?:^|[\s(,])\?{1,3}\s?$"), "possible"),
)
_CHECKED = r"\[\s*[x✓+]\s*\]"
_AFTER: tuple[tuple[re.Pattern[str], Mark], ...] = (
    (
        re.compile(
            r"\s*(?:\(\s*[-–]\s*\)|\(\s*(?:neg|negative|denie[sd]|no|absent|none)\s*\)|\[\s*[-–]\s*\])", re.I
        ),
        "absent",
    ),
    (re.compile(r"\s*(?:\(\s*\+\s*\)|\(\s*(?:pos|positive|yes|present)\s*\))", re.I), "present"),
    (re.compile(r"\s?[-–](?=\s*(?:[,;.)|\n]|$))"), "absent"),
    (re.compile(r"\s?\+(?=\s*(?:[,;.)|\n]|$))"), "present"),
    (
        re.compile(
            rf"[\s:?]*\[\s*\]\s*(?:yes|y|present)\b[\s,/]*{_CHECKED}\s*(?:no|n|absent|denies)\b", re.I
        ),
        "absent",
    ),
    (re.compile(rf"[\s:?]*{_CHECKED}\s*(?:no|n|absent|denies)\b", re.I), "absent"),
    (re.compile(rf"[\s:?]*(?:yes|y)\s*\[\s*\][\s,/]*(?:no|n)\s*{_CHECKED}", re.I), "absent"),
    (re.compile(rf"[\s:?]*(?:no|n)\s*{_CHECKED}", re.I), "absent"),
    (re.compile(rf"[\s:?]*{_CHECKED}\s*(?:yes|y|present)\b", re.I), "present"),
    (
        re.compile(
            rf"[\s:?]*\[\s*\]\s*(?:no|n|absent|denies)\b[\s,/]*{_CHECKED}\s*(?:yes|y|present)\b", re.I
        ),
        "present",
    ),
    (re.compile(rf"[\s:?]*(?:yes|y)\s*{_CHECKED}", re.I), "present"),
    (
        re.compile(
            rf"\s*(?:\([^()\n]{{0,30}}\))?\s*(?:[:=?]|[-–]{{1,2}}(?=\s)|\.{{2,}}|_+)\s*(?:{_NO})\s*(?=[.,;)|/\n]|\s\s|$)",
            re.I,
        ),
        "absent",
    ),
    (
        re.compile(
            rf"\s*(?:\([^()\n]{{0,30}}\))?\s*(?:[:=?]|[-–]{{1,2}}(?=\s)|\.{{2,}}|_+)\s*(?:{_YES})\s*(?=[.,;)|/\n]|\s\s|$)",
            re.I,
        ),
        "present",
    ),
    (re.compile(r"\s?\?"), "possible"),
)
_LAST = frozenset("+-–?)]☐☑☒")
_FIRST = frozenset("+-–?([:=._")
_SIGNED = re.compile(r"(?:^|\s)\+\s?\w")


def read_mark(text: str, start: int, end: int) -> Mark | None:
    """Return what a sign, an answer or a box directly around a span says of it; None if there is none.

    A minus directly before a mention (`-fever`) is a sign only behind a comma or colon, or on a line that
    also holds a plus: elsewhere it may be the dash of a list.
    """
    before = text[max(0, start - 12) : start]
    bare = before.rstrip(" \t")
    if bare and bare[-1] in _LAST:
        before = before.rpartition("\n")[2]
        for pattern, mark in _BEFORE:
            if pattern.search(before):
                return mark
        if before.endswith((" -", "\t-", "(-")) and _signed_line(text, start):
            return "absent"
    after = text[end : end + 60]
    bare = after.lstrip(" \t")
    if bare and bare[0] in _FIRST:
        for pattern, mark in _AFTER:
            if pattern.match(after):
                return mark
    return None


def _signed_line(text: str, place: int) -> bool:
    first = text.rfind("\n", 0, place) + 1
    last = text.find("\n", place)
    return _SIGNED.search(text, first, last if last >= 0 else len(text)) is not None
