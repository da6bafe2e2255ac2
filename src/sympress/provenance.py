"""Where a result came from: configuration, seed, versions, commit and machine; never text."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from sympress.config import StudyConfig

_PACKAGES = ("sympress", "torch", "transformers", "onnxruntime", "onnx", "polars", "numpy", "scikit-learn")


def environment() -> dict[str, Any]:
    """Versions, processor and cores of this machine, and the GPU that PyTorch sees where it was imported."""
    gpu = accelerator()
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        **({} if gpu is None else {"accelerator": gpu}),
        "versions": versions(),
        "commit": commit(),
    }


def accelerator() -> str | None:
    """The name of the GPU that trains and answers, if PyTorch was imported and sees one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return str(torch.cuda.get_device_name())


def versions() -> dict[str, str]:
    """Installed versions of what decides a result."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor_name() -> str:
    """The processor's own name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the checkout that this package runs from, or None when it is installed."""
    try:
        done = subprocess.run(  # noqa: S603  fixed arguments
            ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"],  # noqa: S607  git of the user's PATH
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def provenance(config: StudyConfig, name: str, recipe: str, seed: int, fingerprint: str) -> dict[str, Any]:
    """What is stored with an artifact."""
    return {
        "format": 1,
        "strategy": name,
        "recipe": recipe,
        "seed": seed,
        "config": public_settings(config),
        "data_fingerprint": fingerprint,
        "environment": environment(),
    }


def public_settings(config: StudyConfig) -> dict[str, Any]:
    """The settings as they may travel: of a path on this machine only the last part."""
    values = config.model_dump(mode="json")
    for name in ("notes", "lexicon", "encoder"):
        if values[name] is not None and Path(values[name]).is_absolute():
            values[name] = Path(values[name]).name
    return values
