"""Tiny artifacts that tell notes apart, for everything that runs one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from sympress.compression.export import export_checked
from sympress.models.model import build_model
from sympress.runtime.artifact import Extractor, write_checksums, write_extractor
from sympress.runtime.tokens import tags_of


@pytest.fixture(scope="session")
def tiny_artifact(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An artifact of the task `present` with three symptoms; it must not be changed."""
    folder = tmp_path_factory.mktemp("tiny") / "tiny"
    folder.mkdir()
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    model.head.output.weight.data *= 50
    tokenizer.save_pretrained(folder)
    settings = Extractor(task="present", symptoms=["fever", "cough", "pain"], max_tokens=16, pad_id=0)
    write_extractor(folder, settings)
    export_checked(model, folder / "model.onnx", [np.array([2, 5, 6, 3])])
    write_checksums(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_tagger(
    make_encoder: Callable, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An artifact of the task `mentions` that carries forms of its own; it must not be changed."""
    folder = tmp_path_factory.mktemp("tagger") / "tagger"
    folder.mkdir()
    tags = tags_of(["present", "absent"])
    model = build_model(make_encoder("bert"), len(tags), "token", seed=0).eval()
    model.head.output.weight.data *= 50
    tokenizer.save_pretrained(folder)
    settings = Extractor(
        task="mentions",
        symptoms=["fever", "cough"],
        max_tokens=16,
        pad_id=0,
        windows="all",
        tags=list(tags),
        span_bias=2.0,
        codes={"fever": ["HP:0001945"]},
        lexicon="forms.json",
    )
    write_extractor(folder, settings)
    forms = {"fever": ["fever", "chills"], "cough": ["cough"]}
    (folder / "forms.json").write_text(json.dumps(forms), encoding="utf-8")
    export_checked(model, folder / "model.onnx", [np.array([2, 5, 6, 3])])
    write_checksums(folder)
    return folder
