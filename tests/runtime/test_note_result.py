"""Results as programs and notebooks take them: plain values, frames, and HTML in which a note is text."""

from __future__ import annotations

import json
import pickle
import sys
from html.parser import HTMLParser

import pytest

import sympress
from sympress import Extractor, InputError, NoteResult, NoteResults
from sympress.labels.mentions import ASSERTIONS, Reason
from sympress.runtime.note_result import CHARACTERS_SHOWN, NOTES_SHOWN, FoundMention, FoundSymptom, failed

NOTE = "c/o fever and chills, denies cough"
COLUMNS = [
    "symptom",
    "code",
    "assertion",
    "probability",
    "start",
    "end",
    "words",
    "source",
    "reason",
    "failure",
]


@pytest.fixture(scope="module")
def rules() -> Extractor:
    return sympress.load("rules")


class Page(HTMLParser):
    """The text of a page, and its marks: what they hold, how they look and what they say."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags, self.marks, self.small = "", [], [], False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.small |= tag == "small"
        if tag == "mark":
            self.marks.append(["", *dict(attrs).values()])

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")
        self.small &= tag != "small"

    def handle_data(self, data: str) -> None:
        if self.small:
            return
        self.text += data
        if self.tags[-1] in {"mark", "/small"} and self.tags.count("mark") > self.tags.count("/mark"):
            self.marks[-1][0] += data


# Plain values and frames --------------------------------------------------------------------------


def test_a_frame_has_a_row_a_mention_with_its_words(rules: Extractor):
    frame = rules(NOTE).to_frame()
    assert frame.columns == COLUMNS
    assert frame.select("symptom", "assertion", "start", "end", "words", "source", "reason").rows() == [
        ("fever", "present", 4, 9, "fever", "rules", None),
        ("chills", "present", 14, 20, "chills", "rules", None),
        ("cough", "absent", 29, 34, "cough", "rules", '"denies" at 22-28'),
    ]


def test_the_frame_of_several_notes_counts_them_and_keeps_failures(rules: Extractor):
    results = NoteResults([*rules(["no fever", "well"]), failed("not enough memory"), *rules(["cough"])])
    frame = results.to_frame()
    assert frame.columns == ["note", *COLUMNS]
    assert frame.select("note", "symptom", "failure").rows() == [
        (0, "fever", None),
        (2, None, "not enough memory"),
        (3, "cough", None),
    ]
    assert NoteResults().to_frame().schema == frame.schema


def test_a_symptom_that_a_model_affirms_without_words_has_a_row_without_a_span():
    whole = NoteResult((FoundSymptom("fever", None, 0.987_654_321),), text="hot")
    row = whole.to_frame().row(0, named=True)
    assert row["probability"] == 0.987654
    assert (row["assertion"], row["start"], row["words"]) == ("present", None, None)


def test_pandas_has_the_same_rows_and_says_what_to_install_where_it_is_not(
    rules: Extractor, monkeypatch: pytest.MonkeyPatch
):
    result = rules([NOTE, "well"])
    assert result.to_pandas()["words"].tolist() == result.to_frame()["words"].to_list()
    assert rules(NOTE).to_pandas().columns.tolist() == COLUMNS
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"pandas is not installed: run  pip install pandas"):
        result.to_pandas()


def test_a_dict_is_json_without_the_note(rules: Extractor):
    found = rules([NOTE])
    [one] = json.loads(json.dumps(found.to_dict()))
    assert one == found[0].to_dict()
    assert one["mentions"][2] == {
        "start": 29,
        "end": 34,
        "symptom": "cough",
        "code": "HP:0012735",
        "assertion": "absent",
        "score": None,
        "source": "rules",
        "reason": {"kind": "cue", "words": "denies", "start": 22, "end": 28},
    }
    assert "c/o" not in json.dumps(found.to_dict()) + repr(found)


def test_a_slice_and_a_pickle_of_results_are_results(rules: Extractor):
    results = rules(["fever", "no cough", "chills"])
    assert isinstance(results[1:], NoteResults)
    assert results[1:].to_frame()["note"].to_list() == [0, 1]
    again = pickle.loads(pickle.dumps(results))
    assert isinstance(again, NoteResults)
    assert again == results
    assert again.to_frame().equals(results.to_frame())


def test_half_a_pair_of_surrogates_is_no_reason_to_fail(rules: Extractor):
    result = rules("\ud83d fever \ud83d")
    assert result.to_frame()["words"].to_list() == ["fever"]
    assert Page(result._repr_html_()).text == "\ufffd fever \ufffd"
    result._repr_html_().encode("utf-8")


# Notebooks ----------------------------------------------------------------------------------------


def test_a_notebook_shows_the_note_with_each_mention_marked_by_its_assertion(rules: Extractor):
    page = Page(rules(NOTE)._repr_html_())
    assert page.text == NOTE
    words, styles, titles = zip(*page.marks, strict=True)
    assert words == ("fever", "chills", "cough")
    assert styles[0] == styles[1] != styles[2]
    assert titles[2] == 'cough, absent, by rules, "denies" at 22-28'


def test_every_assertion_looks_different():
    mentions = tuple(
        FoundMention(at, at + 1, "fever", None, assertion, None) for at, assertion in enumerate(ASSERTIONS)
    )
    page = Page(NoteResult((), mentions, text="abcdef")._repr_html_())
    assert len({style for _, style, _ in page.marks}) == len(ASSERTIONS) == 6


HOSTILE = '<script>alert(1)</script> "fever" & <img src=x onerror=alert(2)> \'$x$ </mark></div> \x00'


def test_whatever_a_note_or_a_reason_holds_is_text():
    start = HOSTILE.index("fever")
    reason = Reason("cue", '"><b onclick=alert(3)>', 0, 4)
    mention = FoundMention(start, start + 5, "<i>x</i>", None, "absent", None, reason=reason)
    page = NoteResult((FoundSymptom("<u>y</u>", None, None),), (mention,), text=HOSTILE)._repr_html_()
    shown = Page(page)
    assert set(shown.tags) <= {"div", "/div", "mark", "/mark", "small", "/small"}
    assert shown.tags.count("mark") == shown.tags.count("/mark") == 1
    assert shown.text.startswith(HOSTILE)
    assert "mathjax_ignore" in page  # a $ in a note begins no formula
    shown = Page(failed("<b>no</b>")._repr_html_())
    assert (shown.text, set(shown.tags)) == ("no answer: <b>no</b>", {"div", "/div"})


@pytest.mark.parametrize(
    ("spans", "marks"),
    [
        ([(0, 4), (2, 6)], ["ab", "cd", "ef"]),
        ([(0, 6), (2, 4)], ["ab", "cd", "ef"]),
        ([(1, 3), (1, 3)], ["bc"]),
        ([(4, 99)], ["ef"]),
        ([(7, 9), (3, 3)], []),
    ],
)
def test_mentions_that_overlap_or_leave_the_note_keep_its_text(spans: list, marks: list):
    mentions = tuple(FoundMention(start, end, "fever", None, "present", None) for start, end in spans)
    page = Page(NoteResult((), mentions, text="abcdef")._repr_html_())
    assert page.text == "abcdef"
    assert [words for words, *_ in page.marks] == marks


def test_a_result_without_its_text_lists_what_was_found(rules: Extractor):
    page = Page(rules.answer(NOTE)._repr_html_())
    assert (
        page.text
        == 'fever, present, by ruleschills, present, by rulescough, absent, by rules, "denies" at 22-28'
    )
    assert Page(NoteResult(())._repr_html_()).text == "no symptom found"


def test_a_notebook_keeps_no_more_than_it_can_show(rules: Extractor):
    page = rules(["no fever"] * (NOTES_SHOWN + 5))._repr_html_()
    assert page.count("<mark") == NOTES_SHOWN
    assert "and 5 more notes" in page
    long = NoteResult((), text="x" * (CHARACTERS_SHOWN + 1234))
    assert len(long._repr_html_()) < CHARACTERS_SHOWN + 1000
    assert "and 1,234 more characters" in long._repr_html_()


def test_a_note_with_very_many_mentions_is_drawn_at_once():
    text = "fever " * 3_000
    mentions = tuple(FoundMention(at * 6, at * 6 + 5, "fever", None, "present", None) for at in range(3_000))
    assert NoteResult((), mentions, text=text)._repr_html_().count("<mark") == 3_000
