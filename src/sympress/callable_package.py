"""Packages that are functions too: `sympress.compress(…)` and `sympress.study(…)` share a name with one."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *values: Any, **named: Any) -> Any:
        return vars(self)["_function"]()(*values, **named)


def make_callable(package: str, module: str, function: str) -> None:
    """Let a call of `package` be one of `module.function`, which is imported then, and lend it its help."""
    held = sys.modules[package]
    held.__class__ = _CallablePackage
    vars(held)["_function"] = lambda: getattr(importlib.import_module(module), function)
