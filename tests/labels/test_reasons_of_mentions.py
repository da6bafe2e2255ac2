"""Each mention says what decided its assertion, and where that stands in the text that was given."""

from itertools import pairwise

import pytest
from annotators import clinical
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.labels.annotate import Annotator
from sympress.labels.mentions import Reason

P, A, Q, Y, H, F = "present", "absent", "possible", "hypothetical", "historical", "family"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cough today", [("cough", P, None, "")]),
        ("Denies cough", [("cough", A, "cue", "Denies")]),
        ("No evidence of edema", [("edema", A, "cue", "No evidence of")]),
        ("Edema was not seen", [("edema", A, "cue", "was not seen")]),
        ("Cough, but no fever", [("cough", P, None, ""), ("fever", A, "cue", "no")]),
        ("Mother has migraine", [("migraine", F, "cue", "Mother has")]),
        ("History of migraine", [("migraine", H, "cue", "History of")]),
        ("R/o migraine", [("migraine", Q, "cue", "R/o")]),
        ("Return if fever", [("fever", Y, "cue", "if")]),
        ("Denies:\n- fever\n- cough", [("fever", A, "cue", "Denies"), ("cough", A, "cue", "Denies")]),
        ("Discharge Instructions:\nfever", [("fever", Y, "section", "Discharge Instructions")]),
        ("SOCIAL HISTORY: migraine", [("migraine", H, "section", "SOCIAL HISTORY")]),
        ("ALLERGIES:\nSulfa: hives", [("hives", H, "section", "ALLERGIES")]),
        ("Fever (-), cough (+)", [("fever", A, "mark", "(-)"), ("cough", P, "mark", "(+)")]),
        ("[ ] fever [x] cough", [("fever", A, "mark", "[ ]"), ("cough", P, "mark", "[x]")]),
        ("Fever: No\nCough: Yes", [("fever", A, "mark", "No"), ("cough", P, "mark", "Yes")]),
        ("☐ Fever ☒ Cough", [("fever", A, "mark", "☐"), ("cough", P, "mark", "☒")]),
        ("Symptom | Yes | No\nFever | | X", [("fever", A, "mark", "X")]),
        # What takes precedence gives the reason.
        ("Family History: no seizures", [("seizures", F, "cue", "Family History")]),
        ("Family History:\nMother had migraine", [("migraine", F, "cue", "Mother had")]),
        ("Return if no fever", [("fever", Y, "cue", "if")]),
    ],
)
def test_the_reason_is_what_decided(
    reasons, text: str, expected: list[tuple[str, str, str | None, str]]
) -> None:
    assert reasons(text) == expected


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("He is afebrile.", "word", "afebrile"),
        ("Abdomen nontender", "word", "nontender"),
        ("Temp 102.4 F", "value", "Temp 102.4 F"),
        ("T: 39.4 C", "value", "T: 39.4 C"),
    ],
)
def test_a_word_and_a_value_are_their_own_reason(text: str, kind: str, words: str) -> None:
    (mention,) = clinical().mentions(text)
    start = text.index(words)
    assert mention.reason == Reason(kind, words.lower(), start, start + len(words))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        ("<p>Denies&nbsp;<b>fever</b></p>", "cue", "Denies"),
        ("<p>Seen today.</p><p>No&nbsp;evidence of <i>fever</i></p>", "cue", "No&nbsp;evidence of"),
        ("<h2>Discharge&nbsp;Instructions</h2><p>fever</p>", "section", "Discharge&nbsp;Instructions"),
        ("<table><tr><td>Fever</td><td>No</td></tr></table>", "mark", "No"),
        ("<ul>Denies:<li>fever</li></ul>", "cue", "Denies"),
        ("<p>&#9744; fever</p>", "mark", "&#9744;"),
        (r"{\rtf1\ansi Seen.\par Denies fever\par}", "cue", "Denies"),
        ("MSH|^~\\&|LAB|H|||20240101||ORU^R01|1|P|2.3\rOBX|1|TX|N||Denies fever.||||||F", "cue", "Denies"),
    ],
)
def test_places_count_the_original_with_its_markup(
    few_symptoms: Annotator, text: str, kind: str, place: str
) -> None:
    (mention,) = few_symptoms.mentions(text)
    assert text[mention.start : mention.end].lower() == "fever"
    reason = mention.reason
    assert reason is not None
    assert reason.start is not None
    assert (reason.kind, text[reason.start : reason.end]) == (kind, place)


def test_what_the_markup_negates_is_absent_for_that_reason(few_symptoms: Annotator) -> None:
    text = (
        '<ClinicalDocument xmlns="urn:hl7-org:v3"><component><structuredBody><component><section>'
        '<title>Problems</title><text><content ID="p1">fever</content> and <content ID="p2">cough</content>'
        '</text><entry><observation classCode="OBS" moodCode="EVN" negationInd="true">'
        '<value><originalText><reference value="#p1"/></originalText></value></observation></entry>'
        "</section></component></structuredBody></component></ClinicalDocument>"
    )
    found = {one.symptom: one for one in few_symptoms.mentions(text)}
    assert (found["fever"].assertion, found["fever"].reason) == (A, Reason("mark", "negationInd"))
    assert (found["cough"].assertion, found["cough"].reason) == (P, None)


CUES = [
    *(
        "no",
        "not",
        "denies",
        "without",
        "neg",
        "negative for",
        "no evidence of",
        "was not seen",
        "denied",
        "absent",
    ),
    *(
        "history of",
        "s/p",
        "resolved",
        "years ago",
        "possible",
        "r/o",
        "vs",
        "VS",
        "likely",
        "if",
        "return for",
    ),
    *(
        "prn",
        "call md if",
        "mother has",
        "coworker",
        "in her aunt",
        "but",
        "now with",
        "p/w",
        "however",
        "has",
    ),
    *(
        "for 3 days",
        "x2",
        "or",
        "and",
        "8/10",
        "with",
        "he",
        "Denies:",
        "Family History:",
        "PMH:",
        "Skin:",
        "ROS",
    ),
    *(
        "COVID",
        "6 yr old",
        "No. 3",
        "yes",
        "No",
        "Yes",
        "Y",
        "+",
        "-",
        "(-)",
        "(+)",
        "[ ]",
        "[x]",
        "☐",
        "☒",
        "?",
    ),
]
SYMPTOMS = [
    *(
        "fever",
        "cough",
        "Rash",
        "CHILLS",
        "shortness of breath",
        "n/v",
        "afebrile",
        "nontender",
        "Temp 101.5 F",
    ),
    *(
        "T 98.6",
        "headaches",
        "chest pain",
        "SOB",
        "hives",
        "weight loss",
        "no appetite",
        "can't breathe",
        "CP",
    ),
]
MARKS = [
    " ",
    " ",
    " ",
    "  ",
    ", ",
    ". ",
    "; ",
    ": ",
    "\n",
    "\n- ",
    "\n\n",
    "\r\n",
    "\t",
    " | ",
    "/",
    "-",
    "(",
    ")",
    "=",
    "!",
]
TAGS = [
    "<p>",
    "</p>",
    "<br>",
    "<li>",
    "<td>",
    "</td>",
    "&nbsp;",
    "&#39;",
    "<b>",
    "</b>",
    "&lt;",
    "<",
    ">",
    "\\par ",
    "~",
]

PLAIN = st.lists(st.sampled_from([*CUES, *SYMPTOMS * 3, *MARKS * 4]), max_size=60).map("".join)
MARKED = st.lists(st.sampled_from([*CUES, *SYMPTOMS * 3, *MARKS * 3, *TAGS * 3]), max_size=60).map("".join)


def in_order(text: str) -> None:
    found = clinical().mentions(text)
    spans = [(one.start, one.end) for one in found]
    assert spans == sorted(spans)
    different = sorted(set(spans))
    assert all(0 <= start < end <= len(text) for start, end in different)
    assert all(one[1] <= other[0] for one, other in pairwise(different))
    assert len({(one.start, one.end, one.symptom) for one in found}) == len(found)
    assert len({(one.start, one.end, one.assertion) for one in found}) == len(different)
    for one in found:
        if one.assertion != P:
            assert one.reason is not None
        if one.reason is not None and one.reason.start is not None:
            assert one.reason.end is not None
            assert 0 <= one.reason.start < one.reason.end <= len(text)


@settings(max_examples=300, deadline=None)
@given(PLAIN)
def test_mentions_of_any_plain_text_are_in_order_and_their_reasons_are_written_there(text: str) -> None:
    in_order(text)
    for one in clinical().mentions(text):
        reason = one.reason
        if reason is not None:
            assert reason.start is not None
            assert text[reason.start : reason.end].strip().casefold() == reason.words.casefold()


@settings(max_examples=300, deadline=None)
@given(MARKED)
def test_mentions_of_any_markup_are_in_order_and_within_it(text: str) -> None:
    in_order(text)


@settings(max_examples=100, deadline=None)
@given(PLAIN, PLAIN)
def test_what_stands_behind_a_blank_line_and_a_heading_changes_nothing_before_it(
    one: str, other: str
) -> None:
    before = [(m.start, m.end, m.symptom, m.assertion) for m in clinical().mentions(f"{one}.\n\nHPI: ")]
    both = clinical().mentions(f"{one}.\n\nHPI: {other}")
    kept = [(m.start, m.end, m.symptom, m.assertion) for m in both if m.end <= len(one)]
    assert kept == [one_ for one_ in before if one_[1] <= len(one)]
