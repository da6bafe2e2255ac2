import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.labels.lexicon import Lexicon, Symptom, load_lexicon
from sympress.labels.matching import FormMatch, FormMatcher, fold
from sympress.notes.synthesize import synthesize

PAPER = load_lexicon("paper")
FEVER = Lexicon("fever", (Symptom("fever", ("fever",)),))
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
    spans = [text[m.start : m.end] for m in FormMatcher(PAPER).mentions(fold(text))]
    assert spans == ["FEVER", "Chest Pain"]


@pytest.mark.parametrize(
    "text", ["fever", "fever.", "(fever)", "no-fever", "feverish", "fever_", "hayfever", "fever2",
             "fèver fever", "éfever", "", "fever\nfever", "feverfever fever"],
)  # fmt: skip
def test_a_word_boundary_is_that_of_python_re(text: str) -> None:
    assert bool(FormMatcher(FEVER).symptoms(text)) == bool(re.search(r"\bfever\b", text))


@given(st.text(alphabet="ab _-é²ı.\u0301", max_size=12), st.text(alphabet="ab -é.²", min_size=1, max_size=3))
def test_every_occurrence_is_one_of_finditer(text: str, form: str) -> None:
    lexicon = Lexicon("one", (Symptom("s", (form,)),))
    spans = [(m.start, m.end) for m in FormMatcher(lexicon).forms(text)]
    assert spans == [m.span() for m in re.finditer(rf"\b{re.escape(form)}\b", text)]


def test_the_first_entry_wins_also_inside_another_form() -> None:
    assert FormMatcher(SMALL).first("chest pain") == 0
    assert FormMatcher(SMALL).first("nothing") is None


def test_mentions_are_leftmost_longest_and_do_not_overlap() -> None:
    found = FormMatcher(SMALL).mentions("x y z, chest pain, pain")
    assert [(m.start, m.end, m.form) for m in found] == [
        (0, 3, "x y"),
        (7, 17, "chest pain"),
        (19, 23, "pain"),
    ]
    assert [m.form for m in FormMatcher(SMALL).forms("x y z, chest pain")] == [
        "x y",
        "y z",
        "chest pain",
        "pain",
    ]


def test_matching_is_quick() -> None:
    # 2,000 notes with no symptom: the slowest case. The target is 20,000 in 4 s on one core.
    text = fold(("The patient was seen today and is doing quite well at home. " * 17)[:1000])
    matcher = FormMatcher(PAPER)
    started = time.perf_counter()
    assert all(matcher.first(text) is None for _ in range(2000))
    assert time.perf_counter() - started < 1.5


def plain_matches(text: str, lexicon: Lexicon) -> list[FormMatch]:
    """The rule as it is meant: every form is looked for by itself."""
    found = [
        FormMatch(match.start(), match.end(), position, form)
        for position, symptom in enumerate(lexicon.symptoms)
        for form in symptom.forms
        if form in text
        for match in re.finditer(rf"\b{re.escape(form)}\b", text)
    ]
    return sorted(found, key=lambda match: (match.start, -match.end, match.symptom))


WORDS = (
    "a",
    "b",
    "aa",
    "a b",
    "a b a",
    "b a",
    "é-a",
    "(a",
    "a)",
    "²a",
    "n/v",
    "n/",
    " ",
    "_",
    "\n",
    "İ",
    "😀",
)


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("".join), min_size=1, max_size=6),
    st.lists(st.sampled_from((*WORDS, ".", ", ", "\ud83d")), max_size=20).map("".join),
)
def test_one_pass_finds_what_looking_for_each_form_by_itself_finds(forms: list[str], text: str) -> None:
    entries = (Symptom("x", tuple(forms)), Symptom("y", tuple(reversed(forms[:2]))))
    lexicon, text = Lexicon("any", entries), fold(text)
    matcher, plain = FormMatcher(lexicon), plain_matches(text, lexicon)
    assert matcher.forms(text) == plain
    assert matcher.symptoms(text) == {match.symptom for match in plain}
    assert matcher.first(text) == min((match.symptom for match in plain), default=None)


def test_one_pass_finds_in_notes_what_looking_for_each_form_finds() -> None:
    clinical = load_lexicon("clinical")
    matcher = FormMatcher(clinical)
    notes = [fold(text) for text in synthesize(12, seed=3).frame["text"]]
    found = [matcher.forms(text) for text in notes]
    assert found == [plain_matches(text, clinical) for text in notes]
    assert sum(map(len, found)) > 50
