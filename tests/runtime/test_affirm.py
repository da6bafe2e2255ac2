"""What a note affirms is what its own mentions say: for any text, with or without the model in the box."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.labels.mentions import Mention, Reason
from sympress.runtime.affirm import (
    Belief,
    Evidence,
    EvidenceReader,
    Sourced,
    affirm,
    by_tagger,
    sourced,
    weigh,
)
from sympress.runtime.artifact import BOX_FOLDER, RULES_FOLDER
from sympress.runtime.extractor import Extractor

WORDS = [
    *(
        "fever",
        "Pyrexia",
        "rash",
        "hives",
        "redness",
        "erythema",
        "swelling",
        "pain",
        "sore arm",
        "headache",
        "HA",
    ),
    *(
        "nausea",
        "n/v",
        "N/V/D",
        "vomiting",
        "itching",
        "seizure",
        "joint pain",
        "myalgia",
        "aches",
        "lump",
        "cough",
    ),
    *(
        "redness at the injection site",
        "site swollen",
        "afebrile",
        "Temp 101.5 F",
        "T 36.8",
        "agitation",
        "flushed",
    ),
]
CUES = [
    *(
        "no",
        "No",
        "denies",
        "Denies:",
        "without",
        "negative for",
        "neg",
        "not",
        "never",
        "history of",
        "hx of",
        "h/o",
    ),
    *(
        "mother has",
        "FH:",
        "Family History:",
        "if",
        "return if",
        "call for",
        "possible",
        "r/o",
        "rule out",
        "?",
    ),
    *(
        "resolved",
        "was",
        "but",
        "now with",
        "presents with",
        "c/o",
        "s/p",
        "years ago",
        "old",
        "[ ]",
        "[x]",
        "(-)",
        "(+)",
    ),
    *(
        "yes",
        "No.",
        "given flu shot",
        "vaccine",
        "injected",
        "injection site",
        "Past Medical History:",
        "PRN",
    ),
]
NOISE = [
    *",.;:-+/()*\n\t?!",
    "\n\n",
    "\n- ",
    " ",
    "🤒",
    "\x00",
    "\ud83d",
    "é",
    "<p>",
    "&nbsp;",
    "1.",
    "2 wks",
]

TEXTS = st.lists(
    st.one_of(
        st.sampled_from(WORDS), st.sampled_from(CUES), st.sampled_from(NOISE), st.text(max_size=6)
    ).flatmap(lambda word: st.sampled_from([word, word + " ", " " + word, word.upper() + " "])),
    max_size=40,
).map("".join)


@pytest.fixture(scope="module", params=[BOX_FOLDER, RULES_FOLDER], ids=["box", "rules"])
def extractor(request: pytest.FixtureRequest) -> Extractor:
    return Extractor.load(request.param)


@settings(max_examples=300, deadline=None)
@given(text=TEXTS)
def test_whatever_a_note_says_each_symptom_it_affirms_has_a_present_mention(extractor: Extractor, text: str):
    [result] = extractor([text])
    assert result.failure is None
    present = {(one.symptom, (one.start, one.end)) for one in result.mentions if one.assertion == "present"}
    for one in result.symptoms:
        assert (one.symptom, one.span) in present
        if extractor.runtime is None:
            assert one.probability is None
        elif one.probability is None:  # the tagger passed it over, and the other model does not affirm it
            assert one.source == "rules"
    named = {one.symptom for one in result.mentions}
    denied = named - {symptom for symptom, _ in present}
    assert not denied & {one.symptom for one in result.symptoms}
    for one in result.mentions:
        assert 0 <= one.start < one.end <= len(text)
        assert one.source != "model" or extractor.settings.tagger
        assert one.source != "both" or one.score is not None


FEVER, NO_FEVER = Mention(0, 5, "fever"), Mention(9, 14, "fever", "absent", None, Reason("cue", "no", 6, 8))
REDNESS = Mention(20, 27, "erythema")
TABLE = {"site-redness": Evidence(mentions=["erythema"], words=["shot", "inject*"])}
STANDS = Sourced(Mention(20, 27, "site-redness", "present", 0.9, Reason("model")), "both")
SURE, DOUBTFUL = Belief(0.9, affirms=True), Belief(0.1, affirms=False)


def test_a_probability_belongs_to_present_mentions_of_what_the_model_knows():
    chills = Mention(30, 36, "chills")
    weighed = weigh(sourced([FEVER, NO_FEVER, chills]), {"fever": SURE})
    assert [(one.source, one.mention.score) for one in weighed] == [
        ("both", 0.9),
        ("rules", None),
        ("rules", None),
    ]
    [doubted] = weigh(sourced([FEVER]), {"fever": DOUBTFUL})
    assert (doubted.source, doubted.mention.score) == ("rules", 0.1)
    [beside] = weigh(sourced([FEVER]), {"fever": DOUBTFUL}, doubts=False)
    assert (beside.source, beside.mention.score) == ("rules", None)
    [sure] = weigh(sourced([FEVER]), {"fever": SURE}, doubts=False)
    assert (sure.source, sure.mention.score) == ("both", 0.9)


def test_the_most_probable_comes_first_and_what_has_no_probability_last():
    found = [
        Sourced(Mention(0, 5, "rash"), "rules"),
        Sourced(Mention(6, 9, "fever", "present", 0.2), "model"),
        Sourced(Mention(10, 15, "fever", "present", 0.8), "both"),
        Sourced(Mention(20, 25, "cough", "present", 0.5), "model"),
        Sourced(Mention(26, 30, None, "present", 0.9), "model"),
        Sourced(Mention(31, 35, "chills", "absent", 0.9), "model"),
    ]
    told = [(one.symptom, one.probability, one.source, one.span) for one in affirm(found)]
    assert told == [
        ("fever", 0.8, "both", (10, 15)),
        ("cough", 0.5, "model", (20, 25)),
        ("rash", None, "rules", (0, 5)),
    ]
    assert [one.symptom for one in affirm(found, {"fever"})] == ["cough", "rash"]


@pytest.mark.parametrize(
    ("text", "mentions", "belief", "stands"),
    [
        ("given a flu shot.   redness", [REDNESS], SURE, True),
        ("was INJECTED today. redness", [REDNESS], SURE, True),
        ("shotgun wound.      redness", [REDNESS], SURE, False),  # no word of the table
        ("given a flu shot.   redness", [REDNESS], DOUBTFUL, False),
        ("given a flu shot.   redness", [Mention(20, 27, "erythema", "absent")], SURE, False),
        ("given a flu shot.   redness", [REDNESS, Mention(0, 5, "site-redness", "absent")], SURE, False),
        ("given a flu shot.   redness", [REDNESS, Mention(0, 5, "site-redness")], SURE, False),
        ("shot" + " " * 250 + "redness", [Mention(254, 261, "erythema")], SURE, False),  # too far away
    ],
)
def test_words_stand_for_a_symptom_that_the_model_affirms_and_no_mention_names(
    text: str, mentions: list[Mention], belief: Belief, stands: bool
):
    found = sourced(mentions)
    told = EvidenceReader(TABLE).read(text, found, {"site-redness": belief})
    assert told == [*found, *([STANDS] if stands else [])]


@pytest.mark.parametrize(
    ("words", "belief", "renamed"),
    [
        (["shot"], DOUBTFUL, True),
        (["shot"], SURE, False),  # the model affirms both
        (["shot"], None, False),  # it does not know the other
        ([], DOUBTFUL, False),  # any place: the one name is not more exact than the other
    ],
)
def test_words_of_a_place_give_a_mention_its_more_exact_name(
    words: list[str], belief: Belief | None, renamed: bool
):
    reader = EvidenceReader({"site-redness": Evidence(mentions=["erythema"], words=words)})
    beliefs = {"site-redness": SURE} | ({} if belief is None else {"erythema": belief})
    far = Mention(400, 407, "erythema")
    found = sourced([REDNESS, far])
    told = reader.read("given a flu shot.   redness" + " " * 400, found, beliefs)
    assert told == ([STANDS, found[1]] if renamed else [*found, STANDS])


def test_the_source_of_a_mention_is_who_found_and_who_named_it():
    found = [
        FEVER,
        Mention(9, 14, "fever", "absent", 0.7, NO_FEVER.reason),
        Mention(20, 27, None, "present", 0.6),
    ]
    assert [one.source for one in sourced(found)] == ["rules", "both", "model"]
    assert [one.mention for one in sourced(found)] == found
    [alone] = by_tagger([Mention(0, 5, "fever", "absent", 0.9)])
    assert alone == Sourced(Mention(0, 5, "fever", "absent", 0.9, Reason("model")), "model")


def test_a_tagger_that_read_the_words_has_the_last_word_on_the_probability_of_a_span():
    spans = sourced(
        [
            Mention(0, 5, "fever", "present", 0.7),
            Mention(6, 9, None, "present", 0.6),
            Mention(9, 14, "fever", "present"),
        ]
    )
    assert [(one.source, one.mention.score) for one in weigh(spans, {"fever": SURE})] == [
        ("both", 0.7),
        ("model", 0.6),
        ("both", 0.9),
    ]
