"""Notes as plain text: what holds for every kind of markup, and for any text at all."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.notes.markup import View, read_view

_FRAGMENTS = [
    *("<", ">", "&", ";", "/", "=", '"', "'", "{", "}", "\\", "|", "~", "^", "\n", "\r", "\t", " ", "]]>"),
    *("<p>", "</p>", "<br/>", "<td>", "<tr>", "</tr>", "<li>", "<b", "</b>", "<s>", "</s>", "<!--", "-->"),
    *(
        "<dt>",
        "<dd>",
        "<pre>",
        "<script>",
        "<![CDATA[",
        "<p hidden>",
        "<title>",
        "</title>",
        "<input type=radio>",
    ),
    *(
        "&nbsp;",
        "&#39",
        "&notit;",
        "&lt;p&gt;",
        "&#xD800;",
        "{\\rtf1 ",
        "\\par ",
        "\\'e9",
        "\\u8217?",
        "\\uc0 ",
    ),
    *(
        "\\u-10179?",
        "\\u-8704?",
        "\\cell ",
        "\\row ",
        "{\\*\\x",
        "\\v ",
        "OBX|1|TX|a^B||",
        "\rNTE|1||",
        "MSH|^~\\&|",
    ),
    *(
        "\\.br\\",
        "\\X0D41\\",
        "OBX|1|CE|Q||N^No~Y^Yes|u",
        "<observation negationInd='true'>",
        "</observation>",
    ),
    *(
        "<value displayName='Fever'/>",
        "<code displayName='Rash'/>",
        "<section>",
        "</section>",
        "<text>",
        "</text>",
    ),
    *("<content ID='a'>", "</content>", "<reference value='#a'/>", "<caption>", "</caption>", "<paragraph>"),
    *(
        "\ufb03",
        "\u0153",
        "\u00ad",
        "\u200b",
        "\u0301",
        "e",
        "\u0435",
        "\u2028",
        "\ufeff",
        "\ud800",
        "\U0001d41f",
    ),
    *("No fever", "Cough", "38 \u00ba", "\U0001f912"),
]
_ANY_NOTE = st.lists(st.sampled_from(_FRAGMENTS) | st.text(max_size=5), max_size=40).map("".join)
_WORDS = st.lists(
    st.sampled_from(["No", "fever,", "cough.", "Denies", "rash", "x3", "R&D", "T<38"]), min_size=1
)


@given(_ANY_NOTE)
@settings(max_examples=600, deadline=None)
def test_any_text_is_read_and_every_character_has_its_place_in_order(text: str) -> None:
    view = read_view(text)
    spans = [view.span(at, at + 1) for at in range(len(view.text))]
    assert all(0 <= start <= end <= len(text) for start, end in spans)
    assert [start for start, _ in spans] == sorted(start for start, _ in spans)
    assert [end for _, end in spans] == sorted(end for _, end in spans)
    assert all(0 <= start < end <= len(view.text) for start, end in view.denied)
    start, end = view.span(len(view.text), len(view.text))
    assert 0 <= start == end <= len(text)


@given(_ANY_NOTE)
@settings(max_examples=300, deadline=None)
def test_a_letter_of_a_view_stands_at_its_place_or_for_more_than_a_letter(text: str) -> None:
    view = read_view(text)
    for at, letter in enumerate(view.text):
        start, end = view.span(at, at + 1)
        if letter.isalpha() and text[start:end].isascii() and end - start == 1:
            assert text[start] == letter


@given(st.text(st.characters(codec="ascii", exclude_characters="<&{|\\\v\f\r\x1c\x1d\x1e")))
def test_plain_ascii_is_its_own_view_without_arrays(text: str) -> None:
    view = read_view(text)
    assert view.text is text
    assert (view.markup, view.denied, view.starts, view.ends) == (None, (), None, None)
    assert view.span(0, len(text)) == (0, len(text))


@given(_WORDS)
def test_markup_around_a_text_changes_neither_its_words_nor_their_places(words: list[str]) -> None:
    plain = " ".join(words)
    escaped = plain.replace("&", "&amp;").replace("<", "&lt;")
    for before, inside, behind, markup in (
        ("<div><p>", escaped, "</p></div>", "html"),
        ("<paragraph>", escaped, "</paragraph>", "cda"),
        ("{\\rtf1\\ansi\\b ", plain, "\\par}", "rtf"),
        ("OBX|1|TX|1||", plain.replace("&", "\\T\\"), "||||||F", "hl7"),
    ):
        source = before + inside + behind
        view = read_view(source)
        assert (view.text, view.markup) == (plain, markup)
        start, end = view.span(0, len(plain))
        assert source[start:end] == inside


@pytest.mark.parametrize(
    "text",
    [
        "temp <38, BP <120 and >90",
        "a < b and c > d",
        "seen by <Redacted> on <date>, <name>, <address>",
        "[**Known lastname**] (<3 days)",
        "R&D, AT&T; H&P; I&D; O&P;",
        "mail <a@b.c> or <http://x.org>",
        "BP <b and c> d",
        "| Fever | No |\n| Cough | Yes |",
        "C:\\temp\\new",
        "fever|No",
        "{fever} {x}",
        "for ~3 days",
        "Temp 38.5 \u00b0C \u2013 fever\u2019s end",
        "\u2014 \u201cill\u201d \u2026 \u00bd 10\u00b2 \u03bcg \u03b2-hCG",
        "Jos\u00e9 \U0001f912 \u0130stanbul \u041f\u0440\u0438\u0432\u0435\u0442",
    ],
)
def test_what_only_looks_like_markup_stays_as_it_is(text: str) -> None:
    view = read_view(text)
    assert view.text is text
    assert view.markup is None


@pytest.mark.parametrize(
    ("text", "wanted", "markup"),
    [
        (
            "&lt;p&gt;No fever&lt;/p&gt;&lt;p&gt;Cough &amp;amp; rash&lt;/p&gt;",
            "No fever\n\nCough & rash",
            "html",
        ),
        ("OBX|1|TX|1||<b>No</b> fever<br>Cough", "No fever\nCough", "hl7"),
        ("OBX|1|FT|1||{\\E\\rtf1 No fever\\E\\par Cough}", "No fever\nCough", "hl7"),
        ("<text><![CDATA[<p>No fever</p><p>Cough</p>]]></text>", "No fever\n\nCough", "cda"),
        ("<p>No diﬃculty</p>", "No difficulty", "html"),
        ("Copied: {\\rtf1 No fever\\par Cough} by hand", "Copied: \nNo fever\nCough\n by hand", "rtf"),
    ],
)
def test_markup_within_markup_is_read_and_the_outermost_is_said(text: str, wanted: str, markup: str) -> None:
    view = read_view(text)
    assert (view.text, view.markup) == (wanted, markup)
    start, end = view.span(view.text.index("No"), view.text.index("No") + 2)
    assert text[start:end] == "No"


def test_a_span_of_several_pieces_reaches_over_the_markup_between_them() -> None:
    text = "<p>no <b>chest</b>&nbsp;<i>pain</i></p>"
    view = read_view(text)
    assert view.text == "no chest pain"
    start, end = view.span(3, 13)
    assert text[start:end] == "chest</b>&nbsp;<i>pain"


def test_an_empty_note_has_an_empty_view() -> None:
    assert read_view("").span(0, 0) == (0, 0)
    view = read_view("<p></p>")
    assert (view.text, view.span(0, 0)) == ("", (0, 0))


def test_a_view_does_not_show_the_note_when_printed() -> None:
    assert "fever" not in repr(View("fever"))


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "<",
            "<p ",
            "&",
            "&#",
            "&nbsp",
            "<!--",
            "<!x",
            '<p a="',
            "<p a='",
            '<p a="<p " ',
            "<p a=",
            "</p",
            "<s>",
        ),
        *(
            "<p>",
            "<td>",
            "<script>",
            "<svg>",
            "<p hidden>",
            "<![CDATA[",
            "<a:b",
            "<text>a",
            "<paragraph ID='a'>x",
        ),
        *(
            "{\\rtf1 ",
            "{",
            "}",
            "\\",
            "\\'",
            "\\'e9",
            "\\u8217?",
            "\\*",
            "OBX|1|TX|a||b\r",
            "~",
            "|",
            "\\.br\\",
        ),
        *(
            "\\X0D",
            "a",
            "\u00e9",
            "\u0301",
            "\u0430a",
            "\u200b",
            "\ufb01",
            " ",
            "\r",
            "<value displayName='a'/>",
        ),
    ],
)
@pytest.mark.parametrize("before", ["", "<p></p></s></svg>", "{\\rtf1 ", "OBX|1|TX|a||"])
def test_the_time_is_linear_whatever_is_repeated(before: str, unit: str) -> None:
    def seconds(size: int) -> float:
        text = before + unit * (size // len(unit))
        began = time.process_time()
        read_view(text)
        return time.process_time() - began

    # Sixteen times the length: 256 times the time if anything were quadratic.
    assert seconds(40_000) < 0.2 + 60 * seconds(2_500)


def test_plain_text_costs_next_to_nothing() -> None:
    text = "No fever, cough for 3 days. " * 40_000
    began = time.process_time()
    for _ in range(20):
        read_view(text)
    assert (time.process_time() - began) / 20 < 0.02  # 1.1 million characters
