"""Spans that a tagger found, read beside the forms of the lexicon."""

import pytest
from annotators import clinical

from sympress.errors import InputError
from sympress.labels.annotate import Annotator
from sympress.labels.mentions import Mention
from sympress.notes.markup import read_view


@pytest.fixture(scope="module")
def annotator() -> Annotator:
    return clinical()


def found(annotator: Annotator, text: str, *spans: str, most: int | None = None) -> list[tuple[object, ...]]:
    given = [Mention(text.index(span), text.index(span) + len(span), None, "present", 0.9) for span in spans]
    mentions = annotator.mentions_of(read_view(text), most, sorted(given, key=lambda one: one.start))
    return [(text[one.start : one.end], one.symptom, one.assertion, one.score) for one in mentions]


@pytest.mark.parametrize(
    ("text", "assertion"),
    [
        ("A boggy prostate was felt.", "present"),
        ("No boggy prostate was felt.", "absent"),
        ("He never had a boggy prostate.", "absent"),
        ("His father had a boggy prostate.", "family"),
        ("Return if a boggy prostate develops.", "hypothetical"),
        ("Possible boggy prostate.", "possible"),
        ("Boggy prostate: no", "absent"),
        ("FAMILY HISTORY:\nboggy prostate", "family"),
    ],
)
def test_a_span_without_a_form_is_a_mention_whose_assertion_is_read_in_the_note(
    annotator: Annotator, text: str, assertion: str
) -> None:
    span = "Boggy prostate" if "Boggy" in text else "boggy prostate"

    assert (span, None, assertion, 0.9) in found(annotator, text, span)


def test_a_span_shares_the_denial_of_the_forms_beside_it(annotator: Annotator) -> None:
    text = "Denies fever, a boggy prostate, or chills."

    assert found(annotator, text, "boggy prostate") == [
        ("fever", "fever", "absent", None),
        ("boggy prostate", None, "absent", 0.9),
        ("chills", "chills", "absent", None),
    ]


def test_a_span_around_one_form_gives_the_mention_its_bounds(annotator: Annotator) -> None:
    text = "She denies severe left-sided chest pain."

    assert found(annotator, text, "severe left-sided chest pain") == [
        ("severe left-sided chest pain", "chest-pain", "absent", 0.9)
    ]


@pytest.mark.parametrize("span", ["fever and chills", "had fever and chills", "ever"])
def test_forms_that_say_more_than_a_span_stay_as_they_are(annotator: Annotator, span: str) -> None:
    text = "She had fever and chills and some sweat"

    assert found(annotator, text, span) == found(annotator, text)


def test_a_span_within_one_form_gives_the_mention_its_bounds_and_not_its_name(annotator: Annotator) -> None:
    assert found(annotator, "No chest pain today", "pain") == [("pain", "chest-pain", "absent", 0.9)]


@pytest.mark.parametrize("spans", [("chest", "pain"), ("with chest",), ("pain or fever",)])
def test_spans_that_cut_a_form_leave_it_whole(annotator: Annotator, spans: tuple[str, ...]) -> None:
    text = "seen with chest pain or fever"

    assert found(annotator, text, *spans) == found(annotator, text)


def test_a_span_with_an_abbreviation_that_means_something_else_here_is_no_mention(
    annotator: Annotator,
) -> None:
    text = "ECG: ST elevation in V2-V4, then a boggy prostate"

    assert found(annotator, text, "ST elevation", "boggy prostate") == [
        ("boggy prostate", None, "present", 0.9)
    ]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("CT showed cerebral edema.", "edema"),
        ("CT showed cerebral edema.", "cerebral edema"),
        ("Scans show liver lesions.", "lesions"),
        ("A macular hole was seen.", "macular hole"),
        ("CT showed a mass effect.", "mass effect"),
    ],
)
def test_a_word_that_is_no_symptom_here_is_a_finding_all_the_same(
    annotator: Annotator, text: str, span: str
) -> None:
    assert found(annotator, text, span) == [(span, None, "present", 0.9)]


def test_a_word_of_a_span_that_means_something_else_names_nothing(annotator: Annotator) -> None:
    text = "CT showed cerebral edema; there is edema of both legs."

    assert annotator.meant_otherwise(text, text.index("edema"), text.index(";")) == {"edema"}
    assert annotator.meant_otherwise(text, text.index("edema of"), text.index(" of")) == frozenset()


def test_what_a_tagger_asserts_is_not_asked(annotator: Annotator) -> None:
    text = "No fever. A boggy prostate was felt."
    start = text.index("boggy")
    span = Mention(start, start + len("boggy prostate"), None, "absent", 0.9)

    assert annotator.mentions_of(read_view(text), None, [span])[-1].assertion == "present"


@pytest.mark.parametrize("span", ["no boggy prostate", "denies boggy prostate"])
def test_cues_that_a_tagger_took_into_a_span_are_no_part_of_it(annotator: Annotator, span: str) -> None:
    assert found(annotator, f"On examination {span}.", span) == [("boggy prostate", None, "absent", 0.9)]


def test_a_span_that_is_a_cue_alone_is_no_mention(annotator: Annotator) -> None:
    assert found(annotator, "He denies.", "denies") == []


def test_spans_count_among_the_mentions_that_a_note_may_have(annotator: Annotator) -> None:
    with pytest.raises(InputError, match="more than 1 mentions"):
        found(annotator, "fever with a boggy prostate", "boggy prostate", most=1)


def test_a_span_that_names_no_finding_is_no_mention(annotator: Annotator) -> None:
    text = "He is doing well. No rash. His symptoms are better, but he is not doing well at night."

    assert found(annotator, text, "doing well", "symptoms") == [("rash", "rash", "absent", None)]
