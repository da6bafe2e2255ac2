"""i2b2 2010: concepts by line and token, assertions in a file of their own, in every layout of folders."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import GoldSpan
from sympress.labels.gold.mentions import symptom_labels, to_annotated
from sympress.labels.gold.standoff import read_i2b2
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import OtherSpan

TEXT = "No fever .\nGiven aspirin for chest pain .\n"
CONCEPTS = """\
c="fever" 1:1 1:1||t="problem"
c="aspirin" 2:1 2:1||t="treatment"
c="chest pain" 2:3 2:4||t="problem"
"""
FIRST = CONCEPTS.split("\n", 1)[0] + "\n"
ASSERTIONS = 'c="fever" 1:1 1:1||t="problem"||a="absent"\nc="chest pain" 2:3 2:4||t="problem"||a="present"\n'


def corpus(root: Path, text: str = TEXT, con: str | None = CONCEPTS, ast: str | None = ASSERTIONS) -> Path:
    root.mkdir(exist_ok=True)
    for suffix, content in (("txt", text), ("con", con), ("ast", ast)):
        if content is not None:
            (root / f"r1.{suffix}").write_bytes(content.encode())
    return root


LAYOUTS = [
    ("r1.txt", "r1.con", "r1.ast", "r1"),
    ("txt/r1.txt", "concept/r1.con", "ast/r1.ast", "txt/r1"),
    ("train/beth/txt/r1.txt", "train/beth/concept/r1.con", "train/beth/ast/r1.ast", "train/beth/txt/r1"),
    ("data/r1.txt", "reference/concepts/r1.con", "reference/ast/r1.ast", "data/r1"),
]


@pytest.mark.parametrize(("text", "con", "ast", "note_id"), LAYOUTS)
def test_the_files_of_a_note_are_found(text: str, con: str, ast: str, note_id: str, tmp_path: Path) -> None:
    for name, content in ((text, TEXT), (con, CONCEPTS), (ast, ASSERTIONS)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    held = read_gold(tmp_path)
    assert held.format == "i2b2"
    (document,) = held.documents
    assert (document.note_id, document.text) == (note_id, TEXT)
    assert document.spans == (
        GoldSpan(((3, 8),), "problem", (("assertion", "absent"),)),
        GoldSpan(((17, 24),), "treatment"),
        GoldSpan(((29, 39),), "problem", (("assertion", "present"),)),
    )
    labels = symptom_labels(held.documents, load_lexicon("paper"), source="x")
    ((note,), _) = to_annotated(held.documents, labels=labels)
    assert [mention.assertion for mention in note.mentions] == ["absent", "present"]
    assert note.others == (OtherSpan(17, 24, "treatment"),)


def test_two_hospitals_may_use_the_same_names(tmp_path: Path) -> None:
    for ward, ast in (("a", ASSERTIONS), ("b", ASSERTIONS.replace("absent", "possible"))):
        for folder, suffix, content in (
            ("txt", "txt", TEXT),
            ("concept", "con", CONCEPTS),
            ("ast", "ast", ast),
        ):
            (tmp_path / ward / folder).mkdir(parents=True)
            (tmp_path / ward / folder / f"r1.{suffix}").write_text(content)
    first, second = read_gold(tmp_path).documents
    assert (first.note_id, second.note_id) == ("a/txt/r1", "b/txt/r1")
    assert second.spans[0].attributes == (("assertion", "possible"),)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("present", "present"),
        ("absent", "absent"),
        ("possible", "possible"),
        ("conditional", "hypothetical"),
        ("hypothetical", "hypothetical"),
        ("associated_with_someone_else", "family"),
    ],
)
def test_every_assertion_of_the_challenge_is_mapped(word: str, expected: str, tmp_path: Path) -> None:
    held = read_i2b2(corpus(tmp_path, ast=ASSERTIONS.replace('"absent"', f'"{word}"')))
    ((note,), _) = to_annotated(held.documents, labels={"problem"})
    assert note.mentions[0].assertion == expected


SAME = [
    ("No fever .\r\nGiven aspirin for chest pain .\r\n", CONCEPTS.replace("\n", "\r\n"), [(3, 8), (30, 40)]),
    ("No fever .\nGiven aspirin for chest  pain .", CONCEPTS, [(3, 8), (29, 40)]),
    ("No fever .\nGiven aspirin for chest  pain .", CONCEPTS.replace("2:4", "2:5"), [(3, 8), (29, 40)]),
    ("NO FEVER .\n Given aspirin for chest pain .", CONCEPTS, [(3, 8), (30, 40)]),
]


@pytest.mark.parametrize(("text", "con", "places"), SAME)
def test_line_ends_spaces_and_capitals_may_differ(text, con, places, tmp_path: Path) -> None:
    ast = ASSERTIONS.replace("2:4", "2:5") if "2:5" in con else ASSERTIONS
    (document,) = read_i2b2(corpus(tmp_path, text, con, ast)).documents
    assert [span.fragments[0] for span in document.spans if span.label == "problem"] == places


def test_a_concept_may_cross_lines_and_hold_quotes(tmp_path: Path) -> None:
    text = 'Says "it hurts" and 😀 fièvre\nhigh today'
    con = 'c="says "it hurts"" 1:0 1:2||t="problem"\nc="fièvre high" 1:5 2:0||t="problem"\n'
    (document,) = read_i2b2(corpus(tmp_path, text, con, None)).documents
    assert [span.surface(text) for span in document.spans] == ['Says "it hurts"', "fièvre\nhigh"]


def test_one_file_stands_for_its_note(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "one")
    (folder / "r2.txt").write_text("x")
    (folder / "r2.con").write_text("damaged")
    held = read_gold(folder / "r1.ast")
    assert [document.note_id for document in held.documents] == ["r1"]


WRONG = (
    "the words are not those of the text at {}; lines count from 1, tokens from 0: the .txt is not the one "
    "that was annotated, or the places are wrong"
)
REFUSED = [
    ({"con": CONCEPTS.replace("1:1 1:1", "1:0 1:0")}, f"r1.con, line 1: {WRONG.format('1:0 1:0')}"),
    ({"con": CONCEPTS.replace("1:1 1:1", "0:1 0:1")}, f"r1.con, line 1: {WRONG.format('0:1 0:1')}"),
    ({"con": CONCEPTS.replace("2:3 2:4", "2:4 2:5")}, f"r1.con, line 3: {WRONG.format('2:4 2:5')}"),
    ({"con": CONCEPTS.replace("2:3 2:4", "9:3 9:4")}, f"r1.con, line 3: {WRONG.format('9:3 9:4')}"),
    ({"ast": ASSERTIONS.replace("1:1 1:1", "1:2 1:2")}, f"r1.ast, line 1: {WRONG.format('1:2 1:2')}"),
    ({"con": "fever 1:1\n"},
     'r1.con, line 1: malformed; an i2b2 line is  c="words" 1:0 1:1||t="problem"  and in .ast files behind '
     'it  ||a="present"'),
    ({"ast": CONCEPTS}, 'r1.ast, line 1: has no assertion; a line of an .ast file ends with  ||a="present"'),
    ({"con": FIRST},
     "r1.ast, line 2: the .con file has no such concept; the two do not belong together"),
    ({"ast": ASSERTIONS + ASSERTIONS.replace("absent", "possible")},
     "r1.ast, line 3: asserts possible, but line 1 asserts absent of the same words; keep one"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), REFUSED)
def test_damage_is_refused_with_file_and_line(files: dict[str, str], expected: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_i2b2(corpus(tmp_path, **files))
    assert str(caught.value) == f"{tmp_path}/{expected}"


@pytest.mark.parametrize("ast", [None, ASSERTIONS.split("\n", 1)[1]])
def test_a_problem_without_an_assertion_is_not_present(ast: str | None, tmp_path: Path) -> None:
    held = read_i2b2(corpus(tmp_path, ast=ast))
    assert held.counts["problems without an assertion"] == (2 if ast is None else 1)
    with pytest.raises(InputError) as caught:
        to_annotated(held.documents, labels={"problem"})
    assert str(caught.value).startswith(
        f"{tmp_path}/r1.con, line 1: no .ast line for this problem: assertion has no value; write what"
    )
    ((note,), _) = to_annotated(held.documents, labels={"problem"}, ignore=["assertion"])
    assert [mention.assertion for mention in note.mentions] == ["present", "present"]


def test_texts_that_are_missing_or_not_told_apart(tmp_path: Path) -> None:
    corpus(tmp_path).joinpath("r1.txt").unlink()
    with pytest.raises(InputError, match=r"r1\.txt is missing; give the folder that holds the text and its"):
        read_i2b2(tmp_path)
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "r1.txt").write_text(TEXT)
    with pytest.raises(InputError, match=r"may be its text; put each note's files in one folder"):
        read_i2b2(tmp_path)


def test_texts_that_nobody_annotated_and_double_lines_are_counted(tmp_path: Path) -> None:
    (corpus(tmp_path, con=CONCEPTS + FIRST) / "r2.txt").write_text("x")
    assert read_i2b2(tmp_path).counts == {
        "notes": 1, "spans": 3, "texts without .con and .ast, not read": 1,
        "concepts that are there twice: one kept": 1,
    }  # fmt: skip


#: Every example overwrites the files of the one before.
ROOT = tempfile.TemporaryDirectory()
WORDS = st.lists(st.text("aé😀.-\u00a0", min_size=1, max_size=4), min_size=1, max_size=5)


@settings(max_examples=40, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=4), st.data())
def test_places_by_line_and_token_are_those_of_the_characters(lines, data) -> None:
    line = data.draw(st.integers(1, len(lines)))
    first = data.draw(st.integers(0, len(lines[line - 1]) - 1))
    last = data.draw(st.integers(first, len(lines[line - 1]) - 1))
    words = " ".join(lines[line - 1][first : last + 1])
    text = "\n".join(" ".join(each) for each in lines)
    con = f'c="{words}" {line}:{first} {line}:{last}||t="test"\n'
    folder = corpus(Path(ROOT.name), text, con, None)
    (document,) = read_i2b2(folder).documents
    assert document.spans[0].surface(text) == words
