"""Quantization: simulated values lie on their grid, and the deployed file really works in int8."""

from __future__ import annotations

import copy
import logging
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sympress.compression.export import export_checked, export_onnx, parity
from sympress.compression.quantize.aware import (
    EagerLinear,
    FakeQuantLinear,
    ObservedRounding,
    embedding_lookups,
    fake_quantize,
    settle_eager_,
    simulate_eager_,
    simulate_int8_,
    store_rounded_weights_,
)
from sympress.compression.quantize.kernels import linear_nodes, quantize_onnx, quantize_weights_only
from sympress.errors import InputError
from sympress.models.model import SymptomModel, build_model, load_model, save_model, with_rounding
from sympress.runtime.session import open_session

IDS = torch.tensor([[2, 7, 9, 11, 12, 30, 3], [2, 8, 3, 0, 0, 0, 0]])
MASK = (IDS != 0).long()


@given(
    st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20),
    st.floats(0.01, 1.0),
    st.integers(-8, 8),
)
def test_values_land_on_the_grid_within_half_a_step(values: list[float], scale: float, zero: int):
    given_values = torch.tensor(values, dtype=torch.float64)
    step, shift = torch.tensor(scale, dtype=torch.float64), torch.tensor(float(zero))
    rounded = fake_quantize(given_values, step, shift, -128, 127)
    levels = rounded / step + shift
    torch.testing.assert_close(levels, levels.round(), atol=1e-6, rtol=0)
    assert levels.min() >= -128 - 1e-6
    assert levels.max() <= 127 + 1e-6
    inside = (given_values / step + shift).round().clamp(-128, 127) == (given_values / step + shift).round()
    error = (rounded - given_values).abs()
    assert (error[inside] <= scale / 2 + 1e-9).all()


def test_a_hand_computed_grid():
    values = torch.tensor([-1.0, -0.26, 0.0, 0.24, 0.26, 0.74, 9.0])
    rounded = fake_quantize(values, torch.tensor(0.5), torch.tensor(2.0), 0, 7)
    assert rounded.tolist() == [-1.0, -0.5, 0.0, 0.0, 0.5, 0.5, 2.5]


def test_gradients_pass_straight_through():
    values = torch.linspace(-3, 3, 50, requires_grad=True)
    fake_quantize(values, torch.tensor(0.1), torch.tensor(0.0), -8, 7).sum().backward()
    assert torch.equal(values.grad, torch.ones(50))


def test_the_input_range_starts_at_the_first_batch_and_then_moves_slowly():
    layer = FakeQuantLinear(nn.Linear(2, 2))
    layer.train()
    layer(torch.tensor([[1.0, 3.0]]))
    assert (layer.low.item(), layer.high.item()) == (0.0, 3.0)  # zero always has a level of its own
    layer(torch.tensor([[-2.0, 5.0]]))
    assert layer.low.item() == pytest.approx(-0.02)
    assert layer.high.item() == pytest.approx(3.02)


def test_evaluation_is_deterministic_and_observes_nothing():
    torch.manual_seed(0)
    layer = FakeQuantLinear(nn.Linear(16, 4))
    layer.train()
    layer(torch.randn(8, 16))
    layer.eval()
    bounds = layer.low.item(), layer.high.item()
    states = 5 * torch.randn(3, 16)
    assert torch.equal(layer(states), layer(states))
    assert (layer.low.item(), layer.high.item()) == bounds


def test_a_simulated_layer_stays_close_to_the_layer_it_replaces():
    torch.manual_seed(0)
    plain = nn.Linear(64, 32)
    layer = FakeQuantLinear(plain)
    states = torch.randn(128, 64)
    layer.train()
    layer(states)
    layer.eval()
    with torch.inference_mode():
        error = (layer(states) - plain(states)).square().mean()
        signal_to_noise = 10 * math.log10(plain(states).square().mean() / error)
    assert signal_to_noise > 30  # decibel


def test_training_reaches_weights_and_biases_through_the_rounding():
    layer = FakeQuantLinear(nn.Linear(8, 3))
    layer(torch.randn(5, 8)).square().sum().backward()
    assert layer.weight.grad.abs().min() > 0
    assert layer.bias.grad.abs().min() > 0


@pytest.mark.parametrize("pooling", ["cls", "label"])
def test_every_linear_layer_but_the_label_query_is_simulated_and_counted(
    make_encoder: Callable, pooling: str
):
    model = build_model(make_encoder("bert"), 3, pooling, seed=0)
    assert simulate_int8_(model) == sum(isinstance(module, FakeQuantLinear) for module in model.modules())
    left = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    assert left == (["head.query"] if pooling == "label" else [])


def test_settled_weights_are_plain_layers_on_the_int8_grid(make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count = simulate_int8_(model)
    model.train()
    model(IDS, MASK)
    store_rounded_weights_(model)
    model.eval()
    assert model.state_dict().keys() == before.keys()
    linears = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    assert len(linears) == count
    for name, module in linears.items():
        assert type(module) is nn.Linear
        original = before[f"{name}.weight"]
        scale = original.abs().amax(1, keepdim=True) / 127.5
        levels = module.weight.detach() / scale
        torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
        assert ((module.weight.detach() - original).abs() <= scale / 2 * 1.001).all()
        assert torch.equal(module.bias, before[f"{name}.bias"])
    save_model(model, tmp_path)
    with torch.inference_mode():
        assert torch.equal(load_model(tmp_path)(IDS, MASK), model(IDS, MASK))


@pytest.fixture(scope="module")
def exported(make_encoder: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple[SymptomModel, Path]:
    model = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    model.head.output.weight.data *= 50  # logits of a trained model's size
    path = tmp_path_factory.mktemp("quantize") / "model.onnx"
    export_onnx(model, path)
    return model, path


@pytest.mark.parametrize("reduce_range", [True, False])
def test_an_int8_file_is_smaller_and_close(
    exported: tuple[SymptomModel, Path],
    reduce_range: bool,
    tmp_path: Path,
    token_ids: list[np.ndarray],
):
    model, source = exported
    target = tmp_path / "int8.onnx"
    quantize_onnx(source, target, reduce_range=reduce_range)
    assert target.stat().st_size < 0.75 * source.stat().st_size  # most of a tiny file is its graph
    with torch.inference_mode():
        sizes = [model(torch.from_numpy(ids)[None], torch.ones(1, len(ids))).abs().max() for ids in token_ids]
    assert 0 < parity(model, target, token_ids) < 0.1 * max(sizes)


def test_linear_layers_multiply_in_int8_and_embeddings_are_stored_in_int8(
    exported: tuple[SymptomModel, Path], tmp_path: Path
):
    model, source = exported
    target = tmp_path / "int8.onnx"
    quantize_onnx(source, target, reduce_range=False)
    graph = onnx.load(target).graph
    operations = Counter(node.op_type for node in graph.node)
    linears = sum(isinstance(module, nn.Linear) for module in model.modules())
    assert operations["MatMulInteger"] == linears
    floats = {
        tuple(tensor.dims) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT
    }
    assert not [dims for dims in floats if len(dims) == 2 and min(dims) > 2]  # no weight matrix stays float
    table = next(t for t in graph.initializer if tuple(t.dims) == (model.encoder.config.vocab_size, 32))
    assert table.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)


def test_seven_bits_are_used_where_the_range_is_reduced(exported: tuple[SymptomModel, Path], tmp_path: Path):
    target = tmp_path / "int8.onnx"
    quantize_onnx(exported[1], target, reduce_range=True)
    largest = [
        np.abs(onnx.numpy_helper.to_array(tensor).astype(int)).max()
        for tensor in onnx.load(target).graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8
        and len(tensor.dims) == 2
        and "embeddings" not in tensor.name  # those are never multiplied in integers
    ]
    assert largest
    assert max(largest) <= 64


def test_word_and_position_tables_are_found(exported: tuple[SymptomModel, Path]):
    found = embedding_lookups(onnx.load(exported[1]))
    assert sorted(name.split(".")[-2] for name in found) == ["position_embeddings", "word_embeddings"]


def test_layers_kept_in_float_are_float_and_the_rest_is_not(
    exported: tuple[SymptomModel, Path], tmp_path: Path
):
    source, target = exported[1], tmp_path / "int8.onnx"
    names = linear_nodes(onnx.load(source))
    kept = [names[2], names[-1]]  # a MatMul of the encoder and the head's Gemm
    quantize_onnx(source, target, reduce_range=True, keep_float=kept)
    model = onnx.load(target)
    assert sorted(node.removesuffix("_MatMul") for node in linear_nodes(model)) == sorted(kept)
    assert sum(node.op_type == "MatMulInteger" for node in model.graph.node) == len(names) - 2


def test_all_layers_can_be_kept_in_float(
    exported: tuple[SymptomModel, Path], tmp_path: Path, token_ids: list[np.ndarray]
):
    model, source = exported
    names = linear_nodes(onnx.load(source))
    quantize_onnx(source, tmp_path / "t.onnx", reduce_range=True, keep_float=names)
    assert linear_nodes(onnx.load(tmp_path / "t.onnx")) == names
    assert 0 < parity(model, tmp_path / "t.onnx", token_ids) < 0.05  # the embeddings alone are rounded


def test_a_layer_that_does_not_exist_cannot_be_kept(exported: tuple[SymptomModel, Path], tmp_path: Path):
    with pytest.raises(InputError, match=r"^keep_float names 'nothing', which is no linear node"):
        quantize_onnx(exported[1], tmp_path / "t.onnx", reduce_range=True, keep_float=["nothing"])


def test_the_exporters_notes_are_left_out_and_the_shapes_stay(
    exported: tuple[SymptomModel, Path], tmp_path: Path
):
    target = tmp_path / "int8.onnx"
    quantize_onnx(exported[1], target, reduce_range=True)
    graph = onnx.load(target).graph
    assert not [node.name for node in graph.node if node.metadata_props or node.doc_string]
    assert "layer_norm" in {value.name for value in graph.value_info}
    assert target.stat().st_size < 70_000  # 35 thousand weights


def test_the_root_logger_is_left_as_it_was(exported: tuple[SymptomModel, Path], tmp_path: Path):
    root = logging.getLogger()
    before = root.level, list(root.handlers), root.manager.disable
    quantize_weights_only(exported[1], tmp_path / "t.onnx")
    assert (root.level, root.handlers, root.manager.disable) == before


def worst_case(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """`float.onnx`, whose every product is the largest there is; its inputs and their exact answers."""
    weight = np.ones((64, 8), dtype=np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "worst",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 64])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", 8])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), folder / "float.onnx")
    values = np.random.default_rng(0).uniform(0.9, 1.0, size=(16, 64)).astype(np.float32)
    return values, values @ weight


def run(path: Path, values: np.ndarray) -> np.ndarray:
    answer: np.ndarray = open_session(path, threads=1).run(None, {"x": values})[0]
    return answer


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("reduce_range", [True, False])
def test_a_worst_case_sum_does_not_saturate_on_any_cpu(tmp_path: Path, reduce_range: bool, rows: int):
    # 255 x 127, twice, is beyond 16 bits; 255 x 64, twice, is not
    values, exact = worst_case(tmp_path)
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", reduce_range=reduce_range)
    error = np.abs(run(tmp_path / "int8.onnx", values[:rows]) - exact[:rows])
    assert error.max() <= 64 * values.max() / 255 / 2 * 1.001  # half a step for each of the 64 inputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["linear", "norm", "embedding"])
def test_a_layer_of_the_published_simulation_computes_as_pytorchs_eager_mode(kind: str):
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    torch.manual_seed(0)
    plain = {"linear": nn.Linear(8, 5), "norm": nn.LayerNorm(8), "embedding": nn.Embedding(20, 8)}[kind]
    theirs = nn.Sequential(copy.deepcopy(plain)).train()
    theirs.qconfig = get_default_qat_qconfig("fbgemm")
    prepare_qat(theirs, inplace=True)
    ours = (
        EagerLinear(plain, ObservedRounding())
        if kind == "linear"
        else with_rounding(plain, ObservedRounding())
    )
    for spread in (1.0, 3.0, 0.5):  # the range moves on from batch to batch
        values = torch.randint(20, (4, 6)) if kind == "embedding" else spread * torch.randn(4, 6, 8)
        found, wanted = ours(values), theirs(values)
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.rounding.scale, theirs[0].activation_post_process.scale[0])
        found.square().sum().backward()
        wanted.square().sum().backward()
        torch.testing.assert_close(ours.weight.grad, theirs[0].weight.grad, atol=1e-3, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
def test_the_published_simulation_rounds_what_pytorchs_eager_mode_rounds(make_encoder: Callable):
    from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    theirs = copy.deepcopy(model).train()
    theirs.qconfig = get_default_qat_qconfig("fbgemm")
    prepare_qat(theirs, inplace=True)
    rounds = {
        name.rpartition(".")[0]: module
        for name, module in theirs.named_modules()
        if name.endswith(".activation_post_process") and hasattr(module, "fake_quant_enabled")
        and "weight_fake_quant" not in name
    }  # fmt: skip
    count = simulate_eager_(model)
    model.train()
    names = {name for name, module in model.named_modules() if hasattr(module, "rounding")}
    assert names == set(rounds)
    assert count == len(names)
    tanh, ours = rounds["head.activation"], model.head.activation.rounding
    assert (float(ours.scale), float(ours.zero)) == (float(tanh.scale[0]), float(tanh.zero_point[0]))
    # A last bit decides a step here and there, and the steps after it.
    step = float(model.head.output.rounding(model(IDS, MASK)).abs().max()) / 127
    assert (model(IDS, MASK) - theirs(IDS, MASK)).abs().max() <= 16 * step


def test_both_published_roundings_are_stored_and_deployed(make_encoder: Callable, tmp_path: Path):
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    simulate_eager_(model)
    model.train()
    for _ in range(3):
        model(IDS, MASK)
    model.eval()
    with torch.inference_mode():
        simulated = model(IDS, MASK)
        assert torch.equal(model(IDS, MASK), simulated)  # the ranges stay as training left them
    settle_eager_(model)
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS, MASK), simulated)
    step = model.head.output.rounding.scale
    levels = simulated / step
    torch.testing.assert_close(levels, levels.round(), atol=1e-3, rtol=0)
    weight = model.encoder.encoder.layer[0].intermediate.dense.weight.detach()
    assert all(len(row.unique()) <= 255 for row in weight)
    save_model(model, tmp_path)
    again = load_model(tmp_path)
    with torch.inference_mode():
        assert torch.equal(again(IDS, MASK), model(IDS, MASK))
    notes = [IDS[0].numpy(), IDS[0, :4].numpy()]
    assert export_checked(again, tmp_path / "model.onnx", notes) <= 8 * float(step)
