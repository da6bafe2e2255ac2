"""Attributes and labels of other tools' schemes: mapped onto an assertion, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes, parse_attributes
from sympress.labels.gold.documents import GoldDocument, GoldSpan
from sympress.labels.gold.mentions import symptom_labels, to_annotated
from sympress.labels.gold.standoff import read_brat
from sympress.labels.lexicon import Lexicon, Symptom

MAPPED = {
    "absent": [
        "Negation", "NEGATED", "negative", "Neg", "isNegated true", "Negation Yes", "Negated 1",
        "Denied", "negation_status Negated", "NegationVal neg", "Assertion absent", "ASSERTION Negated",
        "assertion neg", "AssertionVal absent", "Status Absent", "Polarity Negative", "POLARITY NEG",
        "polarity -1", "polarity -", "Present false", "Presence No",
        "Certainty definite_negated_existence", "Factuality CT-", "ContextualModality negated",
        "Symptom_Negation True", "negation_indicator yes", "Absent", "Assertion not-present",
        "Assertion 'absent'", "Assertion ruled_out",
    ],
    "present": [
        "Negation false", "Negated No", "negation 0", "negation_indicator unmarked",
        "Negation Affirmed", "Assertion present", "Polarity Positive", "polarity 1", "polarity +",
        "Present", "Uncertainty false", "Certainty Certain", "Certainty high", "Modality ACTUAL",
        "modality factual", "Temporality Recent", "temporality Not particular", "DocTimeRel OVERLAP",
        "Experiencer Patient", "subject_class patient", "Hypothetical 0", "Conditional No",
        "Historical False", "Patient", "Course increased", "Status Active",
    ],
    "possible": [
        "Uncertainty", "Uncertain Yes", "Speculation", "hedged", "Possible 1", "Assertion Possible",
        "Assertion hedged", "Certainty Uncertain", "Certainty probable", "Certainty low",
        "Modality HEDGED", "POLARITY MAYBE_NEG", "POLARITY UNCERTAIN", "Factuality PR+",
        "Assertion Suspected", "Confirmed false",
    ],
    "hypothetical": [
        "Hypothetical", "Conditional true", "conditional_class true", "Assertion conditional",
        "Generic", "Assertion Hypothetical", "Modality CONDITIONAL", "Modality proposed",
        "Temporality hypothetical", "Temporality future", "DocTimeRel AFTER",
    ],
    "historical": [
        "Historical", "History", "HistoryOf 1", "Past", "Temporality past", "Temporality Historical",
        "DocTimeRel BEFORE", "Status resolved", "Assertion history", "course_class resolved",
        "Previous yes", "Status Past",
    ],
    "family": [
        "Experiencer Other", "Experiencer Family Member", "Subject family_member", "subject mother",
        "Subject donor_other", "Assertion associated_with_someone_else", "Assertion family",
        "Family_History", "Patient no", "Experiencer not-patient", "History family",
        "Assertion not_patient",
    ],
}  # fmt: skip


def brat(root: Path, *attributes: str, text: str = "No fever.", extra: str = "") -> Path:
    root.mkdir(exist_ok=True)
    (root / "n1.txt").write_text(text)
    lines = ["T1\tSymptom 3 8\tfever"]
    for number, attribute in enumerate(attributes, start=1):
        name, _, value = attribute.partition(" ")
        lines.append(f"A{number}\t{name} T1 {value}".rstrip(" "))
    (root / "n1.ann").write_text("\n".join(lines) + "\n" + extra)
    return root


def asserted(root: Path, *, ignore: tuple[str, ...] = ()) -> str:
    (note,), _ = to_annotated(read_brat(root).documents, labels={"Symptom"}, ignore=ignore)
    return note.mentions[0].assertion


@pytest.mark.parametrize(
    ("attribute", "expected"), [(each, key) for key, rows in MAPPED.items() for each in rows]
)
def test_an_attribute_of_another_scheme_is_mapped(attribute: str, expected: str, tmp_path: Path) -> None:
    assert asserted(brat(tmp_path, attribute)) == expected


KNOWN = "write what it asserts (for example "
ALL = f"{KNOWN}present, absent, possible, hypothetical, historical, family), or say  "
FLAG = f"{KNOWN}true, false, possible), or say  "
REFUSED = [
    ("Negation present", f"Negation is 'present' (did you mean 'possible'?); {FLAG}"),
    ("Negation perhaps", f"Negation is 'perhaps'; {FLAG}"),
    ("Polarity", f"Polarity has no value; {ALL}"),
    ("Assertion qq", f"Assertion is 'qq'; {ALL}"),
    ("Polarity 0", "Polarity is '0'"),
    ("Certainty 2", "Certainty is '2'"),
    ("Experiencer unknown", "Experiencer is 'unknown'"),
    ("Culture negative", "the attribute 'Culture' is not known"),
    ("Negacion", "the attribute 'Negacion' is not known (did you mean 'negation'?) and may change what the "
     "words assert; rename it, or say  --ignore-attribute Negacion"),
]  # fmt: skip


@pytest.mark.parametrize(("attribute", "expected"), REFUSED)
def test_what_cannot_be_mapped_is_refused_with_file_and_line(
    attribute: str, expected: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        asserted(brat(tmp_path, "Severity mild", attribute))
    said = str(caught.value)
    assert said.startswith(f"{tmp_path}/n1.ann, line 3: {expected}")
    name = attribute.partition(" ")[0]
    assert said.endswith(f"--ignore-attribute {name}")
    assert asserted(brat(tmp_path, attribute), ignore=(name.lower(),)) == "present"


def test_attributes_that_say_something_else_are_counted(tmp_path: Path) -> None:
    brat(tmp_path, "Severity mild", "Lab_value 3", "TREND INC", "BodyLocation head", "Negation")
    _, counts = to_annotated(read_brat(tmp_path).documents, labels={"Symptom"})
    assert counts["mentions absent"] == 1
    assert {key for key in counts if key.startswith("attributes")} == {
        f"attributes {name}: not read" for name in ("Severity", "Lab_value", "TREND", "BodyLocation")
    }


def test_attributes_of_other_labels_may_be_called_anything(tmp_path: Path) -> None:
    extra = "T2\tDrug 0 2\tNo\nA9\tReason_given T2 x\n"
    assert asserted(brat(tmp_path, "Negation", extra=extra)) == "absent"


EVENTS = [
    ("E1\tSymptom:T1\nA1\tNegation E1\n", "absent"),
    ("T2\tAssertion 0 2\tNo\nE1\tSymptom:T1 Assertion:T2\nA1\tAssertionVal T2 absent\n", "absent"),
    ("T2\tCue 0 2\tNo\nE1\tSymptom:T1 Negation:T2\n", "absent"),
    ("T2\tCue 0 2\tNo\nE1\tSymptom:T1 Cause:T2\n", "present"),
    ("T2\tDegree 0 2\tNo\nE1\tSymptom:T1 Severity:T2\nA1\tNegation T2\n", "present"),
]


@pytest.mark.parametrize(("extra", "expected"), EVENTS)
def test_an_event_says_what_its_trigger_asserts(extra: str, expected: str, tmp_path: Path) -> None:
    assert asserted(brat(tmp_path, extra=extra)) == expected


def test_a_relation_that_denies_is_refused(tmp_path: Path) -> None:
    brat(tmp_path, extra="T2\tCue 0 2\tNo\nR1\tNegates Arg1:T2 Arg2:T1\n")
    with pytest.raises(InputError, match="line 3: the relation Negates says what one of its ends asserts"):
        read_brat(tmp_path)
    brat(tmp_path, extra="T2\tCue 0 2\tNo\nR1\tMODIFY Arg1:T2 Arg2:T1\n")
    assert asserted(tmp_path) == "present"


LABELS = [
    ("SYMPTOM_ABSENT", "SYMPTOM", "absent"),
    ("NegatedSymptom", "Symptom", "absent"),
    ("fever|absent", "fever", "absent"),
    ("chest_pain (negated)", "chest_pain", "absent"),
    ("Symptom-", "Symptom", "absent"),
    ("fever (+)", "fever", "present"),
    ("Possible symptom", "symptom", "possible"),
    ("Symptom:associated-with-someone-else", "Symptom", "family"),
    ("PastSymptom", "Symptom", "historical"),
    ("not_present_sign", "sign", "absent"),
    ("Negated", "", "absent"),
    ("Sign_symptom", "Sign_symptom", None),
    ("Condition", "Condition", None),
    ("Family_history", "Family_history", None),
    ("Non_symptom", "Non_symptom", None),
    ("B-12", "B-12", None),
]


@pytest.mark.parametrize(("label", "kind", "expected"), LABELS)
def test_a_label_is_taken_apart(label: str, kind: str, expected: str | None) -> None:
    parts = load_attributes().label_parts(label)
    assert (parts.kind, parts.assertions) == (kind, (expected,) if expected else ())


def marked(*spans: tuple[int, int, str]) -> list[GoldDocument]:
    held = tuple(GoldSpan(((start, end),), label) for start, end, label in spans)
    return [GoldDocument("n1", "No fever or rash.", held)]


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(3, 8, "Symptom|absent"), (12, 16, "Symptom")], ["absent", "present"]),
        ([(3, 8, "Symptom"), (3, 8, "Negated"), (12, 16, "Symptom")], ["absent", "present"]),
        ([(3, 8, "Symptom"), (3, 9, "Symptom_absent")], ["absent"]),
        ([(0, 16, "Negated"), (3, 8, "Symptom"), (12, 16, "Symptom")], ["absent", "absent"]),
        ([(3, 8, "Symptom"), (3, 8, "Present")], ["present"]),
        ([(3, 8, "Symptom"), (3, 8, "History")], ["present"]),
    ],
)
def test_labels_assert_of_the_symptoms_in_their_place(spans, expected) -> None:
    ((note,), counts) = to_annotated(marked(*spans), labels={"Symptom"})
    assert [mention.assertion for mention in note.mentions] == expected
    dropped = sum(n for key, n in counts.items() if key.endswith("dropped"))
    assert counts["symptom spans"] == counts["mentions"] + dropped


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        (
            [(3, 8, "Symptom"), (0, 2, "Negation")],
            "the label 'Negation' at 0 2 says what some words assert, but holds no symptom; mark the symptom "
            "with it, name it among --gold-labels if its spans are symptoms, or say  "
            "--ignore-attribute Negation",
        ),
        (
            [(3, 8, "Symptom"), (0, 5, "Negated")],
            "the label 'Negated' at 0 5 says what some words assert, but cuts a symptom",
        ),
        ([(3, 8, "Symptom"), (12, 16, "Non-symptom")], None),
    ],
)
def test_a_label_that_asserts_of_nothing_is_refused(spans, expected: str | None) -> None:
    documents = marked(*spans)
    if expected is None:
        to_annotated(documents, labels={"Symptom"})
        with pytest.raises(InputError, match="may mean a denied symptom or no symptom"):
            to_annotated(documents, labels={"Symptom", "Non-symptom"})
        return
    with pytest.raises(InputError) as caught:
        to_annotated(documents, labels={"Symptom"})
    assert str(caught.value).startswith(f"note 'n1': {expected}")
    ((note,), _) = to_annotated(documents, labels={"Symptom"}, ignore=[spans[1][2]])
    assert note.mentions[0].assertion == "present"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["Sign_symptom", "Drug", "fever"], {"Sign_symptom": None}),
        (["SYMPTOM_ABSENT", "problem", "test"], {"SYMPTOM_ABSENT": None, "problem": None}),
        (["fever|absent", "chest_pain", "drug"], {"fever|absent": "fever", "chest_pain": "chest-pain"}),
        (
            ["pyrexia", "PainInTheChest", "chest pain clinic"],
            {"pyrexia": "fever", "PainInTheChest": "chest-pain"},
        ),
        (["Negated", "Affirmed"], {"Negated": None, "Affirmed": None}),
        (["Conditional", "Assignment", "Drug"], None),
        (["Negated", "Drug"], None),
    ],
)
def test_labels_that_name_symptoms_are_found(labels: list[str], expected: object) -> None:
    documents = marked(*((3, 8, label) for label in labels))
    entries = (Symptom("fever", ("pyrexia",)), Symptom("Chest pain", ("pain in the chest",), "chest-pain"))
    lexicon = Lexicon("x", entries)
    if expected is None:
        with pytest.raises(
            InputError, match="x: no label is called a symptom; say which are with --gold-labels"
        ):
            symptom_labels(documents, lexicon, source="x")
    else:
        assert symptom_labels(documents, lexicon, source="x") == expected


def test_the_table_names_each_attribute_once() -> None:
    table = load_attributes()
    assert not table.other & set(table.groups)
    with pytest.raises(InputError, match="the name 'a' stands in two groups"):
        parse_attributes(
            "[affixes]\nprefixes = []\nsuffixes = []\n[flag]\nset = []\nunset = []\n[words]\n[labels]\n"
            "concepts = []\nunclear = []\n[other]\nnames = []\n"
            "[groups.x]\nnames = ['a']\n[groups.y]\nnames = ['a']\n",
            "mine.toml",
        )
