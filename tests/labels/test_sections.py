import pytest

from sympress.labels.automaton import PhraseIndex, reduce_text
from sympress.labels.sections import find_sections, load_sections

BOOK = load_sections()
INDEX = PhraseIndex({"heading": BOOK.headings})


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("FAMILY HISTORY: none", ["family"]),
        ("PMH: gout\nHPI: cough", ["past", "hpi"]),
        ("Past Medical History\ngout", ["past"]),
        ("SUBJECTIVE:, cough. ,FAMILY HISTORY: , gout", ["hpi", "family"]),
        ("ALLERGIES - none", ["allergies"]),
        ("Birth hx: jaundice\nAllergies to medicines: none", ["past", "allergies"]),
        ("Past surgical hx: hernia\nHistory of present problem: cough", ["past", "hpi"]),
        ("DISCHARGE INSTRUCTIONS: rest", ["instructions"]),
        ("PAST MEDICAL HISTORY:\nCardiac: gout", ["past", "past"]),
        ("PAST MEDICAL HISTORY: gout\nWOUND CARE: dry", ["past", "other"]),
        ("her family history is long", []),
    ],
)
def test_headings_are_found(text: str, kinds: list[str]) -> None:
    (known,) = INDEX.find(reduce_text(text))
    assert [section.kind for section in find_sections(text, known, BOOK.kinds, lambda _: False)] == kinds
