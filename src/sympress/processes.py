"""What processes that we start keep to, and that no library reports home from ours."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# What processes that we start keep to: who hears Ctrl-C, and none outlives the one that started it.


@contextmanager
def unheard(number: signal.Signals) -> Iterator[None]:
    """Processes that start in the block never get this signal; here it waits until the block ends.

    Ctrl-C reaches every process of a terminal. The one that started the others decides what becomes of them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Wait for the end of the process that started this one, then end it; to be run in a thread."""
    from multiprocessing import parent_process
    from multiprocessing.connection import wait

    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)  # SIGKILL of the parent tells nobody


# Nothing that runs here tells the makers of a library that it did.


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
