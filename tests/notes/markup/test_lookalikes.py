"""Characters that look like others."""

import pytest

from sympress.notes.markup import read_view


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("di\ufb03culty, \ufb01rst, \ufb02u", "difficulty, first, flu"),
        ("diarrh\u0153a, an\u00e6mia", "diarrhoea, anaemia"),
        ("\uff46\uff45\uff56\uff45\uff52\uff1a \uff2e\uff4f", "fever: No"),
        ("\U0001d41f\U0001d41e\U0001d42f\U0001d41e\U0001d42b", "fever"),
        ("fe\u00adver c\u200dough \u2060rash\ufeff", "fever cough rash"),
        ("no\u200bfever no\u00a0cough\u2009x", "no fever no cough x"),
        ("a\u2028b\u2029c\x85d\ve\ff\rg\r\nh", "a\nb\nc\nd\ne\nf\ng\r\nh"),
        ("\u2212cough non\u2010tender non\u2011tender", "-cough non-tender non-tender"),
        ("Me\u0301nie\u0300re na\u0308ive", "M\u00e9ni\u00e8re n\u00e4ive"),
        ("f\u0435ver \u0441ough \u03bfedema", "fever cough oedema"),
        ("can\u02bct don\u00b4t won\u2018t", "can't don't won't"),
        ("38.5\u00baC, 38 \u02daC, 101\u2109", "38.5\u00b0C, 38 \u00b0C, 101\u00b0F"),
        ("[\u2713\ufe0f] fever", "[\u2713] fever"),
    ],
)
def test_look_alikes_are_read_as_what_they_look_like(source: str, text: str) -> None:
    view = read_view(source)
    assert (view.text, view.markup) == (text, None)


@pytest.mark.parametrize(
    "text",
    [
        "\u0436\u0430\u0440 \u043a\u0430\u0448\u0435\u043b\u044c",  # a word of another script
        "\u03bcg \u03b11 \u03b2-blocker",
        "pain\u2019s \u201cbad\u201d \u2018sore\u2019 5\u2032",
        "fever \u2013 cough \u2014 rash",
        "a\u0301\u0302\u0303x f\u0336",
        "n\u00ba 3",
    ],
)
def test_what_has_a_meaning_of_its_own_stays(text: str) -> None:
    assert read_view(text).text is text


def test_a_ligature_is_one_character_of_the_original() -> None:
    source = "no di\ufb03culty here"
    view = read_view(source)
    start, end = view.span(3, 13)
    assert (view.text[3:13], source[start:end]) == ("difficulty", "di\ufb03culty")
    assert view.span(5, 6) == view.span(7, 8) == (5, 6)
