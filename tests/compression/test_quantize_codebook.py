"""Weights shared by clusters: the best codebook there is, and a file that multiplies its values in int8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from sympress.compression.export import export_onnx
from sympress.compression.quantize import codebook, nearest_index
from sympress.compression.quantize.aware import make_aware_, settle_aware_, share_levels
from sympress.compression.quantize.choose import logits_of
from sympress.compression.quantize.kernels import quantize_onnx, share_weights_
from sympress.compression.recipe.language import parse_recipe
from sympress.errors import InputError
from sympress.evaluation.cost import count_weights
from sympress.models.model import SymptomModel, build_model


def squared_error(levels: np.ndarray, book: np.ndarray) -> int:
    return int(((levels.astype(int) - book[nearest_index(levels, book)]) ** 2).sum())


@settings(deadline=None)  # other work may hold the core
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=30), st.integers(2, 3))
def test_no_other_codebook_with_zero_is_nearer(values: list[int], clusters: int) -> None:
    levels = np.array(values, dtype=np.int8)
    book = codebook(levels, clusters)
    assert len(book) <= clusters
    pinned = {0} & set(values)
    assert pinned <= set(book.tolist())
    rivals = [one for one in combinations(range(-5, 6), clusters) if pinned <= set(one)]
    assert squared_error(levels, book) <= min(squared_error(levels, np.array(one)) for one in rivals)


def test_a_hand_computed_codebook() -> None:
    levels = np.array([[-10, -9, -9, 0], [1, 1, 30, 32]], dtype=np.int8)
    assert codebook(levels, 3).tolist() == [-9, 0, 31]  # of -28 / 3, of 0 and twice 1, of 62 / 2
    assert codebook(levels, 7).tolist() == [-10, -9, 0, 1, 30, 32]  # there are no more
    assert nearest_index(np.array([-5, -4, 15, 16]), np.array([-9, 0, 31])).tolist() == [0, 1, 1, 2]
    assert codebook(np.array([200, 200, 255, 0], dtype=np.uint8), 2).tolist() == [0, 218]  # nothing is pinned


def test_masked_weights_stay_masked_and_small_matrices_as_they_are() -> None:
    torch.manual_seed(0)
    levels = (torch.randn(64, 64) * 20).round().clamp(-64, 64)
    levels[torch.rand(64, 64) < 0.3] = 0
    shared = share_levels(levels, 8)
    assert len(shared.unique()) == 8
    assert (shared[levels == 0] == 0).all()
    assert torch.equal(share_levels(levels[:4], 2), levels[:4])


def linear_file(path: Path, weight: np.ndarray) -> None:
    """A file of one linear layer."""
    values = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, len(weight)])
    sums = helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [None, weight.shape[1]])
    node = helper.make_node("MatMul", ["x", "w"], ["logits"], "linear")
    graph = helper.make_graph([node], "one", [values], [sums], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)


def answer(model: onnx.ModelProto, values: np.ndarray, optimized: Path | None = None) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    if optimized is not None:
        options.optimized_model_filepath = str(optimized)
    content = model.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0]


@pytest.mark.parametrize(("width", "signed"), [(256, True), (255, True), (256, False)])
@pytest.mark.parametrize("clusters", [4, 16, 40])
def test_a_file_multiplies_the_values_of_its_codebook_and_is_smaller(
    tmp_path: Path, clusters: int, width: int, signed: bool
) -> None:
    rng = np.random.default_rng(0)
    linear_file(tmp_path / "float.onnx", rng.normal(size=(256, width)).astype(np.float32))
    quantize_onnx(tmp_path / "float.onnx", tmp_path / "int8.onnx", reduce_range=True, signed=signed)
    model, rounded = (onnx.load(tmp_path / "int8.onnx") for _ in range(2))
    tensor = next(one for one in rounded.graph.initializer if len(one.dims) == 2)
    levels = numpy_helper.to_array(tensor)
    book = codebook(levels, clusters)
    tensor.CopyFrom(
        numpy_helper.from_array(book[nearest_index(levels, book)].astype(levels.dtype), tensor.name)
    )
    assert share_weights_(model, clusters) == [tensor.name]
    onnx.checker.check_model(model, full_check=True)
    values = rng.normal(size=(9, 256)).astype(np.float32)
    optimized = tmp_path / "optimized.onnx"
    assert np.array_equal(answer(model, values, optimized), answer(rounded, values))
    operators = Counter(node.op_type for node in onnx.load(optimized).graph.node)
    assert not operators["Gather"]  # looked up once, when the file was loaded
    paired = clusters <= 16 and width == 256
    assert (model.ByteSize() < 0.55 * rounded.ByteSize()) == paired
    counted = count_weights(model.SerializeToString())
    assert counted == count_weights(rounded.SerializeToString())
    assert counted.parameters == 256 * width


@pytest.fixture(scope="module")
def model(make_encoder: Callable) -> SymptomModel:
    made = build_model(make_encoder("bert"), 3, "cls", seed=0).eval()
    made.head.output.weight.data *= 50  # logits of a trained model's size
    return made


@pytest.mark.parametrize("clusters", [5, 16])
def test_training_sees_the_logits_of_the_file(
    model: SymptomModel, tmp_path: Path, token_ids: list[np.ndarray], clusters: int
) -> None:
    source, target = tmp_path / "float.onnx", tmp_path / "int8.onnx"
    export_onnx(model, source)
    quantize_onnx(source, target, reduce_range=True)
    plain = logits_of(target, token_ids)
    shared = onnx.load(target)
    assert (
        len(share_weights_(shared, clusters)) == 15
    )  # words, positions, six a layer and the head's dense one
    make_aware_(model, reduce_range=True, clusters=clusters)
    with torch.inference_mode():
        simulated = np.concatenate(
            [model(torch.from_numpy(ids)[None], torch.ones(1, len(ids))).numpy() for ids in token_ids]
        )
    settle_aware_(model)
    deployed = logits_of(shared.SerializeToString(), token_ids)
    assert np.abs(simulated - deployed).max() < 1e-3
    assert np.abs(plain - deployed).max() > 5e-3  # the sharing is really there


def test_gradients_pass_through_the_codebook_to_every_weight(model: SymptomModel) -> None:
    make_aware_(model, reduce_range=True, clusters=4)
    ids = torch.tensor([[2, 7, 9, 3]])
    model(ids, torch.ones_like(ids)).sum().backward()
    query = model.get_submodule("encoder.encoder.layer.0.attention.self.query").weight.grad
    words = model.encoder.embeddings.word_embeddings.weight.grad
    settle_aware_(model)
    model.zero_grad()
    assert query is not None
    assert (query != 0).all()
    assert words is not None
    assert words[7].any()
    assert not words[8].any()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "quantize(weights4, clusters=8)",
            "quantize: clusters are of the weights of int8 or static, not of ",
        ),
        ("quantize(clusters=1)", "quantize: clusters=1 must be a whole number of at least 2 and at most 256"),
        ("quantize(clusters=16.5)", "quantize: clusters=16.5 must be a whole number of at least 2 and at"),
        ("store > quantize", "store must be the last step: it codes the file that the others make"),
        ("store(zip)", "store: coding='zip' must be entropy"),
    ],
)
def test_what_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as refused:
        parse_recipe(text)
    assert str(refused.value).startswith(message)


def test_a_coded_file_may_be_fused_with_the_rules() -> None:
    assert str(parse_recipe("quantize > store > fuse")) == "quantize(int8) > store(entropy) > fuse"


def test_the_recipe_says_how_many_values() -> None:
    text = "quantize(int8, clusters=16, aware=true) > store(entropy)"
    assert str(parse_recipe("quantize(clusters=16, aware=true)>store")) == text
    assert str(parse_recipe(text)) == text
