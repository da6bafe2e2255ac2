"""Quantization-aware training: what it simulates is what the file computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from sympress.compression.export import export_onnx
from sympress.compression.quantize.aware import QatEmbedding, QatLinear, make_aware_, settle_aware_
from sympress.compression.quantize.choose import logits_of
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.errors import InputError
from sympress.models.model import (
    LowRankLinear,
    SymptomModel,
    build_model,
    load_model,
    save_model,
)

IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0]])
MASK = (IDS != 0).long()


def logits_in_pytorch(model: SymptomModel, notes: list[np.ndarray]) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate(
            [model(torch.from_numpy(ids)[None], torch.ones(1, len(ids), dtype=torch.long)) for ids in notes]
        )


def multiplied_exactly(path: Path) -> bytes:
    """The file with its 8-bit products computed in 32-bit integers, which no CPU can saturate."""
    model = onnx.load(path)
    nodes = []
    for node in model.graph.node:
        if node.op_type != "MatMulInteger":
            nodes.append(node)
            continue
        operands = []
        for part, zero in zip(node.input[:2], node.input[2:], strict=True):
            wide, shift, centred = (f"{node.output[0]}_{part}_{what}" for what in ("wide", "zero", "centred"))
            nodes += [
                onnx.helper.make_node("Cast", [part], [wide], to=onnx.TensorProto.INT32),
                onnx.helper.make_node("Cast", [zero], [shift], to=onnx.TensorProto.INT32),
                onnx.helper.make_node("Sub", [wide, shift], [centred]),
            ]
            operands.append(centred)
        nodes.append(onnx.helper.make_node("MatMul", operands, list(node.output)))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("family", "pooling", "bits"),
    [
        ("bert", "cls", 8),
        ("bert", "maximum", 8),
        ("distilbert", "cls", 4),
        ("roberta", "cls", 8),
        ("electra", "cls", 8),
        ("electra", "mean", 4),
        ("deberta-v2", "cls", 8),
        ("modernbert", "cls", 8),
        ("modernbert", "label", 8),
    ],
)
def test_the_simulated_logits_are_the_deployed_logits(
    make_encoder: Callable,
    tmp_path: Path,
    token_ids: list[np.ndarray],
    family: str,
    pooling: str,
    bits: int,
):
    model = build_model(make_encoder(family), 3, pooling, seed=0).eval()
    model.head.output.weight.data *= 50  # logits of a trained model's size
    if family == "bert":
        factors = LowRankLinear(32, 8, 48, bias=True)  # two layers that round
        model.set_submodule("encoder.encoder.layer.0.intermediate.dense", factors)
        last = LowRankLinear(32, 8, 48, bias=True)
        model.set_submodule("encoder.encoder.layer.1.intermediate.dense", last)
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(model, source)
    for reduce_range in (True, False):
        make_aware_(model, reduce_range=reduce_range, embedding_bits=bits)
        simulated = logits_in_pytorch(model, token_ids)
        settle_aware_(model)
        quantize_onnx(source, target, reduce_range=reduce_range, embedding_bits=bits)
        assert np.abs(simulated - logits_of(multiplied_exactly(target), token_ids)).max() < 1e-3
        deployed = logits_of(target, token_ids)
        assert np.abs(simulated - deployed).max() < 1e-3
        assert np.abs(logits_of(source, token_ids) - deployed).max() > 5e-3  # the rounding is really there


def test_a_hand_computed_input():
    rounded = QatLinear.rounded_input(torch.tensor([-1.0, 0.004, 0.006, 1.55]))
    assert rounded.tolist() == pytest.approx([-1.0, 0.0, 0.01, 1.55])  # a step is 2.55 / 255
    assert QatLinear.rounded_input(torch.tensor([1.0, 2.55])).tolist() == pytest.approx([1.0, 2.55])
    assert QatLinear.rounded_input(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("reduce_range", "top"), [(True, 64), (False, 127)])
def test_weights_have_a_grid_for_each_output(reduce_range: bool, top: int):
    linear = nn.Linear(16, 4)
    linear.weight.data[2] = 0
    layer = QatLinear(linear, reduce_range=reduce_range)
    scale = linear.weight.abs().amax(1, keepdim=True) / top
    error = (layer.rounded_weight() - linear.weight).abs()
    assert (error <= scale / 2 * (1 + 1e-4)).all()
    levels = (layer.rounded_weight() / scale.clamp(min=1e-30)).round()
    assert levels.abs().amax(1).tolist() == [top, top, 0, top]


def test_the_range_is_measured_anew_in_every_call():
    layer = QatLinear(nn.Linear(8, 3), reduce_range=False).eval()
    small, large = torch.randn(2, 8), 100 * torch.randn(2, 8)
    before = layer(small)
    layer(large)
    assert torch.equal(layer(small), before)
    assert not torch.allclose(layer(torch.cat([small, large]))[:2], before, atol=1e-4)


def test_gradients_reach_weights_rows_and_inputs_through_the_rounding():
    torch.manual_seed(0)
    table, linear = nn.Embedding(20, 8), nn.Linear(8, 3)
    layer = QatLinear(linear, reduce_range=True)
    rows = QatEmbedding(table, bits=4)(torch.tensor([[1, 4, 4]]))
    rows.retain_grad()
    layer(rows).sum().backward()
    torch.testing.assert_close(rows.grad, layer.rounded_weight().sum(0).expand(1, 3, 8))
    torch.testing.assert_close(table.weight.grad[4], 2 * table.weight.grad[1])
    torch.testing.assert_close(linear.weight.grad, layer.rounded_input(rows).sum((0, 1)).expand(3, 8))
    assert not table.weight.grad[0].any()


def test_settled_layers_are_plain_and_hold_what_was_learnt(make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    names = list(model.state_dict())
    linears = sum(type(module) is nn.Linear for module in model.modules())
    assert make_aware_(model, reduce_range=True) == linears + 2  # words and positions, not token types
    assert list(model.state_dict()) == names
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    before = model.encoder.embeddings.word_embeddings.weight[7].clone()
    model(IDS, MASK).square().sum().backward()
    optimizer.step()
    learnt = {name: value.clone() for name, value in model.state_dict().items()}
    settle_aware_(model)
    assert {type(module) for module in model.modules()}.isdisjoint({QatLinear, QatEmbedding})
    assert all(torch.equal(value, learnt[name]) for name, value in model.state_dict().items())
    assert not torch.equal(model.encoder.embeddings.word_embeddings.weight[7], before)
    model.eval()
    save_model(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))


def test_training_through_the_rounding_beats_rounding_after_training():
    torch.manual_seed(0)
    inputs = torch.randn(256, 4) @ torch.randn(4, 16) + 0.1 * torch.randn(256, 16)  # errors can make up
    linear = nn.Linear(16, 4, bias=False)
    wanted = linear(inputs).detach()
    layer = QatLinear(linear, reduce_range=True)
    layer.top = 7  # a coarse grid, where it matters
    losses = []
    optimizer = torch.optim.Adam(layer.parameters(), lr=2e-3)
    for _ in range(150):
        loss = (layer(inputs) - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert min(losses) < 0.7 * losses[0]


def test_a_model_is_made_aware_once(make_encoder: Callable):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    with pytest.raises(InputError, match=r"^embeddings of 2 bits: must be one of 8, 4$"):
        make_aware_(model, reduce_range=True, embedding_bits=2)
    make_aware_(model, reduce_range=True)
    with pytest.raises(InputError, match=r"^the model is quantization-aware already"):
        make_aware_(model, reduce_range=True)
