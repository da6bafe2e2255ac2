"""Half precision is used where the device has it, and leaves no trace in the trained model."""

from __future__ import annotations

import pytest
import torch

from sympress.training.epochs import has_bf16, mixed_precision


@pytest.mark.parametrize(("flag", "expected"), [("avx512_bf16", True), ("amx_bf16", True), ("avx2", False)])
def test_a_cpu_has_bf16_when_it_says_so(monkeypatch: pytest.MonkeyPatch, flag: str, expected: bool):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {flag: True})
    assert has_bf16(torch.device("cpu")) is expected


@pytest.mark.parametrize("half", [True, False])
def test_matrix_products_are_halved_only_on_such_a_device(monkeypatch: pytest.MonkeyPatch, half: bool):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": half})
    linear = torch.nn.Linear(4, 2)
    with mixed_precision(torch.device("cpu")):
        assert linear(torch.ones(1, 4)).dtype == (torch.bfloat16 if half else torch.float32)
    assert linear(torch.ones(1, 4)).dtype == torch.float32


def test_another_device_than_cpu_and_gpu_keeps_its_precision():
    assert not has_bf16(torch.device("meta"))
