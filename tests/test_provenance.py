"""Where a result came from: the machine that made it."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from sympress.provenance import environment


def stand_in(available: bool) -> SimpleNamespace:
    """What `environment` asks of PyTorch."""
    return SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: available, get_device_name=lambda: "NVIDIA H100")
    )


def test_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", stand_in(True))
    assert environment()["accelerator"] == "NVIDIA H100"


def test_without_a_gpu_nothing_is_said_of_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch", stand_in(False))
    assert "accelerator" not in environment()
    monkeypatch.delitem(sys.modules, "torch")
    assert "accelerator" not in environment()
