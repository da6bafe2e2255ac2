"""Weights counted in the deployed file itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from sympress.compression.export import export_onnx
from sympress.compression.prune.masks import apply_masks_, magnitude_masks
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.evaluation.cost import WeightCounts, count_weights
from sympress.models.model import SymptomModel, build_model


def parameters(model: SymptomModel) -> WeightCounts:
    """Those that a file holds: the row of the token type that is never used is in none."""
    types = model.encoder.embeddings.token_type_embeddings.weight
    parts = [types[:1], *(part for part in model.parameters() if part is not types)]
    counts = [(p.numel(), int(torch.count_nonzero(p))) for p in parts]
    return WeightCounts(sum(total for total, _ in counts), sum(nonzero for _, nonzero in counts))


@pytest.fixture(scope="module")
def masked(make_encoder: Callable, tmp_path_factory: pytest.TempPathFactory) -> tuple[SymptomModel, Path]:
    """A model with 60 % of its linear weights masked, exported."""
    model = build_model(make_encoder("bert"), 3, "cls", seed=0)
    for parameter in model.parameters():
        if parameter.ndim == 1:  # equal tensors, such as biases of zero, are stored once
            torch.nn.init.normal_(parameter)
    apply_masks_(model, magnitude_masks(model, 0.6))
    path = tmp_path_factory.mktemp("cost") / "model.onnx"
    export_onnx(model, path)
    return model, path


def test_a_file_holds_the_parameters_of_its_model_masked_ones_as_zeros(masked: tuple[SymptomModel, Path]):
    model, path = masked
    found = count_weights(path)
    assert found == parameters(model)
    assert found.nonzero_parameters < 0.7 * found.parameters


def test_masked_weights_make_no_file_smaller(masked: tuple[SymptomModel, Path]):
    model, path = masked
    assert path.stat().st_size > 4 * parameters(model).parameters


def test_int8_keeps_the_number_of_weights(masked: tuple[SymptomModel, Path], tmp_path: Path):
    target = tmp_path / "int8.onnx"
    quantize_onnx(masked[1], target, reduce_range=False)
    found, before = count_weights(target), count_weights(masked[1])
    assert found.parameters == before.parameters
    # masked weights and the padding row of the embeddings stay zero, a few small ones are rounded to it
    assert 0.95 * before.nonzero_parameters < found.nonzero_parameters <= before.nonzero_parameters


def test_scales_scalars_and_shapes_are_not_weights(tmp_path: Path):
    tensors = [
        ("weight_quantized", np.array([[1, 0], [-3, 0]], dtype=np.int8)),
        ("weight_scale", np.array([0.1, 0.2], dtype=np.float32)),
        ("weight_zero_point", np.array([0, 0], dtype=np.int8)),
        ("table_quantized", np.array([[128, 128], [7, 0]], dtype=np.uint8)),
        ("table_zero_point", np.array(128, dtype=np.uint8)),
        ("norm", np.array([1.0, 0.0, 2.0], dtype=np.float32)),
        ("half", np.array(0.5, dtype=np.float32)),
        ("shape", np.array([1, 2, 3], dtype=np.int64)),
    ]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        [onnx.numpy_helper.from_array(values, name) for name, values in tensors],
    )
    onnx.save(helper.make_model(graph), tmp_path / "toy.onnx")
    assert count_weights(tmp_path / "toy.onnx") == WeightCounts(parameters=11, nonzero_parameters=6)
