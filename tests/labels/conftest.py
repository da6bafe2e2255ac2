"""What notes say of a few symptoms, by our cues and sections."""

from collections.abc import Callable

import pytest

from sympress.labels.annotate import Annotator
from sympress.labels.lexicon import Lexicon, Symptom

WORDS = (
    *("fever", "cough", "rash", "chills", "nausea", "vomiting", "headache", "pain", "edema", "dyspnea"),
    *("wheezing", "dizziness", "migraine", "seizures", "syncope", "hives", "itching"),
)

Told = Callable[[str], list[tuple[str, str]]]
Reasons = Callable[[str], list[tuple[str, str, str | None, str]]]


@pytest.fixture(scope="session")
def few_symptoms() -> Annotator:
    return Annotator(Lexicon("few", tuple(Symptom(word, (word,), word) for word in WORDS)))


@pytest.fixture(scope="session")
def told(few_symptoms: Annotator) -> Told:
    """Each symptom of a note and what is asserted of it, in the order of the note."""
    return lambda text: [(str(one.symptom), one.assertion) for one in few_symptoms.mentions(text)]


@pytest.fixture(scope="session")
def reasons(few_symptoms: Annotator) -> Reasons:
    """Each symptom of a note, its assertion, and kind and words of the reason, as the note writes them."""

    def read(text: str) -> list[tuple[str, str, str | None, str]]:
        found = []
        for one in few_symptoms.mentions(text):
            why = one.reason
            words = text[why.start : why.end] if why is not None and why.start is not None else ""
            found.append((str(one.symptom), one.assertion, why and why.kind, words))
        return found

    return read
