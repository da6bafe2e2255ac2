import time

import pytest

from sympress.labels.annotate import find_definitions


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        ("He has cerebral palsy (CP).", "cp", "cerebral palsy "),
        ("HA (hyaluronic acid) filler", "ha", "hyaluronic acid"),
        ("with chest pain (CP)", "cp", "chest pain "),
        ("acute mountain sickness (AMS)", "ams", "acute mountain sickness "),
    ],
)
def test_a_note_defines_an_abbreviation(text: str, short: str, long: str) -> None:
    (found,) = find_definitions(text)
    assert (found.short, text[found.start : found.end]) == (short, long)


@pytest.mark.parametrize(
    "text",
    ["fever (CP)", "He came (HA) home", "CP (since Monday)", "(CP)", "SOB (mild)", "no brackets CP", "x (CP"],
)
def test_brackets_that_define_nothing(text: str) -> None:
    assert find_definitions(text) == []


@pytest.mark.parametrize("piece", ["(", "(CP) ", "cerebral palsy (CP) ", "CP (c", "a "])
def test_the_time_grows_with_the_text(piece: str) -> None:
    def seconds(count: int) -> float:
        text = piece * (count // len(piece))
        start = time.process_time()
        find_definitions(text)
        return time.process_time() - start

    assert min(seconds(120_000) for _ in range(2)) < 12 * min(seconds(15_000) for _ in range(3)) + 0.02
