"""How rates of symptoms change over time, and what is worth a warning."""

from __future__ import annotations

import numpy as np
import pytest

from sympress.evaluation.drift import drift_of, drift_warnings, summary_of
from sympress.notes.split import Split
from sympress.results import Drift, SplitCounts


def drift(rates: dict[str, dict[int, float]], notes: int = 1000) -> Drift:
    """Of symptoms with the rates of each year; the last year is the test set, the one before validation."""
    years = sorted(next(iter(rates.values())))
    of_note = np.repeat(years, notes)
    rank = np.tile(np.arange(notes), len(years))
    targets = np.stack(
        [rank < np.array([own[year] * notes for year in of_note]) for own in rates.values()], axis=1
    )
    rows = [
        np.flatnonzero(part) for part in (of_note < years[-2], of_note == years[-2], of_note == years[-1])
    ]
    counts = SplitCounts(
        train=len(rows[0]), validation=notes, test=notes, rule="time", exact_duplicates=0, near_duplicates=0,
        patients_on_both_sides=0, duplicates_on_both_sides=0,
    )  # fmt: skip
    split = Split(rows[0], rows[1], rows[2], counts)
    return drift_of(of_note.tolist(), split, targets.astype(np.uint8), list(rates))


def years(*rates: float) -> dict[int, float]:
    return dict(enumerate(rates, start=2000))


def test_rates_stand_by_year_and_side() -> None:
    found = drift({"fever": years(0.1, 0.3, 0.2, 0.4)})
    assert [(one.side, one.year, one.notes) for one in found.periods] == [
        ("train", 2000, 1000), ("train", 2001, 1000), ("validation", 2002, 1000), ("test", 2003, 1000),
    ]  # fmt: skip
    assert found.symptoms[0].rates == [0.1, 0.3, 0.2, 0.4]
    ((name, rates),) = summary_of(found)
    assert name == "fever"
    assert rates == pytest.approx(
        {"training": 0.2, "last year of training": 0.3, "validation": 0.2, "test": 0.4}
    )


def test_a_rate_that_holds_or_doubles_is_no_warning() -> None:
    assert (
        drift_warnings(drift({"fever": years(0.1, 0.1, 0.1, 0.1), "rash": years(0.1, 0.1, 0.1, 0.2)})) == []
    )


def test_a_year_of_a_few_later_copies_is_not_the_last_of_training() -> None:
    of_note = np.repeat([2000, 2001, 2002, 2003], [500, 500, 20, 500])
    rows = np.arange(1020), np.arange(1020, 1270), np.arange(1270, 1520)
    targets = np.where(of_note == 2002, 0, np.tile([1, 0], 760))[:, None]
    split = Split(*rows, SplitCounts(
        train=1020, validation=250, test=250, rule="time", exact_duplicates=0, near_duplicates=0,
        patients_on_both_sides=0, duplicates_on_both_sides=0,
    ))  # fmt: skip
    found = drift_of(of_note.tolist(), split, targets, ["fever"])
    assert summary_of(found)[0][1]["last year of training"] == 0.5
    assert drift_warnings(found) == []


def test_a_symptom_that_no_test_note_has_is_said() -> None:
    (line,) = drift_warnings(drift({"flushing": years(0.12, 0.1, 0, 0), "fever": years(0.1, 0.1, 0.1, 0.1)}))
    assert line == "no test note has flushing (11.00% of training notes)"


def test_a_rate_that_changed_since_the_last_year_of_training_is_said() -> None:
    (line,) = drift_warnings(drift({"redness": years(0.05, 0.05, 0.1, 0.2)}))
    assert line == (
        "rates 3-fold different in the test notes and in 2001, the last year of training: "
        "redness 5.00% to 20.00%"
    )


def test_a_practice_that_ended_within_training_is_told_apart() -> None:
    (line,) = drift_warnings(drift({"agitation": years(0.5, 0.02, 0.02, 0.02)}))
    assert "in all of training, but not in its last year: agitation 26.00% to 2.00%; --train-from" in line


def test_a_change_that_may_be_chance_is_no_warning() -> None:
    rare = {"hiccups": years(0.02, 0.02, 0.02, 0.08)}
    assert drift_warnings(drift(rare, notes=50)) == []
    assert len(drift_warnings(drift(rare, notes=5000))) == 1


def test_many_symptoms_are_counted() -> None:
    (line,) = drift_warnings(drift({f"s{k}": years(0.1, 0.1, 0.1, 0) for k in range(9)}))
    assert line.endswith("s5 (10.00% of training notes) and 3 more")
