"""Encoders without attention: what each token sees, padding, saving, the file, and its arithmetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from transformers import AutoModel

from sympress.compression.export import export_checked
from sympress.compression.quantize.choose import logits_of
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.models.convolution import ConvolutionConfig, ConvolutionModel
from sympress.models.encoder import Encoder, check_config, token_limit
from sympress.models.families import FAMILIES, keep_layers_, layer_linears, layers_of, position_rows
from sympress.models.model import Pooling, SymptomModel, build_model, count_macs, load_model, save_model
from sympress.runtime.tokens import Pieces, SpecialTokens, note_logits

NOTE = torch.tensor([[2, 7, 9, 11, 30, 8, 3]])
POOLINGS: tuple[Pooling, ...] = ("mean", "maximum", "label", "token")


def make(layers: int = 1, pooling: Pooling = "maximum", **sizes: int) -> SymptomModel:
    torch.manual_seed(0)
    values = {"vocab_size": 54, "embedding_size": 12, "hidden_size": 16 if layers else 12, "kernel_size": 3}
    config = ConvolutionConfig(**{**values, "num_hidden_layers": layers, **sizes})
    model = build_model(ConvolutionModel(config), 3, pooling, seed=0).eval()
    for linear in model.modules():  # answers that differ from note to note
        if isinstance(linear, nn.Linear):
            linear.weight.data *= 3
    return model


def answer(model: SymptomModel, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    with torch.inference_mode():
        return model(ids, torch.ones_like(ids) if mask is None else mask)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
def test_the_first_layer_is_the_convolution_of_pytorch(kernel: int):
    model = make(kernel_size=kernel).encoder
    theirs = nn.Conv1d(12, 16, kernel)
    weight = model.layers[0].dense.weight.detach()
    theirs.weight.data = weight.view(16, kernel, 12).transpose(1, 2).contiguous()
    theirs.bias.data = model.layers[0].dense.bias.detach()
    before = (kernel - 1) // 2
    padded = nn.functional.pad(model.word_embeddings(NOTE), (0, 0, before, kernel - 1 - before))
    with torch.inference_mode():
        wanted = theirs(padded.transpose(1, 2)).transpose(1, 2).relu()
        torch.testing.assert_close(model(NOTE).last_hidden_state, wanted)


@pytest.mark.parametrize(("layers", "reach"), [(0, 0), (1, 1), (2, 3), (3, 7)])
def test_a_token_sees_as_far_as_the_dilation_says(layers: int, reach: int):
    encoder = make(layers, dilation=2).encoder
    ids = torch.full((1, 31), 9)
    changed = ids.clone()
    changed[0, 15] = 20
    with torch.inference_mode():
        moved = (encoder(ids).last_hidden_state != encoder(changed).last_hidden_state).any(-1)[0]
    seen = moved.nonzero().flatten().tolist()
    assert (seen[0], seen[-1]) == (15 - reach, 15 + reach)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_padding_and_the_notes_beside_it_change_no_answer(layers: int, pooling: Pooling):
    model = make(layers, pooling, dilation=2)
    table = model.encoder.word_embeddings.weight.data
    table[0] = 100.0  # a padding row that is not 0 would be seen
    longer = torch.cat([NOTE, torch.zeros(1, 5, dtype=torch.int64)], dim=1)
    batch = torch.cat([longer, torch.full((1, 12), 40)])
    mask = torch.ones_like(batch)
    mask[0, 7:] = 0
    alone, beside = answer(model, NOTE)[0], answer(model, batch, mask)[0]
    torch.testing.assert_close(beside[:7] if pooling == "token" else beside, alone)


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("layers", [0, 2])
def test_it_loads_back_equal_and_its_file_answers_alike(layers: int, pooling: Pooling, tmp_path: Path):
    model = make(layers, pooling)
    save_model(model, tmp_path)
    check_config(tmp_path, "encoder")
    assert torch.equal(answer(load_model(tmp_path), NOTE), answer(model, NOTE))
    stored = AutoModel.from_pretrained(tmp_path, local_files_only=True)
    assert torch.equal(stored.word_embeddings.weight, model.encoder.word_embeddings.weight)
    notes = [np.array([2, 5, 6, 3]), np.arange(2, 50), np.tile(np.arange(2, 50), 30)]
    assert export_checked(model, tmp_path / "model.onnx", notes) < 1e-4
    quantize_onnx(tmp_path / "model.onnx", tmp_path / "int8.onnx", reduce_range=True)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    assert "Conv" not in {node.op_type for node in graph.node}
    assert [node.op_type for node in graph.node].count("MatMulInteger") >= layers
    tables = [tensor for tensor in graph.initializer if list(tensor.dims) == [54, 12]]
    assert [tensor.data_type for tensor in tables] == [onnx.TensorProto.INT8]
    float_logits, int8_logits = (logits_of(tmp_path / f"{name}.onnx", notes) for name in ("model", "int8"))
    assert np.abs(int8_logits - float_logits).max() < 0.1 * float_logits.std() + 0.05


def test_the_weights_of_a_convolution_are_counted():
    assert count_macs(make(2), 10) == 10 * (36 * 16 + 48 * 16) + 16 * 3
    assert count_macs(make(0), 10) == 12 * 3


def test_it_is_a_family_without_attention_positions_or_limit():
    encoder = make(2).encoder
    family = FAMILIES["sympress-conv"]
    assert not family.attention
    assert all(other.attention for name, other in FAMILIES.items() if name != "sympress-conv")
    assert len(layers_of(encoder)) == 2
    assert [name for name, _ in layer_linears(encoder)] == ["layers.0.dense", "layers.1.dense"]
    assert position_rows(encoder) == (0, 0)

    class Unlimited:
        model_max_length = 10**30

    assert token_limit(Encoder("conv", encoder, Unlimited()), 4096) == 4096  # type: ignore[arg-type]
    keep_layers_(encoder, [0])
    assert encoder.config.num_hidden_layers == len(encoder.layers) == 1


def test_windows_that_share_twice_the_reach_answer_as_the_whole_note_does():
    config = ConvolutionConfig(
        vocab_size=50, embedding_size=8, hidden_size=12, num_hidden_layers=3, dilation=2, kernel_size=3
    )
    assert config.reach == 7
    model = build_model(ConvolutionModel(config), 3, "token", seed=0).eval()
    rng = np.random.default_rng(0)
    ids = rng.integers(4, 50, 200)
    pieces = Pieces(ids, np.arange(200), np.arange(200) + 1, True)

    def run(window: np.ndarray) -> np.ndarray:
        given = torch.from_numpy(window)[None]
        return model(given, torch.ones_like(given))[0].detach().numpy()

    def logits(room: int, stride: int) -> np.ndarray:
        return note_logits(pieces, SpecialTokens((2,), (3,)), room=room, stride=stride, run=run)

    whole = logits(200, 200)
    assert np.abs(logits(40, 40 - 2 * config.reach) - whole).max() < 1e-5
    assert np.abs(logits(40, 40) - whole).max() > 1e-3
