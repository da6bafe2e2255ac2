"""Dates and times as people and their systems write them; an order that is not certain is never guessed.

A date is read in ISO 8601, as numbers (`01/31/2024`, `31.01.2024`, `2024/01/31`), with the English name of
its month (`31-JAN-2024`, `Jan 31, 2024`), or without separators (`20240131`, and as HL7 writes a time:
`20240131140500-0500`), each with a time of day, `2:00 PM` too, and a zone. Dots mean day first. Years of
two digits are those of POSIX: 69 to 99 are 1969 to 1999.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from enum import Enum

from sympress.errors import InputError, nearest

#: Orders of day, month and year in numbers, and the ways in which numbers alone count time.
ORDERS = ("mdy", "dmy", "ymd")
WORDS = (*ORDERS, "excel", "epoch", "epoch-ms")

Orders = frozenset[str]
_AMBIGUOUS_ORDERS: Orders = frozenset(("mdy", "dmy"))


class Unread(Enum):
    """Why a value gives no time."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    AMBIGUOUS = "ambiguous"


_MISSING = {"", "null", "none", "nan", "nat", "<na>", "n/a", "na", "\\n", "-"}
_MONTHS = (
    "january february march april may june july august september october november december".split()  # noqa: SIM905
)
#: RFC 5322, section 4.3: the zones that letters name without doubt, in hours from UTC.
_ZONES = {
    "z": 0, "ut": 0, "utc": 0, "gmt": 0,
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
}  # fmt: skip
_ZONE = rf"(?:utc|gmt)?\s?[+-]\d{{1,2}}(?::?\d{{2}})?|{'|'.join(sorted(_ZONES, key=len, reverse=True))}"
_REST = r"(?:[t\s,:]+(?P<rest>.+))?"
_WEEKDAY = re.compile(r"(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*[.,]?\s+", re.IGNORECASE)
_ZONE_NAME = re.compile(r"\s*(?:\[[\w/+\-]+\]|\([A-Za-z]+\))$")
_NUMBERS = re.compile(
    rf"(\d{{1,4}})\s*([./-])\s*(\d{{1,2}})\s*\2\s*(\d{{4}}|\d{{1,2}}){_REST}", re.IGNORECASE
)
_DAY_NAME = re.compile(
    r"(?P<day>\d{1,2})(?:st|nd|rd|th|\.)?[\s\-/,]*(?P<month>[a-z]{3,9})\.?[\s\-/,]*(?P<year>\d{4}|\d{2})"
    rf"{_REST}",
    re.IGNORECASE,
)
_NAME_DAY = re.compile(
    r"(?P<month>[a-z]{3,9})\.?[\s\-/]*(?P<day>\d{1,2})(?:st|nd|rd|th)?[\s,\-/]+(?P<year>\d{4})" + _REST,
    re.IGNORECASE,
)
_YEAR_NAME = re.compile(
    r"(?P<year>\d{4})[\s\-/]?(?P<month>[a-z]{3,9})[\s\-/]?(?P<day>\d{1,2})" + _REST, re.IGNORECASE
)
#: As C and Java print a time: `Jan 31 20:00:00 EST 2024`, after the day of the week.
_YEAR_LAST = re.compile(
    r"(?P<month>[a-z]{3,9})\s+(?P<day>\d{1,2})\s+(?P<rest>\d{1,2}:\d{2}.*?)\s+(?P<year>\d{4})", re.IGNORECASE
)
_COMPACT = re.compile(
    rf"(\d{{4}})(\d{{2}})(\d{{2}})(?:(\d{{2}})(\d{{2}})(\d{{2}}(?:\.\d+)?)?\s?({_ZONE})?)?", re.I
)
_CLOCK = re.compile(
    r"(?:at\s+)?(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,:](?P<part>\d{1,9}))?)?"
    rf"|(?P<joined>\d{{2}}))?\s*(?P<half>[ap]\.?\s?m\.?)?\s*(?:uhr|hrs?|h)?\s*(?P<zone>{_ZONE})?",
    re.IGNORECASE,
)
#: Numbers without separators are dates of these years only; others count something else.
_YEARS = range(1800, 2300)
_EPOCH, _EXCEL_EPOCH = datetime(1970, 1, 1, tzinfo=UTC), datetime(1899, 12, 30)


#: What drivers of databases make of `infinity` and `-infinity`, which are no time of a note.
_ENDLESS = (datetime.max, datetime.min, date.max, date.min)


def check_format(form: str | None) -> None:
    """Refuse a date format that is neither a word nor names day, month and year as `strptime` does.

    Raises:
        InputError: with what to write.
    """
    if form is None or form in WORDS:
        return
    day = datetime(2001, 12, 31, 10, 20, 30, tzinfo=UTC)
    with contextlib.suppress(ValueError):
        if "%" in form and datetime.strptime(day.strftime(form), form).date() == day.date():
            return
    raise InputError(
        f"--date-format {form}: no format of a date{nearest(form, WORDS)}; write mdy, dmy or ymd, "
        "or as Python's strptime, for example %d/%m/%Y %H:%M"
    )


def read_time(
    value: object, form: str | None = None, order: Callable[[], str | None] = lambda: None
) -> datetime | Unread:
    """Read `value` as a time, with its zone where it has one, or say why it is none.

    Args:
        value: as a file or a database gives it.
        form: what the user says of the form, see `check_format`.
        order: asked for the order of day, month and year of the column where `value` doesn't tell it.
    """
    if isinstance(value, date):
        if (value.replace(tzinfo=None) if isinstance(value, datetime) else value) in _ENDLESS:
            return Unread.UNREADABLE
        return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    text = "" if value is None else str(value).strip()  # NaN is "nan"
    if text.casefold() in _MISSING:
        return Unread.MISSING
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return Unread.UNREADABLE
    text = text.removesuffix(".0") if text[:-2].isdecimal() else text
    try:
        return _by_form(text, form, order) if form is None or form in ORDERS else _by_format(text, form)
    except (ValueError, OverflowError):
        return Unread.UNREADABLE


def common_order(values: Iterable[object]) -> str | None:
    """Return the one order that all dates in numbers among `values` allow, or None if there isn't one."""
    common = frozenset(ORDERS)
    for value in values:
        numbers = _NUMBERS.fullmatch(value.strip()) if isinstance(value, str) else None
        if numbers is None:
            continue
        first, separator, _, _, _ = numbers.groups()
        possible = frozenset(_dates(numbers, None))
        if separator != "." and len(first) < 4 and possible:
            common &= possible
    return next(iter(common)) if len(common) == 1 else None


def utc(moment: datetime) -> datetime:
    """`moment` without a zone: in UTC if it has one, and at the end of time if UTC lies beyond it."""
    if moment.tzinfo is None:
        return moment
    try:
        return moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return moment.replace(tzinfo=None)


def _by_form(text: str, order: str | None, ask: Callable[[], str | None]) -> datetime | Unread:
    """Read a date of any form; `order` is what the user says, `ask` what the column tells."""
    compact = _COMPACT.fullmatch(text)
    if compact is not None:
        return _from_compact(compact)
    if text.isdecimal():
        return Unread.UNREADABLE
    text = _ZONE_NAME.sub("", text)
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text)
    numbers = _NUMBERS.fullmatch(text)
    if numbers is not None:
        day = _from_numbers(numbers, order, ask)
        return day if isinstance(day, Unread) else _with_clock(day, numbers["rest"])
    text = _WEEKDAY.sub("", text, count=1) if _WEEKDAY.match(text) else text
    for form in (_DAY_NAME, _NAME_DAY, _YEAR_NAME, _YEAR_LAST):
        named = form.fullmatch(text)
        if named is not None:
            day = date(_year(named["year"]), _month(named["month"]), int(named["day"]))
            return _with_clock(day, named["rest"])
    return Unread.UNREADABLE


def _from_numbers(numbers: re.Match[str], order: str | None, ask: Callable[[], str | None]) -> date | Unread:
    dates = _dates(numbers, order)
    if len(set(dates.values())) > 1:
        column = ask()
        if column not in dates:
            return Unread.AMBIGUOUS
        return dates[column]
    return next(iter(dates.values()), Unread.UNREADABLE)


def _dates(numbers: re.Match[str], order: str | None) -> dict[str, date]:
    """The dates that three numbers can be, by their order; an `order` that is given is the only one."""
    first, separator, second, third, _ = numbers.groups()
    orders: Orders = frozenset()
    if len(first) == 4:
        orders = frozenset(("ymd",)) if len(third) <= 2 else orders
    elif len(first) <= 2 and len(third) in (2, 4):
        orders = _AMBIGUOUS_ORDERS | ({"ymd"} if len(first) == len(third) == 2 else frozenset())
        if order is not None:
            orders &= {order}
        elif separator == ".":
            orders &= {"dmy"}
    dates: dict[str, date] = {}
    for one in sorted(orders):
        parts = dict(zip(one, (first, second, third), strict=True))
        with contextlib.suppress(ValueError):
            dates[one] = date(_year(parts["y"]), int(parts["m"]), int(parts["d"]))
    return dates


def _from_compact(compact: re.Match[str]) -> datetime | Unread:
    year, month, day, hour, minute, second, zone = compact.groups()
    if int(year) not in _YEARS:
        return Unread.UNREADABLE
    whole, _, part = (second or "0").partition(".")
    clock = time(int(hour or 0), int(minute or 0), int(whole), _microseconds(part), _zone(zone))
    return datetime.combine(date(int(year), int(month), int(day)), clock)


def _with_clock(day: date, rest: str | None) -> datetime:
    """`day` at the time that `rest` says, or at its begin; a ValueError if `rest` is no time."""
    if rest is None:
        return datetime(day.year, day.month, day.day)
    clock = _CLOCK.fullmatch(rest.strip())
    minute = clock and (clock["minute"] or clock["joined"])
    if clock is None or (minute is None and clock["half"] is None):
        raise ValueError
    hour, half = int(clock["hour"]), (clock["half"] or "")[:1].lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if half == "p" else 0)
    at = time(hour, int(minute or 0), int(clock["second"] or 0), _microseconds(clock["part"]))
    return datetime.combine(day, at, _zone(clock["zone"]))


def _by_format(text: str, form: str) -> datetime:
    if form not in WORDS:
        return datetime.strptime(text, form)
    number = float(text)
    if form == "excel":
        return _EXCEL_EPOCH + timedelta(seconds=round(number * 86_400))
    return _EPOCH + timedelta(seconds=number if form == "epoch" else number / 1000)


def _year(digits: str) -> int:
    if len(digits) not in (2, 4):
        raise ValueError
    year = int(digits)
    return year if len(digits) == 4 else year + (1900 if year >= 69 else 2000)


def _month(name: str) -> int:
    low = "sep" if name.lower() == "sept" else name.lower()
    return next((at for at, month in enumerate(_MONTHS, start=1) if month.startswith(low)), 0)


def _microseconds(digits: str | None) -> int:
    return int((digits or "0")[:6].ljust(6, "0"))


def _zone(name: str | None) -> tzinfo | None:
    if name is None:
        return None
    low = name.strip().lower()
    if low in _ZONES:
        return timezone(timedelta(hours=_ZONES[low]))
    sign, digits = re.sub(r"[^+\-]", "", low), re.sub(r"\D", "", low)
    hours, minutes = (int(digits), 0) if len(digits) <= 2 else (int(digits[:-2]), int(digits[-2:]))
    return timezone((-1 if sign == "-" else 1) * timedelta(hours=hours, minutes=minutes))
