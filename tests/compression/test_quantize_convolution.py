"""A convolution's states in int8: rounded once, with the products of before."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from sympress.compression.quantize import kernels


def convolution(kernel: int) -> onnx.ModelProto:
    """States `(1, tokens, 8)` laid side by side with their neighbours, and one linear layer over them."""
    rng = np.random.default_rng(0)
    before, behind = (kernel - 1) // 2, kernel // 2
    held = {
        "pads": np.array([0, before, 0, 0, behind, 0]),
        "weight": rng.normal(size=(8 * kernel, 4)).astype(np.float32),
        "axis": np.array([1]),
    }
    nodes = [helper.make_node("Pad", ["states", "pads"], ["padded"])]
    for place in range(kernel):
        end = place - (kernel - 1) or np.iinfo(np.int64).max
        held |= {f"from{place}": np.array([place]), f"to{place}": np.array([end])}
        nodes.append(
            helper.make_node("Slice", ["padded", f"from{place}", f"to{place}", "axis"], [f"part{place}"])
        )
    parts = [f"part{place}" for place in range(kernel)]
    nodes += [
        helper.make_node("Concat", parts, ["beside"], axis=-1),
        helper.make_node("MatMul", ["beside", "weight"], ["logits"], name="linear"),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, [1, "tokens", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, "tokens", 4])],
        [numpy_helper.from_array(value, name) for name, value in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def answers(path: Path, states: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"states": states})[0])


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_states_are_rounded_once_and_the_products_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: int
) -> None:
    once, often = tmp_path / "once.onnx", tmp_path / "often.onnx"
    kernels.quantize_linears(convolution(kernel), once, ["linear"], reduce_range=True)
    monkeypatch.setattr(kernels, "round_states_once_", lambda _model: 0)
    kernels.quantize_linears(convolution(kernel), often, ["linear"], reduce_range=True)

    rounding = {path: rounded(path) for path in (once, often)}
    states = (
        np.random.default_rng(1).normal(size=(1, 20, 8)).astype(np.float32) + 2
    )  # far from 0, as padding is
    np.testing.assert_array_equal(answers(once, states), answers(often, states))
    assert rounding == {once: "states", often: "beside"}


def rounded(path: Path) -> str:
    (node,) = [one for one in onnx.load(path).graph.node if one.op_type == "DynamicQuantizeLinear"]
    return str(node.input[0])
