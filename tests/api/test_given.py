"""Labels in every form that a program may hold them, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from sympress.errors import InputError
from sympress.evaluation.gold import gold_of, gold_of_symptoms, pair_of, texts_of
from sympress.labels.mentions import Mention
from sympress.pipeline.order import read_given

TEXTS = ["fever and cough", "no rash", "rash"]
NAMES = ("fever", "cough", "rash")
WANTED = [frozenset({"fever", "cough"}), frozenset(), frozenset({"rash"})]
ARRAY = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]])


@pytest.mark.parametrize(
    "labels",
    [
        ARRAY,
        ARRAY.astype(float),
        ARRAY.astype(bool),
        ARRAY.tolist(),
        [["fever", "cough"], [], ["rash"]],
        [{"fever", "cough"}, (), {"rash"}],
        ["fever;cough", "", "rash"],
        pl.Series([["fever", "cough"], [], ["rash"]]),
        pd.Series([["fever", "cough"], [], ["rash"]]),
        pl.DataFrame(dict(zip(NAMES, ARRAY.T, strict=True))),
        pd.DataFrame(ARRAY, columns=NAMES),
        pd.DataFrame(ARRAY, columns=[f" {name} " for name in NAMES]).astype("boolean"),
        pd.DataFrame(ARRAY, columns=NAMES).astype("Int64"),
        pd.DataFrame(ARRAY, columns=NAMES).astype(object),
        [[" fever", "cough "], [], ("rash",)],
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_every_form_of_labels_of_whole_notes_says_the_same(labels: Any):
    gold = gold_of(TEXTS, labels, symptoms=NAMES, patients=["a", "a", None])
    assert [note.affirmed for note in gold.notes] == WANTED
    assert [note.text for note in gold.notes] == TEXTS
    assert gold.patients == ["a", "a", None]
    assert not gold.spans


def test_places_and_single_names_are_one_symptom_a_note():
    for labels in (np.array([0, 1, 2]), [0, 1, 2], ["fever", "cough", "rash"]):
        gold = gold_of(TEXTS, labels, symptoms=NAMES)
        assert [note.affirmed for note in gold.notes] == [{"fever"}, {"cough"}, {"rash"}]


@pytest.mark.parametrize(
    "labels",
    [
        [1, 0, 0],
        [True, False, False],
        np.array([1.0, 0.0, 0.0]),
        np.array([True, False, False]),
        pd.Series([True, False, False], dtype="boolean"),
        [[1], [0], [0]],
    ],
)
def test_of_one_symptom_0_and_1_mean_absent_and_present(labels: Any):
    gold = gold_of(TEXTS, labels, symptoms=["fever"])
    assert [note.affirmed for note in gold.notes] == [{"fever"}, set(), set()]


@pytest.mark.parametrize(
    "values",
    [
        [None, "a", "a"],
        [np.nan, "a", "a"],
        [np.float32("nan"), "a", "a"],
        [" ", "a", "a"],
        [np.datetime64("NaT"), "a", "a"],
        pd.Series([pd.NA, "a", "a"]),
        pd.Series([pd.NaT, "a", "a"], dtype=object),
        pd.Series([None, "a", "a"], dtype="string"),
        pd.Series([None, "a", "a"], dtype="category"),
        pl.Series([None, "a", "a"]),
    ],
)
def test_whatever_is_missing_is_no_patient_and_no_group(values: Any):
    gold = gold_of(TEXTS, WANTED, patients=values, groups=values)
    assert gold.patients == [None, "a", "a"]
    assert [note.group for note in gold.notes] == [None, "a", "a"]
    whole = gold_of(TEXTS, WANTED, patients=pd.Series([None, 7, 7], dtype="Int64"))
    assert whole.patients == [None, "7", "7"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (5, r"notes: groups \(what figures are told apart by\) are int; give a list or a column"),
        (np.array(5), "are ndarray; give a list or a column, one name per note"),
        ("abc", "are str; give a list"),
        ({"a": 1}, "are dict; give a list"),
        ({"a", "b", "c"}, "are set; give a list"),
        (pd.DataFrame([["a", "b", "c"]]), "are DataFrame; give a list or a column"),
        (pl.DataFrame({"group": ["a", "b", "c"]}), "are DataFrame; give a list or a column"),
        (np.array([["a"], ["b"], ["c"]]), "note 0 has list; give one name per note"),
    ],
)
def test_groups_are_one_name_a_note(values: Any, message: str):
    with pytest.raises(InputError, match=message):
        gold_of(TEXTS, WANTED, groups=values)


@pytest.mark.parametrize(
    ("symptoms", "message"),
    [
        (["fever", " fever"], "notes: symptoms: 'fever' is there twice; keep one"),
        (["fever", " "], "notes: symptoms: 1: a name is empty; leave it out"),
        (["fever", None], "notes: symptoms: 1: a name is NoneType; give text"),
        ("fever", "notes: symptoms: a str; give a list of names"),
    ],
)
def test_names_of_symptoms_are_told_apart(symptoms: Any, message: str):
    with pytest.raises(InputError, match=message):
        gold_of(TEXTS, WANTED, symptoms=symptoms)


@pytest.mark.parametrize("table", [pl.DataFrame, pd.DataFrame])
def test_a_table_has_its_own_labels_ids_and_patients(table: Any):
    rows = {
        "note_id": ["n1", "n2", "n3"],
        "text": TEXTS,
        "patient_id": ["p", "q", "q"],
        "symptoms": [["fever", "cough"], [], ["rash"]],
    }
    gold = gold_of(table(rows))
    assert [note.note_id for note in gold.notes] == ["n1", "n2", "n3"]
    assert [note.affirmed for note in gold.notes] == WANTED
    assert gold.patients == ["p", "q", "q"]
    assert texts_of(table(rows)) == TEXTS


@pytest.mark.parametrize(
    "spans",
    [
        [[(10, 15, "cough"), (0, 5, "fever")], [(3, 7, "rash", "absent")], []],
        [
            [
                {"start": 0, "end": 5, "symptom": "fever"},
                {"start": 10, "end": 15, "symptom": "cough", "assertion": "present"},
            ],
            [{"start": 3, "end": 7, "symptom": "rash", "assertion": "absent"}],
            [],
        ],
        [
            [{"start": 0, "end": 5, "label": "fever"}, {"start": 10, "end": 15, "name": "cough"}],
            [{"start": 3, "end": 7, "label": "rash", "assertion": "absent"}],
            [],
        ],
    ],
    ids=["tuples", "as label writes them", "as JSON lines of gold have them"],
)
def test_spans_come_as_tuples_or_as_rows(spans: Any):
    gold = gold_of(TEXTS, spans)
    assert gold.spans
    assert gold.notes[0].mentions == (Mention(0, 5, "fever"), Mention(10, 15, "cough"))
    assert gold.notes[1].mentions == (Mention(3, 7, "rash", "absent"),)
    assert [note.affirmed for note in gold.notes] == [{"fever", "cough"}, set(), set()]


@pytest.mark.parametrize(
    ("notes", "labels", "message"),
    [
        (TEXTS, None, "notes: no labels; give an array of 0 and 1, names, or spans"),
        (TEXTS, [["fever"]], "notes: 3 texts and 1 labels; give one a note"),
        (TEXTS, ARRAY[:, :2], "notes: an array of 2 columns, 3 symptoms: give one each"),
        (TEXTS, ARRAY * 0.5, "an array of labels holds 0 and 1 only; apply thresholds first"),
        (TEXTS, [0, 1, 3], "places of labels are whole numbers from 0 to 2"),
        (TEXTS, [0, True, 2], "one True or False a note, 3 symptoms; give an array of 3 columns, or names"),
        (TEXTS, np.array([True, False, True]), "one True or False a note, 3 symptoms"),
        (TEXTS, [0, None, 2], "note 1: no label; give 0 or 1, or leave the note out"),
        (TEXTS, [[0, 1, None], [0, 0, 0], [0, 0, 0]], "note 0, column 'rash': no label; give 0 or 1"),
        (TEXTS, pd.DataFrame({"rash": [1.0, np.nan, 0]}), "note 1, column 'rash': no label; give 0 or 1"),
        (TEXTS, pd.DataFrame({"rash": [1, 0, None]}, dtype="Int64"), "note 2, column 'rash': no label"),
        (TEXTS, pd.DataFrame({"rash": [None, True, True]}, dtype="boolean"), "note 0, column 'rash': no lab"),
        (TEXTS, pl.DataFrame({"rash": [True, None, False]}), "note 1, column 'rash': no label; give 0 or 1"),
        (TEXTS, pl.DataFrame({"rash": ["1", "0", "0"]}), "note 0, column 'rash': a label is str, no number"),
        (TEXTS, pd.DataFrame(ARRAY, columns=["rash", "rash", "x"]), "columns: 'rash' is there twice"),
        (TEXTS, pd.DataFrame(ARRAY, columns=["rash", "", "x"]), "columns: 1: a name is empty"),
        (TEXTS, [["fever"], [""], []], "note 1: a name is empty; leave it out"),
        (TEXTS, [["fever"], [None], []], "note 1: a name is NoneType; give text"),
        (TEXTS, [[(0, 5, " ")], [], []], "note 0: a name is empty; leave it out"),
        (TEXTS, np.array(1), "labels are ndarray; give an array of 0 and 1, names, or spans"),
        (pd.DataFrame([["a", "b"]], columns=["text"] * 2), [[]], "notes: 2 columns 'text'; keep one"),
        (pd.DataFrame({"text": TEXTS, "note_id": ["a", None, "b"]}), WANTED, "note 1 has no note_id"),
        (TEXTS, [[(0, 5)], [], []], r"note 0: a span is no \(start, end, name\)"),
        (TEXTS, [[(0, 99, "fever")], [], []], "offsets 0 99 mark nothing of its 15 characters"),
        (TEXTS, [[(0, 5, "fever", "denied")], [], []], "note 0: unknown assertion 'denied'"),
        (TEXTS, [[(0, 5, "fever")], ["rash"], []], "note 1 has names and others have spans"),
        (TEXTS, [[{"start": 0, "end": 5, "code": "fever"}], [], []], "note 0: a span without a name"),
        (TEXTS, [None, ["rash"], []], "note 0: no labels; give \\[\\] for a note that has none"),
        (pl.DataFrame({"text": TEXTS, "symptom": ["fever", None, "rash"]}), None, "note 1: no labels"),
        (["fever", 5], [[], []], "notes: note 1 is int, not text; give str"),
        ("fever", [[]], "notes: a str; give a list of texts, or a table with 'text'"),
        (pl.DataFrame({"txt": TEXTS}), [[], [], []], "notes: no column 'text'"),
    ],
)
def test_what_is_no_label_is_refused_without_a_word_of_the_notes(notes: Any, labels: Any, message: str):
    with pytest.raises(InputError, match=message) as refused:
        gold_of(notes, labels, symptoms=NAMES)
    assert "cough" not in str(refused.value)


def test_an_array_needs_names():
    with pytest.raises(InputError, match=r"an array of labels without names; name its columns with symptoms"):
        gold_of(TEXTS, ARRAY)


def test_gold_passes_as_it_is_and_a_pair_is_a_tuple_of_two():
    gold = gold_of_symptoms(TEXTS, WANTED)
    assert pair_of(gold) is gold
    with pytest.raises(InputError, match=r"train: 3 values; give \(texts, labels\)"):
        pair_of((TEXTS, WANTED, 1), what="train")


def test_a_note_to_learn_from_judges_nothing_and_labelled_notes_are_not_unlabelled_ones():
    pair = (TEXTS, WANTED)
    with pytest.raises(InputError, match="validation: 1 of its notes are in train too"):
        read_given(pair, (["rash"], [["rash"]]))
    given = read_given(pair, (["chills"], [[]]), [*TEXTS, "chills", "new"])
    assert given.unlabelled == ("new",)
