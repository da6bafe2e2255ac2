"""Half precision is used where the device has it, and leaves no trace in the trained model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from sympress.training import training_arguments
from sympress.training.epochs import TrainSettings, has_bf16, mixed_precision


@pytest.mark.parametrize(("flag", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_a_cpu_has_bf16_when_it_says_so(monkeypatch: pytest.MonkeyPatch, flag: str, expected: bool):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True})
    assert has_bf16(torch.device("cpu")) is expected


@pytest.mark.parametrize("in_hardware", [True, False])
def test_a_gpu_that_only_emulates_bf16_has_none(monkeypatch: pytest.MonkeyPatch, in_hardware: bool):
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or in_hardware
    )
    assert has_bf16(torch.device("cuda")) is in_hardware


def test_several_gpus_do_not_multiply_the_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(transformers.TrainingArguments, "n_gpu", property(lambda self: vars(self)["_n_gpu"]))
    plain = transformers.TrainingArguments.__init__

    def on_four(self: transformers.TrainingArguments, **given: object) -> None:
        plain(self, **given)
        vars(self)["_n_gpu"] = 4

    monkeypatch.setattr(transformers.TrainingArguments, "__init__", on_four)
    settings = TrainSettings(batch_size=8)
    assert transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True).train_batch_size == 8 * 4
    assert training_arguments(settings, tmp_path, 100, torch.device("cpu")).train_batch_size == 8
    assert "4 GPUs are visible and one is used" in caplog.text


@pytest.mark.parametrize("half", [True, False])
def test_matrix_products_are_halved_only_on_such_a_device(monkeypatch: pytest.MonkeyPatch, half: bool):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": half})
    linear = torch.nn.Linear(4, 2)
    with mixed_precision(torch.device("cpu")):
        assert linear(torch.ones(1, 4)).dtype == (torch.bfloat16 if half else torch.float32)
    assert linear(torch.ones(1, 4)).dtype == torch.float32


def test_another_device_than_cpu_and_gpu_keeps_its_precision():
    assert not has_bf16(torch.device("meta"))
