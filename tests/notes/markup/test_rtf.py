"""RTF as lines of text."""

import pytest

from sympress.notes.markup import read_view


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (r"{\rtf1 \b ROS:\b0  no cough\line rash on arms\par}", "ROS: no cough\nrash on arms"),
        (
            r"{\rtf1 denies \i chest pain\i0 .\par\pard Nausea\par\par Rash}",
            "denies chest pain.\nNausea\n\nRash",
        ),
        (r"{\rtf1 no\~fever, non\_tender, nau\-sea \{x\} \\}", "no fever, non-tender, nausea {x} \\"),
        ("{\\rtf1 No\r\n fever\\\ncough}", "No fever\ncough"),
        (
            r"{\rtf1\trowd\intbl Fever\cell No\cell\row\intbl Cough\cell Yes\cell\row}",
            "Fever\tNo\nCough\tYes",
        ),
        (r"{\rtf1\ansi\ansicpg1252 fi\'e8vre doesn\'92t}", "fi\u00e8vre doesn\u2019t"),
        (r"{\rtf1\ansi\ansicpg1251 \'e6\'e0\'f0}", "\u0436\u0430\u0440"),
        (r"{\rtf1{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset204 B;}}\f1 \'e6\f0 \'e6}", "\u0436ae"),
        (r"{\rtf1\ansicpg932 \'94\'4d x}", "\u71b1 x"),
        (r"{\rtf1 doesn\u8217?t \u8217\'92s}", "doesn\u2019t \u2019s"),
        (r"{\rtf1\uc0 a\u8217 t{\uc2 \u8217??x}\u8217 s}", "a\u2019t\u2019x\u2019s"),
        (r"{\rtf1 \u-10178?\u-8942? fever}", "\U0001f912 fever"),
        (
            r"{\rtf1 a\emdash b\endash c \lquote d\rquote\tab e\bullet}",
            "a\u2014b\u2013c \u2018d\u2019\te\u2022",
        ),
    ],
)
def test_control_words_and_symbols_are_read_as_the_text_they_stand_for(source: str, text: str) -> None:
    view = read_view(source)
    assert (view.text, view.markup) == (text, "rtf")


@pytest.mark.parametrize(
    "source",
    [
        r"{\rtf1{\fonttbl{\f0 Fever;}}{\colortbl;}{\stylesheet{Cough;}}{\info{\title Rash}}ok}",
        r"{\rtf1{\*\generator Fever;}{\pict 0102}{\header Fever}ok}",
        r"{\rtf1{\v fever}\strike cough\strike0 {\deleted rash}ok}",
        r"{\rtf1{\field{\*\fldinst HYPERLINK fever}{\fldrslt ok}}}",
        r"{\rtf1 ok\p",
        "{\\rtf1 ok\\",
        r"{\rtf1 ok\'e",
        r"{\rtf1 {{ok}",
        r"{\rtf1 ok{\*\x fever",
    ],
)
def test_what_is_no_text_is_left_out_and_cut_notes_are_read_as_far_as_they_go(source: str) -> None:
    assert read_view(source).text == "ok"


def test_a_character_of_a_code_page_has_the_place_of_its_escape() -> None:
    source = r"{\rtf1 na\'efve fever}"
    view = read_view(source)
    assert view.text == "na\u00efve fever"
    assert source[slice(*view.span(2, 3))] == r"\'ef"
    assert source[slice(*view.span(6, 11))] == "fever"
