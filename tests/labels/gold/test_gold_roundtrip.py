"""Properties: what a writer wrote, the reader returns, for anything that the format can hold."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import Extra, GoldDocument, GoldSpan, read_jsonl, write_jsonl

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


EXTRAS = st.none() | st.just(Extra("jsonl", ('{"patient_id": 3, "extra": [1.5, null]}',))) | st.builds(
    Extra, st.sampled_from(["doccano", "label-studio"]), st.lists(VALUES, min_size=1, max_size=3).map(tuple)
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


def test_line_ends_of_a_note_are_kept(tmp_path: Path) -> None:
    document = GoldDocument("n1", "a\r\nfever\r\n", (GoldSpan(((0, 8),), "S", (), "T1"),))
    write_jsonl(tmp_path / "out", [document])
    assert read_gold(tmp_path / "out", "jsonl").documents == (document,)
