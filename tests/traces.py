"""Graphs that were traced once, for every process of a test run."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch


def shared_in(folder: Path, export: Callable[..., Any]) -> Callable[..., Any]:
    """`export`, which is `torch.onnx.export`, but each structure is traced once and kept in `folder`.

    Beside that, the exporter would read its table of ONNX operators anew every time, and PyTorch would keep
    what it found of each operator, which pays in models of many layers alone.
    """

    def exported(wrapped: Any, *arguments: Any, **more: Any) -> Any:
        import onnx_ir
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        from sympress.compression.export import structure_of

        structure = structure_of(wrapped.model)
        stored = folder / f"{structure}.onnx"
        if structure is not None and stored.is_file():
            return SimpleNamespace(model=onnx_ir.load(stored))
        if isinstance(vars(ONNXRegistry)["from_torchlib"], classmethod):
            ONNXRegistry.from_torchlib = staticmethod(cache(ONNXRegistry.from_torchlib))
        with torch._dynamo.config.patch(fake_tensor_cache_enabled=False):
            program = export(wrapped, *arguments, **more)
        if structure is not None:
            draft = folder / f"{os.getpid()}.onnx"
            onnx_ir.save(program.model, draft)
            draft.replace(stored)
        return program

    return exported
