"""Sentences in which one mention is marked, with what is asserted of it."""

import re
from pathlib import Path

from sympress.labels.mentions import ASSERTIONS

_EXAMPLE = re.compile(r"([^<>]*)<([^<>]+)>([^<>]*) = ([a-z]+)")


def parse_example(line: str) -> tuple[str, int, int, str]:
    """Return the text, where the mention starts and ends, and the assertion; `\\n` and `\\t` are read."""
    found = _EXAMPLE.fullmatch(line)
    if found is None:
        raise ValueError(f"{line!r}: write it like 'Denies <fever> = absent', with one mention")
    before, mention, after, assertion = found.groups()
    if assertion not in ASSERTIONS:
        raise ValueError(f"{line!r}: unknown assertion {assertion!r}")
    if mention != mention.strip():
        raise ValueError(f"{line!r}: no space inside the brackets")
    before, mention, after = (
        part.replace("\\n", "\n").replace("\\t", "\t") for part in (before, mention, after)
    )
    return before + mention + after, len(before), len(before) + len(mention), assertion


LINES = [
    line
    for line in (Path(__file__).parent / "sentences.txt").read_text("utf-8").splitlines()
    if not line.startswith("#")
]
