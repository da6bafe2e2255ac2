from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sympress.errors import InputError
from sympress.labels.lexicon import load_forms, load_lexicon
from sympress.labels.note_labels import (
    check_labelling,
    coded_lexicon,
    label_coded_present,
    label_coded_topic,
    merge_codes,
)
from sympress.notes.read import read_notes

CODES = [["B", "A"], ["A"], [], ["C", "C", "C"], ["B"], ["A", "C"], ["D"]]
NOTES = pl.DataFrame(
    {"note_id": list("abcdefg"), "codes": CODES}, schema={"note_id": pl.String, "codes": pl.List(pl.String)}
)


def test_present_keeps_every_note_and_counts_a_repeated_code_once() -> None:
    labels = label_coded_present(NOTES, top_k=3)
    assert labels.symptoms == ("A", "B", "C"), "3, 2 and 2 notes: a tie in alphabetical order"
    assert labels.note_ids == tuple("abcdefg")
    assert labels.targets.tolist() == [
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
        [0, 1, 0],
        [1, 0, 1],
        [0, 0, 0],
    ]
    assert (labels.task, labels.provenance) == ("present", "coded")
    assert labels.counts == {
        "notes": 7, "with none of the 3 codes": 2, "labelled A": 3, "labelled B": 2, "labelled C": 2,
    }  # fmt: skip


def test_topic_takes_notes_with_exactly_one_of_them() -> None:
    labels = label_coded_topic(NOTES, top_k=3, balance=False, minimum_per_class=1)
    assert labels.note_ids == tuple("bde")
    assert [labels.symptoms[c] for c in labels.classes] == ["A", "C", "B"]
    assert labels.counts == {
        "notes": 7, "without codes": 0, "with none of the 3 codes": 2, "with several of them": 2,
        "among the 3 most frequent": 3, "labelled A": 1, "labelled B": 1, "labelled C": 1,
    }  # fmt: skip


def test_topic_is_balanced_by_seed() -> None:
    notes = pl.DataFrame({"note_id": [str(i) for i in range(50)], "codes": [["A"]] * 38 + [["B"]] * 12})
    first, again, other = (label_coded_topic(notes, top_k=2, seed=seed) for seed in (0, 0, 1))
    assert first.targets.sum(axis=0).tolist() == [12, 12]
    assert first.note_ids == again.note_ids != other.note_ids
    assert first.counts["after balancing"] == 24


def test_codes_can_be_chosen_on_the_training_part_only() -> None:
    train = np.array([False, False, False, True, True, False, True])
    assert label_coded_present(NOTES, top_k=2, rows=train).symptoms == ("B", "C")
    assert label_coded_present(NOTES, symptoms=["D", "unseen"]).targets.sum(axis=0).tolist() == [1, 0]


@pytest.mark.parametrize(
    "notes", [NOTES.drop("codes"), NOTES.with_columns(codes=pl.lit(None, pl.List(pl.String)))]
)
def test_notes_without_codes_are_refused(notes: pl.DataFrame) -> None:
    for labeller in (label_coded_topic, label_coded_present):
        with pytest.raises(InputError) as caught:
            labeller(notes, top_k=2)
        assert (
            str(caught.value) == "these notes carry no human-coded symptoms: use --labels lexicon or silver"
        )


def test_a_note_that_nobody_coded_is_no_negative() -> None:
    notes = pl.DataFrame({"note_id": ["a", "b", "c"], "codes": [["A"], None, ["B"]]})
    with pytest.raises(InputError, match=r"^1 of 3 notes \(first: note b\) were not coded by people"):
        label_coded_present(notes, top_k=1)
    topic = label_coded_topic(notes, top_k=2, minimum_per_class=1)
    assert topic.note_ids == ("a", "c")
    assert topic.counts["without codes"] == 1
    assert topic.counts["with none of the 2 codes"] == 0


def test_errors_name_what_to_do() -> None:
    with pytest.raises(
        InputError, match=r"only 4 coded symptoms occur in the 7 notes .* use --top-k 4 or read more"
    ):
        label_coded_present(NOTES, top_k=9)
    with pytest.raises(InputError, match=r"^'B' has 1 notes, too few to split"):
        label_coded_topic(NOTES, top_k=2)
    with pytest.raises(InputError, match=r"^--top-k is 0"):
        label_coded_present(NOTES, top_k=0)


@pytest.mark.parametrize(
    ("task", "labels", "message"),
    [
        ("mentions", "coded", "task 'mentions' has no labels from 'coded': use --labels silver or gold"),
        ("topics", "lexicon", "unknown task 'topics': use topic or present or mentions"),
        (
            "topic",
            "gold",
            "task 'topic' has no labels from 'gold': use --labels lexicon or coded or concepts",
        ),
        (
            "present",
            "lexicon",
            "task 'present' has no labels from 'lexicon': "
            "use --labels coded or concepts or silver or gold or mix",
        ),
    ],
)
def test_labellings_that_do_not_exist(task: str, labels: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        check_labelling(task, labels)
    assert str(caught.value) == message


def test_forms_of_coded_symptoms() -> None:
    lexicon = coded_lexicon(["Pyrexia", "Oedema", "COUGH", "Odd thing"], load_lexicon("paper"))
    forms = {symptom.name: symptom.forms for symptom in lexicon.symptoms}
    assert {"pyrexia", "fever", "febrile"} <= set(forms["Pyrexia"])
    assert {"edema", "swelling"} <= set(forms["Oedema"])
    assert "cough" in forms["COUGH"]
    assert forms["Odd thing"] == ("odd thing",)


def test_every_listed_form_is_lower_case_and_stands_once() -> None:
    for name, forms in load_forms("coded_to_lexicon.tsv").items():
        assert len(set(forms)) == len(forms), name
        assert all(form and form == form.lower().strip() for form in forms), name


COINED = [
    ["Injection site oedema", "Drug ineffective", "Injection site swelling"],
    ["PYREXIA"],
    ["Infection", "Infection", "Drug ineffective"],
    None,
    [],
]
COINED_NOTES = pl.DataFrame(
    {"note_id": list("abcde"), "codes": COINED}, schema={"note_id": pl.String, "codes": pl.List(pl.String)}
)


def test_codes_of_one_symptom_are_merged_and_those_of_none_left_out_and_counted() -> None:
    merged, counts = merge_codes(COINED_NOTES)
    assert merged["codes"].to_list() == [["injection-site-swelling"], ["fever"], [], None, []]
    assert counts == {
        "codes of the notes": 7,
        "codes that name a symptom": 3,
        "codes that name no symptom, left out": 4,
        "codes merged with another of their note": 1,
        "left out: Drug ineffective": 2,
        "left out: Infection": 2,
    }


def test_a_note_whose_codes_name_no_symptom_is_a_negative_and_an_uncoded_one_is_not() -> None:
    labels = label_coded_present(merge_codes(COINED_NOTES)[0].filter(pl.col("codes").is_not_null()), top_k=2)
    assert labels.symptoms == ("fever", "injection-site-swelling")
    assert labels.targets.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    with pytest.raises(InputError, match="1 of 5 notes"):
        label_coded_present(merge_codes(COINED_NOTES)[0], top_k=2)


def test_notes_without_a_code_that_names_a_symptom_are_refused() -> None:
    with pytest.raises(InputError, match="names a symptom that is known: use --labels coded"):
        merge_codes(NOTES)
    with pytest.raises(InputError, match="carry no human-coded symptoms"):
        merge_codes(pl.DataFrame({"note_id": ["a"]}))


@pytest.mark.parametrize("lexicon", ["clinical", "paper"])
def test_a_symptom_by_its_id_takes_the_forms_of_the_lexicon(lexicon: str) -> None:
    entry = coded_lexicon(["joint-pain"], load_lexicon(lexicon)).symptoms[0]
    assert entry.name == "joint-pain"
    assert "joint pain" in entry.forms


def test_at_least_90_symptoms_have_200_reports_of_2000_to_2003(shared_data: Path) -> None:
    counted: Counter[str] = Counter()
    codes = named = 0
    for year in range(2000, 2004):
        notes, counts = merge_codes(read_notes(shared_data / "vaers" / f"{year}VAERSData.zip").frame)
        counted.update(notes["codes"].explode().drop_nulls().to_list())
        codes += counts["codes of the notes"]
        named += counts["codes that name a symptom"]
    assert sum(count >= 200 for count in counted.values()) >= 90
    assert named >= 0.85 * codes
