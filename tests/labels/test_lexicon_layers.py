from pathlib import Path

import pytest

from sympress.errors import InputError, MistakesError
from sympress.labels.lexicon import Lexicon, load_lexicon
from sympress.labels.lexicon_file import AmbiguousForm, expand_forms

BASE = """
[words]
the = ["", "the", "his"]
[patterns]
pain = ["{site} pain", "pain in {the} {site}"]
[[symptom]]
id = "fever"
name = "fever"
forms = ["fever{,s}"]
[[symptom]]
id = "arm-pain"
name = "arm pain"
patterns = ["@pain", "sore {site}"]
sites = ["arm", "elbow"]
ambiguous = [{ form = "AP", case = "upper", not_before = ["View"], also = "anteroposterior" }]
[combined]
"f/ap" = ["fever", "arm-pain"]
"""


def lexicon(tmp_path: Path, text: str, base: str = BASE) -> Lexicon:
    (tmp_path / "base.toml").write_text(base, encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    return load_lexicon(tmp_path / "mine.toml")


def test_templates_stand_for_every_choice_in_order() -> None:
    words = {"the": ("", "the")}
    assert expand_forms("vomit{,s,ed}", {}, "x") == ["vomit", "vomits", "vomited"]
    assert expand_forms("pain in {the} {left,right} arm", words, "x") == [
        "pain in left arm", "pain in right arm", "pain in the left arm", "pain in the right arm",
    ]  # fmt: skip


def test_patterns_stand_at_every_site(tmp_path: Path) -> None:
    _, arm = lexicon(tmp_path, 'extends = "base.toml"').symptoms
    assert arm.forms == (
        "arm pain", "elbow pain", "pain in arm", "pain in elbow", "pain in the arm", "pain in the elbow",
        "pain in his arm", "pain in his elbow", "sore arm", "sore elbow",
    )  # fmt: skip
    assert arm.ambiguous == (AmbiguousForm("ap", "upper", ("view",), (), "anteroposterior"),)


def test_a_file_adds_overrides_edits_and_removes(tmp_path: Path) -> None:
    made = lexicon(
        tmp_path,
        'extends = "base.toml"\nignored = ["hay fever"]\n'
        '[[symptom]]\nid = "arm-pain"\nname = "pain of the arm"\nforms = ["arm ache"]\n'
        '[[symptom]]\nid = "fever"\nadd_forms = ["hot{,ness}"]\nremove_forms = ["fevers"]\n'
        'codes = ["HP:0001945"]\n'
        '[[symptom]]\nid = "cough"\nname = "cough"\nforms = ["cough"]\n[combined]\n"c/f" = ["cough", "fever"]\n',  # noqa: E501
    )
    assert [(s.id, s.name, s.forms, s.codes) for s in made.symptoms] == [
        ("fever", "fever", ("fever", "hot", "hotness"), ("HP:0001945",)),
        ("arm-pain", "pain of the arm", ("arm ache",), ()),
        ("cough", "cough", ("cough",), ()),
    ]
    assert made.combined == {"f/ap": (0, 1), "c/f": (2, 0)}
    assert made.ignored == ("hay fever",)
    removed = lexicon(tmp_path, 'extends = "base.toml"\nremove = ["fever"]')
    assert [symptom.id for symptom in removed.symptoms] == ["arm-pain"]
    assert removed.combined == {"f/ap": (0,)}


def test_denials_conditions_and_misspellings_are_read(tmp_path: Path) -> None:
    made = lexicon(
        tmp_path,
        'extends = "base.toml"\ndenials = ["all well"]\ndenial_patterns = ["{form} free"]\n'
        '[words]\nseen = ["seen", "noted"]\n'
        '[[symptom]]\nid = "fever"\nadd_forms = []\ndenials = ["afebril{e,}"]\nmisspelled = ["fever"]\n'
        'ambiguous = [{ form = "{temp,temps}", only_after = ["a"], not_before = ["{seen}"] }]\n',
    )
    fever = made.symptoms[0]
    assert made.denials == ("all well",)
    assert fever.denials == ("afebrile", "afebril", "fever free", "fevers free")
    assert {"feever", "fevre", "fevr", "faver"} <= set(fever.misspellings)
    assert "fever" not in fever.misspellings
    assert fever.ambiguous == tuple(
        AmbiguousForm(form, not_before=("seen", "noted"), only_after=("a",)) for form in ("temp", "temps")
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'denial_patterns = ["free"]',
            "the denial pattern 'free' has no {form}; add it, or move it to denials",
        ),
        ('denials = [""]', "empty form under denials; write one or remove it"),
        ('denials = ["fever"]', "'fever' is a form of 'fever'"),
        ('[[symptom]]\nid = "fever"\nadd_forms = []\ndenials = ["fevers"]', "'fevers' is a form already"),
        (
            '[[symptom]]\nid = "fever"\nadd_forms = []\ndenials = ["arm pain"]',
            "already belongs to 'arm pain'",
        ),
    ],
)
def test_a_denial_that_cannot_be_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lexicon(tmp_path, f'extends = "base.toml"\n{text}\n')
    assert message in str(caught.value)


def test_the_clinical_lexicon_can_be_extended(tmp_path: Path) -> None:
    made = lexicon(tmp_path, 'extends = "clinical"\n[[symptom]]\nid = "fever"\nadd_forms = ["burning up"]\n')
    assert "burning up" in next(s for s in made.symptoms if s.id == "fever").forms
    assert len(made.symptoms) == len(load_lexicon("clinical").symptoms)
    assert made.ontologies["HP"] == "2026-02-16"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[symptom]]\nid = "a b"\nname = "A"\nforms = ["x"]\n',
         ", line 1: bad id 'a b'; use letters, digits, '-', '_' and '.'"),
        ('[[symptom]]\nname = "A"\nforms = ["x"]\ncodes = ["HP:123"]\n',
         ", line 1: bad code 'HP:123'; write it like HP:0001945, without spaces"),
        ('[[symptom]]\nid = "a"\nname = "A"\nforms = ["x"]\n'
         '[[symptom]]\nid = "a"\nname = "B"\nforms = ["y"]\n',
         ", line 5: the id 'a' stands twice ({path}, line 1); keep one entry"),
        ('[[symptom]]\nid = "a"\nname = "A"\nforms = ["x"]\n'
         '[[symptom]]\nid = "b"\nname = "A"\nforms = ["y"]\n',
         ", line 5: the name 'A' already belongs to 'a' ({path}, line 1); give the entry a name of its own"),
        ('[[symptom]]\nname = "A"\npatterns = ["sore"]\nsites = ["arm"]\n',
         ", line 1: the pattern 'sore' has no {site}; add it, or move it to forms"),
        ('[patterns]\npain = ["pain"]\n',
         ", [patterns] pain: the pattern 'pain' has no {site}; add it, or move it to forms"),
        ('[[symptom]]\nname = "A"\npatterns = ["sore {site}"]\n',
         ", line 1: sites and patterns go together; add sites"),
        ('[[symptom]]\nname = "A"\npatterns = ["@pian"]\nsites = ["arm"]\n'
         '[patterns]\npain = ["sore {site}"]\n',
         ", line 1: no patterns '@pian' (did you mean 'pain'?); define them under [patterns]"),
        ('[[symptom]]\nname = "A"\nforms = ["pain in {the} arm"]\n',
         ", line 1: no list 'the' for 'pain in {the} arm'; define it under [words], or write {a,b}"),
        ('[[symptom]]\nname = "A"\nforms = ["vomit{,s"]\n',
         ", line 1: 'vomit{,s' has a brace without its other half; write {a,b} or {name}"),
        ('[[symptom]]\nname = "A"\nforms = ["x"]\nambiguous = [{ form = "X" }]\n',
         ", line 1: 'x' is a form already; keep it under one of the two"),
        ('[[symptom]]\nname = "A"\nforms = ["x"]\nambiguous = [{ form = "Y", case = "lower" }]\n',
         ", line 1: case 'lower' of 'Y' is unknown; use any or upper or plural"),
        ('[[symptom]]\nname = "A"\nforms = ["x"]\nambiguous = [{ form = "" }]\n',
         ", line 1: empty form for 'A'; write one or remove the entry"),
        ('[[symptom]]\nid = "a"\nname = "A"\nforms = ["x"]\n[combined]\n"x" = ["a"]\n',
         ": 'x' is a form of 'A' ({path}, line 1); remove it there or here"),
        ('[[symptom]]\nid = "a"\nname = "A"\nforms = ["x"]\n[combined]\n"y" = ["b"]\n',
         ", [combined] 'y': no symptom 'b'; use ids of the lexicon"),
        ('extends = "base.toml"\nremove = ["fevr"]\n',
         ": remove names 'fevr', which is no id of the extended lexicon (did you mean 'fever'?); "
         "see  sympress lexicon list"),
        ('extends = "base.toml"\n[[symptom]]\nid = "fevr"\nadd_forms = ["x"]\n',
         ", line 2: no symptom 'fevr' to edit (did you mean 'fever'?); see  sympress lexicon list"),
        ('extends = "base.toml"\n[[symptom]]\nid = "fever"\nremove_forms = ["xyz"]\n',
         ", line 2: remove_forms names 'xyz', which is no form of 'fever'; see  sympress lexicon show fever"),
        ('extends = "mine.toml"\n', ": extends in a circle ({path} -> {path}); remove one extends"),
        ('extends = ["base.toml"]\n',
         ': extends must be one name or path in quotes, e.g. extends = "clinical"'),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        lexicon(tmp_path, text)
    path = tmp_path / "mine.toml"
    assert str(caught.value) == f"{path}{message}".replace("{path}", str(path))


def test_a_circle_over_two_files_and_a_missing_base_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"base\.toml: extends in a circle .*; remove one extends"):
        lexicon(tmp_path, 'extends = "base.toml"', base='extends = "mine.toml"')
    with pytest.raises(InputError, match=r"gone\.toml: no such file \(extended by .*mine\.toml\)"):
        lexicon(tmp_path, 'extends = "gone.toml"')


def test_a_form_of_the_base_cannot_be_taken(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the form 'fever' of 'B' already belongs to 'fever'"):
        lexicon(tmp_path, 'extends = "base.toml"\n[[symptom]]\nname = "B"\nforms = ["fever"]\n')


def test_every_mistake_of_a_file_is_in_one_message_by_line(tmp_path: Path) -> None:
    with pytest.raises(MistakesError) as caught:
        lexicon(
            tmp_path,
            'extends = "base.toml"\nremove = ["fevr"]\nignore = ["x"]\n'
            '[[symptom]]\nid = "a"\nname = "A"\nform = ["x"]\nfroms = ["y"]\n'
            '[[symptom]]\nid = "fever"\nadd_forms = ["{the hot"]\n'
            '[[symptom]]\nid = "b"\nname = "B"\nforms = ["fevers", "arm pain"]\n'
            '[[symptom]]\nid = "b"\nname = "B"\nforms = ["y"]\n'
            '[combined]\n"a/b" = ["a", "c"]\n',
        )
    path = tmp_path / "mine.toml"
    told = [mistake.removeprefix(str(path)) for mistake in caught.value.mistakes]
    assert [one[: len(wanted)] for one, wanted in zip(told, MISTAKES, strict=True)] == MISTAKES
    assert str(caught.value).splitlines() == ["9 mistakes:", *caught.value.mistakes]
    assert caught.value.exit_code == 2


def test_a_clash_of_an_entry_with_other_mistakes_is_found_too(tmp_path: Path) -> None:
    with pytest.raises(MistakesError) as caught:
        lexicon(
            tmp_path,
            'extends = "base.toml"\n'
            '[[symptom]]\nid = "a"\nname = "A"\nfrms = ["x"]\nforms = ["fever", "{b", "c}", "zap"]\n'
            'codes = ["HP 1", "HP 2"]\nambiguous = [{ form = "zz", case = "no" }]\n'
            '[[symptom]]\nid = "b"\nname = "B"\nforms = ["zap"]\ndenials = ["fever"]\n',
        )
    path = tmp_path / "mine.toml"
    assert [one.removeprefix(str(path)).partition(";")[0] for one in caught.value.mistakes] == [
        ", line 2: unknown key 'frms' (did you mean 'forms'?)",
        ", line 2: '{b' has a brace without its other half",
        ", line 2: 'c}' has a brace without its other half",
        ", line 2: case 'no' of 'zz' is unknown",
        ", line 2: bad code 'HP 1'",
        ", line 2: bad code 'HP 2'",
        f", line 2: the form 'fever' of 'A' already belongs to 'fever' ({tmp_path / 'base.toml'}, line 6)",
        f", line 9: the form 'zap' of 'B' already belongs to 'A' ({path}, line 2)",
        f", line 9: the form 'fever' of 'B' already belongs to 'fever' ({tmp_path / 'base.toml'}, line 6)",
    ]


MISTAKES = [
    ": unknown key 'ignore' (did you mean 'ignored'?)",
    ": remove names 'fevr', which is no id of the extended lexicon (did you mean 'fever'?)",
    ", [combined] 'a/b': no symptom 'c'",
    ", line 4: unknown key 'form' (did you mean 'forms'?)",
    ", line 4: unknown key 'froms' (did you mean 'forms'?)",
    ", line 9: '{the hot' has a brace without its other half",
    ", line 12: the form 'fevers' of 'B' already belongs to 'fever'",
    ", line 12: the form 'arm pain' of 'B' already belongs to 'arm pain'",
    ", line 16: the id 'b' stands twice",
]


def test_of_many_mistakes_twenty_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    entries = "".join(f'[[symptom]]\nname = "s{k}"\nforms = [""]\n' for k in range(33))
    with pytest.raises(MistakesError) as caught:
        lexicon(tmp_path, entries)
    lines = str(caught.value).splitlines()
    assert (len(lines), lines[0], lines[-1]) == (22, "33 mistakes:", "and 13 more")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[symptom]]\nname = "A"\nforms = ["' + "{a,b}" * 40 + '"]\n',
         ", line 1: '{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a…' stands for "
         "some 10^12 forms, more than 100,000; name fewer alternatives"),
        ('[words]\na = ["{x,y}{x,y}"]\nb = ["' + "{a}" * 9 + '"]\n[[symptom]]\nname = "A"\nforms = ["x"]\n',
         ", [words] b: '{a}{a}{a}{a}{a}{a}{a}{a}{a}' stands for 262,144 forms, more than 100,000; "
         "name fewer alternatives"),
        ('[words]\na = ["' + "{1,2,3,4,5,6,7,8}" * 5 + '"]\n'
         + "".join(f'[[symptom]]\nname = "s{k}"\nforms = ["s{k} {{a}}"]\n' for k in range(20)),
         ", line 48: the templates stand for more than 500,000 forms together; name fewer alternatives"),
        ("a = " + "[" * 100_000 + "]" * 100_000, ": nested too deeply; lists here hold texts, not lists"),
        ('[[symptom]]\nname = "A"\nforms = ["--"]\n',
         ", line 1: the form '--' has no letter and no digit; write one that has"),
    ],
    ids=["doubling", "lists", "together", "nested", "signs"],
)  # fmt: skip
def test_a_file_that_would_take_all_memory_is_refused_at_once(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        lexicon(tmp_path, text)
    assert str(caught.value) == f"{tmp_path / 'mine.toml'}{message}"


def test_a_file_of_many_megabytes_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mine\.toml: more than 8 MB; a lexicon is smaller, name another"):
        lexicon(tmp_path, "#" * 8_000_001)


def test_extends_none_starts_from_nothing_as_does_no_extends(tmp_path: Path) -> None:
    entry = '[[symptom]]\nid = "a"\nname = "A"\nforms = ["x"]\n'
    assert lexicon(tmp_path, f'extends = "none"\n{entry}') == lexicon(tmp_path, entry)
