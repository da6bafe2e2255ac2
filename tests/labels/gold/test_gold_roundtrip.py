"""Properties: what a writer wrote, the reader returns, for anything that the format can hold."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.labels.gold import (
    Extra,
    GoldDocument,
    GoldSpan,
    read_brat,
    read_conll,
    read_gold,
    read_jsonl,
    read_negex,
    read_pubtator,
    write_brat,
    write_conll,
    write_jsonl,
    write_negex,
    write_pubtator,
)

QUICK = settings(max_examples=40, deadline=None)
#: Letters, clinical punctuation, every kind of white space, a combining and an astral character.
TEXTS = st.text("ab1/.;|#- \n\r\t\u2005\x85\u0301é😀", max_size=40)
WORDS = st.text("aB_-é1|:", min_size=1, max_size=6).filter(lambda word: not word.startswith(":"))
VALUES = st.text("aB é-\t", max_size=6)


@st.composite
def spans(draw: st.DrawFn, text: str, *, pieces: int = 3, attributes: bool = True) -> GoldSpan:
    count = draw(st.integers(1, pieces))
    edges = draw(
        st.lists(st.integers(0, len(text)), min_size=2 * count, max_size=2 * count, unique=True).map(sorted)
    )
    fragments = tuple(zip(edges[::2], edges[1::2], strict=True))
    held = draw(st.lists(st.tuples(WORDS, VALUES), max_size=3)) if attributes else []
    return GoldSpan(fragments, draw(WORDS), tuple(held))


@st.composite
def documents(draw: st.DrawFn, *, pieces: int = 3, attributes: bool = True, texts=TEXTS) -> GoldDocument:
    text = draw(texts)
    count = draw(st.integers(0, 4)) if len(text) >= 2 * pieces else 0
    marked = [draw(spans(text, pieces=pieces, attributes=attributes)) for _ in range(count)]
    return GoldDocument("n1", text, tuple(marked))


#: Every example overwrites the files of the one before.
ROOT = tempfile.TemporaryDirectory()


def written(write: Callable[..., object], name: str, *held: GoldDocument, **options: str) -> Path:
    path = Path(ROOT.name) / name
    write(path, held, **options)
    return path


def numbered(document: GoldDocument) -> GoldDocument:
    marked = tuple(replace(span, id=f"T{n}") for n, span in enumerate(document.spans, start=1))
    return replace(document, spans=marked)


@QUICK
@given(documents())
def test_brat_holds_any_text_and_every_span_with_a_place(document: GoldDocument) -> None:
    document = numbered(document)
    (back,) = read_brat(written(write_brat, "folder", document)).documents
    assert back == document


#: Lines that are not interpreted, or that interpret a span by way of an event.
BRAT_LINES = [
    "E1\tSign:T1 ", "E2\tSign:T1 Cause:E1", "A7\tPOLARITY E1 NEG", "M3\tSpeculation T1", "A9\tSure R1",
    "R1\tMODIFY Arg1:T1 Arg2:E1\t", "*\tOVERLAP T1 E1", "*\tOVERLAP T1 E1", "N1\tReference T1 HPO:0001945\tx",
    "#1\tAnnotatorNotes T1\tsee  below\t", "",
]  # fmt: skip


@QUICK
@given(st.permutations(["T2\tS 0 2;5 7\tno ve\tkept", "T1\tSign_symptom 3 8\tfever", *BRAT_LINES]))
def test_brat_gives_back_every_line_in_its_place(lines: list[str]) -> None:
    folder = Path(ROOT.name) / "source"
    folder.mkdir(exist_ok=True)
    (folder / "n1.txt").write_text("no fever\n")
    (folder / "n1.ann").write_text("".join(f"{line}\n" for line in lines))
    held = read_brat(folder)
    assert {span.id: dict(span.attributes) for span in held.documents[0].spans} == {
        "T1": {"POLARITY": "NEG", "Speculation": ""},
        "T2": {},
    }
    again = written(write_brat, "folder", *held.documents)
    assert (again / "n1.ann").read_bytes() == (folder / "n1.ann").read_bytes()
    assert read_gold(written(write_jsonl, "x.jsonl", *held.documents)).documents == held.documents


EXTRAS = st.none() | st.just(Extra("jsonl", ('{"patient_id": 3, "extra": [1.5, null]}',))) | st.builds(
    Extra, st.sampled_from(["brat", "conll"]), st.lists(VALUES, min_size=1, max_size=3).map(tuple)
)  # fmt: skip


@QUICK
@given(documents(), EXTRAS, st.booleans())
def test_jsonl_holds_everything(document: GoldDocument, extra: Extra | None, whole: bool) -> None:
    document = replace(document, extra=extra)
    if whole:  # a label of the note as a whole, and an attribute twice
        label = GoldSpan((), "Fever", (("x", "1"), ("x", "2")), "c1")
        document = replace(document, spans=(*document.spans, label))
    other = GoldDocument("n 2|é", "")
    path = written(write_jsonl, "x.jsonl", document, other)
    assert read_jsonl(path).documents == (document, other)


def flat(document: GoldDocument) -> GoldDocument:
    """The document with what tags can hold: disjoint spans without white space at their edges."""
    kept: list[GoldSpan] = []
    for span in sorted(document.spans, key=lambda span: span.fragments):
        ((start, end),) = span.fragments
        marked = document.text[start:end]
        if marked and marked == marked.strip() and (not kept or kept[-1].fragments[0][1] <= start):
            kept.append(span)
    return replace(document, spans=tuple(kept))


@QUICK
@given(documents(pieces=1, attributes=False).map(flat), st.sampled_from(["BIO", "BIOES"]))
def test_conll_holds_disjoint_spans_of_the_given_text(document: GoldDocument, scheme: str) -> None:
    path = written(write_conll, "x.conll", document, GoldDocument("n 2", "a"), scheme=scheme)
    held = read_conll(path, texts={"n1": document.text, "n 2": "a"})
    assert held.documents == (document, GoldDocument("n 2", "a"))
    alone = read_conll(path).documents[0]
    assert re.sub(r"\s", "", alone.text) == re.sub(r"\s", "", document.text)
    assert [s.label for s in alone.spans] == [s.label for s in document.spans]
    assert read_conll(written(write_conll, "y.conll", alone)).documents == (alone,)


LINE = TEXTS.map(lambda text: re.sub(r"[\n\r\t]", " ", text))


@QUICK
@given(documents(pieces=1, attributes=False, texts=LINE), LINE, st.booleans(), VALUES)
def test_pubtator_holds_title_abstract_identifiers_and_relations(
    document: GoldDocument, abstract: str, relation: bool, identifier: str
) -> None:
    identified = (("identifier", identifier.replace("\t", "")), ("parts", "1"))
    marked = tuple(replace(s, attributes=identified[: n % 3]) for n, s in enumerate(document.spans))
    lines = (f"title\t{len(document.text)}",) if abstract else ()
    lines += ("n1\tCID\tD1\tD2",) if relation else ()
    text = f"{document.text} {abstract}" if abstract else document.text
    document = GoldDocument("n1", text, marked, Extra("pubtator", lines) if lines else None)
    path = written(write_pubtator, "x.txt", document, GoldDocument("2", "a b"))
    assert read_pubtator(path).documents == (document, GoldDocument("2", "a b"))


STATUS = st.tuples(
    st.sampled_from(["Negated", "affirmed", "Possible"]),
    st.sampled_from(["Recent", "Historical", "hypothetical", "Not particular"]),
    st.sampled_from(["Patient", "Other", "Family member"]),
)


@QUICK
@given(st.lists(st.tuples(LINE, LINE, STATUS), min_size=1, max_size=4))
def test_negex_is_written_byte_for_byte(rows: list[tuple[str, str, tuple[str, ...]]]) -> None:
    header = (
        "line number\tCondition\tsentence\tnegation_status (negated, affirmed, possible)\t"
        "temporality (historical, recent, hypothetical)\texperiencer (patient, other)\n"
    )
    lines = [
        "\t".join([str(n), condition, f"{sentence} {condition.upper()} .", *status])
        for n, (condition, sentence, status) in enumerate(rows)
    ]
    path = Path(ROOT.name) / "x.tsv"
    path.write_bytes((header + "".join(f"{line}\n" for line in lines)).encode())
    again = written(write_negex, "y.tsv", *read_negex(path).documents)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["jsonl", "brat"])
def test_line_ends_of_a_note_are_kept(name: str, tmp_path: Path) -> None:
    document = GoldDocument("n1", "a\r\nfever\r\n", (GoldSpan(((0, 8),), "S", (), "T1"),))
    write = {"jsonl": write_jsonl, "brat": write_brat}[name]
    write(tmp_path / "out", [document])
    assert read_gold(tmp_path / "out", name).documents == (document,)
