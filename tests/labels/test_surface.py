"""The symptoms of a lexicon by their codes."""

from __future__ import annotations

from sympress.labels.lexicon import codes_by_symptom, load_lexicon


def test_codes_are_those_of_the_lexicon() -> None:
    codes = codes_by_symptom(load_lexicon("clinical"))
    assert all(codes.values())
    assert any(code.startswith("HP:") for code in codes["fever"])
