"""The symptom that a found span names."""

from __future__ import annotations

import hashlib

import pytest

from sympress.labels.lexicon import load_lexicon
from sympress.labels.surface import SurfaceLinker, codes_by_symptom, forms_by_symptom

FORMS = {
    "fever": ("fever", "febrile", "pyrexia"),
    "pain": ("pain",),
    "abdominal-pain": ("abdominal pain", "pain in the abdomen", "stomach ache"),
    "dyspnea": ("shortness of breath", "sob"),
}


@pytest.mark.parametrize(
    ("surface", "symptom"),
    [
        ("fever", "fever"),
        ("Fever", "fever"),
        ("Abdominal\n pain", "abdominal-pain"),
        ("abdomnal pain", "abdominal-pain"),
        ("stomach aches", "abdominal-pain"),
        ("shortness of breathe", "dyspnea"),
        ("intermittent low-grade fever", "fever"),
        ("severe pain", "pain"),
        ("SOB", "dyspnea"),
        ("hepatomegaly", None),
        ("", None),
        ("--", None),
    ],
)
def test_a_span_is_named(surface: str, symptom: str | None) -> None:
    assert SurfaceLinker(FORMS)(surface) == symptom


def test_likeness_can_be_turned_off() -> None:
    assert SurfaceLinker(FORMS, alike=2)("pyrexai") is None
    assert SurfaceLinker(FORMS)("pyrexias") == "fever"


def test_without_forms_nothing_is_named() -> None:
    assert SurfaceLinker({})("fever") is None


def test_a_fifth_of_the_forms_hidden_is_named_by_the_others() -> None:
    """The figure beside `ALIKE`."""
    forms = forms_by_symptom(load_lexicon("clinical"))

    def hidden(form: str) -> bool:
        digest = hashlib.blake2b(form.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") / 2**32 < 0.2

    link = SurfaceLinker({name: [form for form in own if not hidden(form)] for name, own in forms.items()})
    asked = [(form, name) for name, own in forms.items() for form in own if hidden(form)][::20]
    answers = [(link(form), name) for form, name in asked]
    named = [given == name for given, name in answers if given is not None]
    assert len(named) / len(asked) >= 0.95
    assert sum(named) / len(named) >= 0.9


def test_codes_are_those_of_the_lexicon() -> None:
    codes = codes_by_symptom(load_lexicon("clinical"))
    assert all(codes.values())
    assert any(code.startswith("HP:") for code in codes["fever"])
