import pytest
from marked import LINES, parse_example

from sympress.labels.assertion import context_of, decide


@pytest.mark.parametrize("line", LINES)
def test_marked_sentence(line: str) -> None:
    text, start, end, assertion = parse_example(line)
    assert decide(context_of(text, start, end))[0] == assertion


def test_there_are_enough_examples_each_once() -> None:
    assert len(set(LINES)) == len(LINES) >= 570


@pytest.mark.parametrize(
    "line",
    [
        "Denies fever = absent",
        "Denies <fever> and <chills> = absent",
        "Denies <fever>",
        "Denies <fever> = gone",
        "Denies < fever> = absent",
    ],
)
def test_malformed_examples_are_rejected(line: str) -> None:
    with pytest.raises(ValueError, match=r"^'Denies"):
        parse_example(line)


def test_everything_that_holds_is_told_not_only_what_takes_precedence() -> None:
    assert context_of("No history of fever", 14, 19).keys() == {"absent", "historical"}
    assert context_of("PAST MEDICAL HISTORY: No fever", 25, 30).keys() == {"absent", "historical"}


@pytest.mark.parametrize(("start", "end"), [(3, 3), (-1, 2), (0, 99)])
def test_a_span_outside_the_text_is_refused(start: int, end: int) -> None:
    with pytest.raises(ValueError, match=r"not within a text of 5 characters$"):
        context_of("fever", start, end)
