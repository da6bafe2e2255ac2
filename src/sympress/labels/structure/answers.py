r"""Signs, boxes, answers and tables beside the words: `fever (-)`, `[x] cough`, `Rash: No`, `| HA | Yes |`.

A mark between two symptoms belongs to one of them. A comma tells which; without one the row does: marks that
stand before its first symptom stand before all of them, marks behind its last stand behind all.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal, NamedTuple

Said = Literal["present", "absent", "possible"]


class Mark(NamedTuple):
    """What a mark says, and where it stands."""

    said: Said
    start: int
    end: int


def _any_of(patterns: Sequence[tuple[re.Pattern[str], Said]]) -> re.Pattern[str]:
    """One pattern that matches where one of `patterns` does."""
    unnamed = re.compile(r"\?P<\w+>")
    return re.compile(
        "|".join(
            f"(?{'i' if pattern.flags & re.I else ''}:{unnamed.sub('?:', pattern.pattern)})"
            for pattern, _ in patterns
        )
    )


#: A row is read at most so far to either side of a symptom, and a gap between two of them.
_ROW = 300
_GAP = 80

_MINUS = "[-–−]"
_NO = (
    r"no(?:ne|t present|t at this time|t reported|t noted|)?"
    r"(?:[ \t]+(?:reported|noted|present|seen|at this time))?"
    r"|neg(?:ative)?|absent|denie[sd]|nil|n(?!/)|never|0(?:/10)?|false|[-–−](?:ve)?|wnl|unremarkable"
)
_YES = r"yes|y|pos(?:itive)?|present|true|endorsed|endorses|reported|\+{1,4}(?:ve)?|[x✓✔]|checked"
_NO_BOX = r"\[[\s_]*\]|\(\s{0,3}\)|\(_+\)|\{[\s_]*\}|[☐□❑❏▢◻⬜]"
_YES_BOX = r"[\[({]\s*[x✓✔✗*]\s*[\])}]|[☑☒✓✔✅■▣◼⬛]"
_NO_SIGN = rf"[\[({{]\s*(?:{_MINUS}|neg(?:ative)?|no|none|n|absent|denie[sd])\s*[\])}}]|[✗✘❌🚫⛔]|[Ø∅⊘]"
_YES_SIGN = r"[\[({]\s*(?:\+{1,3}|pos(?:itive)?|yes|y|present|endorsed)\s*[\])}]"
_SPACE = r"[ \t]*"
_END = r"(?=[ \t\"'*]*(?:[.,;)|/}\]\r\n\t]|$)|[ \t]{2,})"

_BEFORE: tuple[tuple[re.Pattern[str], Said], ...] = (
    (
        re.compile(rf"\b(?:yes|y){_SPACE}(?:{_NO_BOX})[ \t,/]*(?:no|n){_SPACE}(?:{_YES_BOX})[ \t:]*$", re.I),
        "absent",
    ),
    (
        re.compile(rf"\b(?:yes|y){_SPACE}(?:{_YES_BOX})[ \t,/]*(?:no|n){_SPACE}(?:{_NO_BOX})[ \t:]*$", re.I),
        "present",
    ),
    (re.compile(rf"(?:{_NO_BOX}|{_NO_SIGN}){_SPACE}$", re.I), "absent"),
    (re.compile(rf"(?:{_YES_BOX}|{_YES_SIGN}){_SPACE}$", re.I), "present"),
    (re.compile(r"(?<![\w+])\+{1,3}[ \t]?$"), "present"),
    (re.compile(rf"[,:;][ \t]*{_MINUS}$"), "absent"),
    (re.compile(r"(?:^|(?<=[\s(,]))\?{1,3}[ \t]?$"), "possible"),
)
_NOS, _YESES = r"(?:no|n|absent|denies)\b", r"(?:yes|y|present)\b"
_TO_NEXT = r"[ \t,/]*"
_BOX_SAYS: tuple[tuple[str, Said], ...] = (
    (rf"[ \t:?]*(?:{_NO_BOX}){_SPACE}{_YESES}{_TO_NEXT}(?:{_YES_BOX}){_SPACE}{_NOS}", "absent"),
    (rf"[ \t:?]*(?:{_YES_BOX}){_SPACE}{_NOS}", "absent"),
    (rf"[ \t:?]*(?:yes|y){_SPACE}(?:{_NO_BOX}){_TO_NEXT}(?:no|n){_SPACE}(?:{_YES_BOX})", "absent"),
    (rf"[ \t:?]*(?:no|n){_SPACE}(?:{_YES_BOX})", "absent"),
    (
        rf"[ \t:?]*(?:{_YES_BOX}){_SPACE}{_YESES}(?:{_TO_NEXT}(?:{_NO_BOX}){_SPACE}(?:no|n)\b)?",
        "present",
    ),
    (rf"[ \t:?]*(?:{_NO_BOX}){_SPACE}{_NOS}{_TO_NEXT}(?:{_YES_BOX}){_SPACE}{_YESES}", "present"),
    (rf"[ \t:?]*(?:yes|y){_SPACE}(?:{_YES_BOX})", "present"),
)
_ASIDE = r"[\"'*_]{0,2}[ \t]*(?:\([^()\n]{0,30}\)[ \t]*|[<>≥≤]=?[ \t]*\d[\d.]*[ \t]*°?[FCfc]?[ \t]*)?"
_COLON = r"(?:[:=][*_\"']{0,2}|[-–—]{1,2}>|→|=>)"
_LEADER = r"(?:[?]|[-–—]{1,2}(?=[ \t])|\.{2,}|_{2,}|\||\t+|[ \t]{2,})"
_TO_ANSWER = rf"{_ASIDE}(?:{_COLON}|{_LEADER}){_SPACE}(?:\|{_SPACE})?"
_AFTER: tuple[tuple[re.Pattern[str], Said], ...] = (
    *((re.compile(pattern, re.I), said) for pattern, said in _BOX_SAYS),
    (re.compile(rf"{_SPACE}:?{_SPACE}(?:{_NO_BOX}|{_NO_SIGN})", re.I), "absent"),
    (re.compile(rf"{_SPACE}:?{_SPACE}(?:{_YES_BOX}|{_YES_SIGN})", re.I), "present"),
    (re.compile(rf"{_SPACE}{_MINUS}ve\b|{_SPACE}neg(?:ative)?{_END}", re.I), "absent"),
    (re.compile(rf"{_SPACE}\+ve\b|{_SPACE}pos(?:itive)?{_END}", re.I), "present"),
    (re.compile(rf"[ \t]?{_MINUS}(?=[ \t]*(?:[,;.)|\r\n]|$))"), "absent"),
    (re.compile(r"[ \t]?\+{1,4}(?=[ \t]*(?:[,;.)|\r\n]|$))"), "present"),
    (re.compile(rf"{_TO_ANSWER}(?:{_NO}){_END}", re.I), "absent"),
    (re.compile(rf"{_TO_ANSWER}(?:{_YES}|1){_END}", re.I), "present"),
    (re.compile(rf"[-–—](?:no|neg){_END}", re.I), "absent"),
    (re.compile(rf"[-–—](?:yes|pos){_END}", re.I), "present"),
    (re.compile(rf"_(?:{_NO})\b", re.I), "absent"),
    (re.compile(rf"_(?:{_YES})\b", re.I), "present"),
    (re.compile(rf"[ \t](?:[Nn]o|NO|N){_END}"), "absent"),
    (re.compile(rf"[ \t](?:[Yy]es|YES|Y){_END}"), "present"),
    (re.compile(r"[ \t]?\?"), "possible"),
)  # fmt: skip
# Signs and answers that are read only where all of the row is written so.
_GLUED: tuple[tuple[re.Pattern[str], Said], ...] = (
    (re.compile(rf"{_MINUS}(?=\s|$)"), "absent"),
    (re.compile(r"\+{1,4}(?=\s|$)"), "present"),
)
_KEYED: tuple[tuple[re.Pattern[str], Said], ...] = (
    (re.compile(rf"{_ASIDE}{_COLON}{_SPACE}(?:{_NO})(?=[ \t]+\S)", re.I), "absent"),
    (re.compile(rf"{_ASIDE}{_COLON}{_SPACE}(?:{_YES}|1)(?=[ \t]+\S)", re.I), "present"),
)
_NEXT_KEY = re.compile(rf"[ \t]+[A-Za-z][\w/ ()'-]{{0,30}}{_COLON}")
_BARE: tuple[tuple[re.Pattern[str], Said], ...] = (
    (re.compile(r"[ \t](?:no|neg|absent|n)(?=[ \t]+\S)", re.I), "absent"),
    (re.compile(r"[ \t](?:yes|pos|present|y)(?=[ \t]+\S)", re.I), "present"),
)
_CSV = re.compile(rf",[ \t]*(?:(?P<absent>{_NO})|(?P<present>{_YES}|1))[ \t]*\r?$", re.I)
_QUESTION = re.compile(
    r"[^.?!;\n]{0,80}\?\s*(?:(?:[-–—]{1,2}>?|→|:)[ \t]*)?(?:(?:A|Ans|Answer|R|Pt|Patient)[ \t]*[:.)-][ \t]*)?"
    r"(?:(?P<absent>no(?:ne|pe)?|denie[sd]|neg(?:ative)?|never)|(?P<present>yes|yeah|yep|positive|pos))\b"
    r"(?=[ \t]*(?:[.,;|\r\n]|$))",
    re.I,
)
_PLUS_LINE = re.compile(r"(?:^|\n)[ \t]*\+[ \t]?\w")
_TOGETHER = re.compile(r"[ \t]*(?:,|/|&|\b(?:or|and|and/or)\b)[ \t]*(?:\b(?:or|and)\b[ \t]*)?")
_HEADED = re.compile(r"(?:^|[;.\n]|\s)[(\[]\s*(?:(?P<absent>[-–−]|neg)|(?P<present>\+|pos))\s*[)\]]\s*:")
_SIGNED = re.compile(r"(?:^|[\s,(])(?:\+[ \t]?\w|[-–−](?=[A-Za-z]))")
_HEADER_NO = re.compile(r"\b(?:no|absent|neg(?:ative)?|denies)\b", re.I)
_HEADER_YES = re.compile(r"\b(?:yes|present|pos(?:itive)?|endorses)\b", re.I)
_TICK = re.compile(r"(?<![^\s|])(?:[xX✓✔☒☑●*]|\[[xX]\])(?![^\s|])")
#: One look instead of many: whether any of the marks above stands behind a symptom.
_ANY_AFTER = _any_of(_AFTER)
_ANY_IN_SERIES = _any_of((*_KEYED, *_GLUED, *_BARE, (_CSV, "absent")))
_LAST = frozenset("+-–−?)]}☐□❑❏▢◻⬜☑☒✓✔✅■▣◼⬛✗✘❌🚫⛔Ø∅⊘")
_FIRST = frozenset("\"'*<>≥≤+-–−?([{:=._|→,☐□❑❏▢◻⬜☑☒✓✔✅■▣◼⬛✗✘❌nNyYpP")
_HOLLOW, _FULL = "○◯", "●⬤"


class Row:
    """The symptoms of one line and what is marked beside each."""

    def __init__(self, text: str, line: tuple[int, int], spans: Sequence[tuple[int, int]]) -> None:
        """Read a row.

        Args:
            text: in its original case, placeholders blanked.
            line: where the line begins and ends.
            spans: of all symptoms on it, by start.
        """
        self._text, self._line, self._spans = text, line, spans
        self.marks: dict[tuple[int, int], Mark] = {}
        trailing = [self._behind(at) for at in range(len(spans))]
        leading = [self._ahead(at) for at in range(len(spans))]
        if any(trailing) or any(leading):
            self._share(leading, trailing)
            self._spread(trailing)
        headed = min(line[1], line[0] + 4 * _ROW)
        if text.find("):", line[0], headed) >= 0 or text.find("]:", line[0], headed) >= 0:
            self._head()

    def _spread(self, trailing: Sequence[Mark | None]) -> None:
        """Give an answer to all that it answers: `Fever or chills: no`."""
        for at in range(len(self._spans) - 2, -1, -1):
            one, other = self._spans[at], self._spans[at + 1]
            mark = self.marks.get(other)
            if one in self.marks or mark is None or mark is not trailing[at + 1] or mark.said == "possible":
                continue
            if self._begins_with(self._spans[0][0], " \t-*•|") and _TOGETHER.fullmatch(
                self._text, one[1], other[0]
            ):
                self.marks[one] = mark

    def _head(self) -> None:
        """Read signs that head a list: `(-): fever, chills; (+): cough`."""
        first, last = self._line
        heads = list(_HEADED.finditer(self._text, first, min(last, first + 4 * _ROW)))
        ends = [head.end() for head in heads]
        for span in self._spans:
            number = bisect_right(ends, span[0]) - 1
            if number < 0 or span in self.marks or span[0] - ends[number] > 4 * _ROW:
                continue
            head = heads[number]
            if self._text.find(";", head.end(), span[0]) < 0:
                said: Said = "absent" if head["absent"] else "present"
                self.marks[span] = Mark(said, head.start(said), head.end(said))

    def _share(self, leading: list[Mark | None], trailing: list[Mark | None]) -> None:
        """Give each mark to one symptom."""
        behind = self._stand_behind(leading, trailing)
        for at, span in enumerate(self._spans):
            before, after = leading[at], trailing[at]
            if before is not None and at and _meet(trailing[at - 1], before) and behind:
                before = None
            if (
                after is not None
                and at + 1 < len(self._spans)
                and _meet(after, leading[at + 1])
                and not behind
            ):
                after = None
            chosen = before or after
            if chosen is not None:
                self.marks[span] = chosen

    def _stand_behind(self, leading: list[Mark | None], trailing: list[Mark | None]) -> bool:
        """Whether a mark that could belong to either of two symptoms belongs to the one before it."""
        first, last = leading[0] is not None, trailing[-1] is not None
        if first != last:
            return last
        for one, other in zip(trailing, leading[1:], strict=False):
            if _meet(one, other) and one is not None:
                glued_left = not self._text[one.start : one.start + 1].isspace()
                before = any(one.start == end for _, end in self._spans) and glued_left
                glued_right = any(one.end == start for start, _ in self._spans)
                if before != glued_right:
                    return before
        return not first

    def _behind(self, at: int) -> Mark | None:
        """The mark behind a symptom, up to the next one."""
        text, end = self._text, self._spans[at][1]
        stop = min(self._line[1], end + _GAP)
        following = self._spans[at + 1][0] if at + 1 < len(self._spans) else None
        stop = stop if following is None else min(stop, following)
        bare = text[end:stop].lstrip(" \t")
        if not bare or (bare[0] not in _FIRST and not text.startswith(("\t", "  "), end)):
            return self._asked(at)
        gap = text[end:stop]
        for pattern, said in _AFTER if _ANY_AFTER.match(gap) else ():
            found = pattern.match(gap)
            if found and not (said == "possible" and self._asked(at)):
                return Mark(said, end + _lead_of(found), end + found.end())
        return self._in_series(at, end, stop) or self._asked(at)

    def _in_series(self, at: int, end: int, stop: int) -> Mark | None:
        """A mark that counts only where the row goes on in the same way."""
        text = self._text
        if not _ANY_IN_SERIES.match(text, end, self._line[1]):
            return None
        found = _CSV.match(text, end, self._line[1])
        if found and self._begins_with(self._spans[at][0], " \t"):
            return Mark("absent" if found["absent"] else "present", end + 1, found.end())
        for pattern, said in _KEYED:
            keyed = pattern.match(text, end, self._line[1])
            if keyed and keyed.end() <= stop and _NEXT_KEY.match(text, keyed.end(), self._line[1]):
                return Mark(said, end + _lead_of(keyed), keyed.end())
        for pattern, said in (*_GLUED, *_BARE):
            found = pattern.match(text, end, self._line[1])
            if found and found.end() <= stop and self._alternates(at, found.end()):
                return Mark(said, end + _lead_of(found), found.end())
        return None

    def _alternates(self, at: int, behind: int) -> bool:
        """Whether only the mark stands between symptom `at` and the next, and the last has a mark, too."""
        if len(self._spans) < 2 or not self._begins_with(self._spans[0][0], " \t-*•"):
            return False
        if at + 1 < len(self._spans) and self._text[behind : self._spans[at + 1][0]].strip(" \t,;"):
            return False
        tail = self._text[self._spans[-1][1] : min(self._line[1], self._spans[-1][1] + 20)]
        return any(
            pattern.match(f"{tail.rstrip()} ." if tail.strip() else "") for pattern, _ in (*_GLUED, *_BARE)
        )

    def _begins_with(self, place: int, marks: str) -> bool:
        """Whether nothing but `marks` stands on the line before `place`, which is near its beginning."""
        first = self._line[0]
        return place - first <= _ROW and not self._text[first:place].strip(marks)

    def _asked(self, at: int) -> Mark | None:
        """The answer to the question in which a symptom stands."""
        end = self._spans[at][1]
        found = _QUESTION.match(self._text, end, min(len(self._text), end + 120))
        if found is None:
            return None
        name: Said = "absent" if found["absent"] else "present"
        return Mark(name, found.start(name), found.end(name))

    def _ahead(self, at: int) -> Mark | None:
        """The mark before a symptom, back to the one before."""
        text, start = self._text, self._spans[at][0]
        first = max(self._line[0], start - 30, self._spans[at - 1][1] if at else 0)
        before = text[first:start]
        bare = before.rstrip(" \t")
        if bare[-1:] and bare[-1] in _HOLLOW + _FULL:
            return self._round(bare[-1], first + len(bare) - 1)
        if bare[-1:] not in _LAST:
            return None
        for pattern, said in _BEFORE:
            found = pattern.search(before)
            if found:
                return Mark(said, first + found.start(), first + len(found.group().rstrip()) + found.start())
        if before.strip() in ("-", "–", "−") and before[-1].isspace() and self._among_pluses(start):
            return Mark("absent", first + before.index(bare[-1]), start - 1)
        if before[-1] in "-–−" and (len(before) == 1 or before[-2] in " \t(,") and self._signed(start):
            return Mark("absent", start - 1, start)
        return None

    def _round(self, shape: str, place: int) -> Mark | None:
        """`○` and `●` are boxes where both are used, else marks of a list."""
        near = self._text[max(0, place - _ROW) : place + _ROW]
        if any(one in near for one in _HOLLOW) and any(one in near for one in _FULL):
            return Mark("absent" if shape in _HOLLOW else "present", place, place + 1)
        return None

    def _signed(self, start: int) -> bool:
        """Whether a minus glued to a word is a sign: a second sign stands on its line, or one on the next."""
        first, last = max(self._line[0], start - _ROW), min(self._line[1], start + _ROW)
        if len(_SIGNED.findall(self._text[first:last])) > 1:
            return True
        return self._begins_with(start - 1, " \t") and self._among_pluses(start)

    def _among_pluses(self, start: int) -> bool:
        """Whether another line near by begins with a plus."""
        (first, last), stop = self._line, min(self._line[1], start + _ROW) + _ROW
        # Of its own line only the beginning counts: a long one is not read for each symptom on it.
        before = self._text[max(0, first - _ROW) : min(stop, first + _ROW)]
        return _PLUS_LINE.search(before) is not None or (
            stop > last and _PLUS_LINE.search(self._text[last:stop]) is not None
        )


def ticked(text: str, line: tuple[int, int], end: int) -> bool:
    """Whether a tick stands behind `end` on a line, in a column of its own."""
    return line[1] - line[0] < _ROW and _TICK.search(text, end, line[1]) is not None


def answer_of_columns(text: str, line: tuple[int, int], end: int, header: tuple[int, int]) -> Mark | None:
    """What a tick in a column of a table says: `Fever | X | |` under `Symptom | Yes | No`.

    Args:
        text: of the note.
        line: where the row begins and ends.
        end: of the symptom on it.
        header: where the line of the column names begins and ends.
    """
    tick = _TICK.search(text, end, line[1])
    names = text[header[0] : header[1]]
    no, yes = _HEADER_NO.search(names), _HEADER_YES.search(names)
    if tick is None or no is None or yes is None:
        return None
    for separator in "|\t":
        if separator in names:
            cell = text[line[0] : tick.start()].count(separator)
            columns = {
                names[: found.start()].count(separator): said
                for found, said in ((no, "absent"), (yes, "present"))
            }
            break
    else:
        cell = tick.start() - line[0]
        nearest = min((no, yes), key=lambda found: abs((found.start() + found.end()) / 2 - cell - 0.5))
        columns = {cell: "absent" if nearest is no else "present"}
    said = columns.get(cell)
    return None if said is None else Mark(said, tick.start(), tick.end())  # type: ignore[arg-type]


def names_columns(text: str, first: int, last: int) -> bool:
    """Whether a line names columns of yes and no."""
    line = text[first:last]
    return last - first < _ROW and bool(_HEADER_NO.search(line)) and bool(_HEADER_YES.search(line))


def _meet(one: Mark | None, other: Mark | None) -> bool:
    return one is not None and other is not None and one.start < other.end and other.start < one.end


def _lead_of(found: re.Match[str]) -> int:
    """How far into a match its first mark stands."""
    return len(found.group()) - len(found.group().lstrip(" \t:=|,"))
