"""Lines that lead a list: what they say holds of its items, up to where the list ends."""

import pytest

from sympress.labels.assertion.sentences import Lines

DENIES = [("fever", "absent"), ("cough", "absent")]


@pytest.mark.parametrize(
    "bullet", ["- ", "* ", "• ", "•", "– ", "· ", "▪ ", "> ", "1. ", "1) ", "(1) ", "a. ", "a) "]
)
def test_a_cue_above_bullets_holds_of_each(told, bullet: str) -> None:
    other = bullet.replace("1", "2").replace("a", "b")
    assert told(f"Denies:\n{bullet}fever\n{other}cough") == DENIES


@pytest.mark.parametrize(
    ("lead", "assertion"),
    [
        ("Denies:", "absent"),
        ("The patient denies", "absent"),
        ("Denies the following -", "absent"),
        ("Negative for:", "absent"),
        ("Pertinent negatives:", "absent"),
        ("There is no evidence of:", "absent"),
        ("On review of systems he denies:", "absent"),
        ("Rule out:", "possible"),
        ("Concern for:", "possible"),
        ("Call your doctor if you have:", "hypothetical"),
        ("Return to the ED for any of the following:", "hypothetical"),
        ("Side effects include:", "hypothetical"),
        ("History of:", "historical"),
        ("Known to have had:", "historical"),
        ("Mother has:", "family"),
        ("Reports:", "present"),
        ("Symptoms today:", "present"),
    ],
)
def test_a_lead_says_of_its_bullets_what_its_cue_says(told, lead: str, assertion: str) -> None:
    text = f"{lead}\n- fever\n- cough\n- mild rash on both arms"
    assert told(text) == [("fever", assertion), ("cough", assertion), ("rash", assertion)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Where a list ends.
        ("Denies:\n- fever\nReports:\n- cough", ["absent", "present"]),
        ("Denies:\n- fever\n\nReports:\n- cough", ["absent", "present"]),
        ("Denies:\n- fever\n\n\n\n- cough", ["absent", "present"]),
        ("Denies:\n- fever\n\nCough since Monday.", ["absent", "present"]),
        ("Reports:\n- cough\nDenies:\n- fever\n- rash", ["present", "absent", "absent"]),
        ("No fever.\n- cough\n- rash", ["absent", "present", "present"]),
        ("Denies fever;\n- cough", ["absent", "present"]),
        # Indents and lists within lists.
        ("  Denies:\n    - fever\n    - cough", ["absent", "absent"]),
        ("- Denies:\n  - fever\n  - cough\n- rash", ["absent", "absent", "present"]),
        ("- Denies\n  - fever\n- cough", ["absent", "present"]),
        ("1. Denies:\n   a. fever\n   b. cough\n2. Reports:\n   a. rash", ["absent", "absent", "present"]),
        ("Denies:\n- of the chest:\n  - cough\n  - wheezing\n- fever", ["absent", "absent", "absent"]),
        ("Denies:\n- Resp:\n  - cough\n- Reports:\n  - fever", ["absent", "present"]),
        ("- Denies:\n    - fever\n  - cough\n- rash", ["absent", "absent", "present"]),
        ("Denies:\n\nPhysical exam:\n- rash", ["present"]),
        ("Denies:\n- fever\n  or cough at night\n- rash", ["absent", "absent", "absent"]),
        # Blank lines and bare lines.
        ("Denies:\n\n- fever\n- cough", ["absent", "absent"]),
        ("Denies:\n- fever\n\n- cough", ["absent", "absent"]),
        ("Denies:\nFever\nCough", ["absent", "absent"]),
        ("Denies:\r\n- fever\r\n- cough", ["absent", "absent"]),
        ("Denies\nfever\ncough", ["absent", "absent"]),
        # Labels.
        ("Denies:\nSkin: rash\nfever", ["present", "present"]),
        ("Denies:\n  Skin: rash\n  Chest: cough", ["absent", "absent"]),
        # An item says otherwise.
        ("Denies:\n- fever\n- but has cough", ["absent", "present"]),
        ("Denies:\n- fever\n- reports cough", ["absent", "present"]),
        ("Reports:\n- no fever\n- cough", ["absent", "present"]),
        ("Denies:\n- fever (mother has cough)\n- rash", ["absent", "family", "absent"]),
        ("Denies:\n- fever. Cough is new.\n- rash", ["absent", "present", "absent"]),
        ("Denies:\n- fever +\n- cough", ["present", "absent"]),
        # Where no cue leads: a line that says something of its own symptom has said it.
        ("No fever\n- cough\n- rash", ["absent", "present", "present"]),
        ("No fever and none of these\n- cough\n- rash", ["absent", "absent", "absent"]),
        ("No fever, and he denies\n- cough", ["absent", "absent"]),
        ("Denies fever and:\n- cough", ["absent", "absent"]),
        ("He denies fever and has\n- cough\n- rash", ["absent", "present", "present"]),
        ("Fever\n- cough\n- rash", ["present", "present", "present"]),
        ("- fever\n- no cough\n- rash", ["present", "absent", "present"]),
        ("COVID test: negative\n- fever\n- cough", ["present", "present"]),
    ],
)  # fmt: skip
def test_a_list_ends_where_its_form_says(told, text: str, expected: list[str]) -> None:
    assert [assertion for _, assertion in told(text)] == expected


def test_a_lead_reaches_over_a_thousand_items(told) -> None:
    text = "Denies:\n" + "- fever\n" * 1_000 + "\nReports:\n" + "- cough\n" * 1_000
    assert told(text) == [("fever", "absent")] * 1_000 + [("cough", "present")] * 1_000


def test_a_line_of_five_hundred_characters_leads_nothing(told) -> None:
    assert told("x " * 250 + "denies:\n- fever") == [("fever", "present")]


@pytest.mark.parametrize(
    ("text", "place", "lead"),
    [
        ("Denies:\n- fever", 10, "Denies:"),
        ("one line denies: fever", 18, None),
        ("Denies:\n- fever\n- cough", 18, "Denies:"),
        ("A:\n\nB", 4, "A:"),
        ("A:\n\n\nB", 5, None),
        ("A\nB", 2, None),
        ("A says\nB", 7, "A says"),
        ("  * A:\n    - B", 13, "A:"),
        ("A:\nB: C", 3, None),
        ("A:\n  B: C", 5, "A:"),
    ],
)
def test_the_line_that_leads_a_place(text: str, place: int, lead: str | None) -> None:
    line = Lines(text, lambda end: text[:end].endswith("says")).lead(place)
    assert (None if line is None else text[line.start : line.end]) == lead


def test_lines_are_numbered_and_bounded() -> None:
    lines = Lines("ab\n\n c", lambda _: False)
    assert [lines.number(place) for place in (0, 1, 2, 3, 4, 5)] == [0, 0, 0, 1, 2, 2]
    assert [lines.bounds(number) for number in range(3)] == [(0, 2), (3, 3), (4, 6)]
    assert lines.line(1) is None
    line = lines.line(2)
    assert line is not None
    assert (line.indent, line.bullet, line.start, line.end) == (1, False, 5, 6)


@pytest.mark.parametrize(
    ("answer", "assertion"),
    [
        ("Rash - Not present", "absent"),
        ("Rash - not noted", "absent"),
        ("Rash - ruled out", "absent"),
        ("Rash: denied", "absent"),
        ("Rash: resolved", "historical"),
        ("Rash - improved, resolved", "historical"),
    ],
)
def test_a_line_that_answers_says_nothing_of_the_next(told, answer: str, assertion: str) -> None:
    assert told(f"{answer}\nFever, chills and cough at home") == [
        ("rash", assertion),
        ("fever", "present"),
        ("chills", "present"),
        ("cough", "present"),
    ]


def test_a_line_of_nil_says_nothing_of_the_next(told) -> None:
    assert ("vomiting", "absent") not in told("Past history\nNil\nPresenting complaint\nVomiting")
