"""Splits of notes: what each rule promises, and leaks that are found when planted."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from sympress.errors import InputError, LeakError
from sympress.notes.read import NOTE_SCHEMA
from sympress.notes.split import Duplicates, assign_part, check_leaks, reserved_part, split_notes

BEGIN = datetime(2140, 1, 1)


def notes(patients: list[str | None], times: list[datetime | None] | None = None) -> pl.DataFrame:
    rows = [
        {"note_id": str(k), "patient_id": patient, "time": time, "text": f"note {k}"}
        for k, (patient, time) in enumerate(zip(patients, times or [None] * len(patients), strict=True))
    ]
    return pl.DataFrame(rows, schema=NOTE_SCHEMA)


def clusters(values: list[int]) -> Duplicates:
    joined = sum(value != row for row, value in enumerate(values))
    return Duplicates(np.array(values, dtype=np.int64), joined, 0)


def alone(count: int) -> Duplicates:
    return clusters(list(range(count)))


def side_of(split: object, row: int) -> str:
    return next(part for part in ("train", "validation", "test") if row in getattr(split, part))


def test_random_has_the_stated_sizes_and_reports_leaks() -> None:
    frame = notes([f"p{k // 2}" for k in range(200)])
    split = split_notes(frame, alone(200), rule="random", seed=42)
    assert (len(split.test), len(split.validation), len(split.train)) == (20, 18, 162)
    patients = frame["patient_id"].to_list()
    in_train = {patients[row] for row in split.train}
    assert split.counts.patients_on_both_sides == sum(patients[row] in in_train for row in split.test) > 0
    again = split_notes(frame, alone(200), rule="random", seed=42)
    other = split_notes(frame, alone(200), rule="random", seed=43)
    assert again.test.tolist() == split.test.tolist() != other.test.tolist()


def test_patient_equals_the_reserved_part() -> None:
    frame = notes([f"{10_000 + k // 3}" for k in range(900)])
    split = split_notes(frame, alone(900), rule="patient")
    for row, patient in enumerate(frame["patient_id"]):
        assert side_of(split, row) == reserved_part(patient)


def test_assignment_by_hash_has_the_shares_and_stays_for_ever() -> None:
    parts = [assign_part(str(k)) for k in range(20_000)]
    assert [parts.count(part) / 20_000 for part in ("train", "validation", "test")] == pytest.approx(
        [0.8, 0.1, 0.1], abs=0.01
    )
    assert [assign_part(key) for key in ("0", "1", "3")] == ["train", "test", "validation"]
    assert [assign_part(str(k), seed=1) for k in range(200)] != parts[:200]


def test_patients_that_share_a_copy_go_where_the_smallest_id_goes() -> None:
    test_patient = next(f"b{k}" for k in range(1000) if reserved_part(f"b{k}") == "test")
    patients = [*(f"c{k}" for k in range(60)), test_patient, "z", "z", None]
    values = list(range(len(patients)))
    values[61] = 60  # a note of z copies the note of the test patient
    split = split_notes(notes(patients), clusters(values), rule="patient")
    assert {side_of(split, row) for row in (60, 61, 62)} == {"test"}
    assert side_of(split, 63) == reserved_part("note/63")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 300)), min_size=60, max_size=120),
    st.sampled_from(["patient", "time"]),
    st.integers(0, 3),
)
def test_grouped_rules_never_leak(rows: list[tuple[int, int]], rule: str, seed: int) -> None:
    patients: list[str | None] = [None if p == 0 else f"p{p}" for p, _ in rows]
    times: list[datetime | None] = [BEGIN + timedelta(days=(37 * k) % 300) for k in range(len(rows))]
    links = [link if link < row else row for row, (_, link) in enumerate(rows)]
    roots = list(range(len(rows)))
    for row, link in enumerate(links):
        roots[row] = roots[link] if row % 9 == 0 else row
    frame, duplicates = notes(patients, times), clusters(roots)
    try:
        split = split_notes(frame, duplicates, rule=rule, seed=seed)
    except InputError:
        reject()  # everything is linked into one group, so a side is empty
    check_leaks(split, frame, duplicates, strict=True)
    assert sorted([*split.train, *split.validation, *split.test]) == list(range(len(rows)))
    assert (split.counts.patients_on_both_sides, split.counts.duplicates_on_both_sides) == (0, 0)


def test_time_takes_the_last_calendar_years() -> None:
    times: list[datetime | None] = [
        datetime(year, month, 1) for year in (2002, 2003, 2004, 2005) for month in (1, 12)
    ]
    split = split_notes(notes([None] * 8, times), alone(8), rule="time")
    assert split.train.tolist() == [0, 1, 2, 3]
    assert split.validation.tolist() == [4, 5]
    assert split.test.tolist() == [6, 7]
    assert split.moved == 0


def test_time_takes_quantiles_of_a_short_span() -> None:
    times: list[datetime | None] = [BEGIN + timedelta(days=k) for k in range(100)]
    split = split_notes(notes([None] * 100, times), alone(100), rule="time")
    assert split.validation.tolist() == list(range(80, 90))
    assert split.test.tolist() == list(range(90, 100))


def test_time_borders_are_inclusive_and_a_group_goes_to_its_earliest_note() -> None:
    days = [0, 9, 10, 15, 20, 25, 30]
    times: list[datetime | None] = [BEGIN + timedelta(days=day) for day in days]
    patients: list[str | None] = ["a", "b", "c", "d", "e", "a", "f"]
    borders = {"validation_from": BEGIN + timedelta(days=10), "test_from": BEGIN + timedelta(days=20)}
    duplicates = clusters([0, 1, 2, 3, 4, 5, 3])  # the last note copies one of validation
    split = split_notes(notes(patients, times), duplicates, rule="time", **borders)
    assert split.train.tolist() == [0, 1, 5]
    assert split.validation.tolist() == [2, 3, 6]
    assert split.test.tolist() == [4]
    assert split.moved == 2


def test_planted_leaks_are_found_and_counted() -> None:
    patients: list[str | None] = [f"p{k}" for k in range(40)]
    frame = notes(patients)
    clean = split_notes(frame, alone(40), rule="random", seed=0)
    check_leaks(clean, frame, alone(40), strict=True)
    train, validation, test = (int(rows[0]) for rows in (clean.train, clean.validation, clean.test))
    patients[test] = patients[train]
    values = list(range(40))
    values[max(validation, test)] = min(validation, test)
    leaky, copies = notes(patients), clusters(values)
    split = split_notes(leaky, copies, rule="random", seed=0)
    assert split.counts.patients_on_both_sides == 1
    assert split.counts.duplicates_on_both_sides == 0
    check_leaks(split, leaky, copies, strict=False)
    with pytest.raises(LeakError) as caught:
        check_leaks(split, leaky, copies, strict=True)
    assert str(caught.value) == (
        "split by random: 1 held-out notes share a patient, 1 test notes share with validation a duplicate; "
        "split by patient, or pass strict=False"
    )


def test_mistakes_are_refused_with_a_reason() -> None:
    times: list[datetime | None] = [BEGIN, None, BEGIN, None]
    with pytest.raises(InputError, match="2 of 4 notes have no time; split by patient"):
        split_notes(notes([None] * 4, times), alone(4), rule="time")
    with pytest.raises(InputError, match=r"no note falls into validation \(3 notes in all\)"):
        split_notes(notes([None] * 3), alone(3), rule="random")
    with pytest.raises(InputError, match="give both validation_from and test_from"):
        split_notes(notes(["a"], [BEGIN]), alone(1), rule="time", test_from=BEGIN)
    with pytest.raises(InputError, match="must be earlier than test_from"):
        split_notes(notes(["a"], [BEGIN]), alone(1), rule="time", validation_from=BEGIN, test_from=BEGIN)
    with pytest.raises(InputError, match="belong to the rule 'time', the rule is 'patient'"):
        split_notes(notes(["a"]), alone(1), rule="patient", test_from=BEGIN)


@pytest.mark.parametrize("rule", ["random", "patient", "time"])
def test_training_notes_before_the_first_day_are_on_no_side(rule: str) -> None:
    frame = notes([f"p{k}" for k in range(300)], [BEGIN + timedelta(days=k) for k in range(300)])
    day = BEGIN + timedelta(days=100)
    whole = split_notes(frame, alone(300), rule=rule)  # type: ignore[arg-type]
    later = split_notes(frame, alone(300), rule=rule, train_from=day)  # type: ignore[arg-type]
    assert later.train.tolist() == [row for row in whole.train if row >= 100]
    assert later.validation.tolist() == whole.validation.tolist()
    assert later.test.tolist() == whole.test.tolist()
    assert later.counts.left_out == len(whole.train) - len(later.train) > 0
    assert whole.counts.left_out == 0


def test_a_first_day_that_leaves_nothing_or_that_notes_lack_is_one_clear_line() -> None:
    times: list[datetime | None] = [BEGIN + timedelta(days=k) for k in range(300)]
    frame = notes([f"p{k}" for k in range(300)], times)
    with pytest.raises(InputError, match=r"^--train-from 2150-01-01: no training note is left, the newest"):
        split_notes(frame, alone(300), rule="time", train_from=datetime(2150, 1, 1))
    undated = notes([f"p{k}" for k in range(300)], [*[None] * 100, *times[100:]])
    with pytest.raises(InputError, match="training notes have no time; leave it out"):
        split_notes(undated, alone(300), rule="random", train_from=BEGIN)
