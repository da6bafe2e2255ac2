"""The two yardsticks answer as the teacher does, and are measured with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from transformers import PreTrainedTokenizerFast

from sympress.compression.export import export_onnx
from sympress.errors import InputError
from sympress.evaluation.cost import by_index
from sympress.models.model import build_model, save_model
from sympress.runtime.artifact import Extractor, write_checksums, write_extractor
from sympress.runtime.session import Runtime
from sympress.studies.costs import INT8, PYTORCH, teacher_yardsticks

TEXTS = ("fever and cough", "no pain in the arm")


@pytest.fixture(scope="module")
def teacher(
    make_encoder, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    model = build_model(make_encoder("bert"), 3, "mean", seed=0).eval()
    save_model(model, folder)
    tokenizer.save_pretrained(folder)
    write_extractor(
        folder, Extractor(task="present", symptoms=["fever", "cough", "pain"], max_tokens=32, pad_id=0)
    )
    export_onnx(model, folder / "model.onnx")
    write_checksums(folder)
    return folder


def test_pytorch_answers_as_the_artifact_and_int8_nearly(teacher: Path, tmp_path: Path):
    yardsticks = teacher_yardsticks(teacher, tmp_path, threads=1)
    assert list(yardsticks) == [PYTORCH, INT8]
    expected = Runtime.load(teacher).predict([TEXTS[0]])
    np.testing.assert_allclose(yardsticks[PYTORCH].answer(TEXTS[0]), expected, atol=1e-5)
    np.testing.assert_allclose(yardsticks[INT8].answer(TEXTS[0]), expected, atol=0.05)
    timed = by_index(yardsticks, TEXTS)
    np.testing.assert_array_equal(timed[INT8](1), yardsticks[INT8].answer(TEXTS[1]))


def test_the_int8_file_is_signed_and_kept(teacher: Path, tmp_path: Path):
    yardsticks = teacher_yardsticks(teacher, tmp_path, threads=1)
    assert yardsticks[INT8].size_bytes == (tmp_path / "int8.onnx").stat().st_size
    assert yardsticks[PYTORCH].size_bytes == (teacher / "model.safetensors").stat().st_size
    tensors = onnx.load(tmp_path / "int8.onnx").graph.initializer
    matrices = [each for each in tensors if each.data_type == onnx.TensorProto.INT8 and len(each.dims) == 2]
    assert len(matrices) >= 2 * 6  # every linear layer of the two layers
    written = (tmp_path / "int8.onnx").stat().st_mtime_ns
    teacher_yardsticks(teacher, tmp_path, threads=1)
    assert (tmp_path / "int8.onnx").stat().st_mtime_ns == written


@pytest.mark.parametrize("share", [0, 0.02, 0.1, 0.3, 0.6])
def test_a_limit_of_file_size_is_one_line_and_leaves_nothing(teacher: Path, tmp_path: Path, share: float):
    resource = pytest.importorskip("resource", reason="no such limits on Windows")
    size = (teacher / "model.onnx").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(share * size), hard))
    try:
        with pytest.raises(InputError, match=r"cannot be written \((File too large|No space left)"):
            teacher_yardsticks(teacher, tmp_path, threads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert not list(teacher.glob("*-inferred*"))


def test_nothing_is_written_beside_the_teacher(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    infer, written = onnx.shape_inference.infer_shapes_path, []

    def watched(source: str, target: str) -> None:
        written.append(Path(target).parent)
        infer(source, target)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes_path", watched)
    teacher_yardsticks(teacher, tmp_path, threads=1)
    assert teacher not in written
