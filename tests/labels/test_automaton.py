import pytest

from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.lexicon_file import AmbiguousForm
from sympress.labels.matching import PhraseIndex, reduce_text

LEXICON = Lexicon(
    "own",
    (
        Symptom("Fever", ("fever", "fevers"), "fever"),
        Symptom("Chest pain", ("chest pain",), "chest-pain", (), (AmbiguousForm("cp", "upper", ("angle",)),)),
        Symptom("Headache", ("headache",), "headache", (), (AmbiguousForm("has", "plural"),)),
        Symptom("Dyspnea", ("short of breath", "sob"), "dyspnea"),
        Symptom("Nausea", ("nausea",), "nausea"),
        Symptom("Vomiting", ("vomiting",), "vomiting"),
        Symptom("Pain", ("pain",), "pain"),
    ),
    {"n/v": (4, 5)},
    ("hay fever",),
)


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return Annotator(LEXICON)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N/V/D", [("N/V", "nausea"), ("N/V", "vomiting")]),
        ("N V", []),
        ("fever,nausea", [("fever", "fever"), ("nausea", "nausea")]),
        ("c/o:SOB", [("SOB", "dyspnea")]),
        ("+fever", [("fever", "fever")]),
        ("(SOB)", [("SOB", "dyspnea")]),
        ("chest  pain", [("chest  pain", "chest-pain")]),
        ("chest\n pain", [("chest\n pain", "chest-pain")]),
        ("chest\n\npain", [("pain", "pain")]),
        ("chest, pain", [("pain", "pain")]),
        ("short-of-breath", [("short-of-breath", "dyspnea")]),
        ("feverish", []),
        ("hay fever", []),
        ("HAs", [("HAs", "headache")]),
        ("She has HAs", [("HAs", "headache")]),
        ("SHE HAS", []),
        ("has Has", []),
        ("no SOB/fever", [("SOB", "dyspnea"), ("fever", "fever")]),
        ("fever's", [("fever", "fever")]),
        ("fever\u2019s", [("fever", "fever")]),
        ("non-fever", [("fever", "fever")]),
        ("short-\nof breath", [("short-\nof breath", "dyspnea")]),
        ("\u1e9e \u01c5 \u03a3\u03a3 fever \U00010400 nausea", [("fever", "fever"), ("nausea", "nausea")]),
        ("e\u0301 fever", [("fever", "fever")]),
        ("fever\u00a0nausea", [("fever", "fever"), ("nausea", "nausea")]),
        ("SOB/CP", [("SOB", "dyspnea"), ("CP", "chest-pain")]),
        ("C/O:CP;fever", [("CP", "chest-pain"), ("fever", "fever")]),
        ("CP today", [("CP", "chest-pain")]),
        ("cp today", []),
        ("CP angle blunted", []),
        ("[**Hospital Fever Pain**] nausea", [("nausea", "nausea")]),
        ("chest [**Name**] pain", [("pain", "pain")]),
        ("\u0130\u0130 \ufb01 fever", [("fever", "fever")]),
        ("\U0001f912fever", [("fever", "fever")]),
        ("", []),
        (" -- ", []),
    ],
)
def test_mentions_are_found_at_places_of_the_original_text(
    annotator: Annotator, text: str, expected: list[tuple[str, str]]
) -> None:
    found = annotator.mentions(text)
    assert [(text[m.start : m.end], m.symptom) for m in found] == expected


def test_a_phrase_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match=r"needs a letter or a digit$"):
        PhraseIndex({"cue": ["(-)"]})


def test_groups_are_told_apart() -> None:
    index = PhraseIndex({"form": ["fever"], "cue": ["no", "no fever"]})
    assert index.find(reduce_text("No fever")) == [[(3, 8, 0)], [(0, 2, 0), (0, 8, 1)]]


@pytest.mark.parametrize(
    ("first", "last", "found"),
    [
        (0, 15, ["No", "No fever"]),
        (0, 8, ["No", "No fever"]),
        (0, 6, ["No"]),
        (1, 15, []),
        (9, 15, []),
        (0, 0, []),
    ],
)
def test_a_part_of_a_text_holds_the_whole_words_within_it(first: int, last: int, found: list[str]) -> None:
    text = "No fever. Nope."
    index = PhraseIndex({"cue": ["no", "no fever", "fever nope"]})
    (matches,) = index.find(reduce_text(text), first, last)
    assert [text[start:end] for start, end, _ in matches] == found


def test_a_part_is_found_as_in_the_whole_text_whatever_stands_around_it() -> None:
    text = "\u0130... \U0001f912 no  [**Name**] no fever \ufb01 no"
    index, reduced = PhraseIndex({"cue": ["no", "no fever"]}), reduce_text(text)
    (everywhere,) = index.find(reduced)
    for first in range(len(text)):
        for last in range(first, len(text) + 1):
            within = [m for m in everywhere if first <= m[0] and m[1] <= last]
            assert index.find(reduced, first, last) == [within], (first, last)


def test_the_first_searches_find_what_the_later_ones_find() -> None:
    phrases = ["no", "no sign of", "n/v", "fever", "fever and chills", "Don\u2019t", "follow-up", "n"]
    texts = ["No fever and chills", "n/v, no sign of n", "don't, follow-up", "Follow up no", "fever " * 3, ""]
    groups = {"cue": phrases, "form": phrases[::-1]}
    index = PhraseIndex(groups, at_once=False)
    reduced = [reduce_text(text) for text in texts]
    early = [index.find(one) for one in reduced]
    for _ in range(5):
        late = [index.find(one) for one in reduced]
    assert early == late == [PhraseIndex(groups).find(one) for one in reduced]
    assert any(group for groups in early for group in groups)
