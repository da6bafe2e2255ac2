import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.labels.lexicon import Lexicon, Symptom, load_lexicon
from sympress.labels.matching import find_forms, find_mentions, first_symptom, fold, occurs

PAPER = load_lexicon("paper")
SMALL = Lexicon(
    "small",
    (Symptom("pain", ("pain",)), Symptom("chest pain", ("chest pain",)), Symptom("x", ("x y", "y z"))),
)


def test_folding_keeps_the_length_of_every_character() -> None:
    grown = [code for code in range(0x110000) if len(chr(code).lower()) != 1]
    assert grown == [0x130], "fold handles only this one"
    assert fold("\u0130 FEVER") == "i fever"


def test_offsets_count_characters_of_the_original_text() -> None:
    text = "\u0130\u0130 Denies FEVER, Chest Pain."
    spans = [text[m.start : m.end] for m in find_mentions(fold(text), PAPER)]
    assert spans == ["FEVER", "Chest Pain"]


@pytest.mark.parametrize(
    "text", ["fever", "fever.", "(fever)", "no-fever", "feverish", "fever_", "hayfever", "fever2",
             "fèver fever", "éfever", "", "fever\nfever", "feverfever fever"],
)  # fmt: skip
def test_a_word_boundary_is_that_of_python_re(text: str) -> None:
    assert occurs("fever", text) == bool(re.search(r"\bfever\b", text))


@given(st.text(alphabet="ab _-é²ı.\u0301", max_size=12), st.text(alphabet="ab -é.²", min_size=1, max_size=3))
def test_every_occurrence_is_one_of_finditer(text: str, form: str) -> None:
    lexicon = Lexicon("one", (Symptom("s", (form,)),))
    spans = [(m.start, m.end) for m in find_forms(text, lexicon)]
    assert spans == [m.span() for m in re.finditer(rf"\b{re.escape(form)}\b", text)]


def test_the_first_entry_wins_also_inside_another_form() -> None:
    assert first_symptom("chest pain", SMALL) == 0
    assert first_symptom("nothing", SMALL) is None


def test_mentions_are_leftmost_longest_and_do_not_overlap() -> None:
    found = find_mentions("x y z, chest pain, pain", SMALL)
    assert [(m.start, m.end, m.form) for m in found] == [
        (0, 3, "x y"),
        (7, 17, "chest pain"),
        (19, 23, "pain"),
    ]
    assert [m.form for m in find_forms("x y z, chest pain", SMALL)] == ["x y", "y z", "chest pain", "pain"]


def test_matching_is_quick() -> None:
    # 2,000 notes with no symptom: the slowest case. The target is 20,000 in 4 s on one core.
    text = fold(("The patient was seen today and is doing quite well at home. " * 17)[:1000])
    started = time.perf_counter()
    assert all(first_symptom(text, PAPER) is None for _ in range(2000))
    assert time.perf_counter() - started < 1.5
