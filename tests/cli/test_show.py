"""`sympress show`: the kernel of an artifact, the CPUs it is made for, and damage in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from sympress.cli.main import run
from sympress.runtime import session as kernels
from sympress.runtime.artifact import (
    BOX_FOLDER,
    artifact_digest,
    artifact_folder,
    write_checksums,
    write_provenance,
)

FULL_RANGE = {"kernel": {"name": "dynamic-8bit"}, "recipe": "quantize(int8)"}


def shown(capsys: pytest.CaptureFixture[str], folder: Path | str) -> tuple[int, dict[str, str], str]:
    with pytest.raises(SystemExit) as ended:
        run(["show", str(folder)])
    said = capsys.readouterr()
    lines = dict(line.split(":", 1) for line in said.out.splitlines())
    return int(ended.value.code or 0), {name: line.strip() for name, line in lines.items()}, said.err


def with_record(folder: Path, record: dict[str, Any]) -> Path:
    made = folder / "artifact"
    shutil.copytree(BOX_FOLDER, made)
    write_provenance(made, record)
    write_checksums(made)
    return made


def test_the_bundled_model_names_its_kernel_and_cpus(capsys: pytest.CaptureFixture[str]):
    code, lines, _ = shown(capsys, "box")
    assert code == 0
    assert lines["task"] == "present, 97 symptoms, rules and a tagger"
    assert lines["kernel"] == "dynamic-7bit: signed weights of 7 bits, exact on every CPU"
    assert lines["made on"] == "AMD EPYC"
    assert lines["recipe"].endswith("quantize(int8)")
    assert ": right with onnxruntime " in lines["this CPU"]


@pytest.mark.parametrize(
    ("record", "kernel"),
    [
        (FULL_RANGE, "dynamic-8bit: signed weights of all 8 bits, made for CPUs that add their products in "),
        ({"kernel": {"name": "future"}}, "future: unknown to this sympress"),
        ({"kernel": None}, "not recorded; the file multiplies integers"),
    ],
)
def test_other_kernels_are_named_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], record: dict[str, Any], kernel: str
):
    code, lines, _ = shown(capsys, with_record(tmp_path, record))
    assert code == 0
    assert lines["kernel"].startswith(kernel)


def test_rules_have_no_kernel(capsys: pytest.CaptureFixture[str]):
    code, lines, _ = shown(capsys, "rules")
    assert (code, set(lines)) == (0, {"task", "files", "digest"})
    assert lines["digest"] == artifact_digest(artifact_folder(Path("rules")))


def test_a_model_that_this_cpu_multiplies_wrong_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    folder = with_record(tmp_path, FULL_RANGE)
    monkeypatch.setattr(kernels, "products_are_exact", lambda: False)
    code, _, error = shown(capsys, folder)
    assert code == 2
    assert error.startswith(
        f"sympress: {folder}: kernel dynamic-8bit, and products of 8-bit weights overflow "
    )
    assert error.count("\n") == 1


def test_a_folder_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, _, error = shown(capsys, tmp_path)
    assert (code, error) == (
        2,
        f"sympress: {tmp_path}: no artifact here (extractor.json is missing)\n",
    )
