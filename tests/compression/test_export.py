"""ONNX files compute what PyTorch computes, or are not written."""

from __future__ import annotations

import copy
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from transformers import AutoModel, ModernBertConfig, PreTrainedModel

from sympress.compression import export
from sympress.compression.distill.student import student_of
from sympress.compression.export import PARITY_TOLERANCE, clean_graph_, export_checked, parity, structure_of
from sympress.compression.lowrank.factorize import lowrank_
from sympress.compression.prune.structured import Kept, remove_
from sympress.compression.quantize.choose import logits_of
from sympress.errors import SympressError
from sympress.models.families import keep_layers_
from sympress.models.model import SymptomModel, build_model, load_model, save_model


def sharp(model: SymptomModel) -> SymptomModel:
    """Logits of a trained model's size, so that a tolerance means something."""
    model.head.output.weight.data *= 50
    return model


@pytest.fixture(scope="module")
def bert(make_encoder: Callable) -> SymptomModel:
    return sharp(build_model(make_encoder("bert"), 3, "label", seed=0))


@pytest.fixture(scope="module")
def bert_file(bert: SymptomModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export.export_onnx(bert, path)
    return path


def test_a_bert_is_reproduced_at_every_length(bert: SymptomModel, bert_file: Path):
    rng = np.random.default_rng(1)
    notes = [rng.integers(5, 50, size=length).astype(np.int64) for length in (2, 3, 8, 9, 31, 80)]
    assert parity(bert, bert_file, notes) < PARITY_TOLERANCE


def test_batches_with_padding_are_reproduced(bert: SymptomModel, bert_file: Path):
    ids = np.array([[2, 7, 9, 11, 3], [2, 8, 3, 0, 0], [2, 3, 0, 0, 0]])
    mask = (ids != 0).astype(np.int64)
    session = onnxruntime.InferenceSession(bert_file, providers=["CPUExecutionProvider"])
    found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    with torch.inference_mode():
        expected = bert(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(found, expected, atol=PARITY_TOLERANCE)


def test_one_file_holds_everything(bert_file: Path):
    assert list(bert_file.parent.iterdir()) == [bert_file]


def test_exporting_leaves_the_attention_of_the_model_as_it_was(bert: SymptomModel, bert_file: Path):
    assert bert.encoder.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("family", ["distilbert", "roberta", "electra", "deberta-v2", "modernbert"])
def test_every_family_is_reproduced_and_traced_once(
    family: str,
    make_encoder: Callable,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token_ids: list[np.ndarray],
):
    first, second = (sharp(build_model(make_encoder(family, seed), 3, "cls", seed=seed)) for seed in (0, 1))
    assert export_checked(first, tmp_path / "first.onnx", token_ids) < PARITY_TOLERANCE
    monkeypatch.setattr(export, "_trace", None)  # from here on nothing can be traced
    assert export_checked(second, tmp_path / "second.onnx", token_ids) < PARITY_TOLERANCE
    assert parity(first, tmp_path / "second.onnx", token_ids) > 0.01
    assert export_checked(first, tmp_path / "again.onnx", token_ids) < PARITY_TOLERANCE
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "first.onnx").read_bytes()
    third = sharp(build_model(resized(first), 5, "cls", seed=0))
    assert export_checked(third, tmp_path / "third.onnx", [np.append(token_ids[0], 69)]) < PARITY_TOLERANCE
    onnx.checker.check_model(onnx.load(tmp_path / "third.onnx"), full_check=True)


def resized(model: SymptomModel) -> PreTrainedModel:
    """An encoder with more words, fewer positions where they are learnt, and another dropout."""
    config = copy.deepcopy(model.encoder.config)
    config.vocab_size = 70
    if config.model_type != "modernbert":
        config.max_position_embeddings = 40
    for name in [name for name, value in config.to_dict().items() if "dropout" in name and value]:
        setattr(config, name, 0.25)
    return AutoModel.from_config(config).eval()


def test_models_share_a_structure_where_one_graph_serves_them(make_encoder: Callable, tmp_path: Path):
    def built(seed: int = 0, pooling: str = "mean") -> SymptomModel:
        return build_model(make_encoder("bert", seed), 3, pooling, seed=seed).eval()

    own = structure_of(built())
    saved = built(1)
    save_model(saved, tmp_path)
    assert structure_of(saved) == own
    assert structure_of(load_model(tmp_path)) == own
    make_encoder("bert", 1).save_pretrained(tmp_path / "encoder")
    loaded = AutoModel.from_pretrained(tmp_path / "encoder")
    assert structure_of(build_model(loaded, 3, "mean", seed=0).eval()) == own
    assert structure_of(build_model(resized(built()), 5, "mean", seed=0).eval()) == own
    students = [built(), built()]
    for place, student in enumerate(students):
        keep_layers_(student.encoder, [place])
    assert len(set(map(structure_of, students))) == 1
    others = [built(), built(), built(), built(), built(pooling="cls"), built(pooling="maximum")]
    remove_(others[0], Kept(((0, 3), (0, 1)), (tuple(range(30)), tuple(range(30)))))
    lowrank_(others[1], method="svd", rank=4)
    others[2].encoder.encoder.layer[0].output.LayerNorm.eps = 1e-3
    others[3].encoder.encoder.layer[1].scale = torch.ones(1)  # no weight: it would be written as a constant
    assert len({own, *map(structure_of, others)}) == 7
    others[3].encoder.encoder.layer[1].scale = torch.zeros(1)
    assert structure_of(others[3]) not in {own, *map(structure_of, others[:3])}


def test_a_model_whose_structure_cannot_be_written_is_traced_each_time(
    make_encoder: Callable, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(export, "_trace", lambda _model: pytest.fail("traced"))
    model = build_model(make_encoder("bert"), 3, "label", seed=0)
    model.head.register_forward_hook(lambda _head, _inputs, logits: logits + 1)
    assert structure_of(model) is None
    for _ in range(2):
        with pytest.raises(pytest.fail.Exception, match="traced"):
            export.export_onnx(model, tmp_path / "model.onnx")


def test_a_model_pressed_in_three_ways_is_reproduced(
    make_encoder: Callable, tmp_path: Path, token_ids: list[np.ndarray]
):
    model = student_of(sharp(build_model(make_encoder("bert"), 3, "mean", seed=0)), 1)
    remove_(model, Kept(((0, 3),), (tuple(range(30)),)))
    lowrank_(model, method="svd", rank=4)
    assert export_checked(model, tmp_path / "model.onnx", token_ids) < PARITY_TOLERANCE


def test_a_file_that_disagrees_is_not_kept(
    make_encoder: Callable,
    bert_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token_ids: list[np.ndarray],
):
    other = sharp(build_model(make_encoder("bert", seed=1), 3, "label", seed=0))
    monkeypatch.setattr(export, "export_onnx", lambda _model, path: shutil.copy(bert_file, path))
    with pytest.raises(SympressError) as caught:
        export_checked(other, tmp_path / "model.onnx", token_ids)
    worst = parity(other, bert_file, token_ids)
    assert str(caught.value) == (
        f"model.onnx: the ONNX file differs from PyTorch by {worst:.2e} in a logit, more than 0.001; "
        "please report the encoder's architecture"
    )
    assert list(tmp_path.iterdir()) == []


def test_answers_that_are_not_numbers_are_a_disagreement(
    make_encoder: Callable,
    bert_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token_ids: list[np.ndarray],
):
    broken = build_model(make_encoder("bert"), 3, "label", seed=0)
    broken.head.output.bias.data.fill_(float("nan"))
    monkeypatch.setattr(export, "export_onnx", lambda _model, path: shutil.copy(bert_file, path))
    with pytest.raises(SympressError, match="differs from PyTorch by nan in a logit"):
        export_checked(broken, tmp_path / "model.onnx", token_ids)


# A cleaned graph computes the same numbers, bit by bit, in every family.


#: Families whose local attention, relative or no mask at all leaves the mask as it is.
OWN_MASKS = ("modernbert", "deberta-v2")
FAMILIES = ("bert", "distilbert", "roberta", "electra", *OWN_MASKS)
RNG = np.random.default_rng(0)


@pytest.fixture
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


@pytest.mark.usefixtures("as_exported")
@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "token"), *((family, "maximum") for family in ("bert", *OWN_MASKS))]
)
def test_every_logit_stays_the_same(make_encoder: Callable, tmp_path: Path, family: str, pooling: str):
    export.export_onnx(build_model(make_encoder(family), 3, pooling, seed=0), tmp_path / "model.onnx")
    whole, lean = onnx.load(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    onnx.checker.check_model(lean, full_check=True)
    for ours, theirs in zip(answers(lean), answers(whole), strict=True):
        assert np.array_equal(ours, theirs)
    assert len(lean.graph.node) < len(whole.graph.node)
    check_operators(family, lean, whole)
    again = onnx.ModelProto()
    again.CopyFrom(lean)
    clean_graph_(again)
    assert again == lean  # nothing is left to do


def check_operators(family: str, lean: onnx.ModelProto, whole: onnx.ModelProto) -> None:
    """Nothing but families with masks of their own computes masks from shapes at run time."""
    operators = Counter(node.op_type for node in lean.graph.node)
    if family not in OWN_MASKS:
        assert operators["GatherND"] == operators["Expand"] == operators["Range"] == 0
        assert len(lean.graph.node) <= 0.8 * len(whole.graph.node)


@pytest.mark.usefixtures("as_exported")
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
    export.export_onnx(model, tmp_path / "model.onnx")
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


@pytest.mark.usefixtures("as_exported")
@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_layer_computes_no_more_than_a_cls_head_reads(
    make_encoder: Callable, tmp_path: Path, family: str
):
    """Products of the last layer have one row, but for keys and values (and DeBERTa's scores)."""
    export.export_onnx(build_model(make_encoder(family), 3, "cls", seed=0), tmp_path / "model.onnx")
    whole, lean = onnx.load(tmp_path / "model.onnx"), onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    onnx.checker.check_model(lean, full_check=True)
    for ours, theirs in zip(answers(lean), answers(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6, rtol=0)
    check_operators(family, lean, whole)
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


@pytest.mark.usefixtures("as_exported")
@pytest.mark.parametrize("pooling", ["mean", "maximum", "label", "token"])
def test_a_head_that_reads_all_tokens_gets_all_tokens(make_encoder: Callable, tmp_path: Path, pooling: str):
    export.export_onnx(build_model(make_encoder("bert"), 3, pooling, seed=0), tmp_path / "model.onnx")
    lean = onnx.load(tmp_path / "model.onnx")
    clean_graph_(lean)
    assert 1 not in product_rows(lean)
