import pickle
import re
import tomllib
from functools import cache
from importlib import resources

import pytest
from marked import LINES, parse_example

from sympress.errors import InputError
from sympress.labels.annotate import Annotator
from sympress.labels.assertion import CueFinder, context_of
from sympress.labels.assertion.cues import Cue, load_cues, parse_cues
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.lexicon_file import expand_all
from sympress.labels.matching import fold, reduce_text

TABLES = tomllib.loads((resources.files("sympress.labels") / "data" / "cues.toml").read_text("utf-8"))
WORDS = {name: tuple(words) for name, words in TABLES.pop("words").items()}
SENTENCES = fold("\n".join(LINES)).replace("<", "").replace(">", "")


@cache
def said_in_sentences() -> frozenset[tuple[str, str]]:
    """What the cues of the marked sentences say, each with its words."""
    said: set[tuple[str, str]] = set()
    for line in LINES:
        text, start, end, _ = parse_example(line)
        said.update((what, why.words) for what, why in context_of(text, start, end).items())
    return frozenset(said)


@pytest.mark.parametrize("number", range(len(TABLES["cue"])))
def test_every_table_of_cues_decides_in_a_marked_sentence(number: int) -> None:
    table = TABLES["cue"][number]
    phrases = {fold(phrase) for phrase in expand_all(tuple(table["phrases"]), WORDS, "cues.toml")}
    shown = [words for said, words in said_in_sentences() if said == table["assertion"] and words in phrases]
    assert shown, (number, sorted(phrases)[:5])


@pytest.mark.parametrize(
    ("role", "number"),
    [(role, k) for role, tables in TABLES.items() if role != "cue" for k in range(len(tables))],
)
def test_every_table_of_what_limits_cues_stands_in_a_marked_sentence(role: str, number: int) -> None:
    phrases = expand_all(tuple(TABLES[role][number]["phrases"]), WORDS, "cues.toml")
    there = (p for p in map(fold, phrases) if p in SENTENCES)  # most are not: a pattern each takes a minute
    assert any(re.search(rf"(?<!\w){re.escape(p)}(?!\w)", SENTENCES) for p in there), (
        role,
        number,
        phrases[:5],
    )


def test_a_phrase_stands_once_with_all_that_it_does_backward_first() -> None:
    book = load_cues().every()
    assert len(set(book.phrases)) == len(book.phrases) == len(book.cues) > 1_000
    absent = book.cues[book.phrases.index("absent")]
    assert [cue.forward for cue in absent.cues] == [False, True]


def test_what_a_template_does_is_read_once_for_all_its_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr("sympress.labels.assertion.cues.PhraseCues", lambda cues: read.append(cues) or cues)
    book = parse_cues('[[cue]]\nassertion = "absent"\nphrases = ["kein{,e,er,es}", "nie"]\n', "own.toml")
    assert len(book.every().phrases) == 5
    assert len(read) == 2


def test_own_cues_take_the_place_of_ours() -> None:
    book = parse_cues('[[cue]]\nassertion = "absent"\nphrases = ["kein{,e}"]\n', "own.toml")
    assert book.every().phrases == ("kein", "keine")
    assert book.every().cues[0].cues == (Cue("cue", "absent"),)
    annotator = Annotator(Lexicon("own", (Symptom("Husten", ("husten",), "husten"),)), book)
    told = [m.assertion for text in ("keine Husten", "no Husten") for m in annotator.mentions(text)]
    assert told == ["absent", "present"]


def test_all_who_read_by_the_same_cues_share_one_index_and_another_process_builds_its_own() -> None:
    book = parse_cues('[[cue]]\nassertion = "absent"\nphrases = ["kein{,e}"]\n', "own.toml")
    lexicon = Lexicon("own", (Symptom("Husten", ("husten",), "husten"),))
    Annotator(lexicon, book)
    first = book.index
    Annotator(lexicon, book)
    assert book.index is first
    sent = pickle.loads(pickle.dumps(book))
    assert sent == book
    assert [m.assertion for m in Annotator(lexicon, sent).mentions("keine Husten")] == ["absent"]


def test_the_first_searches_read_few_templates_and_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sympress.labels.assertion.FIRST_SEARCHES", 10_000)
    whole, first = CueFinder(load_cues()), CueFinder(load_cues(), at_once=False)
    lines, counted, opened = SENTENCES.splitlines(), 0, []
    for place in range(
        0, len(lines), 2
    ):  # reading the templates takes much longer than searching for their phrases
        text = "\n".join(lines[place : place + 2])
        reduced = reduce_text(text)
        there, what = first.find(reduced, 0, len(text))
        wanted, every = whole.find(reduced, 0, len(text))
        found = [(*span, what[k].cues) for *span, k in there]
        assert found == [(*span, every[k].cues) for *span, k in wanted]
        counted += len(wanted)
        assert len(what) < len(every) / 20
        if (opens := whole.opens_at(reduced, len(text))) or place % 8 == 0:
            opened.append(opens)
            assert first.opens_at(reduced, len(text)) == opens
    assert counted > 500
    assert len(set(opened)) == 2


def test_after_the_first_searches_all_cues_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sympress.labels.assertion.FIRST_SEARCHES", 2)
    book = parse_cues(
        '[[cue]]\nassertion = "absent"\nphrases = ["kein{,e}", "nie {x} da"]\n[words]\nx = ["y", "z"]\n', ""
    )
    finder, reduced = CueFinder(book, at_once=False), reduce_text("keine Husten, nie y da")
    found = [finder.find(reduced, 0, 22) for _ in range(4)]
    assert [len(what) for _, what in found] == [3, 3, 4, 4]
    assert [[(start, end) for start, end, _ in there] for there, _ in found] == [[(0, 5), (14, 22)]] * 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[cue]\n", "own.toml: not valid TOML: "),
        ("[[cues]]\nphrases = []\n", "own.toml: unknown table 'cues'; use cue, pseudo, stop, "
         "statement or words"),
        ('[[cue]]\nassertion = "absent"\n',
         "own.toml, cue 1: no phrases; the keys are across_commas, assertion, before_aside, before_colon, "
         "between, clause_start, direction, directly_behind, max_words, near_mention, not_before_number, "
         "phrases, spoken, unless_behind, within_item"),
        ('[[pseudo]]\nphrases = ["x"]\nends = []\n',
         "own.toml, pseudo 1: unknown key 'ends'; the keys are phrases"),
        ('[[cue]]\nassertion = "gone"\nphrases = ["x"]\n',
         "own.toml, cue 1: unknown assertion 'gone'; "
         "use absent, possible, hypothetical, historical, family"),
        ('[[stop]]\nends = ["present"]\nphrases = ["x"]\n',
         "own.toml, stop 1: unknown assertion 'present'; "),
        ('[[cue]]\nassertion = "absent"\ndirection = "up"\nphrases = ["x"]\n',
         "own.toml, cue 1: direction is 'up'; use forward or backward"),
        ('[[cue]]\nassertion = "absent"\nphrases = ["no {evidnce}"]\n[words]\nevidence = ["sign"]\n',
         "own.toml, cue 1: no list 'evidnce' for 'no {evidnce}' (did you mean 'evidence'?)"),
    ],
)  # fmt: skip
def test_a_mistake_in_cues_is_named(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_cues(text, "own.toml")
    assert str(caught.value).startswith(message)
    assert caught.value.exit_code == 2
