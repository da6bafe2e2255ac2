import re
from pathlib import Path

import pytest

from sympress.labels.assertion.decide import assert_mention, context_of
from sympress.labels.mentions import ASSERTIONS

_EXAMPLE = re.compile(r"([^<>]*)<([^<>]+)>([^<>]*) = ([a-z]+)")


def parse_example(line: str) -> tuple[str, int, int, str]:
    """Return the text, where the mention starts and ends, and the assertion; `\\n` stands for a newline."""
    found = _EXAMPLE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r}: write it like 'Denies <fever> = absent', with one mention")
    before, mention, after, assertion = found.groups()
    if assertion not in ASSERTIONS:
        raise ValueError(f"{line!r}: unknown assertion {assertion!r}")
    if mention != mention.strip():
        raise ValueError(f"{line!r}: no space inside the brackets")
    before, mention, after = (part.replace("\\n", "\n") for part in (before, mention, after))
    return before + mention + after, len(before), len(before) + len(mention), assertion


LINES = [
    line
    for line in (Path(__file__).parent / "sentences.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]


@pytest.mark.parametrize("line", LINES)
def test_marked_sentence(line: str) -> None:
    text, start, end, assertion = parse_example(line)
    assert assert_mention(text, start, end) == assertion


def test_there_are_enough_examples_each_once() -> None:
    assert len(set(LINES)) == len(LINES) >= 280


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
        assert_mention("fever", start, end)
