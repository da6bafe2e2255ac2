"""Time grows with a text's length, however it is written: one line, one sentence, one run of blanks."""

from __future__ import annotations

import gc
import time

import pytest
from annotators import clinical

#: Four times the text may take so many times as long: a quadratic reading takes 16 times.
MOST = 6
SHORT = 6_000
#: What is faster than this (seconds) at the greater length is too fast to compare.
TOO_FAST = 0.01
TRIES = 15

WITHIN_A_LINE = [
    *(
        "no fever ",
        "fever, ",
        "no fever, ",
        "fever; ",
        "; fever",
        "fever? ",
        "? fever ",
        "fever.",
        "...fever",
    ),
    *(" -fever", "- fever ", "fever- ", "+fever ", "• fever ", "|fever", "fever | no | ", "fever\tno\t"),
    *("[ ] fever ", "(-) fever ", "(-): fever; ", "Fever: No ", "fever: ", "fever no ", "fever,no,"),
    *("plan: ", "Ab: ", "denies: ", "PMH: fever ", "FEVER: ", ". AB CD: ", "Allergies: fever "),
    *("(fever (no) ", "no (fever ", "CP (x) ", "cerebral palsy (CP) ", "T 101 ", "38 C, 39 C, ", "120/70 "),
    *(
        "or fever, ",
        "no fever, cough for 3 days, ",
        "not fever, but cough ",
        "if fever ",
        "without a fever, a cough, ",
        "fever, cough and rash resolved, ",
        "no fever and the cough ",
        "mother has fever ",
    ),
]
LINES = [
    *("- fever\n", "  - fever\n", "denies:\n", "denies:\n- fever\n", "fever\n", "fever,\n", "fever and\n"),
    *("no fever\n", "fever, no\n", "fever\tno\n", "fever x\n", "Symptom | Yes | No\n", "fever | x |\n"),
    *("PMH: fever\n", "Allergies:\nPenicillin: hives\n", "-fever\n", "+fever\n-cough\n", "\n", "fever.\n"),
]
MARKUP = ["<p>fever</p>", "<td>fever</td>", "&nbsp;fever", "{\\rtf1 fever", "OBX|1|TX|a||fever\n"]
#: A beginning, what is repeated behind it, and an end.
RUNS = [
    *(("T 101", " ", "101"), ("shortness of", " ", "\n\nbreath"), ("fever", "\t", "no"), ("PMH:", " ", "x")),
    *(("fever (", "a ", ")"), ("denies", "\n", "fever"), ("[**", "a", "**]"), ("38.5", " ", "temp")),
]


def _seconds(text: str) -> float:
    annotator, collects = clinical(), gc.isenabled()
    gc.disable()  # what other tests left behind is none of a text's
    try:
        started = time.process_time()
        annotator.mentions(text)
        return time.process_time() - started
    finally:
        if collects:
            gc.enable()


def _grows_linearly(begin: str, repeated: str, end: str) -> bool:
    """Whether four times the length takes at most `MOST` times as long, at the best of some tries."""
    texts = [begin + repeated * (length // len(repeated)) + end for length in (SHORT, 4 * SHORT)]
    short, long = float("inf"), float("inf")
    for _ in range(TRIES):
        short, long = min(short, _seconds(texts[0])), min(long, _seconds(texts[1]))
        if long < max(TOO_FAST, MOST * short):
            return True
    return False


@pytest.mark.parametrize("shape", [*WITHIN_A_LINE, *LINES, *MARKUP])
def test_time_grows_with_how_often_a_shape_is_repeated(shape: str) -> None:
    assert _grows_linearly("", shape, "")


@pytest.mark.parametrize(("begin", "repeated", "end"), RUNS)
def test_time_grows_with_the_length_of_a_run(begin: str, repeated: str, end: str) -> None:
    assert _grows_linearly(begin, repeated, end)
