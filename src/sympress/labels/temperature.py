"""Temperatures of a note, read as numbers with units: from 38.0 C, or 100.4 F, on a fever.

A number counts where its words say that it is a body temperature: `Temp 101.2`, `T-101.2`, `Tmax of 102`,
`spiked to 102.3`, `38.5C rectal`, the first of `VS: 98.2 120/70 88 18`. Numbers are what is looked for, since
few lie in the range; the words around each are read as far as they can belong to it, in linear time.
"""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from typing import NamedTuple

from sympress.labels.matching import fold


class Temperature(NamedTuple):
    """A temperature in a note.

    Attributes:
        start: first character of what introduces it (`Temp`), or of its number.
        end: one past its last character; of a range (`101-102`) that of the second number.
        celsius: degrees Celsius; of a range the highest.
        fever: whether it is one: at least 38.0 C or 100.4 F.
        threshold: whether it is a bound and no reading: `T > 101`, `101 or higher`.
        named: whether a word that means fever itself introduces it: `fever of 103`, `febrile to 38.7`.
    """

    start: int
    end: int
    celsius: float
    fever: bool
    threshold: bool = False
    named: bool = False


def _words() -> dict[str, frozenset[str]]:
    text = (resources.files("sympress.labels") / "data" / "temperature.toml").read_text("utf-8")
    return {name: frozenset(listed.split()) for name, listed in tomllib.loads(text).items()}


#: The words of `data/temperature.toml`, which says what each list is.
_WORDS = _words()
_LABELS, _NAMES, _BETWEEN = _WORDS["labels"], _WORDS["names"], _WORDS["between"]
_OVER, _UNDER = _WORDS["over"], _WORDS["under"]
_OF_BOUND = _WORDS["of_bound"] | _OVER | _UNDER
#: Words that introduce a temperature only together with something else, by their kind.
_WEAK = {word: kind for kind in ("spikes", "routes", "vitals") for word in _WORDS[kind]}
#: What a number is of, when one of these stands behind it.
_OTHER_UNIT = re.compile(
    r"\s*+(?:-\s*+)?(?:%|percent|mg|mcg|kg|kgs|lbs?|pounds|grams?|g\b|ml|cc|cm|mm|bpm|beats|/\s?min|years?|yrs?|y/?o|"
    r"yo\b|y\.o|"
    r"months?|mos?\b|days?\b|weeks?|wks?|hours?|minutes?|mins?\b|units?|ng|pg|u/l|meq|mmol|inch|feet|ft\b|"
    r"k\b|th\b|st\b|nd\b|rd\b|french|fr\b|gauge|pack|patients?|tablets?)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(?:10\d|110|9[3-9]|3[4-9]|4[0-3])(?:[.,]\d{1,2})?")
_UNIT = re.compile(
    r"\s*(?:(°|º|˚|\bdeg(?:ree)?s?\b\.?)\s*(f(?:ahr(?:enheit)?)?|c(?:els(?:ius)?|entigrade)?)?(?![a-z])|"
    r"(f(?:ahr(?:enheit)?)?|c(?:els(?:ius)?|entigrade)?)(?![a-z/&+]))",
    re.IGNORECASE,
)
_SECOND = re.compile(r"\s*+(?:-{1,2}|–|—|to|/|and|then|->|→|,|;)\s*(?=\d)|\s*[(/=\[]\s*(?=\d)", re.IGNORECASE)
_LABEL_BEHIND = re.compile(
    r"\s*+(?:(?:oral|rectal|axillary|tympanic|body)\s*+)?(?:-\s*+)?(temp(?:erature)?s?\b|fevers?\b)"
    r"(?![\s:=(\[|-]*+(?:of|is|was)?[\s:=]*+\d)",
    re.IGNORECASE,
)
_OR_MORE = re.compile(r"\s*(?:or|and|&)\s+(?:higher|greater|above|more|over|up)\b|\s*\+", re.IGNORECASE)
_BLOOD_PRESSURE = re.compile(
    r"[\s,;]*(?:bp:?\s*)?\d{2,3}/\d{2,3}\b[^\d\n]{0,12}(\d{1,3})?(?:[^\d\n]{1,12}(\d{1,3}))?"
)
_TOKEN = re.compile(r"[a-z]+/[a-z]+|[a-z]+/?|\d+|\S")
_LOOK_BACK = 90
_TOKENS_BACK = 14
#: Of no body: what has these beside an unlabelled number, or right before its label.
_ELSEWHERE = re.compile(
    r"\b(?:water|bath|room|ambient|saline|fluids?|heated|warmed|incubat\w*|stored|storage|freezer|refrigerat\w*|"
    r"weather|outside|oven|cooled|blanket|solution|bra|size|laser|cautery|ablation|autoclave\w*|oil|food)\b"
)
_ELSEWHERE_BEFORE = re.compile(rf"\b(?:{'|'.join(sorted(_WORDS['elsewhere']))})\s*$")
_ANGLE = re.compile(
    r"\b(?:flex\w*|exten\w*|abduct\w*|adduct\w*|rotat\w*|motion|rom|arc|angle\w*|angulat\w*|bend\w*|cobb|varus|valgus|"
    r"axis|elevation|pronat\w*|supinat\w*|tilt\w*|curv\w*|scoliosis|kyphosis|lordosis|scope|raise|raising)\b"
)


class _Label(NamedTuple):
    """What introduces a number: where it starts, which kind it is, and whether the number is a bound."""

    start: int
    kind: str
    over: bool = False
    under: bool = False


def find_temperatures(text: str) -> list[Temperature]:
    """Return the body temperatures of `text`, by start, none of them overlapping.

    A number without a unit is Celsius between 34 and 43 and Fahrenheit between 93 and 110; any other number
    is no temperature, nor is one without words or a unit that say so.
    """
    found: list[Temperature] = []
    last = 0
    for match in _NUMBER.finditer(text):
        start, end = match.span()
        if start < last or not _is_whole(text, start, end):
            continue
        one = _read(text, start, end, found[-1] if found else None)
        if one is not None:
            found.append(one)
            last = one.end
    return found


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether the number is not part of a longer one, of a blood pressure, a date or a word."""
    before = text[start - 1] if start else " "
    if before.isdigit() or (before in ".,/:" and start > 1 and text[start - 2].isdigit()):
        return before == "/" and "." in text[start:end]
    behind = text[end : end + 2]
    if behind[:1].isdigit() or (behind[:1] == ":" and behind[1:].isdigit()):
        return False
    if behind[:1] in (".", ",") and behind[1:].isdigit():
        return False
    return not (behind[:1] == "/" and behind[1:].isdigit() and "." not in text[start:end])


def _read(text: str, start: int, end: int, previous: Temperature | None) -> Temperature | None:
    """Return the temperature of the number from `start` to `end`, or None."""
    value = float(text[start:end].replace(",", "."))
    unit, end_of_unit = _unit_behind(text, end, value)
    if not unit and _OTHER_UNIT.match(text, end):
        return None
    label = _label_before(text, start, previous)
    behind = _LABEL_BEHIND.match(text, end_of_unit) if label is None else None
    if behind is not None and _OF_VITAL.search(fold(text[max(0, start - 20) : start])):
        return None
    decimal = end - start > 3 or any(mark in text[start:end] for mark in ".,")
    if label is None and behind is not None:
        kind = "name" if behind[1][0] in "fF" else "label"
        label, end_of_unit = _Label(start, kind), behind.end()
    if label is None:
        if not _stands_alone(text, start, end_of_unit, unit, decimal):
            return None
        label = _Label(start, "unit")
    elif not _is_enough(label.kind, text, value, end_of_unit, decimal or bool(unit)):
        return None
    highest, fever, last = _with_second(text, value, end_of_unit)
    over = label.over or _OR_MORE.match(text, last) is not None
    return Temperature(
        label.start, last, highest, fever and not label.under, over or label.under, label.kind == "name"
    )


def _is_enough(kind: str, text: str, value: float, end: int, sure: bool) -> bool:
    """Whether a number is a temperature by its label; `sure` where it has a decimal or a unit."""
    if kind == "vitals":
        return sure or _leads_vitals(text, end)
    if kind == "spikes":
        return sure or 38 <= value <= 42 or 101 <= value <= 107
    return sure or kind != "routes"


def _unit_behind(text: str, end: int, value: float) -> tuple[str, int]:
    """Return the unit written behind a number (`f`, `c`, `°` or nothing) and where it ends.

    A letter that the value contradicts (`38 F`, a woman of 38; `102 c chills`) is no unit.
    """
    match = _UNIT.match(text, end)
    if match is None:
        return "", end
    letter = (match[2] or match[3] or "")[:1].lower()
    if letter and letter != _scale(value):
        return ("°", match.end(1)) if match[1] else ("", end)
    return letter or "°", match.end()


def _scale(value: float) -> str:
    return "f" if value >= 90 else "c"


def _is_fever(value: float) -> bool:
    return value >= (100.4 if _scale(value) == "f" else 38.0)


def _celsius(value: float) -> float:
    return round((value - 32) * 5 / 9, 2) if _scale(value) == "f" else value


def _label_before(text: str, start: int, previous: Temperature | None) -> _Label | None:
    """Return what introduces the number at `start`, reading backwards over words that may stand between."""
    first = max(0, start - _LOOK_BACK, previous.end if previous else 0)
    window = fold(text[first:start])
    tokens = list(_TOKEN.finditer(window))[-_TOKENS_BACK:]
    bound, over, under = True, False, False
    weak: _Label | None = None
    for place in range(len(tokens) - 1, -1, -1):
        token, at = tokens[place][0], first + tokens[place].start()
        if window.count("\n", tokens[place].end()) > 1:
            break
        bound = bound and token in _OF_BOUND
        over, under = over or (bound and token in _OVER), under or (bound and token in _UNDER)
        if token in _NAMES:
            return _Label(at, "name", over, under)
        if token in _LABELS and _is_label(text, at, token):
            before = window[: tokens[place].start()]
            if _ELSEWHERE_BEFORE.search(before):
                return None
            return _Label(at, "label", over, under)
        if token in _WEAK and weak is None and not _is_of_other(window[: tokens[place].start()], token):
            weak = _Label(at, _WEAK[token], over, under)
        if token not in _BETWEEN and not (
            tokens[place][0] == "." and place and tokens[place - 1][0] in _LABELS
        ):
            break
    return weak


def _is_label(text: str, at: int, token: str) -> bool:
    """Whether a word is a label: `T` stands by itself, and is neither `don't` nor `anti-T`."""
    before = text[at - 1] if at else " "
    return not (before.isalnum() or (len(token) < 3 and before in "'’-_/&+"))


_OF_OTHER = re.compile(
    r"\b(?:bp|pressure|sugars?|glucose|hr|rate|pulse|wbc|level|inr|creatinine|weight|potassium)\W*(?:\w+\W+)?$"
)
_OF_VITAL = re.compile(
    r"\b(?:bp|hr|pulse|p|rr?|rate|resp\w*|sats?|spo2|o2|wt|weight|age|room|bed|#)\W*(?:is|was|of)?\W*$"
)


def _is_of_other(before: str, token: str) -> bool:
    """Whether a spike or a route belongs to something else than a temperature."""
    return _WEAK[token] != "vitals" and _OF_OTHER.search(before) is not None


def _leads_vitals(text: str, end: int) -> bool:
    """Whether a whole number at the head of vital signs is their temperature, by what follows it.

    A pulse may stand there, too (`VS: 104 120/70 18`): a pulse has to follow the blood pressure.
    """
    match = _BLOOD_PRESSURE.match(text, end)
    return match is not None and bool(match[1] and match[2]) and int(match[1]) >= 40 and int(match[2]) <= 60


def _stands_alone(text: str, start: int, end: int, unit: str, decimal: bool) -> bool:
    """Whether a number with its unit is a body's temperature though no word says so."""
    if not unit:
        return False
    value = float(text[start : start + 3].split(maxsplit=1)[0].rstrip(".,°ºFfCcdD-"))
    around = fold(text[max(0, start - 60) : end + 30])
    if _ELSEWHERE.search(around) or _ANGLE.search(around):
        return False
    if unit == "°":
        return (decimal or value >= 100) and not re.search(
            r"\d\s*(?:-|–|to)\s*$", text[max(0, start - 8) : start]
        )
    return unit == "f" or decimal or text[start - 1 : start] != "-"


def _with_second(text: str, value: float, end: int) -> tuple[float, bool, int]:
    """Return the highest of a range in Celsius, whether it is a fever, and where the range ends.

    `101-102` and `37.2 - 38.9` are ranges; `101.2 F (38.4 C)` says the same twice.
    """
    celsius, fever = _celsius(value), _is_fever(value)
    while (gap := _SECOND.match(text, end)) is not None:
        match = _NUMBER.match(text, gap.end())
        if match is None or not _follows(text, gap[0].strip(), match, value):
            break
        other = float(match[0].replace(",", "."))
        _, last = _unit_behind(text, match.end(), other)
        if gap[0].strip()[:1] in ("(", "[") and text[last : last + 1] in (")", "]"):
            last += 1
        end, celsius, fever = last, max(celsius, _celsius(other)), fever or _is_fever(other)
    return celsius, fever, end


def _follows(text: str, gap: str, match: re.Match[str], value: float) -> bool:
    """Whether a second number, behind `gap`, belongs to the first."""
    other, end = float(match[0].replace(",", ".")), match.end()
    if text[end : end + 1].isdigit() or (text[end : end + 1] in "./," and text[end + 1 : end + 2].isdigit()):
        return False
    unit, _last = _unit_behind(text, end, other)
    if not unit and _OTHER_UNIT.match(text, end):
        return False
    decimal = "." in match[0] or "," in match[0]
    same = _scale(other) == _scale(value)
    if gap in ("-", "--", "–", "—", "to", "TO"):
        return same
    if gap[:1] in ("(", "[", "="):
        return decimal or bool(unit)
    return (same and decimal) or (not same and bool(unit))
