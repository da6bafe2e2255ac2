"""Models saved and loaded."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedTokenizerFast,
    pipeline,
)

from sympress.compression.lowrank.factorize import lowrank_
from sympress.errors import InputError
from sympress.models.model import POOLINGS, build_model, load_model, save_model

FAMILIES = ["bert", "distilbert", "roberta", "electra", "deberta-v2", "modernbert"]
IDS = torch.tensor([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_model_loads_back_equal_and_transformers_reads_its_encoder(
    family: str, make_encoder: Callable, tmp_path: Path
):
    model = build_model(make_encoder(family), 3, "cls", seed=0).eval()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    encoder = AutoModel.from_pretrained(tmp_path).eval()
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), model(IDS, MASK))
        theirs = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        ours = model.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        assert torch.equal(theirs, ours)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_head_loads_back(pooling: str, make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 7, pooling, seed=0).eval()
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert (loaded.symptoms, loaded.head.pooling) == (7, pooling)
    with torch.inference_mode():
        assert torch.equal(loaded(IDS, MASK), model(IDS, MASK))


def test_saving_twice_gives_the_same_bytes_without_a_path_of_this_machine(
    make_encoder: Callable, tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    model.encoder.config._name_or_path = "/home/someone/encoder"
    save_model(model, tmp_path / "a")
    save_model(model, tmp_path / "b")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert "someone" not in (tmp_path / "a" / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["config", "weights", "foreign", "garbage", "truncated"])
def test_a_damaged_model_is_one_clear_line(damage: str, make_encoder: Callable, tmp_path: Path):
    save_model(build_model(make_encoder("bert"), 3, "cls", seed=0), tmp_path)
    config, weights = tmp_path / "config.json", tmp_path / "model.safetensors"
    if damage == "config":
        config.unlink()
    elif damage == "weights":
        weights.unlink()
    elif damage == "foreign":
        values = json.loads(config.read_text(encoding="utf-8"))
        del values["sympress"]
        config.write_text(json.dumps(values), encoding="utf-8")
    elif damage == "garbage":
        weights.write_bytes(b"not safetensors at all")
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError) as caught:
        load_model(tmp_path)
    kinds = {"config": "FileNotFoundError", "weights": "FileNotFoundError", "foreign": "KeyError"}
    kind = kinds.get(damage, "SafetensorError")
    assert str(caught.value) == f"{tmp_path}: not a model that sympress saved ({kind})"


def test_a_model_with_a_weight_that_is_no_number_is_refused(make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    model.head.output.bias.data[1] = float("nan")
    save_model(model, tmp_path)
    with pytest.raises(InputError, match=r"head\.output\.bias holds NaN or an infinite number"):
        load_model(tmp_path)


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_weights_have_the_mode_of_other_files(
    make_encoder: Callable[..., torch.nn.Module], tmp_path: Path, mask: int, mode: int
):
    before = os.umask(mask)
    try:
        save_model(build_model(make_encoder("bert"), 3, "cls", seed=0), tmp_path)
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"config.json": mode, "model.safetensors": mode}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "kind",
    [AutoModelForSequenceClassification, AutoModelForTokenClassification, AutoModelForQuestionAnswering],
)
def test_transformers_refuses_the_folder_rather_than_give_it_a_random_head(
    family: str, kind: type, make_encoder: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    save_model(build_model(make_encoder(family), 3, "mean", seed=0), tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        kind.from_pretrained(tmp_path)
    assert "this_head_loads_with.sympress.load" in caplog.text


def test_a_class_that_predicts_words_reads_the_encoder_and_begins_with_a_random_head(
    make_encoder: Callable, tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0)
    save_model(model, tmp_path)
    read, info = AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert {name.split(".")[0] for name in info["missing_keys"]} == {"cls"}
    assert torch.equal(read.get_input_embeddings().weight, model.encoder.get_input_embeddings().weight)


def test_a_pipeline_refuses_the_folder_when_it_is_loaded_and_names_what_loads_it(
    make_encoder: Callable,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
):
    save_model(build_model(make_encoder("bert"), 3, "mean", seed=0), tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises((RuntimeError, ValueError)):
        pipeline("text-classification", str(tmp_path))
    assert "this_head_loads_with.sympress.load" in caplog.text


def test_transformers_refuses_factorized_layers_rather_than_fill_them_at_random(
    make_encoder: Callable, tmp_path: Path
):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    assert lowrank_(model, method="svd", rank=4).factorized
    save_model(model, tmp_path)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        AutoModel.from_pretrained(tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path).eval()(IDS, MASK), model(IDS, MASK))


def test_a_folder_of_before_those_names_loads(make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    save_model(model, tmp_path)
    weights = tmp_path / "model.safetensors"
    save_file({name: value for name, value in load_file(weights).items() if value.numel()}, weights)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))
