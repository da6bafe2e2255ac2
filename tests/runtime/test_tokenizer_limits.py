"""A tokenizer that turns a character into a megabyte is refused when it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sympress.errors import InputError
from sympress.runtime.artifact import read_extractor, write_checksums, write_extractor
from sympress.runtime.extractor import Extractor
from sympress.runtime.session import Runtime
from sympress.runtime.tokens import load_tokenizer


def replacing(content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": {"String": "a"}, "content": content}


@pytest.mark.parametrize(
    "normalizer",
    [
        replacing("b" * 2**20),
        {"type": "Sequence", "normalizers": [replacing("aa")] * 20},
        {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [replacing("a" * 9)] * 2}]},
        {"type": "Prepend", "prepend": "b" * 2**20},
    ],
    ids=["one", "many", "nested", "before"],
)
def test_a_normalizer_without_end_is_refused(
    tiny_artifact: Path, tmp_path: Path, normalizer: dict[str, object]
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(raw | {"normalizer": normalizer}))
    write_checksums(folder)
    with pytest.raises(InputError, match="its normalizer makes a text more than 64 times as long"):
        Runtime.load(folder)


def test_a_usual_normalizer_is_not(tiny_artifact: Path, tmp_path: Path):
    raw = json.loads((tiny_artifact / "tokenizer.json").read_text())
    usual = [
        {"type": "Prepend", "prepend": "\u2581"},
        replacing("bb"),
        {"type": "NFKC"},
        {"type": "Lowercase"},
    ]
    raw["normalizer"] = {"type": "Sequence", "normalizers": usual}
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw))
    assert load_tokenizer(tmp_path / "tokenizer.json").padding is None


@pytest.mark.parametrize("task", ["present", "topic", "mentions"])
def test_without_special_tokens_an_empty_note_is_not_run(
    tiny_artifact: Path, tiny_tagger: Path, tmp_path: Path, task: str
):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_tagger if task == "mentions" else tiny_artifact, folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(raw | {"post_processor": None}))
    write_extractor(folder, read_extractor(folder).model_copy(update={"task": task}))
    write_checksums(folder)
    extractor = Extractor.load(folder)
    for empty in extractor(["", "  \n"]):
        assert (empty.failure, empty.symptoms, empty.mentions) == (None, (), ())
    assert extractor("fever").failure is None
    if task == "present":
        assert Runtime.load(folder).predict([""]).max() < 1e-40


def test_a_tokenizer_that_panics_is_a_damaged_artifact(tiny_artifact: Path, tmp_path: Path):
    folder = tmp_path / "artifact"
    shutil.copytree(tiny_artifact, folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    }
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    write_checksums(folder)
    with pytest.raises(InputError, match="a damaged artifact"):
        Runtime.load(folder)
