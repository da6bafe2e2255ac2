from pathlib import Path

import numpy as np
import pytest

from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon, Symptom, load_lexicon
from sympress.labels.lexicon_file import AmbiguousForm
from sympress.models.rules import AssertedRule, FoundForm

LEXICON = Lexicon(
    "own",
    (
        Symptom("Fever", ("fever", "hay-fever"), "fever"),
        Symptom("Chest pain", ("chest pain",), "chest-pain", (), (AmbiguousForm("cp", "upper", ("angle",)),)),
        Symptom("Pain", ("pain",), "pain"),
    ),
    {"f/p": (0, 2)},
)
RULE = AssertedRule.of(("fever", "pain"), LEXICON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fever and pain.", [1, 1]),
        ("No fever.", [0, 0]),
        ("No fever yesterday. Today fever.", [1, 0]),
        ("Chest pain.", [0, 0]),
        ("F/P since Monday", [1, 1]),
        ("Mother has fever.", [0, 0]),
        ("", [0, 0]),
    ],
)
def test_only_what_is_asserted_of_the_patient_now_counts(text: str, expected: list[int]) -> None:
    assert RULE.predict_proba([text]).tolist() == [expected]


def test_no_notes_no_rows() -> None:
    assert RULE.predict_proba([]).shape == (0, 2)


def test_every_form_is_told_with_what_the_note_says_of_it() -> None:
    assert RULE.find("No fever, but pain.") == [
        FoundForm(3, 8, "fever", False),
        FoundForm(14, 18, "pain", True),
    ]
    assert RULE.find("Chest pain.") == []


def test_a_rule_without_a_form_does_not_know_it_however_it_is_written() -> None:
    less = RULE.without(["Hay Fever", "f p"])
    assert less.predict_proba(["hay-fever", "F/P", "fever"]).tolist() == [[1, 0], [0, 0], [1, 0]]
    assert less.forms[0] == ("fever",)
    assert RULE.forms[0] == ("fever", "hay-fever", "f/p")


def test_coded_terms_stand_for_the_entries_that_they_are_mapped_to() -> None:
    rule = AssertedRule.of(("Pyrexia", "Injection site oedema", "Odd thing"), load_lexicon("clinical"))
    assert rule.named[0][0] == "fever"
    assert rule.named[1][0] == "injection-site-swelling"
    assert rule.named[2] == ("coded: Odd thing",)
    texts = ["Temp 103, no chills", "swelling at injection site", "an odd thing", "no odd thing"]
    assert rule.predict_proba(texts).tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_it_loads_back_equal_and_knows_its_size(tmp_path: Path) -> None:
    RULE.save(tmp_path)
    again = AssertedRule.load(tmp_path)
    assert again == RULE
    assert RULE.size_bytes == (tmp_path / "asserted.json").stat().st_size
    texts = ["CP", "cp", "F/P", "no fever"]
    assert np.array_equal(again.predict_proba(texts), RULE.predict_proba(texts))


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "asserted.json").write_text('{"symptoms": ["a"]}')
    with pytest.raises(InputError) as caught:
        AssertedRule.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
