"""What every error of ours holds to."""

from __future__ import annotations

import pickle

import pytest

from sympress.errors import InputError, MissingExtraError, SympressError


@pytest.mark.parametrize("kind", [SympressError, InputError])
def test_a_word_of_any_length_makes_no_message_of_any_length(kind: type[SympressError]):
    path = "/".join(["folder"] * 100)
    said = str(kind(f"{path}, symptom {'a' * 70_000!r}: unknown"))
    assert said.startswith(f"{path}, symptom 'aaa")
    assert said.endswith("… unknown")
    assert len(said) < 1_000


@pytest.mark.parametrize("error", [SympressError("failed"), InputError("x: wrong"), InputError()])
def test_an_error_goes_through_a_pipe(error: SympressError):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_missing_extra_names_the_command():
    assert "pip install 'sympress[train]'" in str(MissingExtraError("train", "torch"))


def test_a_list_of_any_length_makes_no_message_of_any_length():
    message = str(InputError(f"kind={[1] * 5_000} must be a word"))
    assert message.startswith("kind=[1, 1, ")
    assert len(message) < 4_010
