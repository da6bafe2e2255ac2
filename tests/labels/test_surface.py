"""The symptoms of a lexicon by their codes."""

from __future__ import annotations

from sympress.labels.lexicon import load_lexicon
from sympress.labels.surface import codes_by_symptom


def test_codes_are_those_of_the_lexicon() -> None:
    codes = codes_by_symptom(load_lexicon("clinical"))
    assert all(codes.values())
    assert any(code.startswith("HP:") for code in codes["fever"])
