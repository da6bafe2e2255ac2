"""Dates as systems write them: what is certain is read, with its zone; what is not is never guessed."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from sympress.errors import InputError
from sympress.notes.dates import Unread, check_format, common_order, read_time, utc

EASTERN = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    "written",
    [
        *("2024-01-31", "20240131", "20240131.0", "2024/01/31", "2024.1.31", "2024-1-31", "2024-Jan-31"),
        *("01/31/2024", "1/31/2024", "01-31-2024", "1/31/24", "31/01/2024", "31-1-2024"),
        *("31.01.2024", "31.1.2024", "31. 01. 2024", "31.01.24"),
        *("31-JAN-2024", "31-Jan-24", "31JAN2024", "31 January 2024", "Jan 31, 2024", "January 31st, 2024"),
        "Wed, 31 Jan 2024",
    ],
)
def test_the_last_of_january_is_read_in_every_usual_form(written: str) -> None:
    assert read_time(f" {written} ") == datetime(2024, 1, 31)


@pytest.mark.parametrize(
    "written",
    [
        *("1/31/2024 2:05 PM", "01/31/2024 14:05", "1/31/2024 02:05:00 p.m.", "2024/01/31 14:05:00"),
        *("01/31/2024 1405", "31.01.2024, 14:05", "31.01.2024 14:05 Uhr", "Jan 31, 2024 at 2:05 PM"),
        *("31-JAN-24 02.05.00.000000 PM", "31JAN2024:14:05:00", "Wed Jan 31 14:05:00 2024"),
        *("202401311405", "20240131140500", "2024-01-31 2:05 PM"),
    ],
)
def test_so_is_a_time_of_day(written: str) -> None:
    assert read_time(written) == datetime(2024, 1, 31, 14, 5)


@pytest.mark.parametrize(
    "written",
    [
        *("2024-01-31T20:00:00-05:00", "2024-01-31 20:00:00 -0500", "20240131200000-0500"),
        *("2024-01-31T20:00:00-05:00[America/New_York]", "1/31/2024 8:00 PM EST", "Jan 31, 2024 20:00 GMT-5"),
        *("Wed Jan 31 20:00:00 EST 2024", "Wed, 31 Jan 2024 20:00:00 -0500 (EST)"),
    ],
)
def test_a_zone_stays(written: str) -> None:
    time = read_time(written)
    assert isinstance(time, datetime)
    assert (time.replace(tzinfo=None), time.utcoffset()) == (datetime(2024, 1, 31, 20), timedelta(hours=-5))


@pytest.mark.parametrize("written", ["03/04/2024", "3-4-2024", "3/4/24", "31/01/24", "24/01/31", "01-02-03"])
def test_an_order_that_is_not_certain_is_never_guessed(written: str) -> None:
    assert read_time(written) is Unread.AMBIGUOUS


@pytest.mark.parametrize(
    "written",
    [
        *("yesterday", "31/02/2024", "01.31.2024", "14:05", "2024-01", "2024", "0000-01-01", "12345678"),
        *("45322", "45322.5", "1706745600", "1706745600000", "1/31/2024 14:05 PM", "1/31/2024 25:00"),
        *("Foo 5, 2024", "1/31/204", "10/20/2024 x", True, ["2024-01-31"], 45322),
    ],
)
def test_what_is_no_date_is_unreadable(written: object) -> None:
    assert read_time(written) is Unread.UNREADABLE


@pytest.mark.parametrize("written", [None, "", " ", "NULL", "nan", float("nan"), "NaT", "N/A", "\\N"])
def test_nothing_is_missing(written: object) -> None:
    assert read_time(written) is Unread.MISSING


def test_what_a_database_gives_is_taken() -> None:
    assert read_time(date(2024, 1, 31)) == datetime(2024, 1, 31)
    assert read_time(datetime(2024, 1, 31, 1, tzinfo=UTC)) == datetime(2024, 1, 31, 1, tzinfo=UTC)
    assert read_time(20240131) == datetime(2024, 1, 31)


@pytest.mark.parametrize(
    ("written", "form", "day"),
    [
        ("03/04/2024", "mdy", (2024, 3, 4)),
        ("03/04/2024", "dmy", (2024, 4, 3)),
        ("03.04.2024", "mdy", (2024, 3, 4)),
        ("24/01/31", "ymd", (2024, 1, 31)),
        ("31-01-70", "dmy", (1970, 1, 31)),
        ("2024-01-31", "dmy", (2024, 1, 31)),
        ("03/04/2024", "%d/%m/%Y", (2024, 4, 3)),
        ("45322", "excel", (2024, 1, 31)),
    ],
)
def test_the_user_says_the_form(written: str, form: str, day: tuple[int, int, int]) -> None:
    assert read_time(written, form) == datetime(*day)


def test_the_user_says_the_form_of_numbers() -> None:
    assert read_time("45322.75", "excel") == datetime(2024, 1, 31, 18)
    assert read_time(1706745600, "epoch") == read_time("1706745600000", "epoch-ms")
    assert read_time("1706745600", "epoch") == datetime(2024, 2, 1, tzinfo=UTC)
    assert read_time("soon", "epoch") is read_time("1e300", "excel") is Unread.UNREADABLE


def test_a_date_against_what_the_user_says_is_unreadable() -> None:
    assert read_time("31/01/2024", "mdy") is Unread.UNREADABLE
    assert read_time("2024-31-01", "%Y-%m-%d") is Unread.UNREADABLE


def test_a_column_tells_the_order_when_all_its_dates_agree() -> None:
    assert common_order(["03/04/2024", None, "x", "01/31/2024 2 PM"]) == "mdy"
    assert common_order(["31/01/24", "24/02/24", "15/12/99"]) == "dmy"
    assert common_order(["03/04/2024", "05/06/2024"]) is None
    assert common_order(["31/01/2024", "01/31/2024"]) is None
    assert common_order(["31.01.2024", "2024/01/31"]) is None
    assert read_time("03/04/2024", order=lambda: "mdy") == datetime(2024, 3, 4)


def test_both_ends_of_time_have_a_place_in_utc() -> None:
    for written in ("9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+14:00"):
        time = read_time(written)
        assert isinstance(time, datetime)
        assert utc(time) == time.replace(tzinfo=None)
    assert utc(datetime(2024, 1, 31, 20, tzinfo=EASTERN)) == datetime(2024, 2, 1, 1)


@pytest.mark.parametrize("form", ["mdi", "%H:%M", "%Y", "%Q %d", "day first", ""])
def test_a_form_that_is_no_date_is_refused(form: str) -> None:
    with pytest.raises(InputError, match=r"^--date-format .*: no format of a date") as caught:
        check_format(form)
    assert "\n" not in str(caught.value)
