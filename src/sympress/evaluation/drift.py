"""How often each symptom is labelled, year by year, and what changed between training and test."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sympress.notes.split import Split
from sympress.results import Drift, Period, SymptomRates

#: A rate that is so many times another one has changed manifold.
MANIFOLD = 3.0
#: Standard errors from which on a change is none of chance, also as one of a hundred symptoms.
SURE = 4.0
#: A year of training has at least this share of the notes of the fullest one: later copies of earlier notes,
#: which train with them, make no year.
WHOLE_YEAR = 0.1
#: Symptoms that a warning names.
_NAMED = 6


def drift_of(
    years: Sequence[int | None], split: Split, targets: NDArray[np.integer], symptoms: Sequence[str]
) -> Drift:
    """Return the rate of each symptom in each year of training, validation and test notes.

    Args:
        years: `(notes,)`; notes without a year are left out.
        split: rows of each side.
        targets: `(notes, K)` of 0 and 1.
        symptoms: the K names.
    """
    of_note = np.array([-1 if year is None else year for year in years], dtype=np.int64)
    periods, rates = [], []
    for side, rows in (("train", split.train), ("validation", split.validation), ("test", split.test)):
        for year in np.unique(of_note[rows]):
            if year >= 0:
                own = rows[of_note[rows] == year]
                periods.append(Period(side=side, year=int(year), notes=len(own)))
                rates.append(targets[own].mean(axis=0))
    table = np.round(np.array(rates).reshape(len(periods), len(symptoms)), 6)
    return Drift(
        periods=periods,
        symptoms=[
            SymptomRates(symptom=name, rates=column)
            for name, column in zip(symptoms, table.T.tolist(), strict=True)
        ],
    )


def summary_of(drift: Drift) -> list[tuple[str, dict[str, float]]]:
    """Return each symptom with its rate in training, in its last year, in validation and in test."""
    parts = _parts(drift)
    return [
        (one.symptom, {name: _rate(drift, one, rows) for name, rows in parts.items()})
        for one in drift.symptoms
    ]


def drift_warnings(drift: Drift) -> list[str]:
    """Say which symptoms no test note has, and whose rate changed manifold from training to test.

    A change is told from chance by the standard error of the difference of two proportions.
    """
    parts = _parts(drift)
    if not all(parts.values()):
        return []
    size = {name: sum(drift.periods[row].notes for row in rows) for name, rows in parts.items()}
    gone: list[str] = []
    changed: dict[str, list[str]] = {_LAST: [], _TRAINING: []}
    for symptom, rates in summary_of(drift):
        test = rates[_TEST]
        if test == 0:
            gone.append(f"{symptom} ({rates[_TRAINING]:.2%} of training notes)")
            continue
        before = next(
            (name for name in changed if _has_changed(rates[name], size[name], test, size[_TEST])), None
        )
        if before is not None:
            changed[before].append(f"{symptom} {rates[before]:.2%} to {test:.2%}")
    last = drift.periods[parts[_LAST][0]].year
    said = [
        (f"no test note has {_listed(gone)}", gone),
        (
            f"rates {MANIFOLD:g}-fold different in the test notes and in {last}, the last year of training: "
            f"{_listed(changed[_LAST])}",
            changed[_LAST],
        ),
        (
            f"rates {MANIFOLD:g}-fold different in the test notes and in all of training, but not in its "
            f"last year: {_listed(changed[_TRAINING])}; --train-from leaves older notes out",
            changed[_TRAINING],
        ),
    ]
    return [line for line, found in said if found]


_TRAINING, _LAST, _VALIDATION, _TEST = "training", "last year of training", "validation", "test"


def _parts(drift: Drift) -> dict[str, list[int]]:
    """The periods, by number, of each part of the notes that is compared."""
    of_side = {
        side: [row for row, period in enumerate(drift.periods) if period.side == side]
        for side in ("train", "validation", "test")
    }
    most = max((drift.periods[row].notes for row in of_side["train"]), default=0)
    whole = [row for row in of_side["train"] if drift.periods[row].notes >= WHOLE_YEAR * most]
    last = max(whole, key=lambda row: drift.periods[row].year, default=None)
    return {
        _TRAINING: of_side["train"],
        _LAST: [] if last is None else [last],
        _VALIDATION: of_side["validation"],
        _TEST: of_side["test"],
    }


def _rate(drift: Drift, symptom: SymptomRates, rows: Sequence[int]) -> float:
    notes = [drift.periods[row].notes for row in rows]
    labelled = sum(symptom.rates[row] * count for row, count in zip(rows, notes, strict=True))
    return labelled / max(sum(notes), 1)


def _has_changed(before: float, notes_before: int, after: float, notes_after: int) -> bool:
    together = (before * notes_before + after * notes_after) / (notes_before + notes_after)
    error = (together * (1 - together) * (1 / notes_before + 1 / notes_after)) ** 0.5
    return max(before, after) >= MANIFOLD * min(before, after) and abs(after - before) > SURE * error


def _listed(found: Sequence[str]) -> str:
    more = len(found) - _NAMED
    return ", ".join(found[:_NAMED]) + (f" and {more} more" if more > 0 else "")
