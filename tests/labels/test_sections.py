import pytest

from sympress.labels.matching import PhraseIndex, reduce_text
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


P, A, Y, H, F = "present", "absent", "hypothetical", "historical", "family"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A heading says its own of what stands under it, however it is dressed.
        ("FAMILY HISTORY: migraine", [F]),
        ("## Family History\n- migraine", [F]),
        ("**Family History**\nmigraine", [F]),
        ("Family History\n==============\nmigraine", [F]),
        ("3. FAMILY HISTORY\nmigraine", [F]),
        ("Discharge Instructions:\n- fever\n- cough", [Y, Y]),
        ("PMH: migraine. HPI: cough.", [H, P]),
        ("PMH: migraine  FH: seizures  HPI: cough", [H, F, P]),
        # Subheadings keep the section, up to a blank line or a heading that is known.
        ("Allergies:\nSulfa: hives\nCodeine: vomiting", [H, H]),
        ("Past Medical History:\nNeuro: migraine\nSkin: rash", [H, H]),
        ("Family History:\nNeurologic: seizures\nCardiac: syncope", [F, F]),
        ("PAST MEDICAL HISTORY:\n\nNeuro: migraine\n\nSkin: rash", [H, H]),
        ("Allergies:\nSulfa: hives\n\nToday: cough", [H, P]),
        ("Allergies: none\nSkin: rash", [P]),
        ("Past Medical History:\nNeuro: migraine\nHPI:\ncough", [H, P]),
        ("PAST MEDICAL HISTORY: migraine\nWOUND: pain", [H, P]),
        # What a sentence says of itself goes before its section; what ends the past ends it here too.
        ("Past Medical History:\nNo migraine", [A]),
        ("Past Medical History: migraine, presents with cough", [H, P]),
        ("Family History: migraine. Patient has cough.", [F, F]),
        ("Discharge Instructions:\nYou were admitted for cough", [P]),
        # A section of contacts speaks of them on its own line only.
        ("Sick contacts: brother with cough\nFever since Monday", [F, P]),
        ("Sick contacts:\nbrother with cough", [F]),
        # Words that are no heading where they stand.
        ("her family history is long\nmigraine", [P]),
        ("He has past medical history notes. Cough today", [P]),
    ],
)
def test_a_section_says_of_its_mentions(told, text: str, expected: list[str]) -> None:
    assert [assertion for _, assertion in told(text)] == expected


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("Allergies:\nSulfa: hives", [("allergies", "Allergies"), ("allergies", "Allergies")]),
        ("PMH: gout\nHPI: cough", [("past", "PMH"), ("hpi", "HPI")]),
        ("WOUND CARE: dry", [("other", "WOUND CARE")]),
    ],
)
def test_a_section_knows_the_words_of_its_heading(text: str, sections: list[tuple[str, str]]) -> None:
    (known,) = INDEX.find(reduce_text(text))
    found = find_sections(text, known, BOOK.kinds, lambda _: False)
    assert [(one.kind, text[slice(*one.heading)]) for one in found] == sections
