from __future__ import annotations

import pytest

from sympress.errors import InputError, MistakesError
from sympress.labels.annotate import Annotator
from sympress.labels.assertion.cues import Cue, load_cues
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.own_words import lay_cues

FEVER = Lexicon("own", (Symptom("fever", ("fever",)), Symptom("cough", ("cough",))))


def said(text: str, *notes: str) -> list[str]:
    """What is asserted of the mentions of each note with the cues of `text`."""
    annotator = Annotator(FEVER, lay_cues(text, "my.toml").book, at_once=False)
    return [mention.assertion for note in notes for mention in annotator.mentions(note)]


def test_a_file_adds_to_our_cues() -> None:
    text = '[[cue]]\nassertion = "absent"\nphrases = ["nix an"]\n'
    assert said(text, "nix an fever", "No fever", "Mother has fever") == ["absent", "absent", "family"]
    assert said("", "nix an fever", "No fever") == ["present", "absent"]


def test_a_file_that_extends_none_takes_their_place() -> None:
    text = 'extends = "none"\n[[cue]]\nassertion = "absent"\nphrases = ["nix an"]\n'
    assert said(text, "nix an fever", "No fever") == ["absent", "present"]
    assert lay_cues(text, "my.toml").book.rules == (("nix an", Cue("cue", "absent"), "my.toml, line 2"),)


def test_a_phrase_of_ours_that_is_listed_does_only_what_the_file_says() -> None:
    text = '[[cue]]\nassertion = "possible"\nphrases = ["Denies"]\n'
    assert said(text, "denies fever", "denied fever") == ["possible", "absent"]


def test_a_phrase_that_one_of_our_templates_stands_for_can_be_removed() -> None:
    assert said("", "no evidence of fever", "no sign of fever", "without fever") == ["absent"] * 3
    text = 'remove = ["no evidence of", "no evidence", "no", "without"]\n'
    assert said(text, "no evidence of fever", "no sign of fever", "without fever") == [
        "present",
        "absent",
        "present",
    ]


def test_words_are_added_to_our_lists() -> None:
    note = "Godmother has fever"
    assert said("", note) == ["present"]
    assert said('[words]\nkin = ["godmother"]\n', note, "Mother has fever") == ["family", "family"]


def test_a_list_of_its_own_serves_the_phrases_of_the_file() -> None:
    text = '[words]\nnil = ["nix", "nada"]\n[[cue]]\nassertion = "absent"\nphrases = ["{nil} de"]\n'
    assert said(text, "nix de fever", "nada de fever") == ["absent", "absent"]


def test_what_a_file_adds_changes_and_removes_is_counted() -> None:
    text = 'remove = ["vs"]\n[[cue]]\nassertion = "absent"\nphrases = ["nix an", "denies"]\n'
    assert lay_cues(text, "my.toml").counts == {
        "phrases added": 1,
        "phrases added by words of lists": 0,
        "phrases of ours changed": 1,
        "phrases of ours removed": 1,
    }


def test_an_empty_file_changes_nothing() -> None:
    book = lay_cues("", "my.toml").book
    assert (book.rules, book.words, book.removed) == (load_cues().rules, load_cues().words, frozenset())


def test_the_past_may_stand_beside_an_absence() -> None:
    text = (
        '[[cue]]\nassertion = "absent"\nphrases = ["nie gehabt"]\n'
        '[[cue]]\nassertion = "historical"\nphrases = ["nie gehabt"]\n'
    )
    assert said(text, "nie gehabt fever") == ["absent"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[cue]\n", "my.toml: not valid TOML: "),
        ("n = " + "9" * 5000, "my.toml: not valid TOML: "),
        ("a = " + "[" * 100_000, "my.toml: nested too deeply"),
        ('extends = "paper"\n',
         "my.toml: extends is 'paper'; write \"clinical\" to add to ours, \"none\" to replace them"),
        ("extends = false\n", "my.toml: extends is False; write "),
        ("[[cues]]\n", "my.toml: unknown key 'cues' (did you mean 'cue'?); use extends, remove, "),
        ("[cue]\n", "my.toml: [cue] is one table; write [[cue]] for each entry"),
        ("cue = [1]\n", "my.toml, cue 1: not a table; write [[cue]] and its keys below it"),
        ("[[pseudo]]\n", 'my.toml, line 1: no phrases; list them, e.g. phrases = ["..."]'),
        ('[[pseudo]]\nphrases = "x"\n', "my.toml, line 1: phrases must be a list of texts"),
        ('[[pseudo]]\nphrases = ["x{,y}", "{,x}"]\n',
         "my.toml, line 1: '{,x}' stands for an empty phrase; write one or remove it"),
        ('[[pseudo]]\nphrases = ["..."]\n', "my.toml, line 1: the phrase '...' has no letter and no digit"),
        ('[[pseudo]]\nphrases = ["{a,b"]\n', "my.toml, line 1: '{a,b' has a brace without its other half"),
        ('[[pseudo]]\nphrases = ["no {evidnce}"]\n',
         "my.toml, line 1: no list 'evidnce' for 'no {evidnce}' (did you mean 'evidence'?)"),
        ('[[pseudo]]\nphrases = ["' + "{a,b}" * 40 + '"]\n', "my.toml, line 1: '{a,b}{a,b}"),
        ('[[cue]]\nphrases = ["x"]\n',
         "my.toml, line 1: no assertion; write what its phrases do, e.g. assertion = \"absent\""),
        ('[[cue]]\nassertion = "gone"\nphrases = ["x"]\n', "my.toml, line 1: unknown assertion 'gone'; use "),
        ('[[cue]]\nassertion = ["absent"]\nphrases = ["x"]\n',
         "my.toml, line 1: assertion must be text in quotes"),
        ('[[cue]]\nassertion = "absent"\ndirection = "up"\nphrases = ["x"]\n',
         "my.toml, line 1: direction is 'up'; use forward or backward"),
        ('[[cue]]\nassertion = "absent"\nmax_words = true\nphrases = ["x"]\n',
         "my.toml, line 1: max_words must be a whole number"),
        ('[[cue]]\nassertion = "absent"\nacross_commas = 1\nphrases = ["x"]\n',
         "my.toml, line 1: across_commas must be true or false"),
        ('[[cue]]\nassertion = "absent"\ndirecton = "forward"\nphrases = ["x"]\n',
         "my.toml, line 1: unknown key 'directon' (did you mean 'direction'?); the keys are "),
        ('[[stop]]\nphrases = ["x"]\n', "my.toml, line 1: no ends; write what its phrases do"),
        ('[[stop]]\nends = ["present"]\nphrases = ["x"]\n', "my.toml, line 1: unknown assertion 'present'"),
        ('[words]\nkin = ["{a,b"]\n', "my.toml, [words] kin: '{a,b' has a brace without its other half"),
        ('[words]\nkin = ["x", "{a,}"]\n', "my.toml, [words] kin: an empty word; it would make our list"),
        ('[words]\nkin = [""]\n', "my.toml, [words] kin: an empty word; it would make our list optional"),
        ('[words]\nkni = ["x"]\n',
         "my.toml, [words] kni: no phrase names this list (did you mean 'kin'?); write {kni} in one"),
        ('remove = ["dennies"]\n',
         "my.toml: remove names 'dennies', which is no phrase of ours (did you mean 'denies'?)"),
        ('extends = "none"\nremove = ["denies"]\n',
         "my.toml: remove names 'denies', which is no phrase of ours"),
        ('[[cue]]\nassertion = "absent"\nphrases = ["x"]\n[[pseudo]]\nphrases = ["{x,y}"]\n',
         "my.toml, line 4: 'x' is both a cue and a pseudo (my.toml, line 1); keep one"),
        ('[[cue]]\nassertion = "absent"\nphrases = ["x"]\n[[cue]]\nassertion = "possible"\nphrases = ["x"]\n',
         "my.toml, line 4: 'x' is both 'absent' and 'possible' forward (my.toml, line 1); keep one"),
        ('[[cue]]\nassertion = "absent"\nphrases = ["x"]\n'
         '[[cue]]\nassertion = "absent"\nmax_words = 3\nphrases = ["x"]\n',
         "my.toml, line 4: 'x' is 'absent' twice forward, with different settings (my.toml, line 1)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lay_cues(text, "my.toml")
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2


def kin(count: int) -> str:
    return "[words]\nkin = [" + ", ".join(f'"kin{k}"' for k in range(count)) + "]\n"


def test_a_word_of_a_list_adds_the_phrases_of_every_template_that_names_the_list() -> None:
    growth = lay_cues(kin(1), "my.toml").counts["phrases added by words of lists"]
    assert growth > 100
    assert lay_cues(kin(7), "my.toml").counts["phrases added by words of lists"] == 7 * growth


def test_words_that_add_too_many_phrases_are_refused() -> None:
    growth = lay_cues(kin(1), "my.toml").counts["phrases added by words of lists"]
    with pytest.raises(InputError) as caught:
        lay_cues(kin(20_000), "my.toml")
    assert str(caught.value) == (
        f"my.toml, [words]: they add {20_000 * growth:,} phrases to ours, more than 500,000; list fewer"
    )


def test_clashes_are_found_beside_other_mistakes() -> None:
    text = (
        '[[cue]]\nassertion = "absent"\nmax_wrds = 3\nphrases = ["x", "y", "{oops}"]\n'
        '[[cue]]\nassertion = "possible"\nphrases = ["x"]\n'
        '[[pseudo]]\nphrase = ["no"]\nphrases = ["y"]\n'
        '[[cue]]\nassertion = "absent"\nmax_words = 3\nphrases = ["x"]\n'
    )
    with pytest.raises(MistakesError) as caught:
        lay_cues(text, "my.toml")
    assert [mistake.partition(";")[0] for mistake in caught.value.mistakes] == [
        "my.toml, line 1: unknown key 'max_wrds' (did you mean 'max_words'?)",
        "my.toml, line 1: no list 'oops' for '{oops}' (did you mean 'dose'?)",
        "my.toml, line 5: 'x' is both 'absent' and 'possible' forward (my.toml, line 1)",
        "my.toml, line 8: unknown key 'phrase' (did you mean 'phrases'?)",
        "my.toml, line 8: 'y' is both a cue and a pseudo (my.toml, line 1)",
        "my.toml, line 11: 'x' is both 'possible' and 'absent' forward (my.toml, line 5)",
    ]


def test_every_mistake_is_in_one_message() -> None:
    text = (
        'remove = ["zzz"]\n[[cue]]\nassertion = "gone"\ndirection = "up"\nphrases = ["a{", "{,b}"]\n'
        '[[stop]]\nends = ["absent"]\nafter_coma = true\nphrases = []\n'
    )
    with pytest.raises(MistakesError) as caught:
        lay_cues(text, "my.toml")
    assert [mistake.partition(";")[0] for mistake in caught.value.mistakes] == [
        "my.toml: remove names 'zzz', which is no phrase of ours",
        "my.toml, line 2: unknown assertion 'gone'",
        "my.toml, line 2: direction is 'up'",
        "my.toml, line 2: 'a{' has a brace without its other half",
        "my.toml, line 2: '{,b}' stands for an empty phrase",
        "my.toml, line 6: no phrases",
        "my.toml, line 6: unknown key 'after_coma' (did you mean 'after_comma'?)",
    ]
