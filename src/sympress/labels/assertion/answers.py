r"""Signs, boxes, answers and tables beside the words: `fever (-)`, `[x] cough`, `Fever: No`, `Rash | Yes`.

A mark between two symptoms belongs to one of them. A comma tells which; without one the row does: marks that
stand before its first symptom stand before all of them, marks behind its last stand behind all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from sympress.labels.assertion.sentences import CLINICIAN, TURN

Said = Literal["present", "absent", "possible", "historical"]


class Mark(NamedTuple):
    """What a mark says, and where it stands; `still` where it denies that the symptom is over."""

    said: Said
    start: int
    end: int
    still: bool = False


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
    r"|(?:(?:the[ \t]+)?(?:patient|pt|he|she)[ \t]+)?"
    r"(?:denie[sd](?:[ \t]+(?:any|it|this|these))?"
    r"|(?:do|does|did)[ \t]+not[ \t]+have[ \t]+(?:any|it|this)|ha(?:s|d)[ \t]+none)"
    r"|not[ \t]+at[ \t]+all"
    r"|neg(?:ative)?|absent|nil|n(?!/)|never|0(?:/10)?|false|[-–−](?:ve)?|wnl|unremarkable"
)
_YES = r"yes|y|pos(?:itive)?|present|true|endorsed|endorses|reported|reports|\+{1,4}(?:ve)?|[x✓✔]|checked"
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
    (re.compile(rf"[.,:;][ \t]+{_MINUS}$|[,:;]{_MINUS}$"), "absent"),
    (re.compile(r"(?<![\d.:/,-])\b(?:x[ \t]?)?0(?:[ \t]*/[ \t]*10|[ \t]+out of[ \t]+10)?[ \t]+$"), "absent"),
    (re.compile(r"(?:^|(?<=[\s(,]))\?{1,3}[ \t]?$"), "possible"),
)
_NO_WORD, _YES_WORD = r"(?:no|n|absent|denies)\b", r"(?:yes|y|present)\b"
_NO_BOXED, _YES_BOXED = rf"(?:{_NO_BOX}){_SPACE}", rf"(?:{_YES_BOX}){_SPACE}"
_BOX_SAYS: tuple[tuple[str, Said], ...] = (
    (rf"[ \t:?]*{_NO_BOXED}{_YES_WORD}[ \t,/]*{_YES_BOXED}{_NO_WORD}", "absent"),
    (rf"[ \t:?]*{_YES_BOXED}{_NO_WORD}", "absent"),
    (rf"[ \t:?]*(?:yes|y){_SPACE}{_NO_BOXED}[,/]*{_SPACE}(?:no|n){_SPACE}(?:{_YES_BOX})", "absent"),
    (rf"[ \t:?]*(?:no|n){_SPACE}(?:{_YES_BOX})", "absent"),
    (rf"[ \t:?]*(?:no|n){_SPACE}{_NO_BOXED}[,/]*{_SPACE}(?:yes|y){_SPACE}(?:{_YES_BOX})", "present"),
    (rf"[ \t:?]*{_YES_BOXED}{_YES_WORD}(?:[ \t,/]*{_NO_BOXED}(?:no|n)\b)?", "present"),
    (rf"[ \t:?]*{_NO_BOXED}{_NO_WORD}[ \t,/]*{_YES_BOXED}{_YES_WORD}", "present"),
    (rf"[ \t:?]*(?:yes|y){_SPACE}(?:{_YES_BOX})", "present"),
)
_ASIDE = r"[\"'*_)]{0,2}[ \t]*(?:\([^()\n]{0,30}\)[ \t]*|[<>≥≤]=?[ \t]*\d[\d.]*[ \t]*°?[FCfc]?[ \t]*)?"
_COLON = r"(?:[:=][*_\"']{0,2}|[-–—]{1,2}>|→|=>)"
_LEADER = r"(?:[?]|[-–—]{1,2}(?=[ \t])|\.{2,}|_{2,}|\||\t+|[ \t]{2,})"
# `Pain 0/10`, `nausea score: 0`, `vomiting x0`.
_ZERO = (
    r"(?:[ \t]*\(?(?:pain[ \t]+)?(?:score|level|scale|rating|grade|severity))?[ \t]*"
    r"(?:is|was|of|rated|[:=(-])?[ \t]*"
    r"(?:\(?0[ \t]*-[ \t]*10\)?[ \t]*[:=][ \t]*)?(?:x[ \t]?0|\b0)"
    r"(?:[ \t]*/[ \t]*\d{1,2}|[ \t]+out of[ \t]+\d{1,2})?\b"
    r"(?![.,:/]?\d|[ \t]*(?:%|(?:-|to)[ \t]*\d|[cm]m\b|mg|ml))"
)
_MORE_ITEMS = (
    r"(?:[ \t]*(?:,|/|\bor\b|\band\b)[ \t]*(?:(?:or|and)[ \t]+)?[A-Za-z-]+(?:[ \t][A-Za-z-]+)?){1,3}"
    r"[ \t]*[:?][ \t]*"
)
# A choice as it is printed, before its answer: `Fever Yes/No: No`, `Cough (Y / N) Y`.
_CHOICE = (
    r"[ \t]*[:?]?[ \t]*[(\[]?(?:(?:yes|y)[ \t]*/[ \t]*(?:no|n)|(?:no|n)[ \t]*/[ \t]*(?:yes|y))\b[)\]]?"
    r"[ \t]*[:?=_-]{0,3}[ \t]*"
)
_ASIDE_LEADER = rf"{_ASIDE}(?:{_COLON}|{_LEADER}){_SPACE}(?:\|{_SPACE})?"
_AFTER: tuple[tuple[re.Pattern[str], Said], ...] = (
    *((re.compile(pattern, re.I), said) for pattern, said in _BOX_SAYS),
    (re.compile(rf"{_CHOICE}(?:{_NO})(?=[ \t]*(?:[.,;|\r\n]|$)|[ \t]+[A-Z])", re.I), "absent"),
    (re.compile(rf"{_CHOICE}(?:{_YES})(?=[ \t]*(?:[.,;|\r\n]|$)|[ \t]+[A-Z])", re.I), "present"),
    (re.compile(rf"{_CHOICE}(?=[.,;|\r\n]|$)", re.I), "possible"),
    (re.compile(rf"{_SPACE}:?{_SPACE}(?:{_NO_BOX}|{_NO_SIGN})", re.I), "absent"),
    (re.compile(rf"{_SPACE}:?{_SPACE}(?:{_YES_BOX}|{_YES_SIGN})", re.I), "present"),
    (re.compile(rf"{_SPACE}{_MINUS}ve\b|{_SPACE}neg(?:ative)?{_END}", re.I), "absent"),
    (re.compile(rf"{_SPACE}\+ve\b|{_SPACE}pos(?:itive)?{_END}", re.I), "present"),
    (re.compile(rf"[ \t]?{_MINUS}(?=[ \t]*(?:[,;.)|\r\n]|$))"), "absent"),
    (re.compile(r"[ \t]?\+{1,4}(?=[ \t]*(?:[,;.)|\r\n]|$))"), "present"),
    (re.compile(rf"{_ASIDE_LEADER}(?:{_NO}){_END}", re.I), "absent"),
    (re.compile(rf"{_ASIDE_LEADER}(?:{_YES}|1){_END}", re.I), "present"),
    (re.compile(_ZERO, re.I), "absent"),
    (re.compile(rf"{_MORE_ITEMS}(?:{_NO}){_END}", re.I), "absent"),
    (re.compile(rf"{_MORE_ITEMS}(?:{_YES}){_END}", re.I), "present"),
    (
        re.compile(
            rf"{_ASIDE_LEADER}(?:un(?:known|sure|certain)|not (?:sure|assessed|asked|discussed)){_END}", re.I
        ),
        "possible",
    ),
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
    (re.compile(rf"[ \t]?{_MINUS}(?=\s|$)"), "absent"),
    (re.compile(r"[ \t]?\+{1,4}(?=\s|$)"), "present"),
)
_KEYED: tuple[tuple[re.Pattern[str], Said], ...] = (
    (re.compile(rf"{_ASIDE}(?:{_COLON}|\?){_SPACE}(?:{_NO})(?=[ \t]+\S)", re.I), "absent"),
    (re.compile(rf"{_ASIDE}(?:{_COLON}|\?){_SPACE}(?:{_YES}|1)(?=[ \t]+\S)", re.I), "present"),
)
_NEXT_KEY = re.compile(rf"[ \t]+[A-Za-z][\w/ ()'-]{{0,30}}(?:{_COLON}|\?)")
_BARE: tuple[tuple[re.Pattern[str], Said], ...] = (
    (re.compile(r"[ \t](?:no|neg|absent|n)(?=[ \t]+\S)", re.I), "absent"),
    (re.compile(r"[ \t](?:yes|pos|present|y)(?=[ \t]+\S)", re.I), "present"),
)
_CSV = re.compile(rf",[ \t]*(?:(?P<absent>{_NO})|(?P<present>{_YES}|1))[ \t]*\r?$", re.I)
_SPEAKER = (
    r"(?:A|Ans|Answer|R|P|Pt|Patient|Client|Guest(?:_\w{1,20})?|Caller|Resident|Mother|Father|Mom|Mum|Dad|Parents?|Guardian|"
    r"Grand(?:mother|father|ma|pa)|Wife|Husband|Spouse|Partner|Son|Daughter|Sister|Brother|Caregiver|Carer|Family|"
    r"Interpreter|Speaker[ \t_]?\w{1,2}|M(?:rs?|s)\.?[ \t][A-Z][\w'-]{1,20})"
)
#: What a speaker says first.
_INTERJECTIONS = (
    r"(?:(?:well|oh|ah|um|uh|hmm|thankfully|thank[ \t](?:god|goodness)|fortunately|luckily|sadly|"
    r"unfortunately|"
    r"actually|honestly|okay|ok|so)[,.]?[ \t]+){0,2}"
)
# `Yes since Monday` answers; `No pain` tells something of its own.
_ANSWER_GOES_ON = r"since|for|but|sometimes|last|yesterday|today|when|after|now|still|i|he|she"
_ANSWERS_NO = (
    r"no(?:ne|pe)?(?:[ \t]+at[ \t]+all)?|nah|n?uh[ -]uh|denie[sd]|neg(?:ative)?|never"
    r"|not?[ \t]+that[ \t]+i(?:['’]ve|[ \t]have)?[ \t]+(?:know[ \t]of|noticed|seen|felt|recall|remember)"
    r"|i[ \t]+do(?:n['’]t|[ \t]not)[ \t]+(?:think|believe)[ \t]+so"
    r"|(?:i|he|she|we|they)[ \t]+(?:(?:have|has|do|does|did|had)(?:n['’]t|[ \t]+not)|never)"
    r"(?:[ \t]+(?:really|ever|actually))?(?:[ \t]+(?:have|has|had|seen?|noticed?|felt|feel|got|get))?"
    r"(?:[ \t]+(?:any|it|that|one|much|anything))?"
    r"|there[ \t]+(?:is|was|are|were|has[ \t]been)(?:n['’]t|[ \t]+not)(?:[ \t]+any)?"
    r"|not[ \t]+(?:at[ \t]+all|any[ \t]?more|yet|now|today|really|currently|recently|lately|since[ \t]+\w+)"
)
_ANSWERS_YES = (
    r"yes|yeah|yep|positive|pos|(?:i|he|she|it|we|they)[ \t]+(?:do|does|did|have|has|had|am|is)"
    r"|(?:just[ \t]+)?a[ \t]+(?:little(?:[ \t]+bit)?|bit|lot)"
    r"|sometimes|occasionally|often|always|every[ \t]+(?:day|night|morning)|once|twice"
    r"|yup|m?[ -]?hmm|uh[ -]huh|some|a[ \t]few|there[ \t]+(?:is|was|are|were)"
    r"|quite[ \t]+a[ \t]+(?:bit|lot|few)|(?:now[ \t]and[ \t]then|on[ \t]and[ \t]off|all[ \t]the[ \t]time)"
    r"|(?:every[ \t])?once[ \t]in[ \t]a[ \t]while|from[ \t]time[ \t]to[ \t]time"
    r"|(?:only|just|mostly|mainly|usually)[ \t]+(?:when|if|at|in|on|with|after|while|during)\b[^.?!;\n]{1,80}"
)
_SOMEONE = r"(?:The[ \t]+)?(?:Pt|Patient|He|She|They|Mom|Mother|Dad|Father)"
_SPEAKS = r"(?:sa(?:ys|id)|answer(?:s|ed)|repli(?:es|ed)|respond(?:s|ed)|stated?s?)(?:[ \t]+that)?,?"
_QUESTION = re.compile(
    r"[^.?!;\n]{0,80}\?[\s\"”]*(?:(?:[-–—]{1,2}>?|→|:)[ \t]*)?"
    rf"(?:[\[(<]{_SPEAKER}[\])>][ \t:]*|{_SPEAKER}[ \t]*[:.)-][ \t]*"
    rf"|{_SOMEONE}[ \t]+(?:{_SPEAKS}[ \t]+)?)?"
    rf"{_INTERJECTIONS}(?:(?P<absent>{_ANSWERS_NO})|(?P<present>{_ANSWERS_YES}))\b"
    rf"(?=[ \t]*(?:[.,;|\r\n]|$)|[ \t]+[-–—(]|(?<=yes)[ \t]+(?:{_ANSWER_GOES_ON})\b)",
    re.I,
)
# A transcript has no question marks: `[doctor] any tingling`, and in the next line `[patient] no`.
_ASKS_TURN = re.compile(
    rf"(?:{TURN}|[ \t]*{CLINICIAN}:)[ \t:]*"
    r"(?:(?:okay|ok|alright|all right|and|so|now|um|uh|well|good|great|then),?[ \t]+)*"
    r"(?:any|do|does|did|have|has|had|are|is|were|was|ever|what about|how about|anything like)\b",
    re.I,
)
_TURN_ANSWER = re.compile(
    rf"[^.?!;\n]{{0,80}}\n(?:{TURN}|[ \t]*{_SPEAKER}:)[ \t:]*{_INTERJECTIONS}"
    rf"(?:(?P<absent>(?:no(?:pe)?,?[ \t]+){{0,4}}(?:none[ \t]of[ \t](?:that|those|these|them)|{_ANSWERS_NO}))"
    rf"|(?P<present>{_ANSWERS_YES}))\b(?=[ \t]*(?:[.,;|\r\n]|$))",
    re.I,
)
# `Fever today? Yes[ ] No[X]`: boxes behind the rest of the question.
_BOXED_QUESTION: tuple[tuple[re.Pattern[str], Said], ...] = tuple(
    (re.compile(rf"[^.?!;\n]{{0,80}}\?{pattern}", re.I), said)
    for pattern, said in (
        *_BOX_SAYS,
        (rf"[ \t:]*(?:yes|y){_SPACE}{_NO_BOXED}[,/]*{_SPACE}(?:no|n){_SPACE}(?:{_NO_BOX})", "possible"),
        (rf"[ \t:]*{_NO_BOXED}(?:yes|y)[ \t,/]*{_NO_BOXED}(?:no|n)\b", "possible"),
    )
)
_ANY_BOX = re.compile(rf"[^.?!;\n]{{0,80}}\?[ \t:]*(?:(?:yes|no|[yn])[ \t]*)?(?:{_NO_BOX}|{_YES_BOX})", re.I)
_QUESTION_MARK = re.compile(r"[^.?!;\n]{0,80}\?")
_SENTENCE_START = re.compile(r"[.?!\n]")
_ASKS_FIRST = r"\s*(?:Q\w{0,3}[.:)]?\s*)?(?:\d+[.)]\s*)?(?:[A-Z]\w{0,20}(?:[ \t]\w{1,20})?:[ \t]*)?"
_ASKS = re.compile(rf"{_ASKS_FIRST}(?:do|does|did|have|has|had|any|are|is|were|was|ever)\b", re.I)
# What is asked about a symptom, which so is there: `Where is the pain?`, `Does the pain radiate?`
_ASKS_OF = re.compile(
    rf"{_ASKS_FIRST}(?:(?:okay|and|so|now),?[ \t]+)*"
    r"(?:(?P<what>where|how[ \t]+(?:long|often|bad|severe|many[ \t]times)"
    r"|when[ \t]+(?:did|does)|what[ \t]+(?:kind|sort|type)[ \t]of)\b.*"
    r"|(?P<which>does|do|did|is|are|was|were|has|have)[ \t]+(?:the|that|this|his|her|your|these|those)[ \t]+"
    r"(?:left[ \t]|right[ \t])?)$",
    re.I | re.DOTALL,
)
# Whether it is over is asked of a symptom that was there: `Is the cough gone? No.`
_OVER = re.compile(
    r"[ \t]+(?:(?:been|all|now|completely|fully|finally|since)[ \t]+)*"
    r"(?:gone|go(?:ne)?[ ]away|resolved?|clear(?:ed)?(?:[ ]up)?|stop(?:ped)?|over|subsided?|disappear(?:ed)?"
    r"|vanish(?:ed)?|settled?)"
    r"\b[^?\n]{0,30}\?",
    re.I,
)
# What was asked without a question mark: `When asked about fever, she denied it.`
_ASKED_ABOUT = re.compile(
    r"\b(?:asked|questioned|queried|[ei]nquired)[ \t]+(?:specifically[ \t]+)?"
    r"(?:about|regarding|re|of|for)\b[^.?!;\n]*$",
    re.I,
)
_IT = r"(?:it|this|that|them|these|any|having[ \t]any)"
_ASKED_ANSWER = re.compile(
    rf"[^.?!;\n,]{{0,60}},[ \t]*(?:but[ \t]+|and[ \t]+)?{_SOMEONE}[ \t]+"
    rf"(?:(?P<absent>{_SPEAKS}[ \t]+[\"“]?no(?:ne)?|denie[sd](?:[ \t]+{_IT})?)"
    rf"|(?P<present>{_SPEAKS}[ \t]+[\"“]?yes|(?:endorse[sd]|admit(?:s|ted)[ \t]to)[ \t]+{_IT}))"
    r"(?=[ \t]*[\"”]?[ \t]*(?:[.,;\r\n]|$))",
    re.I,
)
_PREDICATE = re.compile(r"(?![ ](?:present|there|noted|seen)\b)[^?\n]*\w[^?\n]*\?")
_PLUS_LINE = re.compile(r"(?:^|\n)[ \t]*\+[ \t]?\w")
_SPACED_PLUS = re.compile(r"\s\+[ \t]?\w")
_LISTED_MINUS, _LISTED_PLUS = re.compile(r"[,;:][ \t]*[-–−][ \t]$"), re.compile(r"[,;:][ \t]*\+[ \t]?\w")
_TOGETHER = re.compile(
    r"[ \t]*\(?(?:,|/|&|\(|\b(?:or|and|and/or)\b)[ \t]*(?:\b(?:or|and)\b[ \t]*)?"
    r"(?:[A-Za-z-]+[ \t]*(?:,|\bor\b)[ \t]*)?"
)
_JOINED = re.compile(r"[ \t]*(?:/|&|\b(?:or|and)\b)[ \t]*")
_WORD_SIGN = re.compile(r"(?:^|[ \t,;/])(?:(?P<present>pos(?:itive)?)|(?P<absent>neg(?:ative)?))$", re.I)
_SIGN_LINE = re.compile(r"[ \t]*(?:[\w ]{1,20}:[ \t]*)?(?:pos|neg)(?:itive|ative)?[ \t]+\w", re.I)
_HEADED_FROM = 160
_SIGN = r"[(\[]?\s*(?:(?P<absent>[-–−]|neg)|(?P<present>\+|pos))(?:\s*[)\]]\s*:?|:|(?=[ \n]))"
_HEAD = re.compile(rf"\s*{_SIGN}")
_BRACKETED_SIGN = re.compile(r"(?<=[\s,])[(\[]\s*(?:(?P<absent>[-–−]|neg)|(?P<present>\+|pos))\s*[)\]]")
_HEADS = re.compile(rf"(?:^|[;.:]\s|\n)\s*{_SIGN}")
_LIST_STARTS = re.compile(r"[;.!?]\s|(?<![)\]]):\s|\n(?=\s*[(\[]?[-+])")
_HEADING = re.compile(r"\n[ \t]*[A-Za-z][\w /&'-]{0,40}:")
_SIGNED = re.compile(r"(?:^|[\s,(]|(?<!\+)/)(?:\+[ \t]?\w|[-–−](?=[A-Za-z]))")
_HEADER_NO = re.compile(r"\b(?:no|absent|neg(?:ative)?|denies)\b", re.I)
_HEADER_YES = re.compile(r"\b(?:yes|present|pos(?:itive)?|endorses)\b", re.I)
_TICK = re.compile(r"(?<![^\s|])(?:[xX✓✔☒☑●*]|\[[xX]\])(?![^\s|])")
#: One look instead of many: whether any of the marks above stands behind a symptom.
_ANY_AFTER = _any_of(_AFTER)
_ANY_IN_SERIES = _any_of((*_KEYED, *_GLUED, *_BARE, (_CSV, "absent")))
_LAST = frozenset("0+-–−?)]}☐□❑❏▢◻⬜☑☒✓✔✅■▣◼⬛✗✘❌🚫⛔Ø∅⊘")
_FIRST = frozenset("\"'*<>≥≤+-–—−?([{:=._|→,☐□❑❏▢◻⬜☑☒✓✔✅■▣◼⬛✗✘❌🚫⛔0/)")
#: All that stands behind most symptoms: between two of a list, or where a sentence ends.
_NO_MARK = frozenset(("", ",", "."))
#: Words with which an answer may begin, where no sign does.
_FIRST_WORDS = re.compile(
    r"(?:n|no|none|neg|negative|y|yes|pos|positive|pain|score|level|scale|rating|grade|severity|is|was|of|rated|or|and|x)"
    r"(?![A-Za-z])",
    re.I,
)
_TWO_BOXES = re.compile(
    rf"[ \t|*•-]*(?P<one>{_NO_BOX}|{_YES_BOX})[ \t|,]*(?P<two>{_NO_BOX}|{_YES_BOX})[ \t|]*", re.I
)
_BOX_COLUMNS = re.compile(r"[ \t|*]*(?P<one>y(?:es)?|no?)[ \t|/]+(?P<two>y(?:es)?|no?)(?![A-Za-z])", re.I)
_YES_BOXES = re.compile(_YES_BOX, re.I)
_HOLLOW, _FULL = "○◯", "●⬤"


class Row:
    """The symptoms of one line and what is marked beside each."""

    def __init__(
        self,
        text: str,
        line: tuple[int, int],
        spans: Sequence[tuple[int, int]],
        begun: Row | None = None,
    ) -> None:
        """Read a row.

        Args:
            text: in its original case, placeholders blanked.
            line: where the line begins and ends.
            spans: of the symptoms on it, by start.
            begun: what stands before them on their line: marks stand on the same side there.
        """
        self._text, self._line, self._spans = text, line, spans
        self.marks: dict[tuple[int, int], Mark] = {}
        trailing = [self._behind(at) for at in range(len(spans))]
        leading = [self._ahead(at) for at in range(len(spans))]
        self.behind = False
        if any(trailing) or any(leading):
            self.behind = self._stand_behind(leading, trailing) if begun is None else begun.behind
            if begun is not None and self.behind:
                leading[0] = None  # it belongs to the symptom before
            self._share(leading, trailing)
            self._spread(trailing)
            self._spread_on(leading)
        first, last = max(0, spans[0][0] - _HEADED_FROM), spans[-1][0]
        if text.find("+", first, last) >= 0 or text.find("):", first, last) >= 0:
            self._head()

    def _spread(self, trailing: list[Mark | None]) -> None:
        """Give an answer to all that it answers: `Fever or chills: no`."""
        for at in range(len(self._spans) - 2, -1, -1):
            one, other = self._spans[at], self._spans[at + 1]
            mark = self.marks.get(other)
            if one in self.marks or mark is None or mark is not trailing[at + 1] or mark.said == "possible":
                continue
            gap = _TOGETHER.fullmatch(self._text, one[1], other[0])
            if gap is not None and ("," not in gap.group() or self._opens_group()):
                self.marks[one] = trailing[at] = mark

    def _spread_on(self, leading: list[Mark | None]) -> None:
        """Give a box or sign before one to what it is joined with: `[ ] fever or chills`."""
        for at in range(len(self._spans) - 1):
            one, other = self._spans[at], self._spans[at + 1]
            mark = self.marks.get(one)
            if mark is None or mark is not leading[at] or other in self.marks or mark.said == "possible":
                continue
            if _JOINED.fullmatch(self._text, one[1], other[0]):
                self.marks[other] = leading[at + 1] = mark

    def _opens_group(self) -> bool:
        """Whether the first symptom begins the line, or stands behind a label."""
        before = self._text[max(self._line[0], self._spans[0][0] - 60) : self._spans[0][0]].strip(" \t-*•|")
        return not before or before[-1] in ":.;)]"

    def _head(self) -> None:
        """Read signs that head a list: `(-): fever, chills; (+): cough`, `+ nausea & pain; - rash, fever`."""
        text = self._text
        for span in self._spans:
            first = max(0, span[0] - _HEADED_FROM)
            head = _HEAD.match(text, first + _list_start(text[first : span[0]]), span[0])
            if head is None or span in self.marks:
                continue
            if head.group().strip()[0] in "([" or self._has_both_heads(span[0]):
                for later in () if self.behind else _BRACKETED_SIGN.finditer(text, head.end(), span[0]):
                    head = later
                said: Said = "absent" if head["absent"] else "present"
                self.marks[span] = Mark(said, head.start(said), head.end(said))

    def _has_both_heads(self, place: int) -> bool:
        """Whether lists headed by a plus and by a minus stand near: one sign by itself may be a bullet.

        So may signs be that a heading divides.
        """
        before = _HEADING.split(self._text[max(0, place - _ROW) : place])[-1]
        near = before + _HEADING.split(self._text[place : place + _ROW], maxsplit=1)[0]
        return len({found["present"] is None for found in _HEADS.finditer(near)}) > 1

    def _share(self, leading: list[Mark | None], trailing: list[Mark | None]) -> None:
        """Give each mark to one symptom."""
        behind = self.behind
        for at, span in enumerate(self._spans):
            before, after = leading[at], trailing[at]
            if before is not None and at and _meet(trailing[at - 1], before) and behind:
                before = None
            if before is not None and after is not None and self._is_glued(before):
                before = None  # `D(-) pain(+)`
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

    def _is_glued(self, mark: Mark) -> bool:
        """Whether a mark stands directly behind a word."""
        return mark.start > 0 and self._text[mark.start - 1].isalnum()

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
        bare = text[end:stop].strip(" \t")
        if bare in _NO_MARK or not (
            bare[0] in _FIRST or text.startswith(("\t", "  "), end) or _FIRST_WORDS.match(bare)
        ):
            return self._asked(at)
        for pattern, said in _AFTER if _ANY_AFTER.match(text, end, self._line[1]) else ():
            # A word or sign is an answer only where something ends behind it: `Rash: no itching`.
            found = pattern.match(text, end, self._line[1])
            if found and found.end() <= stop:
                answer = said == "possible" and (self._in_series(at, end, stop) or self._asked(at))
                return answer or Mark(said, end + _lead_of(found), found.end())
        return self._in_series(at, end, stop) or self._asked(at)

    def _in_series(self, at: int, end: int, stop: int) -> Mark | None:
        """A mark that counts only where the row goes on in the same way."""
        text = self._text
        if not _ANY_IN_SERIES.match(text, end, self._line[1]):
            return None
        found = _CSV.match(text, end, self._line[1])
        if found and self._begins_with(self._spans[at][0], " \t"):
            answer: Said = "absent" if found["absent"] else "present"
            return Mark(answer, end + _lead_of(found), found.end())
        for pattern, said in _KEYED:
            keyed = pattern.match(text, end, self._line[1])
            if keyed and keyed.end() <= stop and _NEXT_KEY.match(text, keyed.end(), self._line[1]):
                return Mark(said, end + _lead_of(keyed), keyed.end())
        for pattern, said in (*_GLUED, *_BARE) if self._is_series else ():
            found = pattern.match(text, end, self._line[1])
            if found and found.end() <= stop and self._alternates(at, found.end()):
                return Mark(said, end + _lead_of(found), found.end())
        return None

    @cached_property
    def _is_series(self) -> bool:
        """Whether the row begins with the first of several symptoms."""
        return len(self._spans) > 1 and self._begins_with(self._spans[0][0], " \t-*•")

    def _alternates(self, at: int, behind: int) -> bool:
        """Whether only the mark stands between symptom `at` and the next, and the last has one too."""
        if at + 1 < len(self._spans):
            if self._text[behind : self._spans[at + 1][0]].strip(" \t,;"):
                return False
        elif not self._only_marked(self._spans[at - 1][1], self._spans[at][0]):
            return False
        tail = self._text[self._spans[-1][1] : min(self._line[1], self._spans[-1][1] + 20)]
        return any(
            pattern.match(f"{tail.rstrip()} ." if tail.strip() else "") for pattern, _ in (*_GLUED, *_BARE)
        )

    def _only_marked(self, first: int, last: int) -> bool:
        """Whether a mark, or nothing, stands between two symptoms."""
        gap = self._text[first : min(last, first + _GAP)]
        found = (pattern.match(f"{gap.rstrip()} .") for pattern, _ in (*_GLUED, *_BARE))
        return not gap.strip(" \t,;") or any(one and not gap[one.end() :].strip(" \t,;") for one in found)

    def _begins_with(self, place: int, marks: str) -> bool:
        """Whether nothing but `marks` stands on the line before `place`, which is near its beginning."""
        first = self._line[0]
        return place - first <= _ROW and not self._text[first:place].strip(marks)

    def _asked(self, at: int) -> Mark | None:
        """The answer to the question in which a symptom stands."""
        start, end = self._spans[at]
        if self._text.find("?", end, end + 90) < 0:
            told = self._text.find("ed ", max(self._line[0], start - 80), start) >= 0
            return (self._told_when_asked(start, end) if told else None) or self._asked_in_turn(end)
        of_it = self._asked_of(at)
        if of_it is not None:
            return of_it
        return self._boxed(end) or self._answered(_QUESTION, end, 120) or self._unanswered(end)

    def _answered(self, pattern: re.Pattern[str], end: int, most: int) -> Mark | None:
        """What a pattern with the groups `absent` and `present` finds behind a place."""
        found = pattern.match(self._text, end, min(len(self._text), end + most))
        if found is None:
            return None
        name: Said = "absent" if found["absent"] else "present"
        return Mark(name, found.start(name), found.end(name))

    def _told_when_asked(self, start: int, end: int) -> Mark | None:
        """What someone answered, in the same sentence, who was asked about a symptom."""
        if _ASKED_ABOUT.search(self._text, max(self._line[0], start - 80), start) is None:
            return None
        return self._answered(_ASKED_ANSWER, end, 120)

    def _asked_in_turn(self, end: int) -> Mark | None:
        """The answer in the next line of a transcript to what this line asks."""
        first = self._line[0]
        if end - first > _ROW or _ASKS_TURN.match(self._text, first, end) is None:
            return None
        return self._answered(_TURN_ANSWER, end, 160)

    def _asked_of(self, at: int) -> Mark | None:
        """What a question says of a symptom that it takes for granted; None where it asks for it."""
        start, end = self._spans[at]
        before = _SENTENCE_START.split(self._text[max(0, start - 90) : start])[-1]
        asks = _ASKS_OF.match(before)
        if asks is None or (asks["which"] and _PREDICATE.match(self._text, end, end + 90) is None):
            return None
        if asks["which"] and _OVER.match(self._text, end, end + 90) is not None:
            answer = self._answered(_QUESTION, end, 120)
            if answer is not None:
                over = answer.said == "present"
                return Mark("historical" if over else "present", answer.start, answer.end, not over)
        name = "what" if asks["what"] else "which"
        first = start - len(before) + asks.start(name)
        return Mark("present", first, first + len(asks[name]))

    def _boxed(self, end: int) -> Mark | None:
        """What the boxes say that stand behind the question in which a symptom stands."""
        last = min(self._line[1], end + 120)
        for pattern, said in _BOXED_QUESTION if _ANY_BOX.match(self._text, end, last) else ():
            found = pattern.match(self._text, end, last)
            if found is not None:
                asked = found.group().index("?") + 1
                return Mark(said, end + asked + _lead_of_text(found.group()[asked:]), found.end())
        return None

    def _unanswered(self, end: int) -> Mark | None:
        """What is asked and not answered may be."""
        mark = _QUESTION_MARK.match(self._text, end, min(len(self._text), end + 90))
        if mark is None:
            return None
        before = self._text[max(0, end - 120) : end]
        if _ASKS.match(_SENTENCE_START.split(before)[-1]) is None:
            return None
        return Mark("possible", mark.end() - 1, mark.end())

    def _ahead(self, at: int) -> Mark | None:
        """The mark before a symptom, back to the one before."""
        text, start = self._text, self._spans[at][0]
        first = max(self._line[0], start - 30, self._spans[at - 1][1] if at else 0)
        before = text[first:start]
        bare = before.rstrip(" \t")
        if not bare:
            return None
        if bare[-1] in _HOLLOW + _FULL:
            return self._round(bare[-1], first + len(bare) - 1)
        if bare[-1] not in _LAST:
            return self._word_sign(bare, first)
        return self._sign_before(before, first) or self._minus_before(before, first)

    def _sign_before(self, before: str, first: int) -> Mark | None:
        """A sign or box at the end of `before`, which begins at `first`."""
        for pattern, said in _BEFORE:
            found = pattern.search(before)
            if found:
                mark = found.group().strip(" \t.,:;")
                place = first + found.start() + found.group().index(mark)
                return Mark(said, place, place + len(mark))
        return None

    def _minus_before(self, before: str, first: int) -> Mark | None:
        """A minus at the end of `before` that is a sign, not the dash of a list."""
        start = first + len(before)
        if before[-1].isspace() and self._listed_minus(before, start):
            at = first + len(before.rstrip()) - 1
            return Mark("absent", at, at + 1)
        opens = len(before) == 1 or before[-2] in " \t(,/"
        if before[-1] in "-–−" and opens and not before.endswith("+/-") and self._signed(start):
            return Mark("absent", start - 1, start)
        return None

    def _word_sign(self, before: str, first: int) -> Mark | None:
        """A sign in words, where the line begins with one: `pos fever neg cough`."""
        found = _WORD_SIGN.search(before) if before[-1] in "sSgGeE" else None
        if found is None or not _SIGN_LINE.match(self._text, self._line[0], self._line[1]):
            return None
        said: Said = "absent" if found["absent"] else "present"
        return Mark(said, first + found.start(said), first + found.end(said))

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

    def _listed_minus(self, before: str, start: int) -> bool:
        """Whether a minus and a space before a symptom are a sign: `+ nausea, - vomiting`."""
        if before.strip() in ("-", "–", "−") and before.strip() == before.lstrip()[0]:
            behind = self._text[start : min(self._line[1], start + _ROW)]
            return _SPACED_PLUS.search(behind) is not None or self._among_pluses(start)
        near = self._text[max(self._line[0], start - _ROW) : min(self._line[1], start + _ROW)]
        return _LISTED_MINUS.search(before) is not None and (
            _LISTED_PLUS.search(near) is not None or _SPACED_PLUS.search(near) is not None
        )

    def _among_pluses(self, start: int) -> bool:
        """Whether another line near by, under the same heading, begins with a plus."""
        (first, last), stop = self._line, min(self._line[1], start + _ROW) + _ROW
        # Of its own line only the beginning counts: a long one is not read for each symptom on it.
        own = self._text[first : min(last, first + _ROW)]
        before = _HEADING.split(self._text[max(0, first - _ROW) : first])[-1] + own
        return _PLUS_LINE.search(before) is not None or (
            stop > last
            and _PLUS_LINE.search(_HEADING.split(self._text[last:stop], maxsplit=1)[0]) is not None
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


def boxes_before(text: str, line: tuple[int, int], start: int) -> re.Match[str] | None:
    """The two boxes that stand before `start` on a line, and nothing else: `[ ] [x] Fever`."""
    return _TWO_BOXES.fullmatch(text, line[0], start) if start - line[0] < _GAP else None


def answer_of_boxes(text: str, boxes: re.Match[str], header: tuple[int, int]) -> Mark | None:
    """What the one of two boxes that is ticked says, under the names of their columns: `Y N`."""
    names = _BOX_COLUMNS.match(text, *header)
    full = [at for at in ("one", "two") if _YES_BOXES.fullmatch(boxes[at])]
    if names is None or len(full) != 1:
        return None
    said: Said = "present" if names[full[0]][0] in "yY" else "absent"
    return Mark(said, boxes.start(full[0]), boxes.end(full[0]))


def names_boxes(text: str, first: int, last: int) -> bool:
    """Whether a line begins with the names of two columns of boxes: `Y N`, `No Yes`."""
    names = _BOX_COLUMNS.match(text, first, last)
    return names is not None and names["one"][0].lower() != names["two"][0].lower()


def names_columns(text: str, first: int, last: int) -> bool:
    """Whether a line names columns of yes and no."""
    line = text[first:last]
    return last - first < _ROW and bool(_HEADER_NO.search(line)) and bool(_HEADER_YES.search(line))


def _list_start(before: str) -> int:
    """Where the list begins that goes on to the end of `before`: behind `;`, a full stop or a label."""
    return max((found.end() for found in _LIST_STARTS.finditer(before)), default=0)


def _meet(one: Mark | None, other: Mark | None) -> bool:
    return one is not None and other is not None and one.start < other.end and other.start < one.end


def _lead_of(found: re.Match[str]) -> int:
    """How far into a match its first mark stands."""
    return _lead_of_text(found.group())


def _lead_of_text(text: str) -> int:
    mark = text.lstrip(" \t:=|,")
    words = mark.lstrip("\"'*_.?>→-–— \t")
    return len(text) - len(words if words[:1].isalpha() else mark)
