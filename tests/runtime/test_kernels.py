"""Int8 products on CPUs that add them in 16 bits and on those that add in 32: both right, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from sympress.compression.quantize.choose import KERNELS
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.errors import InputError
from sympress.runtime import session as kernels
from sympress.runtime.artifact import BOX_FOLDER, write_provenance
from sympress.runtime.session import (
    INT8_KERNEL,
    Runtime,
    check_kernel,
    kernel_of,
    made_for,
    open_session,
    products_are_exact,
)

Product = Callable[[NDArray[np.uint8], NDArray[np.int8]], NDArray[np.int64]]

INPUTS, SYMPTOMS, NOTES = 64, 5, 200
RNG = np.random.default_rng(0)
#: A layer whose weights use all of their grid, and its inputs, on both sides of 0.
WEIGHTS = RNG.uniform(-1, 1, size=(INPUTS, SYMPTOMS)).astype(np.float32)
VALUES = RNG.normal(size=(NOTES, INPUTS)).astype(np.float32)
STEP = (VALUES.max() - VALUES.min()) / np.float32(255)
ZERO = int(np.round(-VALUES.min() / STEP))


def product_file(weight: NDArray[np.int8]) -> bytes:
    """An ONNX file that multiplies `x` of 0..255 by `weight` `(in, out)` in integers."""
    inputs, outputs = weight.shape
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "weight"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["rows", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, ["rows", outputs])],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def exact(x: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """What a CPU with VNNI computes: `vpdpbusd` adds four products in 32 bits."""
    return x.astype(np.int64) @ weight.astype(np.int64)


def saturating(x: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """What AVX2 without VNNI computes: `vpmaddubsw` adds two products in 16 bits, then sums are wide."""
    products = x.astype(np.int64)[:, :, None] * weight.astype(np.int64)[None]  # (rows, in, out)
    pairs = products[:, 0::2] + products[:, 1::2]
    summed: NDArray[np.int64] = np.clip(pairs, -(2**15), 2**15 - 1).sum(axis=1)
    return summed


def quantized(top: int) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """`VALUES` and `WEIGHTS` on the grids of `quantize_onnx`, weights from -top to top."""
    levels = np.clip(np.round(VALUES / STEP) + ZERO, 0, 255).astype(np.uint8)
    return levels, np.round(WEIGHTS / (np.abs(WEIGHTS).max(axis=0) / top)).astype(np.int8)


def centred(product: Product, x: NDArray[np.uint8], weight: NDArray[np.int8]) -> NDArray[np.int64]:
    """Sums of (x - zero) w as kernels compute them: the zero point is taken off the sum."""
    return product(x, weight) - ZERO * weight.astype(np.int64).sum(axis=0)


def float_file(folder: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], "product")],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", INPUTS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", SYMPTOMS])],
        [numpy_helper.from_array(WEIGHTS.astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "float.onnx")
    return folder / "float.onnx"


def test_hand_computed_sums_of_both_kernels():
    x = np.array([[255, 255, 1, 2]], dtype=np.uint8)
    weight = np.array([[127], [127], [-3], [5]], dtype=np.int8)
    assert exact(x, weight).tolist() == [[2 * 255 * 127 - 3 + 10]]
    assert saturating(x, weight).tolist() == [[32_767 - 3 + 10]]
    assert saturating(x, (weight // 2).astype(np.int8)) == exact(x, (weight // 2).astype(np.int8))


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(-64, 64)), min_size=2, max_size=32))
def test_weights_of_seven_bits_give_the_same_sums_on_both(pairs: list[tuple[int, int]]):
    even = pairs[: len(pairs) // 2 * 2]
    x = np.array([[value for value, _ in even]], dtype=np.uint8)
    weight = np.array([[value] for _, value in even], dtype=np.int8)
    assert saturating(x, weight) == exact(x, weight)


def test_answers_of_a_full_range_layer_flip_where_sums_saturate_and_those_of_seven_bits_do_not():
    flipped = {
        top: (
            centred(saturating, *quantized(top)).argmax(axis=1)
            != centred(exact, *quantized(top)).argmax(axis=1)
        ).sum()
        for top in (127, 64)
    }
    assert flipped == {127: 6, 64: 0}  # of 200 notes


@pytest.mark.parametrize("rows", [1, 2, 16, NOTES])
@pytest.mark.parametrize("top", [64, 127])
def test_a_session_as_deployed_is_exact_and_a_plain_one_is_one_of_the_two(top: int, rows: int):
    x, weight = quantized(top)
    feed = {"x": x[:rows]}
    deployed = open_session(product_file(weight), threads=1).run(None, feed)[0]
    assert (deployed == exact(x[:rows], weight)).all()
    plain = onnxruntime.InferenceSession(product_file(weight), providers=["CPUExecutionProvider"])
    answer = plain.run(None, feed)[0]
    assert (answer == deployed).all() or (answer == saturating(x[:rows], weight)).all()


@pytest.mark.parametrize(("reduce_range", "top"), [(True, 64), (False, 127)])
def test_a_file_computes_its_exact_arithmetic_on_every_cpu(tmp_path: Path, reduce_range: bool, top: int):
    target = tmp_path / "int8.onnx"
    quantize_onnx(float_file(tmp_path), target, reduce_range=reduce_range)
    answer = open_session(target, threads=1).run(None, {"x": VALUES})[0]
    expected = centred(exact, *quantized(top)) * STEP * np.abs(WEIGHTS).max(axis=0) / top
    assert np.abs(answer - expected).max() < 1e-4 * np.abs(expected).max()


def test_the_product_that_is_tried_is_the_largest_there_is():
    assert onnx.load_from_string(kernels._PRODUCT) == onnx.load_from_string(
        product_file(np.full((4, 4), 127, dtype=np.int8))
    )
    assert products_are_exact()


def test_a_runtime_that_cannot_be_asked_is_not_exact(monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object, **__: object) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(kernels, "open_session", missing)
    assert products_are_exact.__wrapped__() is False


def test_every_kernel_says_which_cpus_it_is_made_for():
    assert all(made_for(name) for name in KERNELS)
    assert made_for("static-8bit-2-float") == made_for("static-8bit") != made_for("static-7bit")
    assert made_for(INT8_KERNEL) == "signed weights of 7 bits, exact on every CPU"
    assert made_for("unheard-of") is made_for(None) is None


@pytest.mark.parametrize(
    ("record", "named"),
    [
        ({"kernel": {"name": "dynamic-8bit"}}, "kernel dynamic-8bit"),
        ({"kernel": {"name": "static-8bit-2-float"}}, "kernel static-8bit-2-float"),
        ({"kernel": {"name": "another"}}, "kernel another"),
        ({}, "its kernel is not recorded"),
        (None, "its kernel is not recorded"),
    ],
)
def test_a_cpu_that_would_answer_wrong_refuses_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: dict[str, object] | None, named: str
):
    (tmp_path / "model.onnx").write_bytes(product_file(np.full((4, 4), 127, dtype=np.int8)))
    if record is not None:
        write_provenance(tmp_path, record)
    check_kernel(tmp_path)
    monkeypatch.setattr(kernels, "products_are_exact", lambda: False)
    with pytest.raises(InputError) as caught:
        check_kernel(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: {named}, and products of 8-bit weights overflow on this CPU with onnxruntime "
        f"{onnxruntime.__version__}, so that answers would be wrong; press the model again with --kernel "
        "dynamic-7bit, which is exact on every CPU"
    )


def test_what_is_exact_everywhere_loads_on_any_cpu(
    tiny_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernels, "products_are_exact", lambda: False)
    assert kernel_of(BOX_FOLDER) == "dynamic-7bit"
    assert Runtime.load(BOX_FOLDER).predict(["Fever and chills."]).shape == (1, 97)
    assert Runtime.load(tiny_artifact).predict(["fever"]).shape == (1, 3)  # float, and nothing recorded


def test_the_bundled_model_holds_weights_of_seven_bits():
    tensors = onnx.load(BOX_FOLDER / "model.onnx").graph
    multiplied = {node.input[1] for node in tensors.node if node.op_type == "MatMulInteger"}
    weights = {one.name: numpy_helper.to_array(one) for one in tensors.initializer if one.name in multiplied}
    assert weights
    assert all(np.abs(weight.astype(int)).max() == 64 for weight in weights.values())
