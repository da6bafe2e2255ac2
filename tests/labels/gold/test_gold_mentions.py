"""From marked spans to mentions and to labels: one rule, everything counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sympress.errors import InputError
from sympress.labels.gold import read_gold
from sympress.labels.gold.documents import GoldDocument, GoldSpan, write_jsonl
from sympress.labels.gold.mentions import gold_labels, to_annotated
from sympress.labels.mentions import AnnotatedNote, Mention, OtherSpan


def document(text: str, *fragments: tuple[tuple[int, int], ...]) -> GoldDocument:
    return GoldDocument("n1", text, tuple(GoldSpan(pieces, "S") for pieces in fragments))


WRAPPED, LONGEST = "discontinuous: covering span taken", "discontinuous: longest fragment taken"
OVERLAP = "overlapping a longer or an earlier span: dropped"
TRIMMED, BLANK = "white space at the edges: trimmed", "nothing but white space: dropped"
PLACES = [
    ("chest\npain", [((0, 5), (6, 10))], [(0, 10)], {WRAPPED: 1}),
    ("pain (-) chest", [((0, 4), (9, 14))], [(0, 14)], {WRAPPED: 1}),
    ("abdominal and chest pain", [((0, 9), (20, 24))], [(0, 9)], {LONGEST: 1}),
    ("pain in arms", [((0, 4), (8, 12))], [(0, 4)], {LONGEST: 1}),
    ("chest pain", [((0, 5),), ((0, 10),)], [(0, 10)], {OVERLAP: 1}),
    ("a b c", [((0, 3),), ((2, 5),)], [(0, 3)], {OVERLAP: 1}),
    ("abcdef", [((0, 2),), ((1, 4),), ((3, 5),)], [(1, 4)], {OVERLAP: 2}),
    ("ab", [((0, 1),), ((1, 2),)], [(0, 1), (1, 2)], {}),
    (" ab ", [((0, 4),), ((1, 3),)], [(1, 3)], {TRIMMED: 1, OVERLAP: 1}),
    ("a  b", [((1, 3),)], [], {BLANK: 1}),
    ("ab", [()], [], {"without a place in the text: dropped": 1}),
]


@pytest.mark.parametrize(("text", "marked", "expected", "happened"), PLACES)
def test_spans_become_contiguous_and_disjoint(text, marked, expected, happened) -> None:
    ((note,), counts) = to_annotated([document(text, *marked)], labels={"S"})
    assert [(mention.start, mention.end) for mention in note.mentions] == expected
    assert counts["symptom spans"] == len(marked)
    assert {key: n for key, n in counts.items() if key in happened} == happened
    dropped = sum(n for key, n in counts.items() if key.endswith("dropped"))
    assert counts["symptom spans"] == counts["mentions"] + dropped


ASSERTED = [
    ([], "present"),
    ([("POLARITY", "NEG")], "absent"),
    ([("POLARITY", "MAYBE_NEG")], "possible"),
    ([("TREND", "INC")], "present"),
    ([("negation_status", "Negated"), ("temporality", "Historical")], "absent"),
    ([("negation_status", "Affirmed"), ("temporality", "Historical")], "historical"),
    ([("negation_status", "Negated"), ("experiencer", "Family member")], "family"),
    ([("assertion", "hypothetical")], "hypothetical"),
]


@pytest.mark.parametrize(("attributes", "expected"), ASSERTED)
def test_attributes_say_what_is_asserted(attributes, expected) -> None:
    marked = GoldDocument("n1", "fever", (GoldSpan(((0, 5),), "S", tuple(attributes)),))
    ((note,), counts) = to_annotated([marked], labels={"S"})
    assert note.mentions[0].assertion == expected
    assert counts[f"mentions {expected}"] == 1
    assert counts["attributes TREND: not read"] == (("TREND", "INC") in attributes)


def test_a_symptom_comes_from_the_label_or_from_the_surface() -> None:
    text = "fever, abdominal and chest pain"
    pieces = {"Pyrexia": ((0, 5),), "S": ((7, 16), (27, 31)), "Drug": ((21, 31),)}
    marked = GoldDocument("n1", text, tuple(GoldSpan(place, label) for label, place in pieces.items()))
    asked: list[str] = []

    def symptom_of(surface: str) -> str | None:
        asked.append(surface)
        return {"abdominal pain": "abdominal_pain"}.get(surface)

    (notes, counts) = to_annotated([marked], labels={"Pyrexia": "fever", "S": None}, symptom_of=symptom_of)
    mentions = (Mention(0, 5, "fever"), Mention(7, 16, "abdominal_pain"))
    assert notes == [AnnotatedNote("n1", text, mentions, (OtherSpan(21, 31, "Drug"),))]
    assert asked == ["abdominal pain"], "fragments joined; a label's own symptom is not looked up"
    assert counts["spans of other labels"] == 1


def test_labels_and_values_that_do_not_fit() -> None:
    marked = GoldDocument("n1", "fever", (GoldSpan(((0, 5),), "Sign_symptom", (("POLARITY", "NEGG"),)),))
    with pytest.raises(InputError) as caught:
        to_annotated([marked], labels={"Sign_symptoms"})
    assert str(caught.value) == (
        "no span is labelled Sign_symptoms (did you mean 'Sign_symptom'?); there is Sign_symptom"
    )
    with pytest.raises(InputError) as caught:
        to_annotated([marked], labels={"Sign_symptom"})
    assert str(caught.value) == (
        "note 'n1': POLARITY is 'NEGG' (did you mean 'neg'?); write what it asserts (for example present, "
        "absent, possible, hypothetical, historical, family), or say  --ignore-attribute POLARITY"
    )


TEXT = "fever cough rash"
FEVER, COUGH, NO_COUGH, UNKNOWN = (
    Mention(0, 5, "fever"),
    Mention(6, 11, "cough"),
    Mention(6, 11, "cough", "absent"),
    Mention(12, 16, None),
)
NOTES = [
    AnnotatedNote("c", TEXT, (FEVER, NO_COUGH, UNKNOWN)),
    AnnotatedNote("a", TEXT, (FEVER, NO_COUGH)),
    AnnotatedNote("b", TEXT, (COUGH,)),
]
FRAME = pl.DataFrame({"note_id": list("abcd"), "text": [TEXT] * 4})


def test_present_labels_are_what_people_affirmed() -> None:
    labels = gold_labels(NOTES, FRAME, top_k=2)
    assert (labels.task, labels.provenance, labels.symptoms) == ("present", "gold", ("fever", "cough"))
    assert labels.note_ids == ("a", "b", "c")
    assert labels.targets.tolist() == [[1, 0], [0, 1], [1, 0]]
    assert labels.targets.dtype == np.uint8
    assert labels.counts == {
        "notes": 4, "not annotated": 1, "with none of the 2 symptoms": 0, "mentions": 6,
        "mentions without a symptom of the lexicon": 1, "labelled fever": 2, "labelled cough": 1,
    }  # fmt: skip
    train = np.array([False, True, False, False])
    assert gold_labels(NOTES, FRAME, top_k=1, rows=train).symptoms == ("cough",)
    assert gold_labels(NOTES, FRAME, symptoms=["rash"]).targets.tolist() == [[0], [0], [0]]


def other_text(note: AnnotatedNote) -> AnnotatedNote:
    return AnnotatedNote(note.note_id, note.text + ".", note.mentions)


REFUSED = [
    (
        [*NOTES, AnnotatedNote("z", "", ())],
        1,
        "labels for 1 notes that are not there (first: note 'z'); give the notes that were annotated",
    ),
    ([*NOTES, NOTES[0]], 1, "note 'c' is annotated twice; keep one of them"),
    (
        [other_text(NOTES[0])],
        1,
        "note 'c': the annotated text is not the note's; give the notes that were annotated",
    ),
    (
        NOTES,
        3,
        "people affirmed only 2 symptoms in the notes they are chosen from, --top-k asks for 3: "
        "use --top-k 2 or annotate more notes",
    ),
    (NOTES, 0, "--top-k is 0: at least 1 symptom is needed"),
    (
        [AnnotatedNote("a", TEXT, (Mention(0, 5, None),))],
        1,
        "no annotated note affirms a symptom of the lexicon: give `symptom_of` or a mapping of labels to "
        "symptoms when the annotations are read",
    ),
]


@pytest.mark.parametrize(("notes", "top_k", "expected"), REFUSED)
def test_labels_that_do_not_fit_the_notes(notes, top_k, expected) -> None:
    with pytest.raises(InputError) as caught:
        gold_labels(notes, FRAME, top_k=top_k)
    assert str(caught.value) == expected


def test_maccrobat_is_read(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "maccrobat"
    if not folder.is_dir():
        pytest.skip("maccrobat is not here: set SYMPRESS_DATA")
    held = read_gold(folder)
    assert held.counts == {"notes": 150, "spans": 18642, "discontinuous spans": 38}
    write_jsonl(tmp_path / "x.jsonl", held.documents)
    assert read_gold(tmp_path / "x.jsonl").documents == held.documents
    _, counts = to_annotated(held.documents, labels={"Sign_symptom"})
    assert {key: n for key, n in counts.items() if key.startswith(("mentions", WRAPPED, LONGEST))} == {
        "mentions": 2501, "mentions present": 1987, "mentions absent": 462, "mentions possible": 52,
        "mentions without a symptom of the lexicon": 2501, WRAPPED: 1,
    }  # fmt: skip


def test_the_negex_file_is_read(shared_data: Path) -> None:
    source = shared_data / "negex" / "dev.tsv"
    if not source.is_file():
        pytest.skip("negex is not here: set SYMPRESS_DATA")
    held = read_gold(source)
    assert held.counts == {
        "notes": 1166, "spans": 1166, "conditions that do not stand in their sentence": 5
    }  # fmt: skip
