"""Time grows with a text's length, however it is written: one line, one sentence, one run of blanks."""

from __future__ import annotations

import gc
import time

import pytest
from annotators import clinical

from benchmarks.growth import LINES, MARKUP, WITHIN_A_LINE

#: Four times the text may take so many times as long: a quadratic reading takes 16 times.
MOST = 6
SHORT = 6_000
#: What is faster than this (seconds) at the greater length is too fast to compare.
TOO_FAST = 0.01
TRIES = 15

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
