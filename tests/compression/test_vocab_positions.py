"""The position table is cut to the longest input: same logits, files that agree, smaller files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, BertConfig, DebertaV2Config, PreTrainedModel, RobertaConfig

from sympress.compression.distill.student import narrow_student
from sympress.compression.export import export_onnx, parity
from sympress.compression.quantize.choose import logits_of
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.compression.vocab.trim import cut_positions_
from sympress.errors import InputError
from sympress.models.families import family_of, position_rows
from sympress.models.model import SymptomModel, build_model, load_model, save_model

TOKENS = 20
WITH_TABLE = ("bert", "distilbert", "roberta", "electra", "deberta-v2")
RNG = np.random.default_rng(0)
NOTES = [RNG.integers(5, 54, size=length).astype(np.int64) for length in (2, 9, TOKENS)]
IDS = torch.zeros(3, TOKENS, dtype=torch.long)  # padded with id 0
for row, note in enumerate(NOTES):
    IDS[row, : len(note)] = torch.from_numpy(note)
MASK = (IDS != 0).long()
_SIZES = {
    "vocab_size": 54,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
}


def logits(model: SymptomModel) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(IDS, MASK)


def both(encoder: PreTrainedModel, pooling: str = "mean") -> tuple[SymptomModel, SymptomModel]:
    """The same model, whole and cut to `TOKENS`."""
    whole = build_model(encoder, 3, pooling, seed=0).eval()
    whole.head.output.weight.data *= 50  # logits of a trained model's size
    cut = copy.deepcopy(whole)
    cut_positions_(cut, TOKENS)
    return whole, cut


def count(model: SymptomModel) -> int:
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("family", WITH_TABLE)
def test_inputs_up_to_the_longest_get_the_same_logits(make_encoder: Callable, tmp_path: Path, family: str):
    whole, cut = both(make_encoder(family))
    assert torch.equal(logits(cut), logits(whole))
    first = 1 if family == "roberta" else 0  # the row after the padding token's, which is 0 here
    assert position_rows(cut.encoder) == (TOKENS + first, first)
    assert cut.encoder.config.max_position_embeddings == TOKENS + first
    width = 16 if family == "electra" else 32
    assert count(whole) - count(cut) == (80 - TOKENS - first) * width
    longest = [buffer.numel() for name, buffer in cut.encoder.named_buffers() if name.endswith("_ids")]
    assert set(longest) == {TOKENS + first}

    save_model(cut, tmp_path)
    assert torch.equal(logits(load_model(tmp_path)), logits(whole))
    encoder = AutoModel.from_pretrained(tmp_path).eval()
    assert encoder.config.max_position_embeddings == TOKENS + first
    with torch.inference_mode():
        ours = whole.encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
        assert torch.equal(encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state, ours)


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2"])  # positions from 0, from 2, relative
def test_the_files_agree_and_are_smaller_by_the_rows(make_encoder: Callable, tmp_path: Path, family: str):
    whole, cut = both(make_encoder(family), "cls")  # as in test_export.py: traced once for both files
    sizes = {}
    for name, model in (("whole", whole), ("cut", cut)):
        export_onnx(model, tmp_path / f"{name}.onnx")
        quantize_onnx(tmp_path / f"{name}.onnx", tmp_path / f"{name}-int8.onnx", reduce_range=True)
        sizes[name] = [(tmp_path / f"{name}{kind}.onnx").stat().st_size for kind in ("", "-int8")]
    assert parity(cut, tmp_path / "cut.onnx", NOTES) < 1e-4
    for kind in ("", "-int8"):  # a row has a scale of its own: what stays is rounded as before
        ours, theirs = (logits_of(tmp_path / f"{name}{kind}.onnx", NOTES) for name in ("cut", "whole"))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    rows, width = 80 - position_rows(cut.encoder)[0], 16 if family == "electra" else 32
    assert sizes["whole"][0] - sizes["cut"][0] >= rows * width * 4 - 64
    assert sizes["whole"][1] - sizes["cut"][1] >= rows * width - 64


def test_rotary_positions_are_left_alone(make_encoder: Callable):
    whole, cut = both(make_encoder("modernbert"))
    assert cut_positions_(cut, TOKENS) == position_rows(cut.encoder) == (0, 0)
    assert cut.encoder.config.to_dict() == whole.encoder.config.to_dict()
    assert torch.equal(logits(cut), logits(whole))


def test_relative_positions_reach_as_far_as_before(tmp_path: Path):
    config = DebertaV2Config(
        **_SIZES, relative_attention=True, pos_att_type=["p2c", "c2p"], max_relative_positions=-1
    )
    torch.manual_seed(0)
    whole, cut = both(AutoModel.from_config(config))
    save_model(cut, tmp_path)
    loaded = load_model(tmp_path)  # whose relative table is as long as absolute positions, if not said
    assert loaded.encoder.config.max_relative_positions == 80
    assert torch.equal(logits(loaded), logits(whole))


def test_an_encoder_without_absolute_positions_has_nothing_to_cut():
    config = DebertaV2Config(**_SIZES, relative_attention=True, position_biased_input=False)
    model = build_model(AutoModel.from_config(config), 3, "mean", seed=0)
    assert cut_positions_(model, TOKENS) == (0, 0)
    assert model.encoder.config.max_position_embeddings == 80


def test_robertas_positions_follow_its_padding_token():
    torch.manual_seed(0)
    encoder = AutoModel.from_config(RobertaConfig(**_SIZES, pad_token_id=1))
    whole, cut = both(encoder)
    assert position_rows(cut.encoder) == (TOKENS + 2, 2)
    assert family_of(cut.encoder).positions_follow_padding
    assert cut.encoder.embeddings.position_embeddings.padding_idx == 1
    ids = torch.where(IDS == 0, 1, IDS)
    with torch.inference_mode():
        assert torch.equal(cut(ids, MASK), whole(ids, MASK))


def test_a_table_that_is_short_enough_stays_and_cutting_twice_is_cutting_once():
    model = build_model(AutoModel.from_config(BertConfig(**_SIZES)), 3, "mean", seed=0)
    table = model.encoder.embeddings.position_embeddings
    assert cut_positions_(model, 80) == cut_positions_(model, 500) == (80, 80)
    assert model.encoder.embeddings.position_embeddings is table
    table.weight.requires_grad_(requires_grad=False)
    assert cut_positions_(model, TOKENS) == (80, TOKENS)
    assert cut_positions_(model, TOKENS) == (TOKENS, TOKENS)
    assert not model.encoder.embeddings.position_embeddings.weight.requires_grad  # frozen stays frozen


def test_a_narrow_student_has_the_positions_of_its_teacher(make_encoder: Callable):
    _, cut = both(make_encoder("bert"))
    student = narrow_student(cut, layers=1, width=16, heads=2, ffn=24, seed=0)
    assert position_rows(student.encoder) == (TOKENS, 0)
    assert logits(student).shape == (3, 3)


def test_an_input_without_tokens_is_refused(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "mean", seed=0)
    with pytest.raises(InputError, match=r"^inputs of 0 word pieces: the longest must be 1 or more$"):
        cut_positions_(model, 0)
