"""Where a statement ends, told by how far a denial reaches."""

import pytest

from sympress.labels.assertion.sentences import REACH, Sentences

P, A, Y, H, F = "present", "absent", "hypothetical", "historical", "family"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # One statement a line.
        ("no fever\ncough", [A, P]),
        ("no fever\ncough x3d\nno rash", [A, P, A]),
        ("no fever\r\ncough", [A, P]),
        ("denies fever and rash\nheadache 8/10\nnausea", [A, A, P, P]),
        ("hx of migraine\nheadache today", [H, P]),
        ("mother has migraine\nwheezing on exam", [F, P]),
        ("No fever\nCough", [A, P]),
        ("no fever\n\ncough", [A, P]),
        ("no fever\n \t\ncough", [A, P]),
        # A line that goes on.
        ("Denies fever,\ncough and rash", [A, A, A]),
        ("Denies fever and\ncough", [A, A]),
        ("Denies fever or\nrash", [A, A]),
        ("Denies fever\nor cough", [A, A]),
        ("Denies any\nfever", [A]),
        ("There was no\nfever", [A]),
        ("Denies fever/\ncough", [A, A]),
        ("Denies fever (\ncough)", [A, A]),
        ("The patient, who was seen in the clinic today, denies fever\ncough and rash at night.", [A, A, A]),
        ("Seen with her husband this morning, she denies any fever\nCough or rash.", [A, A, A]),
        # A line that begins a new statement, however long the one before is.
        ("The patient, who was seen in the clinic today, denies any fever\n- cough", [A, P]),
        ("The patient, who was seen in the clinic today, denies any fever\nSkin: rash", [A, P]),
        ("The patient, who was seen in the clinic today, denies any fever\n[x] cough", [A, P]),
        ("The patient, who was seen in the clinic today, denies any fever\n\ncough", [A, P]),
        # Full stops that end nothing.
        ("Denies approx. two days of fever", [A]),
        ("Per Dr. Low no fever or cough", [A, A]),
        ("No fever vs. cough", [A, A]),
        ("no fever of 38.5 or cough", [A, A]),
        ("No pain, e.g. headache", [A, A]),
        ("Denies fever. cough for 2 days", [A, P]),
        ("No fever.Cough today", [A, P]),
        ('"No fever." Cough', [A, P]),
        ("No fever! Cough", [A, P]),
        # Semicolons between items, and between statements.
        ("No fever; chills; or cough.", [A, A, A]),
        ("Denies: fever; cough; rash.", [A, A, A]),
        ("Denies fever; cough; rash", [A, A, A]),
        ("No fever; has cough", [A, P]),
        ("No fever; cough for three weeks.", [A, P]),
        ("No fever; cough is worse; rash", [A, P, P]),
        ("No fever; reports cough; rash", [A, P, P]),
        ("Denies fever; cough x 3", [A, P]),
        ("No fever; the cough that she has had keeps her awake", [A, P]),
        # Lists whose line breaks were lost.
        ("No fever  2) Cough", [A, P]),
        ("1) No fever  2) Cough  3) Rash", [A, P, P]),
        # Characters that end a line.
        ("no fever\u2028cough", [A, P]),
        ("no fever\fcough", [A, P]),
        ("no fever\vcough", [A, P]),
        ("no fever\rcough", [A, P]),
        # A condition does not go over a sentence's end.
        ("Return if fever. Cough today.", [Y, P]),
        ("Call if fever\nCough today", [Y, P]),
    ],
)
def test_a_denial_reaches_to_the_end_of_its_statement(told, text: str, expected: list[str]) -> None:
    assert [assertion for _, assertion in told(text)] == expected


@pytest.mark.parametrize(
    ("text", "place", "ends"),
    [
        ("ab. Cd", 2, True),
        ("Dr. Cd", 2, False),
        ("a. b", 1, False),
        ("3.5", 1, False),
        ("end.", 3, True),
        ("Pt. c", 2, False),
        ("endHere.Now", 7, True),
        ("end.now", 3, True),
        ("n/v.now", 3, True),
        ("www.now.com", 3, False),
        ("now.com", 3, False),
        ("e.g.now", 3, False),
        ("p.o", 1, False),
        ("rash; both were gone", 4, False),
        ("rash. It resolved", 4, False),
        ("rash. It is worse", 4, True),
        ("what? Yes", 4, True),
        ("what?PE", 4, False),
        (" ?PE", 1, False),
        ("a; b; c", 1, False),
        ("a; b is", 1, True),
        ("x\nb", 1, True),
        ("a,\nb", 2, False),
        ("a\n- b", 1, True),
    ],
)
def test_marks_that_end_a_sentence(text: str, place: int, ends: bool) -> None:
    assert (Sentences(text).around(max(0, place - 1), max(1, place))[1] == place) is ends


def test_a_sentence_lies_around_its_span() -> None:
    text = "One. Two, three. Four"
    assert [text[slice(*Sentences(text).around(at, at + 1))] for at in (0, 5, 10, 17)] == [
        "One", " Two, three", " Two, three", " Four",
    ]  # fmt: skip


def test_a_sentence_without_an_end_is_cut_at_the_same_places_for_its_spans() -> None:
    text = "word " * 2_000
    borders = {Sentences(text).around(at, at + 4) for at in range(5_000, 6_000, 5)}
    assert len(borders) <= 3
    for first, last in borders:
        assert last - first <= 4 * REACH


def test_a_line_break_within_a_symptom_ends_nothing() -> None:
    text = "no shortness of\nbreath"
    assert Sentences(text).around(3, len(text)) == (0, len(text))
    assert Sentences("no fever\ncough", joined={8}).around(3, 8) == (0, 14)
