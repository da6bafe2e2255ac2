from __future__ import annotations

import pytest

from sympress.errors import InputError, MistakesError
from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.sections import lay_sections, load_sections

FEVER = Lexicon("own", (Symptom("fever", ("fever",)),))


def said(text: str, *notes: str) -> list[str]:
    """What is asserted of the mentions of each note with the sections of `text`."""
    annotator = Annotator(FEVER, sections=lay_sections(text, "my.toml").book)
    return [mention.assertion for note in notes for mention in annotator.mentions(note)]


def test_a_file_adds_headings_to_ours() -> None:
    text = '[[section]]\nkind = "past"\nheadings = ["Vorerkrankungen"]\n'
    notes = ("Vorerkrankungen:\nfever\n", "Family History:\nfever\n")
    assert said("", *notes) == ["present", "family"]
    assert said(text, *notes) == ["historical", "family"]


def test_a_file_that_extends_none_takes_their_place() -> None:
    text = 'extends = "none"\n[[section]]\nkind = "mine"\nassertion = "absent"\nheadings = ["nil of"]\n'
    assert said(text, "Nil of:\nfever\n", "Social History:\nfever\n") == ["absent", "present"]
    assert said('extends = "none"\n', "Social History:\nfever\n") == ["present"]


def test_a_heading_of_ours_moves_to_the_kind_that_the_file_gives_it() -> None:
    text = '[[section]]\nkind = "family"\nheadings = ["social history"]\n'
    assert said(text, "Social History:\nfever\n") == ["family"]
    assert lay_sections(text, "my.toml").counts()["headings of ours moved"] == 1


def test_a_heading_can_be_removed() -> None:
    assert said('remove = ["Social History"]\n', "Social History:\nfever\n") == ["present"]


def test_present_takes_away_what_a_kind_of_ours_asserts() -> None:
    text = '[[section]]\nkind = "social"\nassertion = "present"\n'
    assert said(text, "Social History:\nfever\n") == ["present"]
    assert lay_sections(text, "my.toml").counts() == {
        "headings added": 0,
        "headings of ours moved": 0,
        "headings of ours removed": 0,
        "kinds with another assertion": 1,
    }


def test_an_empty_file_changes_nothing() -> None:
    assert lay_sections("", "my.toml").book == load_sections()


KINDS = ", ".join(sorted(set(load_sections().kinds)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[section]\n", "my.toml: not valid TOML: "),
        ('extends = "mine"\n', "my.toml: extends is 'mine'; write \"clinical\" to add to ours"),
        ("[[sections]]\n", "my.toml: unknown key 'sections' (did you mean 'section'?)"),
        ("section = [1]\n", "my.toml, section 1: not a table"),
        ('[[section]]\nkind = "past"\nheading = ["x"]\nheadings = ["y"]\n',
         "my.toml, line 1: unknown key 'heading' (did you mean 'headings'?); use kind, assertion, headings"),
        ('[[section]]\nheadings = ["x"]\n', 'my.toml, line 1: no kind; name one in quotes, e.g. kind = "fam'),
        ('[[section]]\nkind = "pst"\nheadings = ["x"]\n',
         f"my.toml, line 1: unknown kind 'pst' (did you mean 'past'?); use {KINDS}, or give a"),
        ('[[section]]\nkind = "past"\n', "my.toml, line 1: no headings; list them"),
        ('[[section]]\nkind = "past"\nheadings = [""]\n', "my.toml, line 1: empty heading; write one"),
        ('[[section]]\nkind = "past"\nheadings = ["--"]\n', "my.toml, line 1: the heading '--' has no"),
        ('[[section]]\nkind = "past"\nassertion = "old"\n', "my.toml, line 1: unknown assertion 'old'"),
        ('[[section]]\nkind = "past"\nassertion = ["x"]\n', "my.toml, line 1: unknown assertion ['x']; use"),
        ('remove = ["famly history"]\n',
         "my.toml: remove names 'famly history', which is no heading of ours (did you mean 'family h"),
        ('[[section]]\nkind = "past"\nheadings = ["x"]\n[[section]]\nkind = "ros"\nheadings = ["X"]\n',
         "my.toml, line 4: 'x' is both 'ros' and 'past' (my.toml, line 1); keep one"),
        ('[[section]]\nkind = "a"\nassertion = "absent"\n[[section]]\nkind = "a"\nassertion = "family"\n',
         "my.toml, line 4: the kind 'a' is both 'family' and 'absent' (my.toml, line 1); keep one"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lay_sections(text, "my.toml")
    assert str(caught.value).startswith(message)


def test_every_mistake_is_in_one_message() -> None:
    with pytest.raises(MistakesError) as caught:
        lay_sections(
            'remove = ["zz"]\n[[section]]\nkind = "pst"\nassertoin = "x"\nheadings = [""]\n', "my.toml"
        )
    assert len(caught.value.mistakes) == 4
