"""The sample of patients, and the blanking of placeholders."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sympress.errors import InputError
from sympress.notes.intake import MAX_INSIDE, check_fraction, keep_patient, mask_placeholders


def test_the_sample_is_the_same_on_every_machine() -> None:
    kept = [key for key in ("22532", "13702", "025001", "", "p\u00e4tient") if keep_patient(key, 0.5)]
    assert kept == ["22532", "13702", "025001", "p\u00e4tient"]


def test_a_fraction_keeps_about_its_share() -> None:
    kept = sum(keep_patient(str(number), 0.1) for number in range(20_000))
    assert abs(kept - 2_000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5  # four standard deviations


@given(st.text(), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_a_larger_fraction_contains_the_smaller(key: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert keep_patient(key, low) <= keep_patient(key, high)
    assert keep_patient(key, 1.0)


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.0001, float("nan"), float("inf")])
def test_fractions_outside_the_range_are_refused(fraction: float) -> None:
    with pytest.raises(InputError) as caught:
        check_fraction(fraction)
    assert str(caught.value) == f"fraction {fraction}: give a number above 0 and up to 1, for example 0.1"
    with pytest.raises(InputError):
        keep_patient("a", fraction)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("on [**2151-7-16**].", "on                ."),
        ("[**Hospital 18**]", " " * 17),
        ("[**First Name8 (NamePattern2) **] x", " " * 33 + " x"),
        ("Mr. [**Known\nlastname Payne**]", "Mr. " + " " * 8 + "\n" + " " * 17),
        ("[**a\r\n\tb**]", "    \r\n\t    "),
        ("[****]", "      "),
        ("[**a[**b**]c**]", " " * 15),
        ("a [**never closed", "a [**never closed"),
        ("never opened **] a", "never opened **] a"),
        ("[**x [**y**] pain", "[**x         pain"),
        ("[*not one*] [note] **bold**", "[*not one*] [note] **bold**"),
        ("[**" + "a" * (MAX_INSIDE + 1) + "**]", "[**" + "a" * (MAX_INSIDE + 1) + "**]"),
        ("", ""),
    ],
)
def test_placeholders_become_white_space(text: str, masked: str) -> None:
    assert mask_placeholders(text) == masked


def test_no_lexicon_word_matches_inside() -> None:
    text = "[**Known lastname Pain**] of [**Hospital Burn Unit**]: burning"
    found = [
        match.span() for match in re.finditer(r"pain|burn(ing)?", mask_placeholders(text), re.IGNORECASE)
    ]
    assert found == [(text.index("burning"), len(text))]


PIECES = st.lists(
    st.sampled_from(["[**", "**]", "[", "*", "]", "a", " ", "\n", "\r\n", "pain", "\u00e9", "\U0001f600"])
)


@given(PIECES.map("".join) | st.text())
def test_masking_moves_nothing_and_is_idempotent(text: str) -> None:
    masked = mask_placeholders(text)
    assert len(masked) == len(text)
    assert mask_placeholders(masked) == masked
    for before, after in zip(text, masked, strict=True):
        assert after == before or (after == " " and not before.isspace())


@given(st.lists(st.text(alphabet="ab \n.\u00e9"), min_size=2), st.text(alphabet="xyz 0-9\n()", max_size=30))
def test_what_stands_outside_is_untouched(around: list[str], inside: str) -> None:
    placeholder = f"[**{inside}**]"
    blank = "".join(character if character.isspace() else " " for character in placeholder)
    assert mask_placeholders(placeholder.join(around)) == blank.join(around)


def test_deep_nesting_stays_fast_and_complete() -> None:
    assert mask_placeholders("[**" * 20 + "x" + "**]" * 20).isspace()
    mask_placeholders(
        "[**" * 50_000 + "**]" * 50_000
    )  # bounded turns: would take hours if each level cost one
