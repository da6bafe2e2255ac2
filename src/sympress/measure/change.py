"""What compression changed beyond the average: answers that flipped, by symptom and by group of notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sympress.results import Changes, GroupChange, SymptomChange

Answers = NDArray[np.bool_]


def describe_changes(
    ours: Answers,
    theirs: Answers,
    truth: Answers,
    symptoms: Sequence[str],
    groups: Mapping[str, NDArray[np.bool_]],
) -> Changes:
    """Compare the answers of a compressed model with the baseline's on the same notes.

    Args:
        ours: `(notes, K)`, what the compressed model finds present.
        theirs: `(notes, K)`, what the baseline finds.
        truth: `(notes, K)`, what is.
        symptoms: names of the K symptoms.
        groups: name of a group -> `(notes,)`, which notes belong to it.
    """
    flipped = ours != theirs
    return Changes(
        notes=len(truth),
        flipped_notes=int(flipped.any(axis=1).sum()),
        flipped_answers=int(flipped.sum()),
        corrected=int((flipped & (ours == truth)).sum()),
        spoiled=int((flipped & (theirs == truth)).sum()),
        per_symptom=[
            SymptomChange(
                symptom=symptom,
                flipped=int(flipped[:, column].sum()),
                f1=f1_of(ours[:, column], truth[:, column]),
                baseline_f1=f1_of(theirs[:, column], truth[:, column]),
            )
            for column, symptom in enumerate(symptoms)
        ],
        per_group=[
            GroupChange(
                group=name,
                notes=int(rows.sum()),
                flipped_notes=int(flipped[rows].any(axis=1).sum()),
                f1=f1_of(ours[rows], truth[rows]),
                baseline_f1=f1_of(theirs[rows], truth[rows]),
            )
            for name, rows in groups.items()
            if rows.any()
        ],
    )


def f1_of(found: Answers, truth: Answers) -> float | None:
    """F1 over all answers together (micro); None where nothing is present and nothing is found."""
    wanted = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / wanted if wanted else None


#: First year of each band of age, and its name.
AGE_BANDS = ((0.0, "under 2"), (2.0, "2 to 17"), (18.0, "18 to 64"), (65.0, "65 and over"))


def age_band(years: float) -> str:
    """Return the name of the band of an age in years."""
    return next((name for start, name in reversed(AGE_BANDS) if years >= start), AGE_BANDS[0][1])


def note_groups(
    sex: Sequence[str | None], age_years: Sequence[float | None], category: Sequence[str | None]
) -> dict[str, NDArray[np.bool_]]:
    """Groups of notes by sex, band of age and category, as far as the notes say them; names sorted.

    Notes without a sex or an age are a group too where others have one. Categories that hold fewer than
    20 notes are left out: a figure of so few says nothing.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for value in sorted({value for value in sex if value}):
        found[f"sex {value}"] = np.array([each == value for each in sex])
    found |= _not_given("sex", np.array([not value for value in sex], dtype=bool))
    ages = np.array([np.nan if age is None else age for age in age_years], dtype=np.float64)
    borders = [start for start, _ in AGE_BANDS] + [np.inf]
    for (start, name), end in zip(AGE_BANDS, borders[1:], strict=True):
        rows = (ages >= start) & (ages < end)
        if rows.any():
            found[f"age {name}"] = rows
    found |= _not_given("age", np.isnan(ages))
    for value in sorted({value for value in category if value}):
        rows = np.array([each == value for each in category])
        if rows.sum() >= 20 and not rows.all():
            found[f"category {value}"] = rows
    return found


def _not_given(kind: str, rows: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """The group of notes that do not say it, where some do not and some do."""
    return {f"{kind} not given": rows} if rows.any() and not rows.all() else {}
