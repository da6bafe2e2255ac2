"""A leaner graph computes the same numbers, bit by bit, in every family."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from transformers import AutoModel, ModernBertConfig

from sympress.compression.export import clean_graph_, export_onnx
from sympress.compression.quantize.choose import logits_of
from sympress.models.model import build_model

#: Families whose local attention, relative or no mask at all leaves the mask as it is.
OWN_MASKS = ("modernbert", "deberta-v2")
FAMILIES = ("bert", "distilbert", "roberta", "electra", *OWN_MASKS)
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def as_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as PyTorch's exporter writes them, which `export_onnx` has made lean already."""
    monkeypatch.setattr("sympress.compression.export.clean_graph_", lambda _model: None)


def answers(model: onnx.ModelProto) -> list[np.ndarray]:
    """Logits of batches of several sizes, padded on the right, with a gap, and not at all."""
    rng = np.random.default_rng(1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = []
    for size in ((1, 2), (1, 30), (3, 17), (2, 64)):
        ids = rng.integers(5, 54, size=size)
        mask = np.ones_like(ids)
        mask[-1, size[1] // 2 :] = 0
        mask[0, size[1] // 3] = size[1] < 10
        found += [
            session.run(None, {"input_ids": ids * one, "attention_mask": one})[0]
            for one in (np.ones_like(ids), mask)
        ]
    return found


@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "token"), *((family, "maximum") for family in FAMILIES)]
)
def test_every_logit_stays_the_same(make_encoder: Callable, tmp_path: Path, family: str, pooling: str):
    export_onnx(build_model(make_encoder(family), 3, pooling, seed=0), tmp_path / "model.onnx")
    whole, lean = onnx.load(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    onnx.checker.check_model(lean, full_check=True)
    for ours, theirs in zip(answers(lean), answers(whole), strict=True):
        assert np.array_equal(ours, theirs)
    assert len(lean.graph.node) < len(whole.graph.node)
    operators = Counter(node.op_type for node in lean.graph.node)
    if family not in OWN_MASKS:
        assert operators["GatherND"] == operators["Expand"] == operators["Range"] == 0
        assert len(lean.graph.node) <= 0.8 * len(whole.graph.node)
    again = onnx.ModelProto()
    again.CopyFrom(lean)
    clean_graph_(again)
    assert again == lean  # nothing is left to do


def test_local_attention_keeps_its_windows(tmp_path: Path):
    config = ModernBertConfig(
        vocab_size=54,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=200,
        pad_token_id=0,
        local_attention=128,  # wider than every mask that is tried
        global_attn_every_n_layers=2,
    )
    model = build_model(AutoModel.from_config(config), 3, "mean", seed=0)
    model.head.output.weight.data *= 50
    export_onnx(model, tmp_path / "model.onnx")
    lean = onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    notes = [RNG.integers(5, 54, size=length).astype(np.int64) for length in (20, 150)]
    ours, theirs = logits_of(lean.SerializeToString(), notes), logits_of(tmp_path / "model.onnx", notes)
    assert np.array_equal(ours, theirs)


def test_what_is_not_recognised_is_left_alone():
    known = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 6])
    shape = onnx.numpy_helper.from_array(np.array([-1, 2, 3]), "shape")
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Reshape", ["x", "shape"], ["y"], "reshape")],
        "other",
        [known],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", "some", "more"])],
        [shape],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=9)
    before = model.SerializeToString()
    clean_graph_(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_computes_no_more_than_a_cls_head_reads(
    make_encoder: Callable, tmp_path: Path, family: str
):
    """Products of the last layer have one row, but for keys and values (and DeBERTa's scores)."""
    export_onnx(build_model(make_encoder(family), 3, "cls", seed=0), tmp_path / "model.onnx")
    whole, lean = onnx.load(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    onnx.checker.check_model(lean, full_check=True)
    for ours, theirs in zip(answers(lean), answers(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    rows = [product_rows(model) for model in (whole, lean)]
    assert 1 not in rows[0]
    changed = rows[1][-3:] if family == "deberta-v2" else rows[1][-5:]
    assert changed == [1] * len(changed)
    assert rows[1].count(1) == {"deberta-v2": 3, "modernbert": 5}.get(family, 6)  # 6: the queries too
    again = onnx.ModelProto()
    again.CopyFrom(lean)
    clean_graph_(again)
    assert again == lean


def product_rows(model: onnx.ModelProto) -> list[int | str]:
    """Rows of every matrix product, in the order they run, as the graph states its shapes."""
    shapes = {value.name: value.type.tensor_type.shape.dim for value in model.graph.value_info}
    products = [node.output[0] for node in model.graph.node if node.op_type == "MatMul"]
    return [shapes[name][-2].dim_param or shapes[name][-2].dim_value for name in products]


@pytest.mark.parametrize("pooling", ["mean", "maximum", "label", "token"])
def test_a_head_that_reads_all_tokens_gets_all_tokens(make_encoder: Callable, tmp_path: Path, pooling: str):
    export_onnx(build_model(make_encoder("bert"), 3, pooling, seed=0), tmp_path / "model.onnx")
    lean = onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    assert 1 not in product_rows(lean)
