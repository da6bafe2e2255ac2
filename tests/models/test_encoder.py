"""Encoders: the form Bio_ClinicalBERT ships in, damaged folders, and nothing that runs code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import stat
from pathlib import Path

import pytest
import sentencepiece
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, DebertaV2Config, DebertaV2Model

from sympress.errors import InputError, MissingExtraError
from sympress.models import encoder as pretrained
from sympress.models.encoder import load_encoder, save_encoder, token_limit, vocabulary_is_cased

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CASED = [*SPECIAL, "Fever", "fever", "Cough", "pain", "MI", "m", "##i", "No"]
TEXT = "No Fever MI pain"
CONVERT = (
    "; convert them to safetensors where you trust their source (save_pretrained of transformers writes it)"
)


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


def refused(folder: Path) -> str:
    """The one line with which `folder` is refused."""
    with pytest.raises(InputError) as caught:
        load_encoder(str(folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_weights_are_one_clear_line(published: Path, damage: str):
    weights = published / "pytorch_model.bin"
    whole = weights.read_bytes()
    weights.write_bytes({"truncated": whole[:-2000], "garbage": b"\x93garbage" * 99, "empty": b""}[damage])
    message = refused(published)
    assert message.startswith(
        (f"{published}: not a readable encoder folder (", f"{weights}: damaged, or more")
    )


@pytest.fixture
def folder(encoder_folder: Path, tmp_path: Path) -> Path:
    """A whole encoder folder in today's form, to be damaged."""
    return Path(shutil.copytree(encoder_folder, tmp_path / "encoder"))


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_damaged_safetensors_are_one_clear_line(folder: Path, damage: str):
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes({"truncated": whole[:-2000], "garbage": b"garbage" * 99, "empty": b""}[damage])
    assert refused(folder) == f"{weights}: damaged or cut short; copy the encoder again"


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_part_of_sharded_weights_that_is_not_whole_is_named(folder: Path, damage: str):
    part = folder / "model-00001-of-00001.safetensors"
    (folder / "model.safetensors").rename(part)
    with safe_open(part, framework="pt") as stored:
        index = {"metadata": {"total_size": 0}, "weight_map": dict.fromkeys(stored.keys(), part.name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert load_encoder(str(folder)).warnings == ()
    if damage == "missing":
        part.unlink()
        said = f"{folder}: {part.name} of model.safetensors.index.json is missing; copy the encoder again"
    else:
        part.write_bytes(part.read_bytes()[:-2000])
        said = f"{part}: damaged or cut short; copy the encoder again"
    assert refused(folder) == said


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", "", "/config.json: not JSON (JSONDecodeError); copy the encoder again"),
        ("config.json", "{", "/config.json: not JSON (JSONDecodeError); copy the encoder again"),
        ("config.json", "[" * 100_000, "/config.json: not JSON (RecursionError); copy the encoder again"),
        ("config.json", "[]", "/config.json: not a JSON object; copy the encoder again"),
        ("config.json", '"bert"', "/config.json: not a JSON object; copy the encoder again"),
        (
            "config.json",
            "{}",
            ': config.json has no model_type; add the encoder\'s, for example  "model_type": "bert"',
        ),
        (
            "config.json",
            '{"model_type": "bertt"}',
            ": config.json has the model_type 'bertt' (did you mean 'bert'?), which transformers "
            f"{transformers.__version__} does not know; upgrade it or take another encoder",
        ),
        *(
            (
                "config.json",
                f'{{"model_type": "bert", "{name}": {size}}}',
                f": {name} in config.json is no whole number up to {most}; mend it",
            )
            for name, size, most in [
                ("num_labels", 2**31, "100,000"),
                ("num_hidden_layers", 10**6, "1,000"),
                ("hidden_size", 1e9, "100,000"),
                ("vocab_size", -1, "10,000,000"),
                ("vocab_size", '"many"', "10,000,000"),
            ]
        ),
        (
            "model.safetensors.index.json",
            '{"weight_map": [1]}',
            ": model.safetensors.index.json is damaged; copy the encoder again",
        ),
        (
            "model.safetensors.index.json",
            '{"weight_map": {"a": "../encoder/model.safetensors"}}',
            ": model.safetensors.index.json is damaged; copy the encoder again",
        ),
    ],
)
def test_a_damaged_config_or_index_is_one_clear_line(folder: Path, name: str, content: str, said: str):
    if name != "config.json":
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(content, encoding="utf-8")
    assert refused(folder) == f"{folder}{said}"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pytorch_model.bin.index.json", "its weights are pickles (pytorch_model-00001-of-00002.bin)"),
        ("pytorch_model-00001-of-00002.bin", "its weights are pickles (pytorch_model-00001-of-00002.bin)"),
        ("model.pt", "its weights are pickles (model.pt)"),
        ("model.ckpt", "its weights are pickles (model.ckpt)"),
        ("weights.pkl", "its weights are pickles (weights.pkl)"),
        ("tf_model.h5", "its weights are in tf_model.h5"),
        ("flax_model.msgpack", "its weights are in flax_model.msgpack"),
    ],
)
def test_weights_of_another_form_are_not_opened_and_how_to_convert_them_is_said(
    folder: Path, tmp_path: Path, name: str, said: str
):
    (folder / "model.safetensors").unlink()
    trap = tmp_path / "trap"
    parts = {name, "pytorch_model-00001-of-00002.bin"} if name.endswith("index.json") else {name}
    for part in parts:
        (folder / part).write_bytes(pickle.dumps(Payload(trap)))
    message = refused(folder)
    assert message.startswith(f"{folder}: {said}, which ")
    assert message.endswith(CONVERT)
    assert not trap.exists()


def test_a_damaged_tokenizer_is_one_clear_line(folder: Path):
    (folder / "tokenizer.json").write_text('{"version": 3}', encoding="utf-8")
    message = refused(folder)
    assert message.startswith(f"{folder}: not a readable encoder folder (")
    assert message.endswith("); copy the encoder again")


@pytest.fixture(scope="module")
def sentencepiece_vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained vocabulary of 35 pieces."""
    folder = tmp_path_factory.mktemp("vocabulary")
    lines = ["fever and cough with pain", "patient denies nausea", "rash after dose in the arm"] * 20
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "m"),
        vocab_size=35,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        user_defined_symbols=["[MASK]", "[CLS]", "[SEP]"],
        minloglevel=2,
    )
    return folder / "m.model"


def with_pieces(folder: Path, vocabulary: Path, name: str) -> Path:
    """A DeBERTa whose only vocabulary is `vocabulary`, called `name`."""
    config = DebertaV2Config(
        vocab_size=35,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=48,
    )
    DebertaV2Model(config).save_pretrained(folder)
    shutil.copy(vocabulary, folder / name)
    return folder


def test_a_vocabulary_of_sentencepiece_is_read(tmp_path: Path, sentencepiece_vocabulary: Path):
    folder = with_pieces(tmp_path, sentencepiece_vocabulary, "spm.model")
    tokenizer = load_encoder(str(folder)).tokenizer
    assert "".join(tokenizer.tokenize("fever")) == "▁fever"
    assert len(tokenizer("fever")["input_ids"]) > 3


def test_without_sentencepiece_the_command_that_installs_it_is_named(
    tmp_path: Path, sentencepiece_vocabulary: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = with_pieces(tmp_path, sentencepiece_vocabulary, "spiece.model")
    monkeypatch.setattr(pretrained, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError) as caught:
        load_encoder(str(folder))
    assert str(caught.value) == "sentencepiece is not installed: run  pip install 'sympress[train]'"


@pytest.mark.parametrize("name", ["tokenizer.model", "words.tiktoken"])
def test_a_vocabulary_that_is_not_read_is_named(tmp_path: Path, sentencepiece_vocabulary: Path, name: str):
    folder = with_pieces(tmp_path, sentencepiece_vocabulary, name)
    assert refused(folder) == (
        f"{folder}: its vocabulary is in {name}, which is not read; write a tokenizer.json from it "
        "(save_pretrained of its tokenizer in transformers does) and put that beside the encoder"
    )


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_a_saved_encoder_has_the_mode_of_other_files(folder: Path, tmp_path: Path, mask: int, mode: int):
    encoder = load_encoder(str(folder))
    before = os.umask(mask)
    try:
        save_encoder(encoder, tmp_path / "saved")
    finally:
        os.umask(before)
    files = list((tmp_path / "saved").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {mode}
    assert load_encoder(str(tmp_path / "saved")).tokenizer.tokenize("fever") == ["fever"]


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
    assert refused(published) == (
        f"{published / 'pytorch_model.bin'}: damaged, or more than weights; nothing in it was run{CONVERT}"
    )
    assert not trap.exists()


def test_weights_that_are_no_numbers_are_refused(folder: Path):
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "word_embeddings" in name)
    weights[name][-1, -1] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "word_embeddings.weight holds NaN or an infinite number" in refused(folder)


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


@pytest.mark.parametrize(("padding", "positions"), [(0, 79), (1, 78)])
def test_roberta_loses_the_positions_up_to_its_padding(
    encoder_folder: Path, make_encoder, padding: int, positions: int
):
    from dataclasses import replace

    encoder = replace(load_encoder(str(encoder_folder)), model=make_encoder("roberta"))
    encoder.model.config.pad_token_id = padding
    encoder.tokenizer.model_max_length = 512
    assert token_limit(encoder, 512) == positions


def test_the_bundled_encoder_is_a_real_minilm():
    try:
        encoder = load_encoder("bundled")
    except MissingExtraError as error:
        pytest.skip(str(error))
    config = encoder.model.config
    assert (config.num_hidden_layers, config.hidden_size) == (6, 384)
    assert encoder.tokenizer.tokenize("The patient denies fever") == ["the", "patient", "denies", "fever"]
    assert encoder.warnings == ()


@pytest.mark.parametrize("kind", ["albert", "mpnet", "longformer", "big_bird", "t5", "camembert"])
def test_a_family_that_is_not_supported_is_refused_before_its_weights_are_read(tmp_path: Path, kind: str):
    for name, held in (("config.json", json.dumps({"model_type": kind})), ("vocab.txt", "a\n")):
        (tmp_path / name).write_text(held, encoding="utf-8")
    save_file({}, tmp_path / "model.safetensors")
    assert refused(tmp_path) == (
        f"architecture {kind!r} cannot be compressed; supported are bert, roberta, xlm-roberta, electra, "
        "distilbert, modernbert, deberta-v2, sympress-conv"
    )
