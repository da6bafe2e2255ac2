"""The notes that `sympress train` holds out where none are given to validate on."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sympress.errors import InputError
from sympress.evaluation.gold import Gold, GoldNote
from sympress.pipeline.fit import plan_fit, settings_of
from sympress.pipeline.origin import two_sides

COMMON = [("fever",), ("cough",), ("fever", "cough"), ()] * 10


def gold(labels: Sequence[Sequence[str]], patients: Sequence[str] | None = None) -> Gold:
    notes = tuple(
        GoldNote(str(row), f"note {row}", frozenset(names), patient_id=patients[row] if patients else None)
        for row, names in enumerate(labels)
    )
    return Gold(notes, "notes", spans=False, asserted=False)


@pytest.mark.parametrize("seed", range(30))
def test_a_symptom_of_one_note_is_always_learnt_and_never_held_out(seed: int) -> None:
    plan = plan_fit(
        gold([*COMMON, ("rash",), ("hives",)]), None, settings_of("present", "bundled", {}), seed=seed
    )
    assert set(plan.symptoms) == {"fever", "cough", "rash", "hives"}
    assert len(plan.validation.notes) == 8
    assert {name for note in plan.train.notes for name in note.affirmed} == set(plan.symptoms)


def test_notes_to_learn_from_are_none_to_validate_on() -> None:
    notes = gold(COMMON)
    with pytest.raises(InputError, match="validation: 40 of its notes are in train too"):
        plan_fit(notes, notes, settings_of("present", "bundled", {}))


def test_a_rare_symptom_of_two_patients_stays_with_one_of_them() -> None:
    labels = [*COMMON, ("rash",), ("rash",), ("rash",)]
    patients = [*(str(row) for row in range(40)), "a", "a", "b"]
    for seed in range(30):
        learnt, judged = two_sides(gold(labels, patients), None, seed)
        assert learnt is not None
        assert judged is not None
        assert any("rash" in note.affirmed for note in learnt.notes)
        assert not {note.patient_id for note in learnt.notes} & {note.patient_id for note in judged.notes}


def test_where_every_patient_has_a_symptom_of_its_own_one_line_says_what_to_do() -> None:
    with pytest.raises(InputError) as refused:
        two_sides(gold([(f"sign {row}",) for row in range(9)]), None, 0)
    assert str(refused.value) == (
        "every patient has a symptom that no other has, such as 'sign 0', so none can be held out; "
        "give validation notes, or leave the rare ones out"
    )
