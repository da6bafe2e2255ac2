"""Embedding tables in integers: one scale a row, and the file looks up exactly those rounded rows."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from sympress.compression.quantize.aware import pack_nibbles, quantize_embeddings_, round_rows, row_scales
from sympress.errors import InputError


def lookup_model(table: np.ndarray, *, also_multiplied: bool = False) -> onnx.ModelProto:
    """Rows of `table` by id; the same table may be the weight of a product as well."""
    nodes = [onnx.helper.make_node("Gather", ["table", "ids"], ["rows"], "lookup")]
    results = [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", table.shape[1]])]
    if also_multiplied:
        nodes.append(onnx.helper.make_node("Gemm", ["rows", "table"], ["scores"], "tied", transB=1))
        results.append(
            onnx.helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, ["n", len(table)])
        )
    graph = onnx.helper.make_graph(
        nodes,
        "lookup",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n"])],
        results,
        [onnx.numpy_helper.from_array(table, "table")],
    )
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)


def looked_up(model: onnx.ModelProto, rows: int) -> np.ndarray:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["rows"], {"ids": np.arange(rows)})[0]


def uneven_table(rows: int = 40, width: int = 24) -> np.ndarray:
    """Rows whose sizes differ by a factor of a thousand, and one of zeros, as padding has."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(rows, width)) * np.geomspace(0.001, 1.0, rows)[:, None]
    table[3] = 0
    return table.astype(np.float32)


def test_a_hand_computed_row():
    rows = torch.tensor([[1.27, -0.634, 0.004], [0.0, 0.0, 0.0]])
    scales = row_scales(rows, 8)
    assert scales[0].item() == pytest.approx(0.01)
    torch.testing.assert_close(
        round_rows(rows, scales, 8), torch.tensor([[1.27, -0.63, 0.0], [0.0, 0.0, 0.0]])
    )


def test_the_error_of_eight_bits_is_half_a_step_of_the_rows_own_scale():
    table = uneven_table()
    model = lookup_model(table)
    assert quantize_embeddings_(model, 8) == ["table"]
    error = np.abs(looked_up(model, len(table)) - table)
    steps = np.abs(table).max(1, keepdims=True) / 127
    assert (error <= steps / 2 * (1 + 1e-4)).all()
    assert not error[3].any()


@pytest.mark.parametrize("width", [24, 25])
def test_the_error_of_four_bits_is_half_a_step_where_nothing_is_clipped(width: int):
    table = uneven_table(width=width)
    scales = row_scales(torch.from_numpy(table), 4).numpy()
    model = lookup_model(table)
    quantize_embeddings_(model, 4)
    error = np.abs(looked_up(model, len(table)) - table)
    inside = np.abs(table) <= 7 * scales
    assert inside.mean() > 0.8
    assert (error[inside] <= np.broadcast_to(scales / 2 * (1 + 1e-4), table.shape)[inside]).all()
    widest = np.abs(table).max(1, keepdims=True) / 7
    unclipped = np.clip(np.round(table / np.maximum(widest, 1e-30)), -7, 7) * widest
    squares, without = (error**2).sum(1), ((unclipped - table) ** 2).sum(1)
    assert (squares <= without * (1 + 1e-5)).all()
    assert squares.sum() < 0.95 * without.sum()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("width", [24, 25])
def test_the_file_looks_up_exactly_what_pytorch_rounds(bits: int, width: int):
    table = uneven_table(width=width)
    model = lookup_model(table)
    quantize_embeddings_(model, bits)
    rows = torch.from_numpy(table)
    expected = round_rows(rows, row_scales(rows, bits), bits).numpy()
    np.testing.assert_allclose(looked_up(model, len(table)), expected, rtol=1e-6, atol=1e-9)


def test_nibbles_are_packed_by_halves():
    packed = pack_nibbles(np.array([[-7, 0, 7], [1, 2, 3]]))
    assert packed.dtype == np.uint8
    assert packed.tolist() == [[1 + 16 * 15, 8], [9 + 16 * 11, 10]]


@pytest.mark.parametrize(("bits", "per_row"), [(8, 64 + 4), (4, 32 + 4)])
def test_bytes_a_row(bits: int, per_row: int):
    model = lookup_model(np.ones((1000, 64), dtype=np.float32))
    quantize_embeddings_(model, bits)
    stored = sum(onnx.numpy_helper.to_array(t).nbytes for t in model.graph.initializer)
    assert 1000 * per_row <= stored < 1000 * per_row + 32


def test_a_table_that_is_multiplied_too_or_that_is_tiny_stays_float():
    for model in (lookup_model(uneven_table(), also_multiplied=True), lookup_model(uneven_table(rows=4))):
        assert quantize_embeddings_(model, 8) == []
        assert [tensor.name for tensor in model.graph.initializer] == ["table"]


def test_other_widths_are_refused():
    with pytest.raises(InputError, match=r"^embeddings of 3 bits: must be one of 8, 4$"):
        quantize_embeddings_(lookup_model(uneven_table()), 3)
