"""What compression changed: flips counted by hand, by symptom and by group of notes."""

from __future__ import annotations

import numpy as np
import pytest

from sympress.evaluation.quality import describe_changes, f1_of, note_groups

TRUTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], dtype=bool)
BASELINE = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], dtype=bool)  # misses one, invents one
PRESSED = np.array([[1, 0], [0, 1], [0, 0], [0, 1]], dtype=bool)  # loses one, mends both
GROUPS = {"sex F": np.array([True, True, False, False]), "nobody": np.zeros(4, dtype=bool)}


def test_flips_are_counted_as_corrected_or_spoiled():
    changes = describe_changes(PRESSED, BASELINE, TRUTH, ("fever", "cough"), GROUPS)
    assert (changes.notes, changes.flipped_notes, changes.flipped_answers) == (4, 2, 3)
    assert (changes.corrected, changes.spoiled) == (2, 1)
    assert [(each.symptom, each.flipped) for each in changes.per_symptom] == [("fever", 2), ("cough", 1)]
    assert changes.per_symptom[0].f1 == pytest.approx(2 / 3)
    assert changes.per_symptom[0].baseline_f1 == pytest.approx(4 / 5)


def test_groups_are_judged_on_their_own_notes_and_empty_ones_left_out():
    changes = describe_changes(PRESSED, BASELINE, TRUTH, ("fever", "cough"), GROUPS)
    assert [group.group for group in changes.per_group] == ["sex F"]
    group = changes.per_group[0]
    assert (group.notes, group.flipped_notes) == (2, 1)
    assert group.f1 == pytest.approx(4 / 5)
    assert group.baseline_f1 == pytest.approx(4 / 5)


def test_nothing_flips_against_oneself():
    changes = describe_changes(BASELINE, BASELINE, TRUTH, ("fever", "cough"), {})
    assert (changes.flipped_notes, changes.corrected, changes.spoiled) == (0, 0, 0)


def test_f1_is_undefined_where_nothing_is_present_and_nothing_found():
    nothing = np.zeros(3, dtype=bool)
    assert f1_of(nothing, nothing) is None
    assert f1_of(~nothing, nothing) == 0.0


def test_groups_are_sex_bands_of_age_and_large_categories():
    sex = ["F", "M", None, "F"] * 10
    ages = [0.5, 2.0, 64.9, None] * 10
    category = ["Nursing"] * 25 + ["Radiology"] * 15
    groups = note_groups(sex, ages, category)
    ages_found = ["age under 2", "age 2 to 17", "age 18 to 64", "age not given"]
    assert list(groups) == ["sex F", "sex M", "sex not given", *ages_found, "category Nursing"]
    assert [int(rows.sum()) for rows in groups.values()] == [20, 10, 10, 10, 10, 10, 10, 25]


def test_a_single_category_is_no_group():
    assert note_groups([None] * 30, [None] * 30, ["Nursing"] * 30) == {}
