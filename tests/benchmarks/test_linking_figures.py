"""Spans whose form the lexicon lacks."""

from __future__ import annotations

import pytest

from benchmarks.linking import Figures, hide, main, score
from sympress.labels.lexicon import Lexicon, Symptom
from sympress.labels.linking import SpanLinker


def test_every_form_is_known_hidden_or_left_out() -> None:
    symptoms = [Symptom(f"s{at}", tuple(f"form {at} {n}" for n in range(20)), f"s{at}") for at in range(200)]
    hidden = hide(Lexicon("made", tuple(symptoms), {"both": (3, 4)}))
    known = [form for forms in hidden.kept.values() for form in forms]
    asked = [form for form, _ in hidden.synonyms]
    assert len(known) + len(asked) + len(hidden.left_out) == 200 * 20 + 1
    assert not {*known} & {*asked}
    assert len(asked) / len(known) == pytest.approx(0.25, abs=0.03)
    assert (200 - len(hidden.kept)) / 200 == pytest.approx(0.1, abs=0.05)


def test_a_span_without_a_name_is_no_wrong_one() -> None:
    link = SpanLinker({"fever": ["fever"], "pain": ["pain"]})
    asked = [("fevers", "fever"), ("painful", "fever"), ("cough", "cough"), ("nausea", "nausea")]
    assert score(link, asked) == Figures(0.5, 0.5)


def test_the_figures_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--spans", "40"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "40 forms hidden of the clinical lexicon",
        "40 forms hidden of HPO",
        "40 forms of symptoms left out",
    ]
