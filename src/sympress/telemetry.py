"""Nothing that runs here tells the makers of a library that it did."""

from __future__ import annotations

import os
import sys

#: What keeps each library silent. ONNX Runtime (its Privacy.md) and MLflow upload events unless told not to,
#: a Ray cluster that is started here does, and a hub is told which of its clients asks.
SILENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def silence() -> None:
    """Keep the libraries that work here, and their processes, from telling that they were used.

    To be called before any of them is imported. An environment variable that is set already stays as it is.
    An ONNX Runtime that was imported before has made its device identifier; its events are turned off.
    """
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)
    runtime = sys.modules.get("onnxruntime")
    if runtime is not None and os.environ["ORT_DISABLE_TELEMETRY"] == "1":
        runtime.disable_telemetry_events()
