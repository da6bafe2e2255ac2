"""ONNX files compute what PyTorch computes, or are not written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from sympress.compression import export
from sympress.compression.distill.student import student_of
from sympress.compression.export import PARITY_TOLERANCE, export_checked, parity, structure_of
from sympress.compression.lowrank.factorize import factorize_encoder_
from sympress.compression.prune.structured import Kept, remove_
from sympress.errors import SympressError
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


def test_models_share_a_structure_where_they_differ_in_weights_alone(make_encoder: Callable, tmp_path: Path):
    def built(seed: int = 0, pooling: str = "mean") -> SymptomModel:
        return build_model(make_encoder("bert", seed), 3, pooling, seed=seed).eval()

    own = structure_of(built())
    saved = built(1)
    save_model(saved, tmp_path)
    assert structure_of(saved) == own
    assert structure_of(load_model(tmp_path)) == own
    others = [built(), built(), built(), built(), built(pooling="cls"), built(pooling="maximum")]
    remove_(others[0], Kept(((0, 3), (0, 1)), (tuple(range(30)), tuple(range(30)))))
    factorize_encoder_(others[1], 4)
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
    factorize_encoder_(model, 4)
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
