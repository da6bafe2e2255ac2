"""Encoders: the form Bio_ClinicalBERT ships in, damaged folders, and nothing that runs code."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForPreTraining

from sympress.errors import InputError, MissingExtraError
from sympress.training.encoder import load_encoder, token_limit, vocabulary_is_cased

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CASED = [*SPECIAL, "Fever", "fever", "Cough", "pain", "MI", "m", "##i", "No"]
TEXT = "No Fever MI pain"


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder of exactly Bio_ClinicalBERT's form: config.json, vocab.txt (cased), pytorch_model.bin."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(CASED),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
    )
    folder = tmp_path / "Bio_ClinicalBERT"
    folder.mkdir()
    values = {"model_type": "bert", **json.loads(config.to_json_string())}
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "vocab.txt").write_text("\n".join(CASED) + "\n", encoding="utf-8")
    torch.save(BertForPreTraining(config).state_dict(), folder / "pytorch_model.bin")
    return folder


def test_the_published_form_loads_with_its_own_weights(published: Path):
    state = torch.load(published / "pytorch_model.bin", weights_only=True)
    assert any(name.startswith("cls.") for name in state)
    encoder = load_encoder(str(published))
    found = encoder.model.state_dict()
    assert found
    for name, value in found.items():
        assert torch.equal(value, state["bert." + name]), name
    assert encoder.model.dtype == torch.float32


def lower_casing(published: Path) -> Path:
    """The same folder behind a tokenizer that lower-cases."""
    (published / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True}), encoding="utf-8"
    )
    return published


MISMATCH = (
    "Bio_ClinicalBERT: the vocabulary is cased but the tokenizer lower-cases its input, so cased word pieces "
    "are never used; --case keep uses them (the published study lower-cased)"
)


@pytest.mark.parametrize("configured", [False, True])
def test_a_cased_vocabulary_behind_a_lower_casing_tokenizer_is_said(published: Path, configured: bool):
    folder = lower_casing(published) if configured else published
    encoder = load_encoder(str(folder))
    assert encoder.warnings == (
        MISMATCH,
        f"{folder}: weights come from pytorch_model.bin, read weights-only; safetensors is safer",
    )
    assert encoder.tokenizer.tokenize("Fever") == ["fever"]


def test_keep_uses_the_cased_pieces(published: Path):
    encoder = load_encoder(str(published), case="keep")
    assert encoder.tokenizer.tokenize(TEXT) == ["No", "Fever", "MI", "pain"]
    assert MISMATCH not in encoder.warnings


def test_lower_is_what_the_published_study_did_and_is_still_said(published: Path):
    encoder = load_encoder(str(published), case="lower")
    assert encoder.tokenizer.tokenize(TEXT) == ["[UNK]", "fever", "m", "##i", "pain"]
    assert MISMATCH in encoder.warnings


def test_word_pieces_are_those_of_the_vocabulary_file(published: Path):
    tokenizer = load_encoder(str(published), case="keep").tokenizer
    assert tokenizer("Fever pain")["input_ids"] == [2, 5, 8, 3]
    assert tokenizer.pad_token_id == 0


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("config.json", "config.json is missing; an encoder folder needs it"),
        ("vocab.txt", "the vocabulary is missing; it needs tokenizer.json or vocab.txt"),
        ("pytorch_model.bin", "the weights are missing; it needs model.safetensors or pytorch_model.bin"),
    ],
)
def test_each_missing_file_is_named(published: Path, file: str, message: str):
    (published / file).unlink()
    with pytest.raises(InputError) as caught:
        load_encoder(str(published))
    assert str(caught.value) == f"{published}: {message}"


def assert_unreadable(folder: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_encoder(str(folder))
    message = str(caught.value)
    assert message.startswith(f"{folder}: not a readable encoder folder (")
    assert message.endswith("); copy the encoder again")
    assert "\n" not in message
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_weights_are_one_clear_line(published: Path, damage: str):
    weights = published / "pytorch_model.bin"
    whole = weights.read_bytes()
    weights.write_bytes({"truncated": whole[:-2000], "garbage": b"\x93garbage" * 99, "empty": b""}[damage])
    assert_unreadable(published)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_safetensors_are_one_clear_line(encoder_folder: Path, tmp_path: Path, damage: str):
    for file in encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes({"truncated": whole[:-2000], "garbage": b"garbage" * 99, "empty": b""}[damage])
    assert_unreadable(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", '"bert"', "{}", '{"model_type": "unheard-of"}'])
def test_a_damaged_config_is_one_clear_line(published: Path, content: str):
    (published / "config.json").write_text(content, encoding="utf-8")
    assert_unreadable(published)


def test_a_damaged_tokenizer_is_one_clear_line(encoder_folder: Path, tmp_path: Path):
    for file in encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "tokenizer.json").write_text('{"version": 3}', encoding="utf-8")
    assert_unreadable(tmp_path)


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_code_in_the_weights_is_refused_and_not_run(published: Path, tmp_path: Path, how: str):
    trap = tmp_path / "trap"
    state = {"bert.embeddings.word_embeddings.weight": Payload(trap)}
    if how == "torch":
        torch.save(state, published / "pytorch_model.bin")
    else:
        (published / "pytorch_model.bin").write_bytes(pickle.dumps(state, protocol=2))
    assert_unreadable(published)
    assert not trap.exists()


def test_weights_of_another_model_are_refused(published: Path):
    state = torch.load(published / "pytorch_model.bin", weights_only=True)
    kept = {name: value for name, value in state.items() if ".layer.1." not in name}
    torch.save(kept, published / "pytorch_model.bin")
    with pytest.raises(InputError) as caught:
        load_encoder(str(published))
    assert str(caught.value) == (
        f"{published}: the weights lack encoder.layer.1.attention.output.LayerNorm.bias (16 tensors); "
        "not this encoder's file"
    )


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "some/deep/folder", "~/nowhere"])
def test_an_unknown_folder_is_one_clear_line(name: str):
    with pytest.raises(InputError) as caught:
        load_encoder(name)
    expected = "no such encoder folder; give a folder, a Hugging Face id or 'bundled'"
    assert str(caught.value) == f"{name}: {expected}"


@pytest.mark.parametrize("name", ["emilyalsentzer/Bio_ClinicalBERT", "nobody/no-such-encoder", "bundeld"])
def test_an_id_that_cannot_be_fetched_is_one_clear_line(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError) as caught:
        load_encoder(name)
    assert str(caught.value) == (
        f"encoder {name!r}: no such folder, not in the local cache and not downloadable from here; copy its "
        "files into a folder and give that, or use --encoder bundled"
    )


def test_a_folder_in_todays_form_loads_without_a_warning(encoder_folder: Path):
    encoder = load_encoder(str(encoder_folder))
    assert encoder.warnings == ()
    assert encoder.model.config.hidden_size == 32
    assert encoder.tokenizer.tokenize("FEVER") == ["fever"]


def test_a_case_that_the_tokenizer_cannot_take_is_an_error(encoder_folder: Path):
    with pytest.raises(InputError) as caught:
        load_encoder(str(encoder_folder), case="keep")
    assert str(caught.value) == (
        f"{encoder_folder}: this tokenizer's case cannot be set to 'keep'; leave --case at auto"
    )


@pytest.mark.parametrize(
    ("vocabulary", "cased"),
    [
        (["[CLS]", "<PAD>", "fever"], False),
        (["[CLS]", "Fever", "fever"], True),
        (["A"] + [f"w{i}" for i in range(99)], True),
        (["A"] + [f"w{i}" for i in range(100)], False),
        ([], False),
    ],
)
def test_a_vocabulary_is_cased_from_one_in_a_hundred(vocabulary: list[str], cased: bool):
    assert vocabulary_is_cased({token: index for index, token in enumerate(vocabulary)}) is cased


def test_the_token_limit_is_the_smallest_of_all(encoder_folder: Path):
    encoder = load_encoder(str(encoder_folder))
    assert token_limit(encoder, 32) == 32
    assert token_limit(encoder, 512) == 64  # the tokenizer's, below the encoder's 80 positions


def test_roberta_loses_two_positions(encoder_folder: Path, make_encoder):
    from dataclasses import replace

    encoder = replace(load_encoder(str(encoder_folder)), model=make_encoder("roberta"))
    encoder.tokenizer.model_max_length = 512
    assert token_limit(encoder, 512) == 78


def test_the_bundled_encoder_is_a_real_minilm():
    try:
        encoder = load_encoder("bundled")
    except MissingExtraError as error:
        pytest.skip(str(error))
    config = encoder.model.config
    assert (config.num_hidden_layers, config.hidden_size) == (6, 384)
    assert encoder.tokenizer.tokenize("The patient denies fever") == ["the", "patient", "denies", "fever"]
    assert encoder.warnings == ()
