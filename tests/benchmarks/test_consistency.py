"""How consistently people marked, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.consistency import best_f1, count_consistency, main
from sympress.errors import InputError
from sympress.labels.mentions import AnnotatedNote, Mention, OtherSpan

NOTES = [
    # fever marked; rash unmarked; a skin rash marked, in which rash does not count
    AnnotatedNote("a", "Fever, rash; skin rash.", (Mention(0, 5, None), Mention(13, 22, None))),
    # fever marked, once as part of a drug's name; feverish is another word
    AnnotatedNote(
        "b", "fever after FEVER-EX, feverish", (Mention(0, 5, None),), (OtherSpan(12, 20, "Drug"),)
    ),
    AnnotatedNote("c", "rash", (Mention(0, 4, None),)),
]


def test_forms_are_counted_wherever_they_occur():
    counted = count_consistency(NOTES)
    assert (counted.notes, counted.mentions, counted.forms) == (3, 4, 3)
    assert (counted.other_kind, counted.unmarked) == (1, 1)
    assert counted.also_elsewhere == pytest.approx(2 / 4)  # the two fevers
    assert counted.contested == pytest.approx(3 / 4)  # fever and rash
    # skin rash and fever: 3 of 4 found, 4 marked; with rash as well: 4 of 4 found, 6 marked
    assert counted.form_alone_f1 == pytest.approx(max(2 * 3 / (4 + 4), 2 * 4 / (6 + 4)))


def test_the_best_choice_is_the_best_of_all_choices():
    pairs = [(5, 0), (3, 1), (2, 6), (1, 9)]

    def f1(chosen: int) -> float:
        taken = [pair for place, pair in enumerate(pairs) if chosen >> place & 1]
        right = sum(pair[0] for pair in taken)
        return 2 * right / (sum(map(sum, taken)) + 11)

    assert best_f1(pairs) == pytest.approx(max(f1(chosen) for chosen in range(16)))


def test_the_command_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "brat").mkdir()
    (tmp_path / "brat" / "n.txt").write_text("fever and fever", encoding="utf-8")
    (tmp_path / "brat" / "n.ann").write_text("T1\tSign_symptom 0 5\tfever\n", encoding="utf-8")
    output = tmp_path / "counted.json"
    assert main([str(tmp_path / "brat"), "--labels", "Sign_symptom", "-o", str(output)]) == 0
    assert json.loads(output.read_text()) == json.loads(capsys.readouterr().out)
    assert json.loads(output.read_text())["unmarked"] == 1
    assert main([str(tmp_path / "brat"), "--labels", "Symptom"]) == 2
    assert "no span is labelled Symptom" in capsys.readouterr().err
    with pytest.raises(InputError, match="no mention in 1 notes"):
        count_consistency([AnnotatedNote("n", "fever", ())])
