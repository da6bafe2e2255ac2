"""A family of encoders is one entry of a table: a new one is pressed by every strategy and exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from test_engine import make_context
from transformers import CamembertConfig, CamembertModel, PreTrainedTokenizerFast

from sympress.compression.export import export_checked
from sympress.compression.quantize.kernels import quantize_onnx
from sympress.compression.recipe.engine import run_recipe
from sympress.compression.recipe.language import parse_recipe
from sympress.errors import InputError
from sympress.models.families import FAMILIES
from sympress.models.model import SymptomModel, build_model

RECIPE = (
    "vocab(keep=40) > prune(heads=0.5, ffn=0.5, reconstruct=true) > lowrank(keep=0.8) > distill(layers=1, "
    "epochs=1)"
)
NOTES = [np.array([2, 5, 6, 3]), np.array([2, 8, 9, 10, 3])]


@pytest.fixture
def model() -> SymptomModel:
    torch.manual_seed(0)
    config = CamembertConfig(
        vocab_size=54,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=80,
        pad_token_id=0,
    )
    return build_model(CamembertModel(config, add_pooling_layer=False).eval(), 3, "mean", seed=0).eval()


def press(model: SymptomModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> SymptomModel:
    return run_recipe(parse_recipe(RECIPE), model, tokenizer, make_context(folder)).model


def test_a_family_that_is_not_there_is_refused(
    model: SymptomModel, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
):
    with pytest.raises(InputError, match="'camembert' cannot be compressed; supported are bert, roberta"):
        press(model, tokenizer, tmp_path)


def test_a_family_of_one_entry_is_pressed_exported_and_quantized(
    model: SymptomModel,
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(FAMILIES, "camembert", replace(FAMILIES["roberta"]))
    pressed = press(model, tokenizer, tmp_path)
    assert sum(map(torch.numel, pressed.parameters())) < 0.7 * sum(map(torch.numel, model.parameters()))
    file = tmp_path / "model.onnx"
    assert export_checked(pressed, file, NOTES) < 1e-4
    quantize_onnx(file, tmp_path / "int8.onnx", reduce_range=True)
    assert any(node.op_type == "MatMulInteger" for node in onnx.load(tmp_path / "int8.onnx").graph.node)
    assert (tmp_path / "int8.onnx").stat().st_size < file.stat().st_size
