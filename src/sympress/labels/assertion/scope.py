"""Which cues of a statement reach a mention: one walk forward, one back, whatever the statement's length."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympress.labels.assertion.cues import Cue, PhraseCues, Placed
from sympress.labels.assertion.items import Brackets, Items, Span
from sympress.labels.matching import Found

_DASHES = frozenset({"-", "\u2010", "\u2011", "\u2013", "--"})
#: So many open cues of one assertion are remembered; a cue farther away is not the one that is meant.
_REMEMBERED = 6
#: A word and its space are at most so long when words are counted.
_LONG_WORD = 40
_OR = re.compile(r"\bn?or\b")
#: What joins the symptoms of a list: `,` and, before the last of them, `and` or `or`.
_LINK = re.compile(r"[ \n]*(?:,[ \n]*)?(?P<last>(?:and|or)\b|[&/])?(?:[ \n]*[a-z-]+){0,2}[ \n]*")
_LONGEST_LINK = 40
_OF_LAST = re.compile(
    r"\b(?P<alone>(?:that|which|it|this) (?:has|is|was)"
    r"|(?:it|this) (?:resolved|subsided|disappeared|vanished|went))\b"
    r"|resolved (?:w/|with|after|following|by|within|without)"
)
#: What is said behind a list of all of it.
_OF_LISTS = frozenset({"absent", "historical", "hypothetical"})
_OF_ONE = re.compile(r"\b(?:has|is|was|it|this)\b")
#: A clause between commas, over which a verb behind it reaches: `Rash, which itched, has resolved`.
_RELATIVE = re.compile(r",[ \n](?:which|who)\b[^,;:()]{1,80},[ \n]")
_WORD = r"[ ](?!(?:he|she|patient|pt|i|we|you|that|and)\b)[\w'/-]+"
#: What may stand between someone and what they have: `Her coworker vaccinated the same day had …`.
_ASIDE_HAS = re.compile(
    r"(?:[ ](?:with|is|are|was|were)"
    r"|(?:[ ]\([^()\n]{1,40}\)"
    r"|,[ ]who(?:se|m)?[ ][^,;:()\n]{1,80},"
    r"|[ ](?:at[ ](?:bedside|home|school|work)|next[ ]door|in[ ]the[ ](?:next|same)[ ]\w+)"
    rf"|[ ](?:who|vaccinated|exposed|sharing|living|eating|travell?ing)(?:{_WORD}){{1,7}}?"
    rf"|[ ](?:also[ ])?(?:got|received|had|took|ate|drank|shared)(?:{_WORD}){{0,3}}?"
    r"[ ](?:same|vaccine|vaccination|shot|jab|booster|dose|meal|food|dinner|lunch)"
    rf"(?:{_WORD}){{0,6}}?[ ]and"
    r"|(?=[ ](?:has|have|had|developed)\b))"
    r"[ ](?:(?:also|recently|currently|now|then|all|both)[ ]){0,2}"
    r"(?:has|have|had|gets|got|developed|suffer(?:s|ed)[ ]from|complain(?:s|ed)[ ]of|experienced))\b"
    r"(?![ ](?:noticed|noted|seen|observed|reported|brought|given|called|tried|told|asked|stated|said|found"
    r"|witnessed|heard|to|(?:no[ ])?(?:concerns?|questions?|requests?))\b)"
    r"(?![ ]been[ ](?:\w+ing[ ](?:him|her|the|about|to)|worried|concerned|told|asked|called|given)\b)"
)
#: Who opens a clause is its subject: `His older brother`.
_OPENS_WITH = re.compile(
    r"(?:^|[.,;:(!?\n]|\band\b)\s*(?:(?:his|her|my|their|our|the|an?|another|one|two|three|several|some|both|older"
    r"|younger|elder|little|big|twin|maternal|paternal|own|biological|other|travel)\s+)*$"
)
_NO_SUBJECT = re.compile(r"(?:family|fhx?|no |nobody|expos|contact with|also |maternal|paternal)")
#: A verb without a subject of its own goes on with the one before: `Roommate has mono and has had …`.
_GOES_ON = re.compile(
    r"(?P<joined>and )?(?:has had|has been having|having|experiencing|complain(?:s|ed|ing) of|developed"
    r"|received|vaccinated|was (?:vaccinated|given|admitted|found to have)|felt|began|started)"
)
_JOINS = re.compile(r"[^,;:()]*\b(?:and|also|who|then)[ ]")
#: What is said of a subject between its verb and what it has: `is home today with vomiting`.
_ADDS = re.compile(
    r"only|recently|(?:apart|aside) from|other than|except(?: for)?|besides|today(?=[ ]with\b)|who (?:is|was)"
)
_AT_HOME = re.compile(r"\b(?:home|sick|ill|bed|hospital|off|out)\b")
_WHO_HAD = re.compile(
    r"[ ](?:he|she|you|i|we|they|patient|pt) (?:had|developed|experienced|noticed|noted|reported)\b"
)
_THE = re.compile(r"\b(?:the|that|those|this|these)[ ](?:[a-z]+[ ]){0,2}$")
_SUBJECT = 40
_CLAUSE = 120
#: What makes a `no` none of what follows: `No. 3`, `no, the pain is better`.
_NUMBERED = re.compile(r"(?:\.[ \t]?#?|#)\d| ?, (?:the|my|his|her|it|i(?! do)|he|she|that|this|but)\b")
_HAS = re.compile(r"[ ](?:has|had|have|is|was|are|were|gets|with)\b")
_LABELS = re.compile(r"[ \t]?:")
_WITH = re.compile(r"\b(?:with\b|w/)")
_NOT_BETWEEN = re.compile(r"[ \t]*(?:[:=]|[-–][ \t]|\.?[ \t]*\d|(?:t|p|bp|hr|rr)[ :]?\d)")
#: What makes of a cue that ends in `w` no cue: `pt w/o fever`.
_WITHOUT = re.compile(r"/o(?:ut)?\b")
_CLAUSE_OPENERS = frozenset(",;:.(/|\n\t[{?!•–—")


@dataclass(frozen=True, slots=True)
class Reach:
    """What the cues of a statement say of a mention.

    Attributes:
        said: the assertions that hold, and the cue that says each.
        left: assertions of its section that the statement has ended.
        stopped: assertions of the line that leads it, or of its section, that a stop has ended.
    """

    said: Mapping[str, Placed]
    left: frozenset[str] = frozenset()
    stopped: frozenset[str] = frozenset()


_NOTHING = Reach({})


class Statement:
    """A sentence, or an item of a list, with its cues; mentions in it may be asked for in any order."""

    def __init__(
        self,
        folded: str,
        bounds: Span,
        cues: tuple[Sequence[Found], Sequence[PhraseCues]],
        mentions: Sequence[Span],
        *,
        taken: Sequence[Span] = (),
        asked: Sequence[Span] | None = None,
    ) -> None:
        """Read the statement.

        Args:
            folded: the note in lower case.
            bounds: where the statement begins and ends.
            cues: phrases of cues in it, each with its number, and what the phrase of each number does.
            mentions: all that are in it, by start: a phrase that touches one is no cue.
            taken: other places where no cue can stand, such as the answer in `Fever: no`.
            asked: those mentions that `reach` will be asked for, by start; None for all.
        """
        self._text, self._bounds = folded, bounds
        self._found, self._taken = cues, taken
        self._mentions = mentions
        self._asked = mentions if asked is None else asked
        self._brackets: Brackets | None = None
        self._cues: list[Placed] = []
        self._denial_ends: list[int] = []
        self._list_ends: list[int | None] | None = None
        self._reaches: dict[Span, Reach] = {}
        self._is_read = False

    @property
    def silent(self) -> bool:
        """Whether nothing in it says anything of a mention: it can only end what is said elsewhere."""
        found, what = self._found
        return not any(what[number].says for _, _, number in found)

    def __contains__(self, span: Span) -> bool:
        """Whether `reach` can be asked for a mention."""
        at = bisect_left(self._asked, span)
        return not self._found[0] or (at < len(self._asked) and self._asked[at] == span)

    def reach(self, span: Span) -> Reach:
        """What the cues say of one of the mentions."""
        if not self._is_read:
            self._is_read = True
            self._read()
        return self._reaches.get(span, _NOTHING)

    def _read(self) -> None:
        """Walk over all cues that stand in it."""
        found, what = self._found
        self._cues = self._standing(found, what, self._mentions, self._taken) if found else []
        if self._cues:
            self._denial_ends = [
                one.start
                for one in self._cues
                if one.cue.role == "stop" and "absent" in one.cue.ends and self._stops(one)
            ]
            said = self._walk_on(self._asked)
            if any(placed.cue.role == "cue" and not placed.cue.forward for placed in self._cues):
                self._walk_back(said)

    @cached_property
    def _items(self) -> Items:
        """The items of its list."""
        return Items(
            self._text,
            self._bounds,
            self._cues,
            self._mentions,
            denial_ends=self._denial_ends,
            closes=self._closes,
        )

    def _closes(self, place: int) -> int | None:
        """Where the innermost pair of brackets around `place` closes; None where none stands around it."""
        if self._brackets is None:
            self._brackets = Brackets(self._text, *self._bounds)
        return self._brackets.closes(place)

    def _standing(
        self,
        found: Sequence[Found],
        what: Sequence[PhraseCues],
        mentions: Sequence[Span],
        taken: Sequence[Span],
    ) -> list[Placed]:
        """The cues that nothing hides, by start.

        Longest first, not leftmost first: `were not consistent with` is `not consistent with`, not `were
        not`. Stops do not hide one another: `now with` and `came in with` end what `now` and `came in` end. A
        mention hides what denies within it (`no appetite`), not what begins with it (`worried about`).
        """
        first, last = self._bounds
        hidden, stopped = bytearray(last - first), bytearray(last - first)
        for spans, mark in ((mentions, b"\2"), (taken, b"\1")):
            for start, end in spans:
                begin, behind = max(start, first) - first, min(end, last) - first
                if begin < behind:  # an answer may stand outside the statement
                    hidden[begin:behind] = mark * (behind - begin)
        kept: list[Placed] = []
        for start, end, number in sorted(found, key=_longest_first) if len(found) > 1 else found:
            begin, behind = start - first, end - first
            phrase = what[number]
            covered = start < first or end > last or _is_hidden(hidden, begin, behind, phrase)
            covered = covered or (self._text[end - 1] == "w" and _WITHOUT.match(self._text, end) is not None)
            if covered or (not phrase.only_stops and stopped.find(1, begin, behind) >= 0):
                continue
            standing = phrase.cues if phrase.unconditional else self._conditional(phrase, start, end)
            kept += [Placed(start, end, cue) for cue in standing if cue.role != "pseudo"]
            if standing and not phrase.only_statements:
                (stopped if phrase.only_stops else hidden)[begin:behind] = b"\1" * (end - start)
        return sorted(kept, key=_by_start) if len(kept) > 1 else kept

    def _conditional(self, phrase: PhraseCues, start: int, end: int) -> tuple[Cue, ...]:
        """What a phrase does where it stands."""
        return tuple(cue for cue in phrase.cues if cue.unconditional or self._may_stand(cue, start, end))

    def _may_stand(self, cue: Cue, start: int, end: int) -> bool:
        """Whether a phrase is a cue where it stands."""
        text = self._text
        if cue.clause_start and not (self._opens_clause(start) and not self._answers(start, end)):
            return False
        if cue.between and (self._opens_clause(start) or _NOT_BETWEEN.match(text, end)):
            return False
        if (cue.not_before_number and _NUMBERED.match(text, end)) or not self._fits(cue, start, end):
            return False
        if cue.directly_behind:
            if not cue.forward and _HAS.match(text, end):
                return False  # `Mother: His sister has a fever`
            before = text[max(0, start - 24) : start].rstrip()
            return before[-1:] in cue.directly_behind and bool(before)
        return not cue.unless_behind or cue.unless_behind.isdisjoint(self._clause_before(start))

    def _fits(self, cue: Cue, start: int, end: int) -> bool:
        """Whether the colon, the brackets or the mention that a cue needs stand beside it."""
        is_first = not self._mentions or self._mentions[0][0] > start
        if cue.before_colon and not (is_first and self._text.startswith(":", end)):
            return False
        if cue.before_aside and not _ASIDE_HAS.match(self._text, end):
            return False
        if cue.describes and not self._is_whole_aside(start, end):
            return False
        return cue.near_mention is None or self._mention_follows(end, cue.near_mention)

    def _is_whole_aside(self, start: int, end: int) -> bool:
        """Whether a phrase stands in no brackets, or nothing stands beside it in them."""
        closes = self._closes(start)
        return closes is None or (self._text[end:closes].strip() == "" and self._text[start - 1] == "(")

    def _mention_follows(self, place: int, most: int) -> bool:
        """Whether a mention stands behind a place, at most so many words away and not behind a colon."""
        at = bisect_left(self._mentions, (place, 0))
        if at == len(self._mentions) or _LABELS.match(self._text, place):
            return False
        return _words_between(self._text, place, self._mentions[at][0], most)

    def _clause_before(self, place: int) -> list[str]:
        """The words that stand before a place in its clause."""
        return re.split(r"[;:.]\s|\n", self._text[max(self._bounds[0], place - 100) : place])[-1].split()

    def _answers(self, start: int, end: int) -> bool:
        """Whether a word is all that is said of the label before it: `Strep: neg; sore throat`."""
        first = max(self._bounds[0], start - 4)
        return self._text[end : end + 1] == ";" and self._text[first:start].rstrip().endswith(":")

    def _opens_clause(self, place: int) -> bool:
        before = self._text[max(self._bounds[0], place - 30) : place].rstrip(" ")
        return not before or before[-1] in _CLAUSE_OPENERS or before.endswith((" -", "\n-"))

    def _walk_on(self, queries: Sequence[Span]) -> list[tuple[Span, dict[str, Placed]]]:
        """From left to right: forward cues reach what is behind them, stops end them.

        Returns:
            what is said of each of `queries`, in their order; more may be added.
        """
        active: dict[str, deque[Placed]] = {}
        left = stopped = _NOTHING.left
        told: list[tuple[Span, dict[str, Placed]]] = []
        at, cues = 0, self._cues
        for span in queries:
            while at < len(cues) and cues[at].end <= span[0]:
                placed, at = cues[at], at + 1
                cue = placed.cue
                if cue.role == "cue" and cue.forward:
                    active.setdefault(cue.assertion, deque(maxlen=_REMEMBERED)).append(placed)
                elif cue.role == "stop" and self._stops(placed):
                    if active:
                        self._stop(active, placed)
                    stopped |= cue.ends
                    if cue.leaves_section:
                        left |= cue.ends
            said: dict[str, Placed] = {}
            for assertion, open_cues in active.items():
                for one in reversed(open_cues):
                    if self._reaches_on(one, span):
                        said[assertion] = one
                        break
            told.append((span, said))
            self._reaches[span] = Reach(said, left, stopped)
        return told

    def _stop(self, active: dict[str, deque[Placed]], placed: Placed) -> None:
        """Close the open cues that a stop ends."""
        cue = placed.cue
        for assertion in cue.ends:
            if cue.behind_mention or cue.before_mention:
                between = self._mention_between(active.get(assertion), placed.start)
                if between != cue.behind_mention:
                    continue
            if (
                assertion == "family"
                and assertion in active
                and self._is_theirs(active[assertion][-1], placed)
            ):
                continue
            active.pop(assertion, None)

    def _is_theirs(self, someone: Placed, stop: Placed) -> bool:
        """Whether what would end the clause about someone else is still said of them."""
        text, end = self._text, someone.end
        aside = _ASIDE_HAS.match(text, end)
        if aside is not None:
            if stop.start < aside.end():
                return True
            end = aside.end()
        before = text[max(self._bounds[0], someone.start - _SUBJECT) : someone.start]
        gap = text[end : stop.start]
        if len(gap) > _CLAUSE or _NO_SUBJECT.match(text, someone.start) or not _OPENS_WITH.search(before):
            return False
        verb = _GOES_ON.fullmatch(text, stop.start, stop.end)
        if verb is not None:
            return "," not in gap if verb["joined"] else _JOINS.fullmatch(gap) is not None
        if _ADDS.match(text, stop.start) is None or "," in gap:
            return False
        return not text.startswith("today", stop.start) or _AT_HOME.search(gap) is not None

    def _walk_back(self, told: Sequence[tuple[Span, dict[str, Placed]]]) -> None:
        """From right to left: backward cues reach what is before them; a denial between ends denial."""
        active: dict[str, deque[Placed]] = {}
        at, cues = len(self._cues) - 1, self._cues
        for span, said in reversed(told):
            while at >= 0 and cues[at].start >= span[1]:
                placed, at = cues[at], at - 1
                cue = placed.cue
                if cue.role == "cue" and not cue.forward:
                    active.setdefault(cue.assertion, deque(maxlen=_REMEMBERED)).append(placed)
                elif cue.role == "cue":
                    active.pop("absent", None)
                elif cue.role == "stop" and self._stops(placed):
                    self._stop_back(active, placed)
            for assertion, open_cues in active.items():
                for one in reversed(open_cues):
                    if self._reaches_back(one, span):
                        said.setdefault(assertion, one)
                        break

    def _stop_back(self, active: dict[str, deque[Placed]], placed: Placed) -> None:
        """Close the open cues that a stop before them ends: not those behind the clause that it opens."""
        if self._tells_which(placed.start):
            return
        behind = self._aside_end(placed.start)
        for assertion in placed.cue.ends:
            kept = [one for one in active.pop(assertion, ()) if one.start >= behind]
            if kept:
                active[assertion] = deque(kept, maxlen=_REMEMBERED)

    def _tells_which(self, place: int) -> bool:
        """Whether a clause that begins at a place only tells which symptom: `the swelling he developed`."""
        at = bisect_left(self._mentions, (place, 0)) - 1
        if at < 0 or place - self._mentions[at][1] > _SUBJECT:
            return False
        start, end = self._mentions[at]
        clause = _WHO_HAD.match(self._text, end)
        return bool(
            clause is not None
            and place < clause.end()
            and _THE.search(self._text, max(self._bounds[0], start - _SUBJECT), start)
        )

    def _aside_end(self, place: int) -> int:
        """Where the clause between commas ends that begins at a place, else where the statement does."""
        aside = _RELATIVE.match(self._text, place - 2, self._bounds[1]) if place > 1 else None
        return self._bounds[1] if aside is None else aside.end()

    def _mention_between(self, open_cues: deque[Placed] | None, place: int) -> bool:
        return open_cues is not None and self._any_between(open_cues[-1].end, place)

    def _any_between(self, first: int, last: int) -> bool:
        """Whether a mention stands between two places."""
        at = bisect_left(self._mentions, (first, 0))
        return at < len(self._mentions) and self._mentions[at][1] <= last

    def _stops(self, placed: Placed) -> bool:
        cue, start = placed.cue, placed.start
        if cue.after_comma and not self._text[max(0, start - 8) : start].rstrip().endswith(","):
            return False
        return not (cue.unless_or and self._or_follows(placed.end))

    def _or_follows(self, place: int) -> bool:
        """Whether `or` stands between a place and the next mention, near by and before any comma."""
        at = bisect_left(self._mentions, (place, 0))
        if at == len(self._mentions):
            return False
        gap = self._text[place : min(self._mentions[at][0], place + 2 * _LONG_WORD)]
        return "," not in gap and _OR.search(gap) is not None

    def _reaches_on(self, placed: Placed, span: Span) -> bool:
        cue, start, end = placed.cue, placed.end, span[0]
        if not _words_between(self._text, start, end, cue.max_words):
            return False
        closes = self._closes(placed.start)
        if closes is not None and closes < end:
            return False  # `chills (no fever), cough`
        if cue.within_item:
            gap = self._text[start:end]
            return ("," not in gap and _WITH.search(gap) is None) or (
                cue.assertion == "absent" and self._items.goes_on(end)
            )
        if cue.assertion == "historical" and self._items.makes_recent(start, span):
            return False
        if cue.assertion == "possible" and self._items.begins_anew(start, span):
            return False
        return not (
            (cue.assertion == "absent" and self._items.excepts(span))
            or (cue.assertion in ("absent", "historical") and self._items.tells_itself(placed, span))
        )

    def _reaches_back(self, placed: Placed, span: Span) -> bool:
        """Whether a cue reaches the mention before it, or the last of the list in which that stands."""
        cue, start = placed.cue, placed.start
        if self._text.startswith(":", placed.end):  # it leads what follows
            return False
        if self._near_before(cue, span[1], start):
            # `cough and a rash that is resolved`
            of_last = _OF_LAST.search(self._text, max(0, start - 6), placed.end)
            if of_last is None or not self._any_between(span[1], start):
                return True
            if of_last["alone"]:
                return False
        if cue.assertion not in _OF_LISTS or _OF_ONE.search(self._text, start, placed.end):
            return False
        end = self._list_end(span)
        return end is not None and end <= start and self._near_before(cue, end, start)

    def _near_before(self, cue: Cue, end: int, start: int) -> bool:
        aside = _RELATIVE.match(self._text, end, start)
        if aside is not None and cue.assertion != "absent":
            end = aside.end()
        if not _words_between(self._text, end, start, cue.max_words):
            return False
        return cue.across_commas or "," not in self._text[end:start]

    def _list_end(self, span: Span) -> int | None:
        """Where the list ends in which a mention stands: `fever, cough and rash`; None where none does."""
        if self._list_ends is None:
            mentions = self._mentions
            ends: list[int | None] = [None] * len(mentions)
            for at in range(len(mentions) - 2, -1, -1):
                link = self._link(mentions[at][1], mentions[at + 1][0])
                if link is not None:
                    ends[at] = ends[at + 1] or (mentions[at + 1][1] if link["last"] else None)
            self._list_ends = ends
        at = bisect_left(self._mentions, span)
        return self._list_ends[at] if at < len(self._mentions) and self._mentions[at] == span else None

    def _link(self, end: int, start: int) -> re.Match[str] | None:
        """What joins two mentions of one list: no cue, and at most two other words."""
        if not 0 < start - end <= _LONGEST_LINK:
            return None
        at = bisect_left(self._cues, (end,))
        if any(one.cue.role != "statement" and one.start < start for one in self._cues[at : at + 3]):
            return None
        link = _LINK.fullmatch(self._text, end, start)
        return link if link is not None and (link["last"] or "," in link.group()) else None


def _is_hidden(hidden: bytearray, begin: int, behind: int, phrase: PhraseCues) -> bool:
    """Whether a longer phrase (1) or a mention (2) hides what stands between two places.

    A cue that goes on behind a mention and denies nothing is not hidden by it.
    """
    if hidden.find(1, begin, behind) >= 0:
        return True
    if hidden.find(2, begin, behind) < 0:
        return False
    return hidden[behind - 1] != 0 or not phrase.affirms


def _longest_first(match: Found) -> tuple[int, int, int]:
    return match[0] - match[1], match[0], match[2]


def _by_start(placed: Placed) -> tuple[int, int]:
    return placed.start, placed.end


def _words_between(text: str, start: int, end: int, limit: int) -> bool:
    """Whether at most `limit` words stand between two places."""
    # A word has at least one character: most gaps need no count. A dash that stands alone is no word.
    if end - start <= limit:
        return True
    if end - start > (limit + 1) * _LONG_WORD:
        return False
    words = text[start:end].split()
    return len(words) <= limit or len(words) - sum(map(words.count, _DASHES)) <= limit
